//go:build linux && cgo

package daemon

// #include <stdlib.h>
// #ifdef __GLIBC__
// #include <malloc.h>
// static void trim(void) { malloc_trim(0); }
// #else
// static void trim(void) {}
// #endif
import "C"

// trimC has the C library give back what it keeps of the memory that the databases' caches and tables had: without, it keeps most of it for good.
func trimC() { C.trim() }
