//go:build linux || darwin

package mountfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jacobsa/fuse"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// fuseConf says whether users may let others in.
const fuseConf = "/etc/fuse.conf"

// Mounted is a mount that is served. It is safe for concurrent use.
type Mounted struct {
	dir   string
	clock clock.Clock
	mfs   *fuse.MountedFileSystem
	files func() int // how many are open
	place place
	cut   <-chan struct{} // closed when the kernel asks nothing any more
	gone  <-chan struct{} // closed when nothing is served any more
}

// Mount shows fs as dir and serves it, in goroutines of its own, until Unmount or until somebody else
// unmounts it; ctx is for the making only. dir is made if it is missing, and a dead mount of ours on it is
// detached. When Mount returns the mount answers.
//
// Errors: ErrMounted, ErrNoAnswer (a stuck mount of ours is there), vfs.ErrNotEmpty, vfs.ErrNotDir.
func Mount(ctx context.Context, dir string, fsys vfs.FS, o Options) (*Mounted, error) {
	o = o.withDefaults()
	dir, err := prepare(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("mountfs: mount %s: %w", dir, err)
	}
	s := newServer(ctx, fsys, o)
	mfs, memory, err := connect(dir, fuse.NewServerWithNotifier(s.notifier, s), config(s.base, o)) //nolint:contextcheck // operations go on after ctx, which is for the making
	if err != nil {
		s.end()
		if dead, _ := stale(ctx, dir); dead {
			err = errors.Join(err, detach(ctx, dir)) // the library got as far as mount(2)
		}
		return nil, fmt.Errorf("mountfs: %s: %w", dir, err)
	}
	s.remember(memory)
	m := &Mounted{dir: dir, clock: o.Clock, mfs: mfs, files: s.handles.files, place: findPlace(dir), cut: s.cut, gone: s.gone}
	if err := m.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("mountfs: %s: %w", dir, err), m.Unmount(context.WithoutCancel(ctx)))
	}
	if err := m.place.readAhead(); err != nil {
		o.Log.DebugContext(ctx, "the kernel reads ahead as little as it does by itself", "dir", dir, "error", err) // who isn't root may not say it
	}
	return m, nil
}

// ready makes sure that the mount answers.
func (m *Mounted) ready(ctx context.Context) error {
	if err := answers(ctx, m.clock, m.dir); err != nil {
		return err
	}
	return within(ctx, m.clock, func() error { return pollProbe(m.dir) })
}

// config is how the library is to mount.
func config(ctx context.Context, o Options) *fuse.MountConfig {
	options := map[string]string{"noatime": ""}
	if o.AllowOther || mayAllowOther() {
		options["allow_other"] = ""
	}
	if o.Dev {
		options["dev"] = ""
	}
	if o.SUID {
		options["suid"] = ""
	}
	if o.NoExec {
		options["noexec"] = ""
	}
	return &fuse.MountConfig{
		OpContext: ctx, FSName: o.FSName, Subtype: subtype, VolumeName: o.FSName, ReadOnly: o.ReadOnly, Options: options,
		DisableWritebackCaching: !o.Writeback, EnableParallelDirOps: true,
		EnableAtomicTrunc: true, EnableReaddirplus: true, EnableAutoReaddirplus: true,
	}
}

// mayAllowOther tells whether this user may let others into a mount: root, or anyone whom fuse.conf lets.
func mayAllowOther() bool {
	if os.Geteuid() == 0 {
		return true
	}
	b, err := os.ReadFile(fuseConf)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return true
		}
	}
	return false
}

// prepare makes dir ready to be mounted on, and returns its full path.
func prepare(ctx context.Context, dir string) (string, error) {
	dir, err := fullPath(dir)
	if err != nil {
		return dir, err
	}
	if isMounted(dir) {
		dead, err := stale(ctx, dir)
		switch {
		case err != nil:
			return dir, err
		case !dead:
			return dir, ErrMounted
		}
		if err := detach(ctx, dir); err != nil {
			return dir, err
		}
		return prepare(ctx, dir) // there may be another one below it
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a mount point is seen by all, and hidden by the mount
		if errors.Is(err, syscall.ENOTDIR) {
			err = errors.Join(vfs.ErrNotDir, err)
		}
		return dir, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return dir, err
	}
	if len(entries) > 0 {
		return dir, vfs.ErrNotEmpty
	}
	return dir, ctx.Err()
}

// fullPath is the path of dir without symlinks. It asks nothing of what is mounted on dir, which may be stuck.
func fullPath(dir string) (string, error) {
	const linksMax = 40 // as Linux follows
	for range linksMax {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return dir, err
		}
		parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
		if errors.Is(err, fs.ErrNotExist) {
			return abs, nil
		}
		if err != nil {
			return abs, err
		}
		dir = filepath.Join(parent, filepath.Base(abs))
		if isMounted(dir) {
			return dir, nil
		}
		target, err := os.Readlink(dir)
		if err != nil {
			return dir, nil //nolint:nilerr // not a symlink, or not there
		}
		if dir = target; !filepath.IsAbs(target) {
			dir = filepath.Join(parent, target)
		}
	}
	return dir, syscall.ELOOP
}

// Dir is the folder that shows the FS: its full path.
func (m *Mounted) Dir() string { return m.dir }

// Wait returns when the mount is gone, nothing serves it any more, and all its files are closed.
func (m *Mounted) Wait() error {
	if err := m.mfs.Join(context.Background()); err != nil {
		return fmt.Errorf("mountfs: %s: %w", m.dir, err)
	}
	return nil
}

// Unmount takes the mount away and waits until it is no longer served. While it is in use it waits for
// graceTime, while files are open on it for openTime, or until ctx ends; then those who use it are cut off: their files are closed as they are, and
// they see errors. An ended ctx makes Unmount quick; it does not make it fail.
func (m *Mounted) Unmount(ctx context.Context) error {
	grace, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	err := m.politely(grace)
	if err != nil || findPlace(m.dir) == m.place { // in use, or aborted, which leaves a dead mount
		err = m.place.cutOff(ctx)
	} else {
		m.cutCopies(ctx)
	}
	end, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancelEnd()
	if joinErr := m.mfs.Join(end); joinErr != nil {
		return errors.Join(fmt.Errorf("mountfs: unmount %s: %w", m.dir, joinErr), err)
	}
	return nil // gone, whoever did it
}

// cutCopies aborts the connection if it lives on after the mount is gone: in a copy of the mount, which every
// new mount namespace, of a container or a service, has of all mounts.
func (m *Mounted) cutCopies(ctx context.Context) {
	timer := m.clock.NewTimer(copyTime)
	defer timer.Stop()
	select {
	case <-m.cut:
	case <-timer.C:
		_ = m.place.abort(ctx) // that it failed is told by what waits for the end
	}
}

// politely unmounts as soon as nobody uses the mount, and gives up when ctx ends, or after graceTime if no file is open.
func (m *Mounted) politely(ctx context.Context) error {
	for begin := m.clock.Now(); ; {
		done := make(chan error, 1)
		go func() { done <- m.place.unmount(ctx) }() // may wait for operations in flight
		select {
		case err := <-done:
			if err == nil || clock.Since(m.clock, begin) >= graceTime && m.files() == 0 {
				return err
			}
		case <-m.gone:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := clock.Sleep(ctx, m.clock, retryTime); err != nil {
			return err
		}
	}
}
