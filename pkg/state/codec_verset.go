package state

import (
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// AppendInodeSet appends an encoded VerSet of committed versions, whose dots are the versions' Dots, to b.
func AppendInodeSet(b []byte, s VerSet[*Inode]) []byte {
	return appendSet(b, s, (*encoder).inode)
}

// DecodeInodeSet reads what AppendInodeSet writes, and nothing else; the error is block.ErrCorrupt. The inodes alias b, and have their Dots.
func DecodeInodeSet(b []byte) (VerSet[*Inode], error) {
	s, err := decodeSet(b, func(d *decoder) *Inode {
		n := d.inode()
		for i := range n.Contents {
			if n.Contents[i].Dot.IsZero() {
				d.Fail("a content without a dot")
			}
		}
		return n
	})
	if err != nil {
		return nil, corrupt("inode's versions", err)
	}
	for _, v := range s {
		v.Value.Dot = v.Dot
	}
	return s, nil
}

// AppendWishSet appends an encoded VerSet of wishes to b.
func AppendWishSet(b []byte, s VerSet[*Wish]) []byte { return appendSet(b, s, (*encoder).wish) }

// DecodeWishSet reads what AppendWishSet writes, and nothing else; the error is block.ErrCorrupt.
func DecodeWishSet(b []byte) (VerSet[*Wish], error) {
	s, err := decodeSet(b, (*decoder).wish)
	if err != nil {
		return nil, corrupt("wish's versions", err)
	}
	return s, nil
}

// AppendSnap appends the value of a snapshot's row to b: a link to a tree root.
func AppendSnap(b []byte, root block.ID) []byte { return cbor.AppendLink(b, root.Bytes()) }

// DecodeSnap reads what AppendSnap writes; the error is block.ErrCorrupt.
func DecodeSnap(b []byte) (block.ID, error) {
	d := newDecoder(b)
	id := d.snap()
	if err := d.Done(); err != nil {
		return block.ID{}, corrupt("snapshot", err)
	}
	return id, nil
}

// AppendSnapSet appends an encoded VerSet of tree roots to b.
func AppendSnapSet(b []byte, s VerSet[block.ID]) []byte {
	return appendSet(b, s, func(e *encoder, id block.ID) { e.b = AppendSnap(e.b, id) })
}

// DecodeSnapSet reads what AppendSnapSet writes, and nothing else; the error is block.ErrCorrupt.
func DecodeSnapSet(b []byte) (VerSet[block.ID], error) {
	s, err := decodeSet(b, (*decoder).snap)
	if err != nil {
		return nil, corrupt("snapshot's versions", err)
	}
	return s, nil
}

func (d *decoder) snap() block.ID { return readNodeID(&d.Reader) }

// readNodeID reads a link to a node.
func readNodeID(r *cbor.Reader) block.ID {
	b := r.Link(block.IDLen)
	if r.Err() != nil {
		return block.ID{}
	}
	id, err := block.FromBytes(b)
	if err != nil || id.Codec() != block.DagCBOR {
		r.Fail("no CID of a node")
		return block.ID{}
	}
	return id
}

func appendSet[T any](b []byte, s VerSet[T], value func(*encoder, T)) []byte {
	e := encoder{b: cbor.AppendArray(b, len(s))}
	for _, v := range sorted(s, byVersion[T]) {
		e.array(2)
		e.b = appendDot(e.b, v.Dot)
		e.last = TS{} // the encoding of a version doesn't depend on the one before it
		value(&e, v.Value)
	}
	return e.b
}

func decodeSet[T any](b []byte, value func(*decoder) T) (VerSet[T], error) {
	d := newDecoder(b)
	s := list(&d.Reader, VersionsMax, byVersion[T], func() Version[T] {
		d.Tuple(2)
		dot := readDot(&d.Reader)
		d.last = TS{}
		return Version[T]{Dot: dot, Value: value(d)}
	})
	if len(s) == 0 {
		d.Fail("no version: the row would not exist")
	}
	return s, d.Done()
}

func byVersion[T any](a, b Version[T]) int { return a.Dot.Compare(b.Dot) }
