//go:build linux

package mountfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
)

// mmapEnv names the file for the child of TestMmapBothWays.
const mmapEnv = "MOUNTFS_TEST_MMAP"

// TestMmapBothWays: what is read through a mapping is what is in the file, and what is written through a shared one comes into it; other programs see it. The
// mapping is a child's: a page that is not there holds up the whole of a Go process, which must not be the one that serves it.
func TestMmapBothWays(t *testing.T) {
	if name := os.Getenv(mmapEnv); name != "" {
		if err := mapBothWays(name); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, writeback := range []bool{false, true} {
		t.Run(fmt.Sprint("writeback=", writeback), func(t *testing.T) {
			m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{Writeback: writeback})
			name := cleanPath(m.Dir(), "f")
			want := bytes.Repeat([]byte("0123456789abcdef"), 4096)
			if err := os.WriteFile(name, want, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMmapBothWays$")
			cmd.Env, cmd.Dir = append(os.Environ(), mmapEnv+"="+name), "/"
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			copy(want[10_000:], "through the mapping")
			copy(want[len(want)-3:], "end")
			if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the file is not what was written through the mapping: %d bytes, %v", len(got), err)
			}
		})
	}
}

// mapBothWays reads a file of 64 KiB through a private mapping, and writes to it through a shared one.
func mapBothWays(name string) error {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	private, err := unix.Mmap(fd, 0, 64<<10, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("private: %w", err)
	}
	if want := bytes.Repeat([]byte("0123456789abcdef"), 4096); !bytes.Equal(private, want) {
		return errors.New("the private mapping shows other bytes")
	}
	shared, err := unix.Mmap(fd, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("shared: %w", err)
	}
	copy(shared[10_000:], "through the mapping")
	if err := unix.Msync(shared, unix.MS_SYNC); err != nil {
		return fmt.Errorf("msync: %w", err)
	}
	copy(shared[len(shared)-3:], "end") // which the end of the mapping alone writes
	return errors.Join(unix.Munmap(shared), unix.Munmap(private), unix.Close(fd))
}

// TestDirect: O_DIRECT reads and writes go by the kernel's pages, and both ways see the same bytes.
func TestDirect(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	name := cleanPath(m.Dir(), "f")
	if err := os.WriteFile(name, bytes.Repeat([]byte("x"), 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(name); err != nil { // into the kernel's pages
		t.Fatal(err)
	}
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	buf := aligned(4096)
	copy(buf, bytes.Repeat([]byte("y"), 4096))
	if n, err := unix.Pwrite(fd, buf, 4096); n != 4096 || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	want := append(append(bytes.Repeat([]byte("x"), 4096), bytes.Repeat([]byte("y"), 4096)...), bytes.Repeat([]byte("x"), 8192)...)
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read through pages: not what was written directly, %v", err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte("z"), 4096), 8192); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Pread(fd, buf, 8192); n != 4096 || err != nil || !bytes.Equal(buf, bytes.Repeat([]byte("z"), 4096)) {
		t.Errorf("read directly: %d, %v: not what was written through pages", n, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// aligned is n bytes as O_DIRECT wants them.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	skip := 4096 - int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))%4096)
	return b[skip:][:n]
}

// TestUnlinked: a file without a name lives on through its descriptor, and can't be given a name.
func TestUnlinked(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	name := cleanPath(m.Dir(), "f")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("before "); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("after"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(11), f.Chmod(0o400), f.Sync()); err != nil {
		t.Error(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink != 0 || st.Size != 11 || st.Mode&0o777 != 0o400 {
		t.Errorf("%d links, %d bytes, mode %o, %v", st.Nlink, st.Size, st.Mode, err)
	}
	buf := make([]byte, 20)
	if n, _ := f.ReadAt(buf, 0); string(buf[:n]) != "before afte" {
		t.Errorf("read %q", buf[:n])
	}
	if err := unix.Linkat(int(f.Fd()), "", unix.AT_FDCWD, name+"2", unix.AT_EMPTY_PATH); !errors.Is(err, unix.ENOENT) {
		t.Errorf("link of a file without a name: %v", err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "another" {
		t.Errorf("the new file: %q, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestLinks: a file has one number, one count and one content by all its names, in whatever folders.
func TestLinks(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	var names []string
	for _, dir := range []string{"a", "b", "b/c"} {
		if err := os.Mkdir(filepath.Join(m.Dir(), dir), 0o755); err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Join(m.Dir(), dir, "f"))
	}
	if err := errors.Join(os.WriteFile(names[0], []byte("one"), 0o600), os.Link(names[0], names[1]), os.Link(names[1], names[2])); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(names[2], []byte("three"), 0o600); err != nil {
		t.Fatal(err)
	}
	var first unix.Stat_t
	for i, name := range names {
		var st unix.Stat_t
		got, err := os.ReadFile(name)
		if err := errors.Join(err, unix.Stat(name, &st)); err != nil || string(got) != "three" || st.Nlink != 3 {
			t.Errorf("%s: %q, %d links, %v", name, got, st.Nlink, err)
		}
		if i == 0 {
			first = st
		} else if st.Ino != first.Ino {
			t.Errorf("%s has number %d, want %d", name, st.Ino, first.Ino)
		}
	}
	if err := os.Rename(names[0], names[2]); err != nil { // one file by both names: nothing happens
		t.Fatal(err)
	}
	if err := os.Remove(names[1]); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{names[0], names[2]} {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil || st.Nlink != 2 {
			t.Errorf("%s: %d links, %v", name, st.Nlink, err)
		}
	}
	if err := os.Link(filepath.Join(m.Dir(), "a"), filepath.Join(m.Dir(), "x")); !errors.Is(err, unix.EPERM) {
		t.Errorf("link to a folder: %v", err)
	}
}

// TestXattrLimits: names and values of Linux's greatest length pass, longer ones are refused by the error that Linux has for each.
func TestXattrLimits(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	name := cleanPath(m.Dir(), "f")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	longest := "user." + strings.Repeat("n", vfs.XattrNameMax-5)
	// The kernel hands over at most what fits in one request beside the head: a page less than vfs.XattrMax is surely so.
	value := bytes.Repeat([]byte{7}, vfs.XattrMax-4096)
	if err := unix.Setxattr(name, longest, value, 0); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		err  error
		want error
	}{
		"long name":       {unix.Setxattr(name, longest+"n", nil, 0), unix.ERANGE},
		"long value":      {unix.Setxattr(name, "user.v", make([]byte, vfs.XattrMax+1), 0), unix.E2BIG},
		"not there":       {unix.Removexattr(name, "user.none"), unix.ENODATA},
		"there":           {unix.Setxattr(name, longest, nil, unix.XATTR_CREATE), unix.EEXIST},
		"nothing to take": {unix.Setxattr(name, "user.none", nil, unix.XATTR_REPLACE), unix.ENODATA},
		"short buffer":    {second(unix.Getxattr(name, longest, make([]byte, 10))), unix.ERANGE},
		"short list":      {second(unix.Listxattr(name, make([]byte, 10))), unix.ERANGE},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	if n, err := unix.Getxattr(name, longest, nil); n != len(value) || err != nil {
		t.Errorf("length: %d, %v", n, err)
	}
	buf := make([]byte, vfs.XattrMax)
	if n, err := unix.Getxattr(name, longest, buf); err != nil || !bytes.Equal(buf[:n], value) {
		t.Errorf("value: %d bytes, %v", n, err)
	}
	if n, err := unix.Listxattr(name, buf); err != nil || string(buf[:n]) != longest+"\x00" {
		t.Errorf("list: %q, %v", buf[:n], err)
	}
}

// TestXattrKinds: an access list, which nobody would obey, is refused; of labels and access lists ls is told once that there are none, so that it
// does not ask for each file; capabilities, for which the kernel asks at each write, and labels that were set are there.
func TestXattrKinds(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	name := cleanPath(m.Dir(), "f")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	acl := []byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x04\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff") // u::rw-,g::r--,o::r--
	buf := make([]byte, 100)
	for what, c := range map[string]struct {
		err  error
		want error
	}{
		"get an access list":  {second(unix.Getxattr(name, "system.posix_acl_access", buf)), unix.EOPNOTSUPP},
		"set an access list":  {unix.Setxattr(name, "system.posix_acl_access", acl, 0), unix.EOPNOTSUPP},
		"get a label":         {second(unix.Getxattr(name, "security.selinux", buf)), unix.EOPNOTSUPP},
		"get capabilities":    {second(unix.Getxattr(name, "security.capability", buf)), unix.ENODATA},
		"get of another kind": {second(unix.Getxattr(name, "user.none", buf)), unix.ENODATA},
		"set a label":         {unix.Setxattr(name, "security.selinux", []byte("label"), 0), nil},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", what, c.err, c.want)
		}
	}
	if n, err := unix.Getxattr(name, "security.selinux", buf); err != nil || string(buf[:n]) != "label" {
		t.Errorf("label: %q, %v", buf[:max(n, 0)], err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestLargeFolder: a folder of many names is listed with attributes (readdirplus), each name once, in answers of any size, and its attributes are those
// that stat(2) tells.
func TestLargeFolder(t *testing.T) {
	const files = 5000
	tree := memfs.New(memfs.Options{})
	e := elsewhere{tree.View(), t}
	for i := range files {
		e.write(vfs.RootID, fmt.Sprintf("%s-%05d", strings.Repeat("n", i%200), i), strings.Repeat("x", i%7))
	}
	m := mount(t, tree, mountfs.Options{})
	entries, err := os.ReadDir(m.Dir())
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]int, files)
	for _, entry := range entries {
		var i int
		if _, err := fmt.Sscanf(entry.Name()[strings.LastIndexByte(entry.Name(), '-')+1:], "%d", &i); err != nil {
			t.Fatal(err)
		}
		seen[i]++
		if st, err := entry.Info(); err != nil || st.Size() != int64(i%7) {
			t.Fatalf("%s: %v, %v", entry.Name(), st, err)
		}
	}
	if i := slices.IndexFunc(seen, func(n int) bool { return n != 1 }); i >= 0 {
		t.Errorf("name %d was listed %d times", i, seen[i])
	}
}

// TestSparse: what was never written reads as zeros, wherever it is, and a file can be as long as vfs.FileMax allows.
func TestSparse(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	f, err := os.Create(cleanPath(m.Dir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	const far = 1 << 45
	if _, err := f.WriteAt([]byte("far"), far); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, far, 2); err != nil {
		t.Fatal(err)
	}
	buf := bytes.Repeat([]byte{1}, 5)
	if n, err := f.ReadAt(buf, far-2); n != 5 || err != nil || string(buf) != "\x00\x00\x00\x00r" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != far+3 {
		t.Errorf("%v, %v", st, err)
	}
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4096); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("collapse: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
