package dag

import (
	"bytes"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// Limits of a body.
const (
	InlineMax = 1024 // bytes of a file that stand in the body itself
	EmbedMax  = 1280 // bytes of an encoded body that stands in a row itself
	DepthMax  = 12   // levels of a body's tree: with 64 items a node, 10 are enough for SizeMax entries of a byte
	ParamsMax = 64   // bytes
)

// embedEntriesMax is more entries than EmbedMax has room for.
const embedEntriesMax = EmbedMax / 3

// Forms of a body's content.
const (
	formInline  = 0 // content: bytes
	formEntries = 1 // content: [entry, ...]
	formTree    = 2 // content: [depth, link]
)

// Body is what a file holds. Exactly one of Inline, Entries and Tree is used; the zero Body is the empty
// file. It is immutable: Entries, Inline and Params may be shared.
//
// Encoded: [1, form, size, content, sum, params]; sum is 32 bytes or none. Which form is used is not free:
//
//	inline    at most InlineMax bytes; sum and params are left out
//	entries   the encoding has at most EmbedMax bytes
//	tree      else
type Body struct {
	Size    uint64 // bytes, at most SizeMax
	Inline  []byte
	Entries []Entry  // no two holes in turn; the lengths add up to Size
	Tree    block.ID // the root of a tree of entries
	Depth   uint8    // levels of the tree: 1 if its root holds entries; 0 without a tree
	Sum     [32]byte // SumHasher's, zero: not written in order
	Params  []byte   // how it was cut, opaque here: chunker.Params
}

// InlineBody is the body that holds data itself: at most InlineMax bytes, which become part of it.
func InlineBody(data []byte) Body {
	if len(data) == 0 {
		return Body{}
	}
	return Body{Size: uint64(len(data)), Inline: data}
}

// Encode encodes the body; only a valid one can be decoded again.
func (b Body) Encode() []byte {
	return b.append(make([]byte, 0, 128+len(b.Inline)+48*len(b.Entries)))
}

func (b Body) append(out []byte) []byte {
	out = cbor.AppendUint(cbor.AppendArray(out, 6), typeBody)
	switch {
	case !b.Tree.IsZero():
		out = cbor.AppendUint(cbor.AppendUint(out, formTree), b.Size)
		out = cbor.AppendUint(cbor.AppendArray(out, 2), uint64(b.Depth))
		out = appendLink(out, b.Tree)
	case len(b.Entries) > 0:
		out = cbor.AppendUint(cbor.AppendUint(out, formEntries), b.Size)
		out = appendEntries(out, b.Entries)
	default:
		out = cbor.AppendUint(cbor.AppendUint(out, formInline), b.Size)
		out = cbor.AppendBytes(out, b.Inline)
	}
	if b.Sum == [32]byte{} {
		out = cbor.AppendBytes(out, nil)
	} else {
		out = cbor.AppendBytes(out, b.Sum[:])
	}
	return cbor.AppendBytes(out, b.Params)
}

// ID is the CID of the encoded body.
func (b Body) ID() block.ID { return block.Sum(block.DagCBOR, b.Encode()) }

// DecodeBody decodes what Encode writes, strictly; the error is block.ErrCorrupt. The body does not alias data.
func DecodeBody(data []byte) (Body, error) {
	if len(data) > EmbedMax {
		return Body{}, corruptf("body", "%d bytes, over the limit of %d", len(data), EmbedMax)
	}
	r := cbor.NewReader(data)
	readType(r, 6, typeBody)
	form := r.UintMax(formTree)
	b := Body{Size: r.UintMax(SizeMax)}
	switch form {
	case formInline:
		b.Inline = bytes.Clone(r.Bytes(InlineMax))
		if r.Err() == nil && b.Size != uint64(len(b.Inline)) {
			r.Fail("size %d of %d bytes", b.Size, len(b.Inline))
		}
	case formEntries:
		var size uint64
		if b.Entries, size = readEntries(r, embedEntriesMax); r.Err() == nil && size != b.Size {
			r.Fail("size %d of %d bytes in entries", b.Size, size)
		}
	case formTree:
		r.Tuple(2)
		b.Depth = uint8(r.UintMax(DepthMax))
		b.Tree = readLink(r, block.DagCBOR)
		if r.Err() == nil && (b.Depth == 0 || b.Size == 0) {
			r.Fail("tree of depth %d, size %d", b.Depth, b.Size)
		}
	}
	readSumParams(r, &b)
	if form == formInline && r.Err() == nil && (b.Sum != [32]byte{} || b.Params != nil) {
		r.Fail("sum or params of an inline body")
	}
	if err := r.Done(); err != nil {
		return Body{}, corrupt("body", err)
	}
	if len(b.Inline) == 0 {
		b.Inline = nil
	}
	return b, nil
}

func readSumParams(r *cbor.Reader, b *Body) {
	switch sum := r.Bytes(len(b.Sum)); {
	case len(sum) == 0:
	case len(sum) != len(b.Sum) || [32]byte(sum) == [32]byte{}:
		r.Fail("sum of %d bytes, or zero", len(sum))
	default:
		b.Sum = [32]byte(sum)
	}
	if params := r.Bytes(ParamsMax); len(params) > 0 {
		b.Params = bytes.Clone(params)
	}
}
