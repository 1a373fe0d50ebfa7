//go:build !linux || !cgo

package daemon

// trimC does nothing: no C library has memory of the databases.
func trimC() {}
