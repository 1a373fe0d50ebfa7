package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// The digests of the commits that a tree brings stand in the log before the tree is joined, behind the last commit that was applied, where nothing reads them; the
// join's last batch makes them count. Those of a join that came to nothing are dropped at the next open, if not before.

// storeWays writes the digests and headers of what a root brings. Sync: none; what counts on them is written later to the same write-ahead log. commitMu must be held.
func (d *DB) storeWays(ctx context.Context, p *proof, ways []Way) (err error) {
	w := &wayWriter{d: d, p: p, b: d.db.NewBatch(), totals: map[ident.Actor]uint64{}}
	defer func() {
		err = errors.Join(err, w.b.Close())
		if err != nil {
			err = errors.Join(fmt.Errorf("state: digests of what is joined: %w", err), d.dropBeyond())
		}
	}()
	for i := range ways {
		if _, news := p.news[ways[i].Label]; !news {
			continue
		}
		if err := errors.Join(w.way(ctx, &ways[i]), w.headers(&ways[i])); err != nil {
			return err
		}
	}
	return w.b.Commit(pebble.NoSync)
}

// wayWriter writes ways into the log.
type wayWriter struct {
	d      *DB
	p      *proof
	b      *pebble.Batch
	totals map[ident.Actor]uint64 // bytes of commits that were in the log here, up to what is applied
}

// wayBatch is about how many bytes are written at once.
const wayBatch = 4 << 20

func (w *wayWriter) way(ctx context.Context, way *Way) error {
	headers := map[uint64][]byte{}
	for _, b := range way.Headers {
		h, err := DecodeHeader(b)
		if err != nil {
			return err
		}
		headers[h.Seq] = b
	}
	total, err := w.total(way.Label)
	if err != nil {
		return err
	}
	for seq := max(way.From, w.p.mine[way.Label]+1); seq <= way.To; seq++ {
		e := logEntry{total: total, encoded: headers[seq]}
		e.digest, _ = way.digest(seq)
		if err := w.b.Set(logKey(way.Label, seq), e.encode(), nil); err != nil {
			return err
		}
		if w.b.Len() < wayBatch {
			continue
		}
		if err := errors.Join(ctx.Err(), w.b.Commit(pebble.NoSync)); err != nil {
			return err
		}
		w.b.Reset()
	}
	return nil
}

// headers adds headers to commits that are here without, as far as a root takes them back: the log begins there then.
func (w *wayWriter) headers(way *Way) error {
	if way.To >= w.p.mine[way.Label] {
		return nil
	}
	for _, b := range way.Headers {
		h, err := DecodeHeader(b)
		if err != nil {
			return err
		}
		e, ok, err := (view{d: w.d, r: w.d.db}).entryAt(way.Label, h.Seq)
		if err == nil && ok && len(e.encoded) == 0 && e.digest == h.Digest() {
			e.encoded = b
			err = w.b.Set(logKey(way.Label, h.Seq), e.encode(), nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// total is that of the last commit of a label, or of those before it, that was applied here.
func (w *wayWriter) total(a ident.Actor) (uint64, error) {
	for {
		if mine := w.p.mine[a]; mine > 0 {
			return (view{d: w.d, r: w.d.db}).totalAt(a, mine)
		}
		b, ok := w.p.root.branches.byName[a]
		if !ok {
			return 0, nil
		}
		a = b.parent
	}
}

// storedNews finds what a join that was begun brings, by the log.
func (d *DB) storedNews(p *proof) error {
	v := view{d: d, r: d.db}
	for a, to := range p.root.VV {
		if !p.changes(a) {
			continue
		}
		_, encoded, err := v.commitAt(a, to)
		if err != nil {
			return err
		}
		var top *Header
		if len(encoded) > 0 {
			if top, err = headerOf(encoded); err != nil {
				return err
			}
		}
		p.brings(a, top, d.o.Clock)
	}
	return nil
}

// dropBeyond drops from the log what stands behind the last commit of each label that was applied: it is of a join that came to nothing. Sync: none.
func (d *DB) dropBeyond() error {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyLog}, UpperBound: []byte{keyLog + 1}})
	if err != nil {
		return fmt.Errorf("state: log: %w", damaged(err))
	}
	var ranges [][2][]byte
	for ok := it.First(); ok; {
		if len(it.Key()) != 17 {
			return errors.Join(fmt.Errorf("state: log: key of %d bytes: %w", len(it.Key()), block.ErrCorrupt), it.Close())
		}
		a, err := ident.ActorOf(binary.BigEndian.Uint64(it.Key()[1:]))
		if err != nil {
			return errors.Join(corrupt("log", err), it.Close())
		}
		last, end := logKey(a, d.heads[a].seq+1), logKey(a, math.MaxUint64)
		if it.SeekGE(last) && string(it.Key()) < string(end) {
			ranges = append(ranges, [2][]byte{last, end})
		}
		ok = it.SeekGE(end)
	}
	err = errors.Join(it.Error(), it.Close())
	for _, r := range ranges {
		err = errors.Join(err, d.db.DeleteRange(r[0], r[1], pebble.NoSync))
	}
	if err != nil {
		return fmt.Errorf("state: log: %w", damaged(err))
	}
	return nil
}
