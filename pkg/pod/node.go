package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Memory for bytes that were written and not cut into chunks yet.
const (
	// nodeDirtyMax is what one file may hold: what is being cut, and twice as much that waits for it.
	nodeDirtyMax = 24 << 20
	// allDirtyMax is what all files together may hold; a writer over it waits for its own file's bytes to be cut, or cuts them.
	allDirtyMax = 64 << 20
)

// A node is a file that is open, or whose newest contents the state does not name yet. All opens of a
// file share one.
//
// A content goes through these steps: written (in ext; in the journal too once it is synced), cut (in body, its chunks put), staged (to be named
// at the next barrier), named (in the state, after the store's sync). Until it is named, what users
// see of the file's size, times and bytes is what stands here.
//
// Lock order: nodes.mu is never held while a node's mu is waited for.
type node struct {
	id    vfs.NodeID
	refs  int        // opens and other uses; guarded by nodes.mu
	opens int        // of them, files that are open; guarded by nodes.mu
	key   vfs.NodeID // where it is in nodes.byID, beside id; guarded by nodes.mu

	writer atomic.Pointer[view] // the surface that wrote to it last, until the others were told; nil: none

	mu       sync.RWMutex // guards the fields below
	loaded   bool
	row      vfs.NodeID        // its number in the state
	path     string            // where it was when it was first written here; "": not known
	attr     vfs.Attr          // as users see it but for what the state tells better
	body     dag.Body          // what was cut
	base     state.ContentName // what the contents are an edit of; zero: this pod's own last
	ext      extents           // over body
	uncut    bool              // ext could not be cut behind the writer: the next write has to
	cutting  chan struct{}     // not nil: the file is being cut behind its writer; closed when that has got on
	waiting  int               // how many wait for it
	dirty    bool              // ext, size or mtime differ from what was staged last
	staged   *content          // waits to be named
	fresh    unlogged          // what the journal doesn't have yet
	log      logged            // what it has
	copy     bool              // a conflict copy, which becomes a file of its own when its contents are named
	orphan   bool              // no name is left: the state has forgotten it
	quotas   []quota           // as of quotasAt
	quotasAt time.Time         // see nodeQuotas
	lost     bool              // contents were dropped, and none have been named since
}

// content is what a file is to hold.
type content struct {
	body  dag.Body
	size  uint64
	mtime int64
	gen   uint64 // of the last journal record that is folded in; 0: none

	origin []byte // state.NewContent.Origin
}

// nodes are the nodes in use.
type nodes struct {
	named atomic.Uint64 // how many contents were given to the state

	mu     sync.Mutex // guards the fields below
	byID   map[vfs.NodeID]*node
	copies map[*node]bool // of them, those that were conflict copies when they came into use
	logged map[*node]bool // nodes with journal records
	kept   map[*keptFile]bool
}

// find is the node of a number, or nil; mu is held. One that came into use as a conflict copy, and is a file of its own now, has that file's number.
func (s *nodes) find(db *state.DB, id vfs.NodeID) *node {
	id = db.Number(id)
	if n := s.byID[id]; n != nil {
		return n
	}
	for n := range s.copies {
		if db.Number(n.id) == id {
			s.rekey(n, id)
			return n
		}
	}
	return nil
}

// rekey has a node found by the number that its file has now, too; mu is held. That of a conflict copy may come to be another node's.
func (s *nodes) rekey(n *node, id vfs.NodeID) {
	if state.IsDerived(n.key) {
		s.drop(n, n.key)
	}
	if s.byID[id] == nil {
		s.byID[id] = n
	}
	if n.key = id; !state.IsDerived(id) {
		delete(s.copies, n)
	}
}

// drop forgets that a node has a number; mu is held.
func (s *nodes) drop(n *node, id vfs.NodeID) {
	if s.byID[id] == n {
		delete(s.byID, id)
	}
}

// nowLocked notes the number that a node's file has in the state: another, if it was a conflict copy or was made again.
func (p *Pod) nowLocked(n *node, id vfs.NodeID) {
	if n.row == id {
		return
	}
	n.row = id
	p.nodes.mu.Lock()
	defer p.nodes.mu.Unlock()
	p.nodes.rekey(n, id)
}

// use returns the node of an id, loaded from the state, and counts a use; release ends it.
func (p *Pod) use(id vfs.NodeID) (*node, error) {
	p.nodes.mu.Lock()
	n := p.nodes.find(p.db, id)
	if n == nil {
		id = p.db.Number(id)
		n = &node{id: id, row: id, key: id}
		p.nodes.byID[id] = n
		if state.IsDerived(id) {
			p.nodes.copies[n] = true
		}
	}
	n.refs++
	p.nodes.mu.Unlock()

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.loaded && (n.changed() || n.orphan) {
		return n, nil
	}
	// Also what is loaded: another pod may have given the file new contents, of which runWatch is still to hear.
	if err := p.loadLocked(n); err != nil && !n.loaded {
		p.release(n)
		return nil, err
	}
	return n, nil
}

// loadLocked reads from the state what a node holds.
func (p *Pod) loadLocked(n *node) error {
	row, err := p.db.Get(n.row)
	if err != nil {
		return err
	}
	body, err := decodeBody(row.Body)
	if err != nil {
		return fmt.Errorf("pod: file %d: %w", n.id, err)
	}
	p.nowLocked(n, row.ID)
	n.attr, n.body, n.base, n.copy, n.loaded = row.Attr, body, row.Content, row.Copy, true
	n.fresh = unlogged{keep: row.Size}
	return nil
}

func decodeBody(b []byte) (dag.Body, error) {
	if len(b) == 0 {
		return dag.Body{}, nil
	}
	return dag.DecodeBody(b)
}

// release ends a use; a node that nobody uses and that holds nothing of its own is forgotten.
func (p *Pod) release(n *node) {
	p.nodes.mu.Lock()
	defer p.nodes.mu.Unlock()
	if n.refs--; n.refs == 0 {
		p.nodes.drop(n, n.id)
		p.nodes.drop(n, n.key)
		delete(p.nodes.copies, n)
		p.dirtyBytes.Add(-n.ext.bytes) // bytes are left only of an orphan, or after a failure that was told
	}
}

// noteLocked remembers where a file is that begins to be written, for makeAgain.
func (p *Pod) noteLocked(n *node) {
	if n.path != "" || n.orphan {
		return
	}
	if where, err := p.db.Path(n.row); err == nil {
		n.path = where
	}
}

// kind is what the node is.
func (n *node) kind() vfs.Kind {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.attr.Kind
}

// inUse returns the node of an id if it is in use, and counts a use; else nil.
func (p *Pod) inUse(id vfs.NodeID) *node {
	p.nodes.mu.Lock()
	defer p.nodes.mu.Unlock()
	n := p.nodes.find(p.db, id)
	if n != nil {
		n.refs++
	}
	return n
}

// changed says whether the node knows better than the state what its file holds.
func (n *node) changed() bool { return n.dirty || n.staged != nil }

// show puts into a what the node knows better than the state.
func (n *node) show(a *vfs.Attr) {
	if !n.loaded {
		return
	}
	if n.orphan {
		*a = n.attr
		a.NLink = 0
		return
	}
	if n.changed() {
		a.Size, a.Blocks, a.Mtime = n.attr.Size, n.attr.Blocks, n.attr.Mtime
		a.Ctime = max(a.Ctime, n.attr.Ctime)
	}
}

// refresh takes over contents that another pod or surface gave to the file, unless it is being written here.
func (p *Pod) refresh(id vfs.NodeID) {
	n := p.inUse(id)
	if n == nil {
		return
	}
	defer p.release(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.loaded || n.changed() || n.orphan {
		return
	}
	if err := p.loadLocked(n); err != nil && !errors.Is(err, vfs.ErrNotExist) {
		p.log.Warn("an open file's new contents can't be read", "node", id, "err", err)
	}
}

// refreshAll takes over new contents of every open file.
func (p *Pod) refreshAll() {
	p.nodes.mu.Lock()
	var ids []vfs.NodeID
	for id := range p.nodes.byID {
		ids = append(ids, id)
	}
	p.nodes.mu.Unlock()
	for _, id := range ids {
		p.refresh(id)
	}
}

// orphaned keeps alive an open file whose last name is gone; last is what the state knew of it.
func (p *Pod) orphaned(last state.Node) {
	n := p.inUse(last.ID)
	if n == nil {
		return
	}
	defer p.release(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.loaded || n.orphan {
		return
	}
	a := last.Attr
	n.show(&a)
	n.attr, n.orphan = a, true
	if n.staged != nil {
		n.staged = nil
		p.release(n) // the use that stage counted
	}
	p.unlogLocked(n) // the removal deleted the records
}

// writeLocked puts data at off.
func (p *Pod) writeLocked(ctx context.Context, h here, n *node, data []byte, off int64) error {
	end := off + int64(len(data))
	if off < 0 || end < off || end > vfs.FileMax {
		return fmt.Errorf("pod: write %d bytes at %d: %w", len(data), off, vfs.ErrTooLarge)
	}
	p.noteLocked(n)
	if full, over := p.fullLocked(n); full || n.uncut {
		// They could not be cut before: nothing more is taken into memory as long as that is so.
		if err := p.cutLocked(ctx, h, n, over || n.uncut); err != nil {
			return err
		}
	}
	p.changeLocked(n, func(x *extents) { x.write(off, data) })
	n.fresh.wrote(off, end)
	n.attr.Size = max(n.attr.Size, uint64(end))
	p.touchLocked(n)
	p.handOverLocked(n)
	if full, over := p.fullLocked(n); full && n.cutting == nil {
		return p.cutLocked(ctx, h, n, over)
	}
	return nil
}

// fullLocked says whether the file's bytes must be cut before more are taken into memory; over: because of those of all files.
func (p *Pod) fullLocked(n *node) (full, over bool) {
	over = n.ext.bytes > 0 && p.dirtyBytes.Load() > allDirtyMax
	return over || n.ext.bytes >= nodeDirtyMax, over
}

func blocksOf(size uint64) uint64 { return (size + 511) / 512 }

// allocated is how many bytes of a body are no hole, as far as the body says without its tree.
func allocated(b *dag.Body) uint64 {
	if b.Entries == nil {
		return b.Size
	}
	var n uint64
	for _, e := range b.Entries {
		if !e.IsHole() {
			n += e.Len
		}
	}
	return n
}

// blocks is what stat tells of a file that is being written, in units of 512 bytes.
func (n *node) blocks() uint64 {
	return blocksOf(min(allocated(&n.body)+uint64(n.ext.bytes), n.attr.Size))
}

// showBlocks puts into a row's attributes what its body takes.
func showBlocks(row *state.Node) {
	if row.Kind != vfs.KindFile || row.Size <= dag.InlineMax {
		return
	}
	if body, err := decodeBody(row.Body); err == nil {
		row.Blocks = blocksOf(allocated(&body))
	}
}

// truncateLocked makes the file size bytes long; what is added is a hole.
func (p *Pod) truncateLocked(ctx context.Context, h here, n *node, size uint64) error {
	if size > vfs.FileMax {
		return fmt.Errorf("pod: truncate to %d bytes: %w", size, vfs.ErrTooLarge)
	}
	p.noteLocked(n)
	body := n.body
	if size < body.Size {
		var err error
		if body, err = h.resize(ctx, body, size); err != nil {
			return err
		}
		// A replay must not need blocks that may not be durable, or not be here.
		n.fresh.beyond = n.fresh.beyond || !n.body.Tree.IsZero()
	}
	n.body = body
	p.changeLocked(n, func(x *extents) { x.truncate(int64(size)) })
	n.fresh.resized(size)
	n.attr.Size = size
	p.touchLocked(n)
	return nil
}

// bump moves the ctime of contents that the state does not name yet on: an attribute or a name of the file changed.
func (p *Pod) bump(id vfs.NodeID) {
	n := p.inUse(id)
	if n == nil {
		return
	}
	defer p.release(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.loaded && (n.changed() || n.orphan) {
		n.attr.Ctime = p.db.Tick()
	}
}

// setMtimeLocked sets the mtime of contents that the state does not name yet.
func (n *node) setMtimeLocked(mtime int64) {
	n.attr.Mtime, n.fresh.some = mtime, true
	if n.staged != nil && !n.dirty {
		n.staged.mtime = mtime
	}
}
