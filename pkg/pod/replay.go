package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// replay makes nodes of the journal records that a crash, or an end before they were folded, has left: files as they were at their last
// fsync. They are read as they are, and runFold stages them; nothing is written before. A record that can't be used is told
// and left where it is.
func (p *Pod) replay(ctx context.Context) error {
	err := p.db.Journaled(func(ino vfs.NodeID, gen uint64, r *state.JournalRecord, err error) error {
		if errors.Is(err, block.ErrCorrupt) {
			p.log.ErrorContext(ctx, "a journal record is damaged: bytes that were synced may be lost", "err", err)
			return nil
		}
		if err == nil {
			err = p.replayRecord(ctx, ino, gen, r)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("pod: replay the journal: %w", err)
	}
	return nil
}

// replayRecord puts one record over what is known of its file.
func (p *Pod) replayRecord(ctx context.Context, ino vfs.NodeID, gen uint64, r *state.JournalRecord) error {
	n := p.nodes.byID[ino] // nothing runs yet
	if r.Base != nil {
		var err error
		if n, err = p.replayBase(ino, r.Base); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.ext.bytes
	if r.Keep < n.attr.Size {
		n.ext.truncate(int64(r.Keep))
		if r.Keep < n.body.Size {
			body, err := here{p: p}.resize(ctx, n.body, r.Keep)
			if err != nil {
				return err
			}
			n.body = body
		}
	}
	for _, w := range r.Writes {
		n.ext.write(int64(w.Off), w.Data)
	}
	p.dirtyBytes.Add(n.ext.bytes - before)
	n.attr.Size, n.attr.Mtime = r.Size, r.Mtime
	n.attr.Blocks = n.blocks()
	n.fresh = unlogged{keep: r.Size}
	n.log.gen, n.log.records, n.log.bytes = gen, n.log.records+1, n.log.bytes+int64(r.Len())
	return nil
}

// replayBase makes the node of a file that has journal records, as it was before them. If another pod has removed the file it is made again
// when its contents are named.
func (p *Pod) replayBase(ino vfs.NodeID, base *state.JournalBase) (*node, error) {
	body, err := decodeBody(base.Body)
	if err != nil {
		return nil, err
	}
	n := &node{id: ino, row: ino, key: ino, loaded: true, path: base.Path, base: base.Content, body: body, dirty: true}
	row, err := p.db.Get(ino)
	switch {
	case err == nil:
		n.attr = row.Attr
	case errors.Is(err, vfs.ErrNotExist):
		n.attr = vfs.Attr{ID: ino, Kind: vfs.KindFile, Mode: base.Mode, UID: base.UID, GID: base.GID, NLink: 1, Ctime: p.db.Tick()}
	default:
		return nil, err
	}
	n.attr.Size = body.Size
	n.log.base = body
	p.nodes.byID[ino] = n
	p.nodes.keepLogged(n)
	return n, nil
}
