package memfs

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// pendingMax is how many changes wait for a watcher; more become "anything may have changed".
const pendingMax = 4096

// watcher is one Watch that runs.
type watcher struct {
	view    int
	wake    chan struct{} // holds one token while there is something to tell
	pending []vfs.Change  // guarded by the tree's mu
	lost    bool          // as well: pending overflowed
}

// Watch tells of changes made through other surfaces of the tree, until ctx ends, whose error it returns.
func (f *FS) Watch(ctx context.Context, tell func([]vfs.Change)) error {
	w := &watcher{view: f.view, wake: make(chan struct{}, 1)}
	if err := f.lock(ctx); err != nil {
		return err
	}
	f.t.watchers[w] = struct{}{}
	f.t.mu.Unlock()
	defer func() {
		f.t.mu.Lock()
		defer f.t.mu.Unlock()
		delete(f.t.watchers, w)
	}()
	tell(nil)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
			tell(f.t.take(w))
		}
	}
}

// Watched is true: changes of all nodes are told.
func (f *FS) Watched(vfs.NodeID) bool { return true }

// take is what a watcher is to be told; empty if anything may have changed.
func (t *tree) take(w *watcher) []vfs.Change {
	t.mu.Lock()
	defer t.mu.Unlock()
	changes := w.pending
	if w.lost {
		changes = nil
	}
	w.pending, w.lost = nil, false
	return changes
}

// tell queues changes for the watchers of other surfaces. mu held for writing.
func (f *FS) tell(changes ...vfs.Change) {
	for w := range f.t.watchers {
		if w.view == f.view {
			continue
		}
		if len(w.pending)+len(changes) > pendingMax {
			w.pending, w.lost = nil, true
		} else {
			w.pending = append(w.pending, changes...)
		}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}
