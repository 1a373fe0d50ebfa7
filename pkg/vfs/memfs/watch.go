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
	telling bool          // as well: what was pending is being told
}

// Watch tells of changes made through other surfaces of the tree, until ctx ends, whose error it returns.
func (f *FS) Watch(ctx context.Context, tell func([]vfs.Change)) error {
	w := &watcher{view: f.view, wake: make(chan struct{}, 1), telling: true}
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
		f.t.told(w)
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

// told notes that what was taken was told.
func (t *tree) told(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.telling = false
}

// take is what a watcher is to be told; empty if anything may have changed.
func (t *tree) take(w *watcher) []vfs.Change {
	t.mu.Lock()
	defer t.mu.Unlock()
	changes := w.pending
	if w.lost {
		changes = nil
	}
	w.pending, w.lost, w.telling = nil, false, true
	return changes
}

// Untold is vfs.Watcher's. Nobody who does not watch is told.
func (f *FS) Untold(vfs.NodeID) bool {
	f.t.mu.RLock()
	defer f.t.mu.RUnlock()
	for w := range f.t.watchers {
		if w.view == f.view {
			return w.telling || w.lost || len(w.pending) > 0
		}
	}
	return true
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
