//go:build linux || darwin

package mountfs

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"

	"github.com/jacobsa/fuse"
	"github.com/jacobsa/fuse/fuseops"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// known is what the kernel knows: the nodes that it was told of and has not forgotten. It is safe for
// concurrent use.
type known struct {
	mu    sync.Mutex
	nodes map[vfs.NodeID]*knownNode
}

type knownNode struct {
	lookups uint64    // that the kernel will take back by Forget
	shown   uint64    // the mark of the attributes that the kernel was told last
	place   *nodeName // with Writeback: one where the kernel found it last
	content version   // that the kernel's pages are of, as of the last open
}

// nodeName is a name in a folder.
type nodeName struct {
	parent vfs.NodeID
	name   string
}

// version tells contents of one file apart.
type version struct {
	mtime, ctime int64
	size         uint64
}

func versionOf(a vfs.Attr) version { return version{a.Mtime, a.Ctime, a.Size} }

// mark tells versions apart in less memory. Two that have one mark, by chance, cost no more than an invalidation that comes a little later.
func (v version) mark() uint64 {
	const odd = 0x9e3779b97f4a7c15 // spreads bits (Knuth, multiplicative hashing)
	return (uint64(v.mtime)*odd^uint64(v.ctime))*odd ^ v.size
}

// told counts that the kernel is told of a node.
func (k *known) told(a vfs.Attr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[a.ID]
	if n == nil {
		n = &knownNode{}
		k.nodes[a.ID] = n
	}
	n.lookups++
	n.shown = versionOf(a).mark()
}

// show notes attributes that the kernel is told.
func (k *known) show(a vfs.Attr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.nodes[a.ID]; n != nil {
		n.shown = versionOf(a).mark()
	}
}

// named notes a place of a node, which it needs to be forgotten by: a kernel that gathers writes keeps to the size that it knows as long as it knows the node.
func (s *server) named(id, parent vfs.NodeID, name string) {
	if !s.writeback {
		return
	}
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	if n := s.known.nodes[id]; n != nil {
		n.place = &nodeName{parent, name}
	}
}

// place is what named noted.
func (k *known) place(id vfs.NodeID) (parent vfs.NodeID, name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.nodes[id]; n != nil && n.place != nil {
		return n.place.parent, n.place.name
	}
	return 0, ""
}

// forget takes back count tellings.
func (k *known) forget(id vfs.NodeID, count uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[id]
	if n == nil {
		return
	}
	if n.lookups -= min(count, n.lookups); n.lookups == 0 {
		delete(k.nodes, id)
	}
}

func (k *known) has(id vfs.NodeID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return id == vfs.RootID || k.nodes[id] != nil
}

// all is the numbers of all nodes that are known, in order.
func (k *known) all() []vfs.NodeID {
	k.mu.Lock()
	defer k.mu.Unlock()
	ids := []vfs.NodeID{vfs.RootID}
	for id := range k.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// opened notes the version of a file that is opened, and tells whether pages and attributes that the kernel may have are
// of this version. Where all changes made elsewhere were told, pages are, whatever the version: the others went through the kernel, which has written its pages, too.
func (k *known) opened(a vfs.Attr, untold bool) (pages, attributes bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, v := k.nodes[a.ID], versionOf(a)
	if n == nil {
		return false, false
	}
	pages, attributes = n.content == v || n.content != version{} && !untold, n.shown == v.mark()
	n.content = v
	return pages, attributes
}

// watch takes out of the kernel's caches what is changed elsewhere, until ctx ends. It runs in a goroutine
// of its own: the kernel holds locks during an operation for which an invalidation, from within the
// operation's handler, would wait for ever.
func (s *server) watch(ctx context.Context, w vfs.Watcher) {
	late := lateNodes{kick: make(chan struct{}, 1)}
	var waiting sync.WaitGroup
	waiting.Go(func() { s.watchLate(ctx, &late) })
	defer waiting.Wait()
	err := w.Watch(ctx, func(changes []vfs.Change) {
		s.told.Add(1)
		if len(changes) == 0 {
			s.invalidateAll(ctx)
		}
		folders := make(map[vfs.NodeID]bool)
		for _, c := range changes {
			if ctx.Err() != nil {
				return
			}
			if !s.invalidate(c) {
				late.add(c.Node)
			}
			folders[c.Parent] = true
		}
		for id := range folders { // their lists: a name that the kernel did not know may be new there
			s.invalidate(vfs.Change{Node: id})
		}
	})
	if ctx.Err() == nil {
		s.log.WarnContext(ctx, "mount hears of no changes any more", "error", err)
		s.deaf.Store(true)
		s.invalidateAll(ctx)
	}
}

// invalidate takes a change out of the caches; false: the kernel does not know the node, or not yet. The answer that tells it of the node may be on its way.
func (s *server) invalidate(c vfs.Change) bool {
	if c.Parent != 0 && s.known.has(c.Parent) {
		s.logInvalidation(s.notifier.InvalidateEntry(fuseops.InodeID(c.Parent), c.Name))
	}
	if c.Node != 0 && s.known.has(c.Node) {
		if parent, name := s.known.place(c.Node); parent != 0 {
			s.logInvalidation(s.notifier.InvalidateEntry(fuseops.InodeID(parent), name))
		}
		err := s.notifier.InvalidateInode(fuseops.InodeID(c.Node), 0, 0)
		s.logInvalidation(err)
		return !errors.Is(err, fuse.ENOENT)
	}
	return c.Node == 0
}

// invalidateAll takes out all names, and attributes and pages of all nodes. A kernel that has no call for all names forgets them by itself, after
// cacheTimeShort.
func (s *server) invalidateAll(ctx context.Context) {
	if f := s.memory.Load(); f != nil {
		s.logInvalidation(f.names())
	}
	for _, id := range s.known.all() {
		if ctx.Err() != nil {
			return
		}
		s.invalidate(vfs.Change{Node: id})
	}
}

// lateNodes are nodes that were changed elsewhere and that the kernel did not know then.
type lateNodes struct {
	kick chan struct{} // capacity 1

	mu  sync.Mutex // guards the fields below
	ids map[vfs.NodeID]bool
	all bool // too many
}

func (l *lateNodes) add(id vfs.NodeID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.all:
		return
	case len(l.ids) == lateMax:
		l.ids, l.all = nil, true
	case l.ids == nil:
		l.ids = map[vfs.NodeID]bool{id: true}
	default:
		l.ids[id] = true
	}
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

func (l *lateNodes) take() (ids map[vfs.NodeID]bool, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids, all = l.ids, l.all
	l.ids, l.all = nil, false
	return ids, all
}

// watchLate takes out of the kernel's caches, a while after the change, what the kernel learned of when the change had just been told.
func (s *server) watchLate(ctx context.Context, l *lateNodes) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.kick:
		}
		if clock.Sleep(ctx, s.clock, lateTime) != nil {
			return
		}
		ids, all := l.take()
		if all {
			s.invalidateAll(ctx)
		}
		for id := range ids {
			s.invalidate(vfs.Change{Node: id})
		}
	}
}

// logInvalidation logs what is neither "not in the cache" nor "no longer mounted".
func (s *server) logInvalidation(err error) {
	switch {
	case err == nil, errors.Is(err, fuse.ENOENT), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENOTCONN):
	default:
		s.log.Warn("kernel cache could not be invalidated", "error", err)
	}
}
