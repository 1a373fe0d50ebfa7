package daemon

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dropBytes: fewer of the program's pages are not worth a call.
const dropBytes = 16 << 20

// dropProgram has the kernel forget which pages of the program's own file this process has mapped. It maps them again, 16 at once, from its memory of files, as they
// are used: a start uses most of them, a daemon at rest few. The kernel could take them at any time, but counts them as the process's until it does.
func dropProgram() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }() // only read
	for _, m := range programMaps(bufio.NewScanner(f), exe) {
		// Read-only pages of a file of which no page is this process's own: they are what the file has.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED) // else they stay
	}
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// programMaps reads smaps, see proc(5): the read-only mappings of a file none of whose pages the process has made its own, as relocation or a debugger does, if
// they are large.
func programMaps(smaps *bufio.Scanner, file string) (out []mapping) {
	var m mapping
	var rss uint64
	ours := false
	for smaps.Scan() {
		fields := strings.Fields(smaps.Text())
		switch {
		case len(fields) >= 5 && !strings.HasSuffix(fields[0], ":"): // 00402000-01a7f000 r-xp 00002000 fe:00 1234   /usr/bin/wh
			ours = len(fields) == 6 && fields[5] == file && (fields[1] == "r-xp" || fields[1] == "r--p")
			from, to, _ := strings.Cut(fields[0], "-")
			a, err1 := strconv.ParseUint(from, 16, 64)
			b, err2 := strconv.ParseUint(to, 16, 64)
			if err1 != nil || err2 != nil {
				ours = false
			}
			m = mapping{uintptr(a), uintptr(b)}
		case !ours || len(fields) < 2:
		case fields[0] == "Rss:":
			rss, _ = strconv.ParseUint(fields[1], 10, 64) // 0: too small
		case fields[0] == "Anonymous:" && fields[1] == "0" && rss<<10 >= dropBytes/2:
			out = append(out, m)
		}
	}
	return out
}
