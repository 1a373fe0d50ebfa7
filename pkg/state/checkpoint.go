package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// checkpointState is the newest checkpoint, as ownCheckpoint keeps it.
type checkpointState struct {
	CheckpointInfo

	rows block.ID // the root of the tree of rows; zero: none
}

// encode writes [state, tree, rows, vv, seq].
func (s *checkpointState) encode() []byte {
	b := cbor.AppendArray(nil, 5)
	b = appendLink(appendLink(appendLink(b, s.State), s.Tree), s.rows)
	return cbor.AppendUint(s.VV.Append(b), s.Seq)
}

func (d *DB) loadCheckpoint() (err error) {
	d.checkpoint, err = view{d: d, r: d.db}.lastCheckpoint()
	return err
}

// lastCheckpoint is the newest checkpoint as it is stored, zero if there is none.
func (v view) lastCheckpoint() (s checkpointState, err error) {
	b, err := get(v.r, textKey(keyOwn, ownCheckpoint))
	if err != nil || b == nil {
		return s, err
	}
	r := cbor.NewReader(b)
	r.Tuple(5)
	s.State, s.Tree, s.rows = readLink(r), readLink(r), readLink(r)
	s.VV, s.Seq = readVV(r), r.Uint()
	if err := r.Done(); err != nil {
		return s, corrupt("own checkpoint", err)
	}
	return s, nil
}

// LastCheckpoint is the newest checkpoint; zero if there is none. Its VV must not be changed.
func (d *DB) LastCheckpoint() CheckpointInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.checkpoint.CheckpointInfo
}

// Head is the pod's head, signed anew: what is durable here, and the newest checkpoint. Error: vfs.ErrReadOnly if there is no key to sign with.
func (d *DB) Head(ctx context.Context) ([]byte, error) {
	if d.headSigner() == nil {
		return nil, fmt.Errorf("state: head: %w", vfs.ErrReadOnly)
	}
	d.mu.Lock()
	vv, cp, self := d.published.Clone(), d.checkpoint, d.self
	d.mu.Unlock()
	b, err := readAs(d, func(v view) ([]byte, error) { return v.head(self, vv, cp) })
	if err != nil {
		return nil, err
	}
	return b, ctx.Err()
}

// Checkpoint commits what is dirty and writes the state and the view as Merkle trees through Options.Blocks: of what changed since the
// last one. It does nothing if nothing changed. Operations and commits wait for a commit at its beginning, not for the trees.
//
// Sync: that of the commit; then BeforeCommit, which makes the trees' blocks durable before it is remembered that they are there; then the mark's. The memory of the
// checkpoint itself is made durable by the next sync: one that is lost is made again. Error: ErrUnfolded, before anything is done.
func (d *DB) Checkpoint(ctx context.Context) (CheckpointInfo, error) {
	for {
		made, err := d.CheckpointAt(ctx, func() {})
		if !errors.Is(err, ErrOvertaken) {
			return made, err
		}
	}
}

// CheckpointAt is one try of Checkpoint, which calls frozen after the moment at which it commits all that was done, whatever fence there is. After an error frozen may not have been called.
// Error: also ErrOvertaken.
func (d *DB) CheckpointAt(ctx context.Context, frozen func()) (CheckpointInfo, error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return CheckpointInfo{}, err
	}
	d.checkpointMu.Lock()
	defer d.checkpointMu.Unlock()
	made, err := d.makeCheckpoint(ctx, frozen)
	if err != nil {
		return made, err
	}
	return made, d.mark.sync()
}

// makeCheckpoint is Checkpoint while checkpointMu is held. Error: ErrOvertaken.
func (d *DB) makeCheckpoint(ctx context.Context, frozen func()) (CheckpointInfo, error) {
	c, err := d.freeze(ctx)
	if err != nil {
		return CheckpointInfo{}, err
	}
	defer c.close()
	frozen()
	if clean, err := c.clean(); clean || err != nil {
		return d.LastCheckpoint(), err
	}
	next, err := c.write(ctx)
	if errors.Is(err, block.ErrNotFound) || errors.Is(err, block.ErrCorrupt) {
		// Blocks of the last checkpoint were lost: all of it is made again.
		d.slog.WarnContext(ctx, "the last checkpoint can't be read", "error", err)
		c.full, c.last = true, checkpointState{}
		c.out.Reset()
		next, err = c.write(ctx)
	}
	if err != nil {
		return CheckpointInfo{}, fmt.Errorf("state: checkpoint: %w", err)
	}
	return next.CheckpointInfo, nil
}

// ErrOvertaken says that a join took another pod's tree as the base of the next checkpoint while one was written: it is to be made again.
var ErrOvertaken = errors.New("a tree was joined meanwhile")

// keep remembers a checkpoint whose blocks are durable. Error: ErrOvertaken.
func (c *checkpointer) keep(next checkpointState) error {
	d := c.d
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.checkpoint.rows != c.base {
		return ErrOvertaken
	}
	if err := c.out.Commit(pebble.NoSync); err != nil {
		return err
	}
	d.checkpoint = next
	return nil
}

// checkpointer writes one checkpoint. It reads a moment at which nothing was dirty.
type checkpointer struct {
	view

	snap  *pebble.Snapshot
	epoch uint64 // marks up to this one count
	heads map[ident.Actor]actorState
	forks *branches
	self  ident.Actor
	last  checkpointState
	base  block.ID // the tree of rows that this one is made from
	out   *pebble.Batch
	full  bool // nothing of the last checkpoint is used
}

// freeze commits what is dirty, the last of it while no operation runs, and begins a new epoch of marks after that moment.
func (d *DB) freeze(ctx context.Context) (*checkpointer, error) {
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if err := d.finishJoin(ctx); err != nil {
		return nil, err
	}
	fenced := d.liftFence()
	if d.signer() != nil { // most of it while operations go on
		if _, err := d.installDirty(ctx); err != nil {
			return nil, err
		}
		if err := d.publishInstalled(); err != nil {
			return nil, err
		}
	}
	c, head, err := d.moment(ctx, fenced)
	if err != nil {
		return nil, err
	}
	// Operations go on. Until this has returned nobody is told of what the last commits are (I2), and nothing is written of the checkpoint.
	if err := d.publishOwn(head, false); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// moment commits the last of what is dirty, while no operation runs and, as a rule, nothing waits for a disk, and takes the state of that moment. head is
// to be made durable and published. fenced: there was a fence, for a Commit that is still to come. commitMu must be held.
func (d *DB) moment(ctx context.Context, fenced bool) (c *checkpointer, head Dot, err error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	fenced, d.fence = fenced || d.fence != nil, nil
	if err := d.commitAll(ctx); err != nil {
		return nil, head, err
	}
	if fenced { // what came before it is committed, and what comes from now on is behind it
		d.fence = newFence(d.gen)
	}
	d.mu.Lock()
	last := d.checkpoint
	d.mu.Unlock()
	c = &checkpointer{snap: d.db.NewSnapshot(), epoch: d.epoch, heads: map[ident.Actor]actorState{}, forks: d.forks, self: d.self, last: last, base: last.rows, out: d.db.NewBatch()}
	c.view = view{d: d, r: c.snap, clean: true}
	maps.Copy(c.heads, d.heads)
	if err := d.db.Set(textKey(keyOwn, ownEpoch), binary.BigEndian.AppendUint64(nil, d.epoch+1), pebble.NoSync); err != nil {
		c.close()
		return nil, head, fmt.Errorf("state: checkpoint: %w", err)
	}
	d.epoch++
	return c, d.ownHead(), nil
}

// commitAll commits everything while opMu and commitMu are held: no operation can make anything dirty meanwhile. Nothing of it is durable, but for what
// BeforeCommit makes so, which is called where rows may name something that is not.
// Error: ErrUnfolded.
func (d *DB) commitAll(ctx context.Context) error {
	if held := d.held(); len(held) > 0 {
		return fmt.Errorf("state: %d groups of rows: %w", len(held), ErrUnfolded)
	}
	for len(d.dirty) > 0 {
		rows, _, err := d.take(d.order, nil)
		if err != nil {
			return err
		}
		c, err := d.prepare(commitRowsOf(rows))
		if err != nil {
			return err
		}
		if d.o.BeforeCommit != nil && (d.chunked || !d.o.ContentsDurable) {
			if err := d.o.BeforeCommit(ctx); err != nil {
				return fmt.Errorf("state: before commit %d: %w", c.Seq, err)
			}
			d.chunked = false
		}
		if err := d.install(c, c.Encode(d.signer()), rows); err != nil {
			return err
		}
	}
	return nil
}

func (c *checkpointer) close() {
	_ = c.snap.Close() // it only read
	_ = c.out.Close()
}

// clean says whether nothing changed since the last checkpoint.
func (c *checkpointer) clean() (bool, error) {
	if c.last.State.IsZero() {
		return false, nil
	}
	clean := true
	for _, prefix := range []byte{keyEntryMark, keyRowMark} {
		err := scan(c.r, []byte{prefix}, seqKey(prefix, c.epoch+1), func(_, _ []byte) error {
			clean = false
			return errStop
		})
		if err != nil {
			return false, err
		}
	}
	for a, s := range c.heads {
		clean = clean && c.last.VV[a] == s.seq
	}
	if !clean {
		return false, nil
	}
	// Computed names may be others although no row changed: a pod has a name now.
	for _, prefix := range []byte{keyIrregular, keyComputed} {
		err := scanPrefix(c.r, []byte{prefix}, func(_, _ []byte) error {
			clean = false
			return errStop
		})
		if err != nil {
			return false, err
		}
	}
	return clean, nil
}

// write writes both trees, and then what is remembered of them.
func (c *checkpointer) write(ctx context.Context) (checkpointState, error) {
	next := checkpointState{}
	next.VV = VV{}
	for a, s := range c.heads {
		next.VV[a] = s.seq
	}
	next.Seq = next.VV[c.self]
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		next.rows, err = c.writeRows(gctx)
		return err
	})
	g.Go(func() (err error) {
		next.Tree, err = c.writeTree(gctx)
		return err
	})
	err := g.Wait()
	if err != nil {
		return next, err
	}
	root := (&Root{Network: c.d.o.Network, Rows: next.rows, VV: next.VV, branches: c.forks}).encode()
	next.State = block.Sum(block.DagCBOR, root)
	if err := c.d.o.Blocks.Put(ctx, next.State, root); err != nil {
		return next, err
	}
	err = c.out.Set(textKey(keyOwn, ownCheckpoint), next.encode(), nil)
	for _, prefix := range []byte{keyEntryMark, keyRowMark} {
		if err == nil {
			err = c.out.DeleteRange([]byte{prefix}, seqKey(prefix, c.epoch+1), nil)
		}
	}
	if err != nil {
		return next, err
	}
	if c.d.o.BeforeCommit != nil {
		if err := c.d.o.BeforeCommit(ctx); err != nil {
			return next, err
		}
	}
	return next, c.keep(next)
}

// writeRows edits the tree of rows where they changed.
func (c *checkpointer) writeRows(ctx context.Context) (root block.ID, err error) {
	root = c.last.rows
	var edits []dag.Edit
	size := 0
	apply := func() error {
		next, err := dag.EditTree(ctx, c.d.o.Blocks, root, edits)
		root, edits, size = next, edits[:0], 0
		return err
	}
	err = c.eachChangedRow(func(key, value []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		value, err := c.treeValue(ctx, value)
		if err != nil {
			return err
		}
		edits = append(edits, dag.Edit{Key: bytes.Clone(key), Value: value})
		if size += len(value); len(edits) < editBatch && size < editBytes {
			return nil
		}
		return apply()
	})
	if err == nil {
		err = apply()
	}
	return root, err
}

// eachChangedRow calls f for the rows to look at, in the order of their keys; nil is the value of one that is gone. The value is f's to keep.
func (c *checkpointer) eachChangedRow(f func(key, value []byte) error) (err error) {
	if c.full {
		for _, prefix := range []byte{KeyInode, KeyWish, KeySnap} {
			err := scanPrefix(c.r, []byte{prefix}, func(key, value []byte) error { return f(key, append([]byte{}, value...)) })
			if err != nil {
				return err
			}
		}
		return nil
	}
	changed, err := c.marks(keyRowMark)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, changed.close()) }()
	v, done, err := c.inOrder()
	if err != nil {
		return err
	}
	defer done()
	return changed.each(nil, func(key []byte) error {
		var value []byte
		var err error
		if key[0] == KeyInode {
			value, err = v.committed(key)
		} else {
			value, err = get(c.r, key)
		}
		if err != nil {
			return err
		}
		return f(key, value)
	})
}

// treeValue is what stands for a row's versions in the tree of rows: themselves, or, of more than dag.ValueMax bytes, a link to
// a raw block of them; versions begin with an array, so the two can't be taken for each other.
func (c *checkpointer) treeValue(ctx context.Context, value []byte) ([]byte, error) {
	if len(value) <= dag.ValueMax {
		return value, nil
	}
	id := block.Sum(block.Raw, value)
	if err := c.d.o.Blocks.Put(ctx, id, value); err != nil {
		return nil, err
	}
	return longRowLink(id), nil
}

// NodeCID is the CID of a node as of now, if it is a file's or link's body (zero: no bytes), or as of the newest checkpoint, if it is a folder's.
// Errors: vfs.ErrNotExist, block.ErrNotFound (a folder that is in no checkpoint yet).
func (d *DB) NodeCID(id vfs.NodeID) (block.ID, error) {
	return readAs(d, func(v view) (block.ID, error) {
		s, err := v.byNumber(id)
		if err != nil {
			return block.ID{}, err
		}
		if s.f.Inode.Kind != vfs.KindFolder {
			n, err := v.node(s)
			return bodyID(n.Body), err
		}
		cid, err := v.folderCID(id)
		if err == nil && cid.IsZero() {
			err = fmt.Errorf("state: folder %d: %w", id, block.ErrNotFound)
		}
		return cid, err
	})
}

// bodyID is the CID of an encoded body; zero for a file of no bytes.
func bodyID(body []byte) block.ID {
	if len(body) == 0 {
		return block.ID{}
	}
	return block.Sum(block.DagCBOR, body)
}

// folderCID is a folder's CID as of the newest checkpoint, zero if it is not in it.
func (v view) folderCID(ino Ino) (block.ID, error) {
	b, err := get(v.r, inoKey(keyFolderCID, ino))
	if err != nil || b == nil {
		return block.ID{}, err
	}
	id, err := block.FromBytes(bytes.Clone(b))
	if err != nil {
		return block.ID{}, corrupt("folder's CID", err)
	}
	return id, nil
}
