//go:build unix && !darwin && !netbsd

package client

import "golang.org/x/sys/unix"

// ctime is when anything of a file changed last, ns since 1970.
func ctime(st *unix.Stat_t) int64 { return st.Ctim.Nano() }
