//go:build linux

package mountfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// osFS is a vfs.FS made of system calls on a folder of the machine, so that the suite for vfs.FS can try a
// mount. Nodes are held by descriptors that are open for nothing but being found (O_PATH), and names are
// looked up one by one from them, so that no symlink is ever followed.
type osFS struct {
	root string // path of the folder

	mu    sync.Mutex
	nodes map[vfs.NodeID]int // O_PATH descriptors
	open  map[vfs.NodeID]int // files open on it
}

func newOSFS(root string) (*osFS, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := &osFS{root: root, nodes: make(map[vfs.NodeID]int), open: make(map[vfs.NodeID]int)}
	_, err = f.keep(fd)
	return f, err
}

// close lets go of all nodes, so that the mount is not in use.
func (f *osFS) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fd := range f.nodes {
		_ = unix.Close(fd)
	}
	clear(f.nodes)
}

// errnos are what a system call's error means to a vfs.FS.
var errnos = map[syscall.Errno]error{
	unix.ENOENT: vfs.ErrNotExist, unix.ESTALE: vfs.ErrNotExist, unix.EEXIST: vfs.ErrExist, unix.ENOTDIR: vfs.ErrNotDir,
	unix.EISDIR: vfs.ErrIsDir, unix.ENOTEMPTY: vfs.ErrNotEmpty, unix.EINVAL: vfs.ErrInvalid, unix.ENAMETOOLONG: vfs.ErrNameTooLong,
	unix.EPERM: vfs.ErrNotPermitted, unix.ENODATA: vfs.ErrNoXattr, unix.EROFS: vfs.ErrReadOnly, unix.ENOSPC: vfs.ErrNoSpace, unix.EDQUOT: vfs.ErrQuota,
	unix.EFBIG: vfs.ErrTooLarge, unix.E2BIG: vfs.ErrTooLarge, unix.ERANGE: vfs.ErrNameTooLong, unix.EOPNOTSUPP: vfs.ErrNotSupported,
}

func vfsErr(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok && errnos[errno] != nil {
		return fmt.Errorf("%w (%w)", errnos[errno], errno)
	}
	return err
}

// retry does a call again while signals interrupt it.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return vfsErr(err)
		}
	}
}

// keep takes over a descriptor and tells the attributes of its node.
func (f *osFS) keep(fd int) (vfs.Attr, error) {
	a, err := stat(fd)
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, have := f.nodes[a.ID]; have || err != nil {
		_ = unix.Close(fd)
	} else {
		f.nodes[a.ID] = fd
	}
	return a, err
}

func stat(fd int) (vfs.Attr, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstatat(fd, "", &st, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return vfs.Attr{}, err
	}
	kinds := map[uint32]vfs.Kind{
		unix.S_IFREG: vfs.KindFile, unix.S_IFDIR: vfs.KindFolder, unix.S_IFLNK: vfs.KindSymlink, unix.S_IFIFO: vfs.KindFIFO,
		unix.S_IFSOCK: vfs.KindSocket, unix.S_IFCHR: vfs.KindCharDev, unix.S_IFBLK: vfs.KindBlockDev,
	}
	return vfs.Attr{
		ID: vfs.NodeID(st.Ino), Kind: kinds[st.Mode&unix.S_IFMT], Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, RDev: st.Rdev,
		NLink: uint32(st.Nlink), Size: uint64(st.Size), Blocks: uint64(st.Blocks), Atime: st.Atim.Nano(), Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}, nil
}

// fd is the descriptor of a node. One that has no name and is not open is gone.
func (f *osFS) fd(ctx context.Context, id vfs.NodeID) (int, vfs.Attr, error) {
	if err := ctx.Err(); err != nil {
		return 0, vfs.Attr{}, err
	}
	f.mu.Lock()
	fd, ok := f.nodes[id]
	open := f.open[id]
	f.mu.Unlock()
	if !ok {
		return 0, vfs.Attr{}, vfs.ErrNotExist
	}
	a, err := stat(fd)
	if err == nil && a.NLink == 0 && open == 0 {
		err = vfs.ErrNotExist
	}
	return fd, a, err
}

// folder is the descriptor of a folder in which a name is to be used.
func (f *osFS) folder(ctx context.Context, id vfs.NodeID, name string) (int, error) {
	if err := vfs.CheckName(name); err != nil {
		return 0, err
	}
	fd, a, err := f.fd(ctx, id)
	if err == nil && a.Kind != vfs.KindFolder {
		err = vfs.ErrNotDir
	}
	return fd, err
}

func (f *osFS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Attr, error) {
	dir, err := f.folder(ctx, parent, name)
	if err != nil {
		return vfs.Attr{}, err
	}
	return f.lookup(dir, name)
}

func (f *osFS) lookup(dir int, name string) (vfs.Attr, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return vfs.Attr{}, err
	}
	return f.keep(fd)
}

func (f *osFS) GetAttr(ctx context.Context, id vfs.NodeID) (vfs.Attr, error) {
	_, a, err := f.fd(ctx, id)
	return a, err
}

func (f *osFS) SetAttr(ctx context.Context, id vfs.NodeID, set vfs.SetAttr) (vfs.Attr, error) {
	fd, a, err := f.fd(ctx, id)
	if err != nil {
		return a, err
	}
	p := procPath(fd)
	if set.Size != nil {
		switch {
		case a.Kind == vfs.KindFolder:
			return a, vfs.ErrIsDir
		case a.Kind != vfs.KindFile:
			return a, vfs.ErrInvalid
		}
		if err := retry(func() error { return unix.Truncate(p, int64(*set.Size)) }); err != nil {
			return a, err
		}
	}
	if set.UID != nil || set.GID != nil {
		uid, gid := -1, -1
		if set.UID != nil {
			uid = int(*set.UID)
		}
		if set.GID != nil {
			gid = int(*set.GID)
		}
		if err := retry(func() error { return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH) }); err != nil {
			return a, err
		}
	}
	if set.Mode != nil {
		if err := retry(func() error { return unix.Chmod(p, *set.Mode) }); err != nil {
			return a, err
		}
	}
	if set.Atime != nil || set.Mtime != nil {
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
		for i, ns := range []*int64{set.Atime, set.Mtime} {
			if ns != nil {
				times[i] = unix.NsecToTimespec(*ns)
			}
		}
		if err := retry(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, p, times, 0) }); err != nil {
			return a, err
		}
	}
	return stat(fd)
}

// procPath is a path that leads to a descriptor's node itself.
func procPath(fd int) string { return fmt.Sprint("/proc/self/fd/", fd) }

func (f *osFS) ReadDir(ctx context.Context, id vfs.NodeID, after string, limit int) ([]vfs.DirEntry, error) {
	dir, err := f.folder(ctx, id, "x")
	if err != nil {
		return nil, err
	}
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, vfsErr(err)
	}
	defer func() { _ = unix.Close(fd) }()
	names, err := readNames(fd)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []vfs.DirEntry
	for _, name := range names {
		if name <= after || len(list) >= limit {
			continue
		}
		a, err := f.lookup(dir, name)
		if errors.Is(err, vfs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, vfs.DirEntry{Name: name, Attr: a})
	}
	return list, nil
}

// readNames reads a folder to its end, by answers of the kernel that are small.
func readNames(fd int) (names []string, err error) {
	buf := make([]byte, 1024)
	for {
		var n int
		if err := retry(func() (err error) { n, err = unix.ReadDirent(fd, buf); return err }); err != nil {
			return nil, err
		}
		if n == 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

func (f *osFS) Parent(ctx context.Context, id vfs.NodeID) (vfs.NodeID, error) {
	if id == vfs.RootID {
		return id, nil
	}
	dir, err := f.folder(ctx, id, "x")
	if err != nil {
		return 0, err
	}
	a, err := f.lookup(dir, "..")
	return a.ID, err
}

func (f *osFS) Create(ctx context.Context, parent vfs.NodeID, name string, n vfs.NewNode) (vfs.Attr, error) {
	dir, err := f.folder(ctx, parent, name)
	if err != nil {
		return vfs.Attr{}, err
	}
	err = retry(func() error {
		switch n.Kind {
		case vfs.KindFolder:
			return unix.Mkdirat(dir, name, n.Mode)
		case vfs.KindSymlink:
			return unix.Symlinkat(n.Target, dir, name)
		case vfs.KindFile:
			fd, err := unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, n.Mode)
			if err == nil {
				err = unix.Close(fd)
			}
			return err
		}
		types := map[vfs.Kind]uint32{vfs.KindFIFO: unix.S_IFIFO, vfs.KindSocket: unix.S_IFSOCK, vfs.KindCharDev: unix.S_IFCHR, vfs.KindBlockDev: unix.S_IFBLK}
		return unix.Mknodat(dir, name, n.Mode|types[n.Kind], int(n.RDev))
	})
	if err != nil {
		return vfs.Attr{}, err
	}
	a, err := f.lookup(dir, name)
	if err != nil || a.UID == n.UID && a.GID == n.GID {
		return a, err
	}
	if err := unix.Fchownat(dir, name, int(n.UID), int(n.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return a, vfsErr(err)
	}
	return f.lookup(dir, name)
}

func (f *osFS) Link(ctx context.Context, id, parent vfs.NodeID, name string) (vfs.Attr, error) {
	fd, _, err := f.fd(ctx, id)
	if err != nil {
		return vfs.Attr{}, err
	}
	dir, err := f.folder(ctx, parent, name)
	if err != nil {
		return vfs.Attr{}, err
	}
	if err := retry(func() error { return unix.Linkat(fd, "", dir, name, unix.AT_EMPTY_PATH) }); err != nil {
		return vfs.Attr{}, err
	}
	return f.lookup(dir, name)
}

func (f *osFS) Rename(ctx context.Context, parent vfs.NodeID, name string, newParent vfs.NodeID, newName string, flags vfs.RenameFlag) error {
	from, err := f.folder(ctx, parent, name)
	if err != nil {
		return err
	}
	to, err := f.folder(ctx, newParent, newName)
	if err != nil {
		return err
	}
	if flags != 0 {
		return vfs.ErrNotSupported
	}
	return retry(func() error { return unix.Renameat(from, name, to, newName) })
}

func (f *osFS) Remove(ctx context.Context, parent vfs.NodeID, name string, folder bool) error {
	dir, err := f.folder(ctx, parent, name)
	if err != nil {
		return err
	}
	flags := 0
	if folder {
		flags = unix.AT_REMOVEDIR
	}
	return retry(func() error { return unix.Unlinkat(dir, name, flags) })
}

func (f *osFS) ReadLink(ctx context.Context, id vfs.NodeID) (string, error) {
	fd, a, err := f.fd(ctx, id)
	if err != nil {
		return "", err
	}
	if a.Kind != vfs.KindSymlink {
		return "", vfs.ErrInvalid
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	return string(buf[:max(n, 0)]), vfsErr(err)
}

func (f *osFS) GetXattr(ctx context.Context, id vfs.NodeID, name string) ([]byte, error) {
	fd, _, err := f.fd(ctx, id)
	if err != nil {
		return nil, err
	}
	size, err := unix.Getxattr(procPath(fd), name, nil)
	if err != nil {
		return nil, vfsErr(err)
	}
	buf := make([]byte, size)
	n, err := unix.Getxattr(procPath(fd), name, buf)
	return buf[:max(n, 0)], vfsErr(err)
}

func (f *osFS) SetXattr(ctx context.Context, id vfs.NodeID, name string, value []byte, flags vfs.XattrFlag) error {
	fd, _, err := f.fd(ctx, id)
	if err != nil {
		return err
	}
	return retry(func() error { return unix.Setxattr(procPath(fd), name, value, int(flags)) })
}

func (f *osFS) ListXattr(ctx context.Context, id vfs.NodeID) ([]string, error) {
	fd, a, err := f.fd(ctx, id)
	if err != nil || a.Kind != vfs.KindFile && a.Kind != vfs.KindFolder {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	n, err := unix.Listxattr(procPath(fd), buf)
	if err != nil {
		return nil, vfsErr(err)
	}
	var names []string
	for name := range bytes.SplitSeq(buf[:n], []byte{0}) {
		if len(name) > 0 {
			names = append(names, string(name))
		}
	}
	return names, nil
}

func (f *osFS) RemoveXattr(ctx context.Context, id vfs.NodeID, name string) error {
	fd, _, err := f.fd(ctx, id)
	if err != nil {
		return err
	}
	return retry(func() error { return unix.Removexattr(procPath(fd), name) })
}

func (f *osFS) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	fd, a, err := f.fd(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case a.Kind == vfs.KindFolder:
		return nil, vfs.ErrIsDir
	case a.Kind != vfs.KindFile:
		return nil, vfs.ErrInvalid
	}
	file, err := unix.Open(procPath(fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, vfsErr(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open[id]++
	return &osFile{f, id, file}, nil
}

func (f *osFS) StatFS(context.Context) (vfs.StatFS, error) {
	var st unix.Statfs_t
	err := unix.Statfs(f.root, &st)
	return vfs.StatFS{Total: st.Blocks * uint64(st.Frsize), Free: st.Bfree * uint64(st.Frsize), Files: st.Files - st.Ffree}, vfsErr(err)
}

func (f *osFS) SyncFS(context.Context) error {
	fd, err := unix.Open(f.root, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return vfsErr(err)
	}
	return vfsErr(errors.Join(unix.Fsync(fd), unix.Close(fd)))
}

// osFile is an open descriptor.
type osFile struct {
	f  *osFS
	id vfs.NodeID
	fd int
}

func (o *osFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	for done := 0; ; {
		n, err := unix.Pread(o.fd, p[done:], off+int64(done))
		switch done += max(n, 0); {
		case errors.Is(err, unix.EINTR):
		case err != nil || done == len(p):
			return done, vfsErr(err)
		case n == 0:
			return done, io.EOF
		}
		if err := ctx.Err(); err != nil {
			return done, err
		}
	}
}

func (o *osFile) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	for done := 0; ; {
		n, err := unix.Pwrite(o.fd, p[done:], off+int64(done))
		if done += max(n, 0); done == len(p) || err != nil && !errors.Is(err, unix.EINTR) {
			return done, vfsErr(err)
		}
	}
}

func (o *osFile) Sync(context.Context) error { return retry(func() error { return unix.Fsync(o.fd) }) }

func (o *osFile) Allocate(_ context.Context, off, n int64, f vfs.AllocFlag) error {
	var mode uint32
	for flag, m := range map[vfs.AllocFlag]uint32{
		vfs.AllocKeepSize: unix.FALLOC_FL_KEEP_SIZE, vfs.AllocPunch: unix.FALLOC_FL_PUNCH_HOLE, vfs.AllocZero: unix.FALLOC_FL_ZERO_RANGE,
	} {
		if f&flag != 0 {
			mode |= m
		}
	}
	if mode == unix.FALLOC_FL_PUNCH_HOLE {
		return vfs.ErrInvalid // the kernel's answer is EOPNOTSUPP
	}
	return retry(func() error { return unix.Fallocate(o.fd, mode, off, n) })
}

// Flush is the close of one more descriptor.
func (o *osFile) Flush(context.Context) error {
	fd, err := unix.Dup(o.fd)
	if err != nil {
		return err
	}
	return vfsErr(unix.Close(fd))
}

func (o *osFile) Close(context.Context) error {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	o.f.open[o.id]--
	return vfsErr(unix.Close(o.fd))
}

// cleanPath joins names to a path in a mount.
func cleanPath(dir string, names ...string) string {
	return path.Join(dir, strings.Join(names, "/"))
}
