package pod

import (
	"context"
	"slices"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Watch is vfs.Watcher's.
func (v *view) Watch(ctx context.Context, f func([]vfs.Change)) error {
	w := v.watches.add(v, true)
	w.tell(f)
	return v.watches.serve(ctx, w, f)
}

// Watched is true: changes of all inodes are told.
func (v *view) Watched(vfs.NodeID) bool { return true }

// Untold is vfs.Watcher's. A file with two numbers is changed by either, and who has it by the other is told when it is flushed.
func (v *view) Untold(id vfs.NodeID) bool {
	return v.p.db.Telling() || v.p.hears.untold() || v.watches.untoldOf(v) || v.p.renumbered(vfs.Change{Node: id}) || v.writtenElsewhere(id)
}

// writtenElsewhere says whether another surface is writing to a file, of which this one is told when that is flushed or synced.
func (v *view) writtenElsewhere(id vfs.NodeID) bool {
	n := v.p.inUse(id)
	if n == nil {
		return false
	}
	defer v.p.release(n)
	w := n.writer.Load()
	return w != nil && w != v
}

// watchPending is how many changes wait for a slow watcher before they are replaced by "anything".
const watchPending = 4096

// watchers are the surfaces that want to know of changes.
type watchers struct {
	mu   sync.Mutex
	list []*watcher
}

type watcher struct {
	origin *view
	kick   chan struct{} // capacity 1

	mu      sync.Mutex // guards the fields below
	changes []vfs.Change
	all     bool // too many: anything may have changed
	telling bool // what was queued is being told
}

// tell queues changes for every watcher but those of the view that made them. nil: anything may have changed.
func (w *watchers) tell(origin *view, changes []vfs.Change) {
	w.mu.Lock()
	list := w.list
	w.mu.Unlock()
	for _, to := range list {
		if to.origin == origin {
			continue
		}
		to.mu.Lock()
		switch {
		case to.all:
		case changes == nil:
			to.changes, to.all = nil, true
		case len(to.changes)+len(changes) > watchPending:
			to.changes, to.all = nil, true
		default:
			to.changes = append(to.changes, changes...)
		}
		to.mu.Unlock()
		select {
		case to.kick <- struct{}{}:
		default:
		}
	}
}

// add begins to queue changes, but those of a view; all: that anything may have changed is told first.
func (w *watchers) add(origin *view, all bool) *watcher {
	mine := &watcher{origin: origin, kick: make(chan struct{}, 1), all: all}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(append([]*watcher(nil), w.list...), mine)
	return mine
}

// serve calls f with what is queued, until ctx ends.
func (w *watchers) serve(ctx context.Context, mine *watcher, f func([]vfs.Change)) error {
	defer w.remove(mine)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-mine.kick:
		}
		mine.tell(f)
	}
}

// tell calls f with what is queued.
func (w *watcher) tell(f func([]vfs.Change)) {
	w.mu.Lock()
	changes, all := w.changes, w.all
	w.changes, w.all, w.telling = nil, false, true
	w.mu.Unlock()
	if all {
		f(nil)
	} else if len(changes) > 0 {
		f(changes)
	}
	w.mu.Lock()
	w.telling = false
	w.mu.Unlock()
}

// untold says whether a change waits for this one, or is being told.
func (w *watcher) untold() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.telling || w.all || len(w.changes) > 0
}

// untoldOf is untold of who watches for a view; true where nobody does.
func (w *watchers) untoldOf(v *view) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.list, func(x *watcher) bool { return x.origin == v })
	return i < 0 || w.list[i].untold()
}

func (w *watchers) remove(gone *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*watcher
	for _, x := range w.list {
		if x != gone {
			list = append(list, x)
		}
	}
	w.list = list
}
