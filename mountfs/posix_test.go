//go:build linux

package mountfs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
)

// TestOpenFlags: O_APPEND, O_TRUNC, O_EXCL, O_CREAT on what is there.
func TestOpenFlags(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	name := cleanPath(m.Dir(), "f")
	open := func(flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(name, flags, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	a, b := open(os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND), open(os.O_WRONLY|os.O_APPEND|os.O_CREATE)
	for i := range 10 { // each append is at the end, whoever wrote before
		if _, err := fmt.Fprint([]*os.File{a, b}[i%2], i); err != nil {
			t.Fatal(err)
		}
	}
	want := func(text string) {
		t.Helper()
		if got, err := os.ReadFile(name); err != nil || string(got) != text {
			t.Fatalf("got %q, %v, want %q", got, err, text)
		}
	}
	want("0123456789")
	c := open(os.O_TRUNC | os.O_RDWR)
	want("")
	if _, err := a.WriteString("after"); err != nil {
		t.Fatal(err)
	}
	want("after")
	if _, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644); !errors.Is(err, os.ErrExist) {
		t.Errorf("O_EXCL on a file that exists: %v", err)
	}
	if err := errors.Join(a.Close(), b.Close(), c.Sync(), c.Close()); err != nil {
		t.Error(err)
	}
	dir, err := os.Open(m.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		t.Errorf("fsync of a folder: %v", err)
	}
}

// TestCreateOfExisting: open(O_CREAT) opens a file that another pod has made a moment ago, of which the
// kernel does not know.
func TestCreateOfExisting(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	elsewhere{tree.View(), t}.write(vfs.RootID, "f", "theirs")
	m := mount(t, &lateFS{FS: tree}, mountfs.Options{})
	f, err := os.OpenFile(cleanPath(m.Dir(), "f"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || string(b) != "theirs" {
		t.Errorf("read %q, %v", b, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// lateFS does not find a name at the first time.
type lateFS struct {
	vfs.FS
	once sync.Once
}

func (l *lateFS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (a vfs.Attr, err error) {
	err = vfs.ErrNotExist
	l.once.Do(func() { name = "" })
	if name != "" {
		a, err = l.FS.Lookup(ctx, parent, name)
	}
	return a, err
}

// TestListingIsStable: names that stay are listed once each, while others are removed and made between the
// reads; as rm -r and find need it.
func TestListingIsStable(t *testing.T) {
	const files = 700
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	dir := cleanPath(m.Dir(), "d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if err := os.WriteFile(fmt.Sprintf("%s/f%03d", dir, i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	buf, seen := make([]byte, 512), map[string]int{}
	for round := 0; ; round++ {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if seen[name]++; name[0] != 'f' {
				continue
			}
			if err := os.Remove(dir + "/" + name); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(fmt.Sprintf("%s/a%03d", dir, round), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range files {
		if name := fmt.Sprintf("f%03d", i); seen[name] != 1 {
			t.Fatalf("%s was listed %d times", name, seen[name])
		}
	}
	if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	names, err := readNames(fd)
	if err != nil || slices.ContainsFunc(names, func(name string) bool { return name[0] == 'f' }) || len(names) < files/30 {
		t.Errorf("rewound, the listing is not a new one: %d names, %v", len(names), err)
	}
}

// TestSeekInListing: an offset that a listing gave leads back to the name behind it.
func TestSeekInListing(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	for i := range 300 {
		if err := os.WriteFile(fmt.Sprintf("%s/f%03d", m.Dir(), i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(m.Dir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	type place struct {
		offset int64
		rest   int // names from there on
	}
	var places []place
	buf, total := make([]byte, 256), 0
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		total += len(names)
		at, err := unix.Seek(fd, 0, io.SeekCurrent)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, place{at, total})
	}
	if total != 300 {
		t.Fatalf("%d names", total)
	}
	for _, i := range []int{len(places) / 2, 0, len(places) - 1, len(places) / 3} {
		if _, err := unix.Seek(fd, places[i].offset, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		names, err := readNames(fd)
		if want := total - places[i].rest; err != nil || len(names) != want || want > 0 && names[0] != fmt.Sprintf("f%03d", places[i].rest) {
			t.Errorf("from offset %d: %d names, %.1q first, %v; want %d", places[i].offset, len(names), names, err, want)
		}
	}
}

// TestOwners: what a user makes belongs to the user, and in a set-group-id folder to the folder's group;
// permissions are checked.
func TestOwners(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	for dir := m.Dir(); ; dir = filepath.Dir(dir) { // others must get as far as the mount
		if st, err := os.Stat(dir); err != nil || dir != m.Dir() && st.Mode().Perm()&0o001 != 0 {
			break
		}
		if dir != m.Dir() {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, mode := range map[string]os.FileMode{"open": 0o777, "closed": 0o755, "group": 0o777 | os.ModeSetgid} {
		if err := errors.Join(os.Mkdir(cleanPath(m.Dir(), name), 0o755), os.Chown(cleanPath(m.Dir(), name), 0, 77), os.Chmod(cleanPath(m.Dir(), name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	run := func(script string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `umask 022; cd "$1" && `+script, "sh", m.Dir())
		cmd.Dir = "/" // never inside the mount: a child that changes into it before exec would hang with us
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 2345}}
		return cmd.Run()
	}
	if err := run("echo x > open/f && mkdir open/d && ln -s f open/l && mkfifo open/p && mkdir group/d && echo x > group/d/f"); err != nil {
		t.Fatal(err)
	}
	if err := run("echo x > closed/f"); err == nil {
		t.Error("a user could write in another's folder")
	}
	for name, want := range map[string]struct {
		gid  uint32
		mode uint32
	}{
		"open/f": {2345, unix.S_IFREG | 0o644}, "open/d": {2345, unix.S_IFDIR | 0o755}, "open/l": {2345, unix.S_IFLNK | 0o777},
		"open/p": {2345, unix.S_IFIFO | 0o644}, "group/d": {77, unix.S_IFDIR | 0o2755}, "group/d/f": {77, unix.S_IFREG | 0o644},
	} {
		var st unix.Stat_t
		if err := unix.Lstat(cleanPath(m.Dir(), name), &st); err != nil {
			t.Fatal(err)
		}
		if st.Uid != 1234 || st.Gid != want.gid || st.Mode != want.mode {
			t.Errorf("%s: owner %d:%d, mode %o; want 1234:%d, %o", name, st.Uid, st.Gid, st.Mode, want.gid, want.mode)
		}
	}
}

// TestMountFlags: the mount is what it should be, and as the options say.
func TestMountFlags(t *testing.T) {
	tree := memfs.New(memfs.Options{})
	elsewhere{tree.View(), t}.write(vfs.RootID, "f", "text")
	for name, c := range map[string]struct {
		o     mountfs.Options
		want  []string
		never []string
	}{
		"default": {mountfs.Options{}, []string{"nosuid", "nodev", "rw", "allow_other", "default_permissions", "fuse.wormhole wormhole "}, []string{" ro,"}},
		"open":    {mountfs.Options{Dev: true, SUID: true, FSName: "mine"}, []string{"fuse.wormhole mine "}, []string{"nosuid", "nodev"}},
		"ro":      {mountfs.Options{ReadOnly: true}, []string{" ro,"}, nil},
		"noexec":  {mountfs.Options{NoExec: true}, []string{"noexec", "nosuid", "nodev"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := mount(t, tree, c.o)
			table, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(strings.Split(string(table), "\n"), func(l string) bool { return strings.Contains(l, " "+m.Dir()+" ") })
			line := strings.Split(string(table), "\n")[i]
			for _, want := range c.want {
				if !strings.Contains(line, want) {
					t.Errorf("no %q in %q", want, line)
				}
			}
			for _, never := range c.never {
				if strings.Contains(line, never) {
					t.Errorf("%q in %q", never, line)
				}
			}
			err = os.WriteFile(cleanPath(m.Dir(), "f"), []byte("x"), 0o600)
			if c.o.ReadOnly != errors.Is(err, syscall.EROFS) {
				t.Errorf("write: %v", err)
			}
		})
	}
}

// TestStatFS: sizes are told in bytes that make sense.
func TestStatFS(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{CapacityBytes: 1 << 30}), mountfs.Options{})
	if err := os.WriteFile(cleanPath(m.Dir(), "f"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(m.Dir(), &st); err != nil {
		t.Fatal(err)
	}
	if total, free := st.Blocks*uint64(st.Frsize), st.Bavail*uint64(st.Frsize); total != 1<<30 || free != 1<<30-1<<20 {
		t.Errorf("total %d, free %d", total, free)
	}
	if used := st.Files - st.Ffree; used != 2 || st.Namelen != vfs.NameMax {
		t.Errorf("%d files, names of %d bytes", used, st.Namelen)
	}
}

// TestReadAhead: the kernel reads far ahead, so that a request of it is as large as can be.
func TestReadAhead(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{}), mountfs.Options{})
	info, err := os.Stat(m.Dir())
	if err != nil {
		t.Fatal(err)
	}
	dev := info.Sys().(*syscall.Stat_t).Dev //nolint:forcetypeassert // on Linux it is
	name := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(dev), unix.Minor(dev))
	if err := unix.Access(name, unix.W_OK); err != nil {
		testneed.Missing(t, "a kernel that can be told how far to read ahead: "+err.Error())
	}
	if kib, err := os.ReadFile(name); err != nil || string(kib) != "1024\n" {
		t.Errorf("it reads %q KiB ahead, %v", kib, err)
	}
}

// TestNoSpace: a full FS is reported by write(2), and goes on working.
func TestNoSpace(t *testing.T) {
	m := mount(t, memfs.New(memfs.Options{CapacityBytes: 1 << 20}), mountfs.Options{})
	name := cleanPath(m.Dir(), "f")
	if err := os.WriteFile(name, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write: %v, want %v", err, syscall.ENOSPC)
	}
	if err := errors.Join(os.Remove(name), os.WriteFile(name, make([]byte, 1<<19), 0o600)); err != nil {
		t.Error(err)
	}
}
