package daemon

import (
	"bufio"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A daemon is at rest when it allocates little; garbage is collected when there is some, and not otherwise.
func TestRester(t *testing.T) {
	const mb = 1 << 20
	var r rester
	for _, x := range []struct {
		name      string
		allocated uint64 // since the look before
		held      uint64
		want      restState
		least     uint64 // what is held when all was given back
	}{
		{"it starts", 300 * mb, 90 * mb, restNot, 0},
		{"it works", 129 * mb, 90 * mb, restNot, 0},
		{"it begins to rest", 2 * mb, 91 * mb, restBegins, 12 * mb},
		{"little garbage", 3 * mb, 15 * mb, restGoesOn, 0},
		{"more garbage", 3 * mb, 18 * mb, restCollect, 13 * mb},
		{"little garbage again", 3 * mb, 16 * mb, restGoesOn, 0},
		{"it works again", 400 * mb, 80 * mb, restNot, 0},
		{"it rests again", mb, 80 * mb, restBegins, 14 * mb},
	} {
		h := heap{allocated: r.last.allocated + x.allocated, held: x.held}
		if got := r.look(h); got != x.want {
			t.Errorf("%s: %d, not %d", x.name, got, x.want)
		}
		if x.least > 0 {
			r.freed(heap{held: x.least})
		}
	}
}

// Only mappings of the program that are as the file is may be forgotten: what the process made its own would be lost.
func TestProgramMaps(t *testing.T) {
	entry := func(addrs, perms, path, rss, anonymous string) string {
		return addrs + " " + perms + " 00002000 fe:00 1234                    " + path + "\nSize:              23000 kB\nRss:               " + rss + " kB\nAnonymous:           " +
			anonymous + " kB\nVmFlags: rd ex mr mw me sd\n"
	}
	smaps := entry("00400000-00a00000", "r-xp", "/usr/bin/wh", "20000", "0") +
		entry("00a00000-00b00000", "r--p", "/usr/bin/wh", "9000", "0") +
		entry("00b00000-00b80000", "r--p", "/usr/bin/wh", "9000", "4") + // relocated
		entry("00b80000-00c00000", "r--p", "/usr/bin/wh", "300", "0") + // small
		entry("00c00000-00d00000", "rw-p", "/usr/bin/wh", "9000", "0") +
		entry("7f0000000000-7f0001000000", "r-xp", "/usr/lib/libc.so.6", "9000", "0") +
		"7f0001000000-7f0002000000 rw-p 00000000 00:00 0 \nRss:   90000 kB\nAnonymous:   0 kB\n"
	got := programMaps(bufio.NewScanner(strings.NewReader(smaps)), "/usr/bin/wh")
	if want := []mapping{{0x400000, 0xa00000}, {0xa00000, 0xb00000}}; !slices.Equal(got, want) {
		t.Errorf("%x, not %x", got, want)
	}
}

// What is forgotten of the program is not counted any more, and is there again when it is used.
func TestDropProgram(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection uses much of the program
	const before = "/proc/self/status"
	touch(t)
	held := fileKiB(t, before)
	if held < dropBytes>>10 {
		t.Skipf("the test has only %d KiB of its program in memory", held)
	}
	dropProgram()
	if left := fileKiB(t, before); left > held/2 {
		t.Errorf("%d KiB of %d are left", left, held)
	}
	touch(t)
}

// touch reads the whole program.
func touch(t *testing.T) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }() // only read
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range programMaps(bufio.NewScanner(f), exe) {
		if _, err := mem.ReadAt(make([]byte, m.to-m.from), int64(m.from)); err != nil {
			t.Fatal(err)
		}
	}
}

func fileKiB(t *testing.T, path string) int64 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "RssFile:")
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
