package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// ErrDiverged says that two states of one history differ, which proves a fault of this pod or another: neither is joined into the other.
var ErrDiverged = errors.New("two states with the same history differ")

// joinBytes is about how many bytes of rows are joined in one batch, as applyRows is of their number.
const joinBytes = 4 << 20

// Join joins the state of another pod, as its Offer names and proves it, into this one: of the rows in which
// their trees differ those versions stay that both have, or that the other has never seen. It is what applying the same commits would do. The blocks of
// the tree are got through Options.Blocks. Uncommitted rows stay beside what comes (I1b). joined says that there was something new.
//
// More than some 1000 rows are written in several batches. Between the first and the last the rows are of no one version vector, so the first remembers the join,
// also over a crash, and it is ended before anything else is committed, applied or joined. Operations go on meanwhile: what each
// of them observes is exact, row by row. The log then begins behind what was joined: see ErrTruncated.
//
// The forks that the offer tells of are taken in first, as by LearnFork. The offer must be complete (Offer.Complete).
//
// Errors: ErrForeign, block.ErrCorrupt, ErrSignature, Options.Author's, ErrFork (commits that are here and in the root parted, and where is not known: see Reconcile),
// ErrFuture, ErrRefused, ErrDiverged, ErrOutdated, those of Options.Blocks. Sync: BeforeCommit before the first
// row is written; one of the write-ahead log behind the last.
func (d *DB) Join(ctx context.Context, o Offer) (joined bool, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return false, err
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if err := d.settled(ctx); err != nil {
		return false, err
	}
	p, err := d.prove(ctx, &o, false)
	if err != nil {
		return false, err
	}
	if p.root.VV.LessEqual(p.mine) {
		return false, d.compareRoot(p.root)
	}
	return d.joinProven(ctx, p, &o)
}

// joinProven joins a root that was proven. commitMu must be held.
func (d *DB) joinProven(ctx context.Context, p *proof, o *Offer) (joined bool, err error) {
	if d.o.BeforeCommit != nil {
		if err := d.o.BeforeCommit(ctx); err != nil {
			return false, fmt.Errorf("state: before a join: %w", err)
		}
	}
	if err := d.storeWays(ctx, p, o.Ways); err != nil {
		return false, err
	}
	if err := d.join(ctx, p, joinRecord{head: o.Head, replace: p.replace}); err != nil {
		if d.joining == nil {
			err = errors.Join(err, d.dropBeyond())
		}
		return false, err
	}
	return true, nil
}

// compareRoot compares a root with the newest checkpoint. Error: ErrDiverged.
func (d *DB) compareRoot(r Root) error {
	d.mu.Lock()
	cp := d.checkpoint
	d.mu.Unlock()
	if cp.State.IsZero() || !r.VV.LessEqual(cp.VV) || !cp.VV.LessEqual(r.VV) || block.Sum(block.DagCBOR, r.encode()) == cp.State {
		return nil
	}
	return fmt.Errorf("state: rows %s, and here %s: %w", r.Rows, cp.rows, ErrDiverged)
}

// finishJoin ends a join that was begun; its proof was checked then. commitMu must be held.
func (d *DB) finishJoin(ctx context.Context) error {
	if d.joining == nil {
		return nil
	}
	h, err := DecodeHead(d.joining.head)
	if err != nil {
		return err
	}
	p, err := d.readProof(ctx, h)
	if err == nil {
		p.replace = d.joining.replace
		err = d.storedNews(p)
	}
	if err == nil {
		err = d.join(ctx, p, *d.joining)
	}
	if err != nil {
		return fmt.Errorf("state: end a join that was begun: %w", err)
	}
	return nil
}

// joiner joins a root. The batches that it writes are remembered in record.
type joiner struct {
	d      *DB
	p      *proof
	record joinRecord
	// adopt says that the root has seen all that was applied here, so that its rows are what comes out, and its tree serves the
	// next checkpoint: only rows that come out otherwise, if the root is faulty, are marked.
	adopt bool
	rows  []joinRow // of the next batch
	bytes int

	// base and changed are what the root is compared with: a tree of rows, and the keys of those that may differ from it.
	base    block.ID
	changed []string

	heads map[ident.Actor]actorState // what is applied in the end, of the labels that are news
}

// joinRow is a row in which a root may differ, and its versions there, nil if it has none.
type joinRow struct{ key, theirs []byte }

// join joins a root from a key on. commitMu must be held.
func (d *DB) join(ctx context.Context, p *proof, record joinRecord) error {
	j := &joiner{d: d, p: p, record: record, adopt: p.replace || p.mine.LessEqual(p.root.VV)}
	d.mu.Lock()
	j.base = d.checkpoint.rows
	d.mu.Unlock()
	err := j.rowsOf(ctx, false)
	if !j.base.IsZero() && (errors.Is(err, block.ErrNotFound) || errors.Is(err, block.ErrCorrupt)) && ctx.Err() == nil {
		// Blocks of the last checkpoint may be lost: all rows are looked at.
		d.slog.WarnContext(ctx, "a join looks at all rows, since trees can't be compared", "error", err)
		j.base = block.ID{}
		err = j.rowsOf(ctx, true)
	}
	if err == nil {
		err = j.write(true)
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		return fmt.Errorf("state: join: %w", err)
	}
	news := VV{}
	for a := range p.news {
		news[a] = p.root.VV[a]
	}
	d.publish(news)
	return nil
}

// rowsOf takes all rows in which the root may differ. Before the first of several batches is written all are checked: what
// a faulty author put into the last one must not keep a join that was begun from its end.
func (j *joiner) rowsOf(ctx context.Context, all bool) (err error) {
	if j.changed, err = j.marked(all); err != nil {
		return err
	}
	j.rows, j.bytes = nil, 0
	return j.each(ctx, func(key, value []byte) error {
		if len(j.rows) >= j.d.joinRows || j.bytes >= joinBytes {
			if len(j.record.upTo) == 0 {
				if err := j.each(ctx, j.p.check); err != nil {
					return err
				}
			}
			if err := j.write(false); err != nil {
				return err
			}
		}
		j.rows = append(j.rows, joinRow{key: key, theirs: value})
		j.bytes += len(key) + len(value)
		return nil
	})
}

// marked are the keys of rows that changed since the last checkpoint, or all, in order.
func (j *joiner) marked(all bool) ([]string, error) {
	keys := map[string]bool{}
	add := func(key []byte) {
		if string(key) > string(j.record.upTo) {
			keys[string(key)] = true
		}
	}
	err := scanPrefix(j.d.db, []byte{keyRowMark}, func(key, _ []byte) error {
		if len(key) > 9 {
			add(key[9:])
		}
		return nil
	})
	for _, kind := range []byte{KeyInode, KeyWish, KeySnap} {
		if err != nil || !all {
			break
		}
		err = scanPrefix(j.d.db, []byte{kind}, func(key, _ []byte) error {
			add(key)
			return nil
		})
	}
	return sortedKeys(keys), err
}

// each calls f, in the order of their keys, for the rows in which the root differs from base, and those that changed, with their versions in the root.
func (j *joiner) each(ctx context.Context, f func(key, theirs []byte) error) error {
	blocks, root, changed := j.d.o.Blocks, j.p.root.Rows, j.changed
	other := func(key string) error {
		value, found, err := dag.GetTree(ctx, blocks, root, []byte(key))
		if err != nil {
			return err
		}
		if !found {
			value = nil
		}
		return j.row(ctx, []byte(key), value, f)
	}
	err := dag.DiffTree(ctx, blocks, j.base, root, func(key, _, value []byte) error {
		for len(changed) > 0 && changed[0] < string(key) {
			if err := other(changed[0]); err != nil {
				return err
			}
			changed = changed[1:]
		}
		if len(changed) > 0 && changed[0] == string(key) {
			changed = changed[1:]
		}
		return j.row(ctx, key, value, f)
	})
	for i := 0; i < len(changed) && err == nil; i++ {
		err = other(changed[i])
	}
	return err
}

// row calls f for a row, unless it is joined already; value is what stands for it in the root's tree.
func (j *joiner) row(ctx context.Context, key, value []byte, f func(key, theirs []byte) error) error {
	if err := ctx.Err(); err != nil || string(key) <= string(j.record.upTo) {
		return err
	}
	id, err := longRow(value)
	if err != nil {
		return corrupt(fmt.Sprintf("row %x", key), err)
	}
	if !id.IsZero() {
		if value, err = j.d.o.Blocks.Get(ctx, id); err != nil {
			return fmt.Errorf("row %x: %w", key, err)
		}
	}
	return f(key, value)
}
