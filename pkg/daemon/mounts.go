package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/server"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// mounted is a mount of a pod.
type mounted struct {
	m       Mounted
	asked   string // the folder as it was named
	options []string
	gone    chan struct{} // closed when it is gone
}

// mountFile is the file, in a pod's folder, that lists what is mounted now: the next daemon finds there what a killed
// one has left.
const mountFile = "mount.json"

// mountRecord is one mount in it.
type mountRecord struct {
	Dir api.Text `json:"dir"`
}

func (l local) mountFile() string { return filepath.Join(l.dir, mountFile) }

// recorded are the folders that a daemon had mounted when it last said.
func (l local) recorded() []string {
	b, err := os.ReadFile(l.mountFile())
	if err != nil {
		return nil
	}
	var all []mountRecord
	if json.Unmarshal(b, &all) != nil {
		return nil // It is only a help; mounting finds dead mounts of ours as well.
	}
	var out []string
	for _, r := range all {
		out = append(out, string(r.Dir))
	}
	return out
}

// record writes what is mounted now; mu is held.
func (r *running) record() error {
	all := make([]mountRecord, 0, len(r.mounts))
	for dir := range r.mounts {
		all = append(all, mountRecord{Dir: api.Text(dir)})
	}
	b, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	if err := config.WriteFile(r.mountFile(), b); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	return nil
}

// abortMounts cuts the mounts of a daemon that was killed and hangs on one of them.
func abortMounts(home api.Home, e Engine) {
	all, err := locals(home)
	if err != nil {
		return // The start that follows says why.
	}
	for _, l := range all {
		for _, dir := range l.recorded() {
			_ = e.Abort(dir) // Where it is no mount of ours, nothing hangs on it.
		}
	}
}

// detachStale takes away what a killed daemon has left mounted.
func (m *machine) detachStale(ctx context.Context, l local) {
	for _, dir := range l.recorded() {
		if dead, err := m.o.Engine.Stale(dir); err != nil || !dead {
			continue
		}
		if err := m.o.Engine.Detach(dir); err != nil {
			m.o.Log.WarnContext(ctx, "a dead mount could not be detached", "dir", dir, "error", err)
		}
	}
}

// mount mounts a pod.
func (m *machine) mount(ctx context.Context, r *running, dir string, options []string) error {
	s, err := config.ParseMountOptions(options)
	if err != nil {
		return fmt.Errorf("mount: %w: %w", api.ErrUsage, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	tree := r.pod.FS()
	if _, err := tree.GetAttr(ctx, vfs.RootID); err != nil { // a pod that has no tree to show
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	if err := makeMountPoint(dir); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	mm, err := m.o.Engine.Mount(ctx, dir, tree, mountfs.Options{
		AllowOther: s.AllowOther, ReadOnly: s.ReadOnly, Dev: s.Dev, SUID: s.SUID, NoExec: s.NoExec, Writeback: s.Writeback, Keep: s.Keep,
		UIDs: mountfs.IDs(s.UIDs), GIDs: mountfs.IDs(s.GIDs),
		Log: m.o.Log.With("local", r.name, partKey, "mount"), Clock: m.o.Clock,
	})
	switch {
	case errors.Is(err, mountfs.ErrMounted):
		return fmt.Errorf("mount %s: %w: %w", dir, api.ErrConflict, err)
	case errors.Is(err, mountfs.ErrUnsupported):
		return fmt.Errorf("mount %s: %w: %w", dir, api.ErrUnsupported, err)
	case err != nil:
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	if m.isDown() {
		return errors.Join(api.ErrStopping, mm.Unmount(ctx))
	}
	x := &mounted{m: mm, asked: dir, options: options, gone: make(chan struct{})}
	r.mounts[mm.Dir()] = x
	delete(r.failed, dir)
	go func() { //nolint:contextcheck // the mount lives longer than the request that makes it
		defer close(x.gone)
		err := mm.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.mounts[mm.Dir()] == x { // Somebody else has unmounted it.
			m.o.Log.InfoContext(m.ctx(), "a mount has gone", "dir", mm.Dir(), "error", err)
			delete(r.mounts, mm.Dir())
			_ = r.record() // The next one that is written is right.
		}
	}()
	return r.record()
}

// makeMountPoint makes a folder to mount on, if it is missing. Others may look at it, whatever the umask is.
func makeMountPoint(dir string) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil // It is there, dead perhaps: mounting deals with that.
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as above
		return err
	}
	return os.Chmod(dir, 0o755) //nolint:gosec // as above
}

func (m *machine) isDown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down
}

// Mount mounts a pod for this run, or for every one.
func (m *machine) Mount(ctx context.Context, podName string, q api.Mount) error {
	r, err := m.find(podName)
	if err != nil {
		return err
	}
	if q, err = r.allowedMount(ctx, q); err != nil {
		return err
	}
	if err := checkMount(q); err != nil && !errors.Is(err, vfs.ErrNotEmpty) { // Mounting tells a mount from a full folder.
		return err
	}
	if err := m.mount(ctx, r, string(q.Dir), q.Options); err != nil {
		return err
	}
	if !q.Save {
		return nil
	}
	return r.saveMounts(func(all []config.Mount) []config.Mount {
		all = slices.DeleteFunc(all, func(c config.Mount) bool { return c.Dir == string(q.Dir) })
		return append(all, config.Mount{Dir: string(q.Dir), Options: q.Options})
	})
}

// saveMounts changes the mounts in the pod's file.
func (r *running) saveMounts(f func([]config.Mount) []config.Mount) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	cfg, err := config.LoadPod(r.file()) // It may have been edited.
	if err != nil {
		return err
	}
	cfg.Mounts = f(slices.Clone(cfg.Mounts))
	if err := cfg.Save(r.file()); err != nil {
		return err
	}
	r.now.Mounts = cfg.Mounts
	return nil
}

// Unmount takes one mount of a pod away, or all.
func (m *machine) Unmount(ctx context.Context, podName string, q api.Unmount) error {
	if !server.MayAdminister(ctx) {
		r, err := m.find(podName)
		if err == nil {
			_, err = r.allowedMount(ctx, api.Mount{Dir: q.Dir, Save: q.Save})
		}
		if err != nil {
			return err
		}
	}
	if q.Dir == "" {
		r, err := m.find(podName)
		if err != nil {
			return err
		}
		if q.Save {
			if err := r.saveMounts(func([]config.Mount) []config.Mount { return nil }); err != nil {
				return err
			}
		}
		r.mu.Lock()
		clear(r.failed) // they are not wanted any more
		r.mu.Unlock()
		return r.unmountAll(ctx)
	}
	dir := string(q.Dir)
	found := false
	for _, r := range m.all() {
		found = r.giveUp(dir) || found
		if x := r.take(dir); x != nil {
			found = true
			if err := r.unmount(ctx, x); err != nil {
				return err
			}
		}
		if !q.Save {
			continue
		}
		err := r.saveMounts(func(all []config.Mount) []config.Mount {
			return slices.DeleteFunc(all, func(c config.Mount) bool {
				found = found || c.Dir == dir
				return c.Dir == dir
			})
		})
		if err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("no pod is mounted on %s: %w", dir, fs.ErrNotExist)
	}
	return nil
}

// giveUp has a mount that could not be made not be tried again, and says whether it was to be.
func (r *running) giveUp(dir string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.failed[dir]
	delete(r.failed, dir)
	return ok
}

// take removes a mount, named as it was made or by its full path, from the list; nil if it isn't there.
func (r *running) take(dir string) *mounted {
	r.mu.Lock()
	defer r.mu.Unlock()
	for full, x := range r.mounts {
		if full == dir || x.asked == dir {
			delete(r.mounts, full)
			return x
		}
	}
	return nil
}

// unmount takes a mount away that is no longer in the list.
func (r *running) unmount(ctx context.Context, x *mounted) error {
	if err := x.m.Unmount(ctx); err != nil {
		return fmt.Errorf("unmount %s: %w", x.m.Dir(), err)
	}
	<-x.gone
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.record()
}

// unmountAll takes all mounts of the pod away, at once.
func (r *running) unmountAll(ctx context.Context) error {
	r.mu.Lock()
	all := make([]*mounted, 0, len(r.mounts))
	for dir, x := range r.mounts {
		all = append(all, x)
		delete(r.mounts, dir)
	}
	r.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, x := range all {
		wg.Go(func() { errs[i] = r.unmount(ctx, x) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Mounts are all mounts of this machine's pods, and those that are saved and not mounted.
func (m *machine) Mounts() []api.Mount {
	out := []api.Mount{}
	for _, r := range m.all() {
		r.mu.Lock()
		for _, x := range r.mounts {
			saved := slices.ContainsFunc(r.now.Mounts, func(c config.Mount) bool { return c.Dir == x.asked })
			out = append(out, api.Mount{Dir: api.Text(x.m.Dir()), Options: append([]string{}, x.options...), Pod: r.name, Save: saved})
		}
		r.mu.Unlock()
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Dir < out[j].Dir })
	return out
}
