package state

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// view reads rows and index as of one moment: of a snapshot, or of an operation's own batch.
type view struct {
	d *DB
	r pebble.Reader
	// recs are folder records that were read or written; nil: none are kept.
	recs map[Ino]folderRec
	// clean says that there are no uncommitted rows.
	clean bool
	// rows reads committed rows by their neighbours; nil: each by itself.
	rows *inodeReader
	// version is what DB.version was before the moment.
	version uint64
}

// dirtyValue is the uncommitted change of a row, as 'w' holds it.
type dirtyValue struct {
	order    uint64
	hlc      HLC   // of the operation that wrote it
	observed []Dot // committed versions that it replaces, sorted
	value    []byte
}

// encode writes [order, hlc, observed, value]; an empty value says that the row is removed.
func (w *dirtyValue) encode() []byte {
	b := cbor.AppendArray(make([]byte, 0, 32+16*len(w.observed)+len(w.value)), 4)
	b = cbor.AppendUint(b, w.order)
	b = cbor.AppendUint(b, uint64(w.hlc))
	b = cbor.AppendArray(b, len(w.observed))
	for _, d := range w.observed {
		b = appendDot(b, d)
	}
	return cbor.AppendBytes(b, w.value)
}

func decodeDirty(b []byte) (*dirtyValue, error) {
	r := cbor.NewReader(b)
	r.Tuple(4)
	w := &dirtyValue{order: r.Uint(), hlc: HLC(r.Uint())}
	w.observed = readDots(r, VersionsMax, byDot)
	w.value = r.Bytes(InodeMax)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("state: uncommitted row: %w: %w", err, block.ErrCorrupt)
	}
	return w, nil
}

// dirty is the uncommitted change of a row, nil if there is none.
func (v view) dirty(row []byte) (*dirtyValue, error) {
	if v.clean {
		return nil, nil
	}
	b, err := get(v.r, textKey(keyDirty, row))
	if err != nil || b == nil {
		return nil, err
	}
	return decodeDirty(b)
}

// current is a row as this pod sees it: what is committed, and what its own uncommitted change makes of it.
type current[T any] struct {
	set   VerSet[T]   // committed
	dirty *dirtyValue // nil: no uncommitted change
}

// observed are the dots that a change made now replaces: all that are there, and what an uncommitted change replaced.
func (c *current[T]) observed() []Dot {
	var dots []Dot
	if c.dirty != nil {
		dots = slices.Clone(c.dirty.observed)
	}
	for _, v := range c.set {
		dots = append(dots, v.Dot)
	}
	slices.SortFunc(dots, byDot)
	return slices.Compact(dots)
}

// versions are the committed versions that the uncommitted change did not replace, and the one that it made.
func (c *current[T]) versions(decode func([]byte) (T, error)) (VerSet[T], error) {
	if c.dirty == nil {
		return c.set, nil
	}
	set := c.set.Remove(c.dirty.observed)
	if len(c.dirty.value) == 0 {
		return set, nil
	}
	n, err := decode(c.dirty.value)
	if err != nil {
		return nil, err
	}
	return append(VerSet[T]{{Value: n}}, set...), nil
}

// curInode is an inode as this pod sees it; f is nil if there is no such row.
type curInode struct {
	current[*Inode]
	f *Folded
}

// inode reads an inode.
func (v view) inode(ino Ino) (*curInode, error) {
	row := InodeKey(ino)
	c := &curInode{}
	var err error
	if c.dirty, err = v.dirty(row); err != nil {
		return nil, err
	}
	if c.set, err = v.committedInode(row); err != nil {
		return nil, err
	}
	versions, err := c.versions(DecodeInode)
	if err != nil {
		return nil, err
	}
	c.f = v.d.fold(versions)
	return c, nil
}

// committedInode is the committed versions of an inode's row.
func (v view) committedInode(row []byte) (VerSet[*Inode], error) {
	b, err := v.committed(row)
	if err != nil || b == nil {
		return nil, err
	}
	return DecodeInodeSet(b)
}

// committed is a copy of a committed row, nil if there is none.
func (v view) committed(row []byte) ([]byte, error) {
	if v.rows == nil {
		return get(v.r, row)
	}
	return v.rows.get(row)
}

// inOrder is the view with rows for one that reads many inodes, neighbours mostly: inodes made together have numbers in a row. done ends its use.
func (v view) inOrder() (_ view, done func(), err error) {
	v.rows, err = newInodeReader(v.r)
	if err != nil {
		return v, nil, err
	}
	return v, v.rows.close, nil
}

// An inodeReader reads the rows of inodes as of the moment in which it was made, quickly if their numbers rise. It is used by one goroutine.
type inodeReader struct {
	it   *pebble.Iterator
	from []byte // what was sought last: there is no row between it and where the iterator stands; nil: nothing was
}

func newInodeReader(r pebble.Reader) (*inodeReader, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{KeyInode}, UpperBound: []byte{KeyInode + 1}})
	if err != nil {
		return nil, fmt.Errorf("state: read: %w", damaged(err))
	}
	return &inodeReader{it: it}, nil
}

func (r *inodeReader) close() { _ = r.it.Close() } // it only reads, and its errors were told

// get is a copy of a row, nil if there is none.
func (r *inodeReader) get(row []byte) ([]byte, error) {
	if !r.reached(row) {
		if r.from == nil || !r.it.Valid() || bytes.Compare(row, r.it.Key()) < 0 || !r.it.Next() || bytes.Compare(r.it.Key(), row) < 0 {
			r.it.SeekGE(row) // it is not the next one
		}
		r.from = append(r.from[:0], row...)
	}
	if r.it.Valid() && bytes.Equal(r.it.Key(), row) {
		return append([]byte{}, r.it.Value()...), nil
	}
	if err := r.it.Error(); err != nil {
		return nil, fmt.Errorf("state: read %q: %w", row, damaged(err))
	}
	return nil, nil
}

// reached says whether the iterator stands at a row, or at the first behind it.
func (r *inodeReader) reached(row []byte) bool {
	return r.from != nil && bytes.Compare(r.from, row) <= 0 && (!r.it.Valid() || bytes.Compare(row, r.it.Key()) <= 0)
}

// fold is what versions say together, nil if there are none.
func (d *DB) fold(versions VerSet[*Inode]) *Folded {
	if len(versions) == 0 {
		return nil
	}
	f := Fold(versions)
	return &f
}

// wish reads a wish; ok says that there is one.
func (v view) wish(ino Ino) (c current[*Wish], w Wish, ok bool, err error) {
	row := WishKey(ino)
	if c.dirty, err = v.dirty(row); err != nil {
		return c, w, false, err
	}
	b, err := get(v.r, row)
	if err != nil {
		return c, w, false, err
	}
	if b != nil {
		if c.set, err = DecodeWishSet(b); err != nil {
			return c, w, false, err
		}
	}
	versions, err := c.versions(DecodeWish)
	if err != nil || len(versions) == 0 {
		return c, w, false, err
	}
	return c, FoldWish(versions), true, nil
}
