package pod

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// stage cuts what was written and queues the file's contents to be named at the next barrier.
func (p *Pod) stage(ctx context.Context, n *node) error {
	return p.locked(ctx, n, func(h here) error { return p.tryStageLocked(ctx, h, n) })
}

// stageSoon is stage for goroutines that have other files to see to: it waits for no other pod. Error: missing, if it is to be
// tried again a little later.
func (p *Pod) stageSoon(ctx context.Context, n *node) error {
	return n.lockedHere(ctx, func() error { return p.tryStageLocked(ctx, here{p: p}, n) })
}

func (p *Pod) tryStageLocked(ctx context.Context, h here, n *node) error {
	if !n.dirty || n.orphan {
		return nil
	}
	if err := p.cutLocked(ctx, h, n, true); err != nil {
		return err
	}
	p.stageLocked(n)
	return nil
}

// stageLocked queues what was cut, whose blocks are put.
func (p *Pod) stageLocked(n *node) {
	if n.staged == nil {
		p.nodes.mu.Lock()
		n.refs++ // until it is named
		p.nodes.mu.Unlock()
	}
	n.staged = &content{body: n.body, size: n.attr.Size, mtime: n.attr.Mtime, gen: n.log.gen}
	n.fresh, n.dirty = unlogged{keep: n.attr.Size}, false
	p.barrier.add(n, n.staged)
}

// makeAgain makes a file that another pod removed while it was written here: an edit wins over a deletion. Where its
// folder is gone too it is made in the root, and where another file has its name, beside that.
func (p *Pod) makeAgain(n *node, c state.NewContent) (state.Node, error) {
	parent, name, err := vfs.ResolveParent(context.Background(), p.self, n.path)
	if err != nil {
		parent, name = vfs.RootID, path.Base(n.path)
	}
	if n.path == "" {
		name = fmt.Sprintf("recovered-%d", n.id)
	}
	c.Over = nil
	made := vfs.NewNode{Kind: vfs.KindFile, Mode: n.attr.Mode, UID: n.attr.UID, GID: n.attr.GID}
	row, err := p.createAgain(n, parent, name, made, &c)
	if errors.Is(err, vfs.ErrExist) {
		row, err = p.createAgain(n, parent, fmt.Sprintf("%.200s.recovered-%d", name, n.id), made, &c)
	}
	return row, err
}

// createAgain makes a file that a node is of. Nobody finds the file before it is the node's: else it had a second one, and each would take back what is written to the other.
func (p *Pod) createAgain(n *node, parent vfs.NodeID, name string, made vfs.NewNode, c *state.NewContent) (state.Node, error) {
	p.nodes.mu.Lock()
	defer p.nodes.mu.Unlock()
	row, err := p.db.Create(parent, name, made, state.CreateOptions{Content: c})
	if err == nil {
		n.row = row.ID
		p.nodes.rekey(n, row.ID)
	}
	return row, err
}

// name gives contents that were staged to the state. The caller has synced the store since they were staged. Where newer ones were staged meanwhile these are
// named all the same: somebody may have been promised them, and the newer ones follow.
func (p *Pod) name(n *node, c *content) error {
	p.unlinking.RLock()
	defer p.unlinking.RUnlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.staged == nil {
		return nil // its last name is gone
	}
	newest := n.staged == c
	var enc []byte
	if c.size > 0 {
		enc = c.body.Encode()
	}
	next := state.NewContent{
		Size: c.size, Mtime: c.mtime, Body: enc, Over: &n.base,
		Folded: state.JournalMark{Ino: n.row, Gen: c.gen}, Origin: c.origin,
	}
	row, err := p.db.SetContent(n.row, next)
	if errors.Is(err, vfs.ErrNotExist) {
		row, err = p.makeAgain(n, next)
	}
	if errors.Is(err, vfs.ErrReadOnly) {
		p.dropStagedLocked(n)
	}
	if err != nil {
		return fmt.Errorf("pod: file %d: name its contents: %w", n.id, err)
	}
	p.nowLocked(n, row.ID)
	n.base, n.copy, n.lost = state.ContentName{}, false, false
	p.nodes.named.Add(1)
	p.named.add(c.body)
	if !newest {
		return nil
	}
	if !n.dirty {
		n.attr = row.Attr
	}
	n.staged = nil
	p.unlogLocked(n) // nothing is logged while contents are staged
	p.release(n)
	return nil
}

// errLost says that what was written before can't be made durable any more.
var errLost = fmt.Errorf("what was written is lost, since this pod may not write any more: %w", vfs.ErrReadOnly)

// dropStagedLocked drops contents that can't be named any more, since the pod may not write: whoever has them made durable is told, from now on. n.mu is held.
func (p *Pod) dropStagedLocked(n *node) {
	p.log.Warn("what was written to a file is dropped, since this pod may not write any more", "file", n.id)
	n.staged, n.lost = nil, true
	if row, err := p.db.Get(n.row); err == nil && !n.dirty {
		n.attr = row.Attr
	}
	p.unlogLocked(n)
	p.release(n)
}

// lostErr is errLost if contents were dropped, and none have been named since: who waited for them may have come after the pass that did it.
func (n *node) lostErr() error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.lost {
		return fmt.Errorf("pod: file %d: %w", n.id, errLost)
	}
	return nil
}
