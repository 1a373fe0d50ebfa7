package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// How long the daemon waits until it tries again to make the mounts that could not be made: at first, and at most.
const (
	remountFirst = time.Second
	remountMax   = time.Minute
)

// isLasting says whether a mount that failed so needs its user: trying again is in vain, and the daemon says so at its start by ending.
// Everything else, such as FUSE that is missing, is no reason to keep from other pods what this machine holds.
func isLasting(err error) bool {
	for _, e := range []error{vfs.ErrNotEmpty, vfs.ErrNotDir, api.ErrConflict, api.ErrUsage, api.ErrStopping} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// mountSaved makes the mounts that a pod's file lists. Those that can't be made are kept to be tried again; the error is of all of them.
func (m *machine) mountSaved(ctx context.Context, r *running) error {
	var errs []error
	for _, c := range r.cfg.Mounts {
		if err := m.mount(ctx, r, c.Dir, c.Options); err != nil {
			r.fail(c.Dir, err)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// fail notes why a mount could not be made.
func (r *running) fail(dir string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed[dir] = err
}

// mountAll makes the mounts of all pods. The error is of one that needs its user.
func (m *machine) mountAll(ctx context.Context) error {
	for _, r := range m.all() {
		err := m.mountSaved(ctx, r)
		if err != nil && isLasting(err) {
			return err
		}
		if err != nil {
			m.o.Log.ErrorContext(ctx, "a mount could not be made, and is tried again", "pod", r.name, "error", err)
			m.o.Say(fmt.Sprintf("pod %s serves, but is not mounted, which is tried again: %v", r.name, err))
		}
	}
	return nil
}

// remount tries again and again to make the mounts that could not be made, until ctx ends.
func (m *machine) remount(ctx context.Context) {
	for wait := remountFirst; clock.Sleep(ctx, m.o.Clock, wait) == nil; wait = min(2*wait, remountMax) {
		left := 0
		for _, r := range m.all() {
			left += m.remountOf(ctx, r)
		}
		if left == 0 {
			wait = remountFirst / 2 // what fails from here on is new
		}
	}
}

// remountOf tries the mounts of one pod, and returns how many still can't be made.
func (m *machine) remountOf(ctx context.Context, r *running) int {
	left := 0
	for _, c := range r.toMount() {
		err := m.mount(ctx, r, c.Dir, c.Options)
		if err != nil {
			r.fail(c.Dir, err)
			left++
			continue
		}
		m.o.Log.InfoContext(ctx, "a mount that could not be made is made", "pod", r.name, "dir", c.Dir)
	}
	return left
}

// toMount are the mounts that could not be made and are still wanted.
func (r *running) toMount() []config.Mount {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []config.Mount
	for dir := range r.failed {
		i := slices.IndexFunc(r.now.Mounts, func(c config.Mount) bool { return c.Dir == dir })
		if i < 0 {
			delete(r.failed, dir)
			continue
		}
		out = append(out, r.now.Mounts[i])
	}
	return out
}

// failures is how many mounts of all pods could not be made.
func (m *machine) failures() int {
	n := 0
	for _, r := range m.all() {
		r.mu.Lock()
		n += len(r.failed)
		r.mu.Unlock()
	}
	return n
}
