package api

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// Item is a file, folder, link or special file of a transfer. Items are numbered in the order in which they are
// sent, from 0.
type Item struct {
	Parent int    // number of the folder that it is in; -1-N: it is top-level argument N
	Name   Text   // get: "" of the top-level one, which the client names
	Kind   uint8  // vfs.Kind
	Mode   uint32 // 07777
	UID    uint32
	GID    uint32
	RDev   uint64
	Mtime  int64  // ns since 1970
	Size   uint64 // bytes
	Target Text   // of a symlink
	Link   int    // number of the item that this is a hard link to, +1; 0: none
	Many   bool   // a later item may be a hard link to this one
	FD     bool   // add: the next descriptor of the frame is its contents
	Stream bool   // its contents come as Data frames
	Keep   bool   // add: a folder that exists keeps its attributes
	Inline bool   // add: Data is its contents
	Data   []byte // at most InlineMax

	// Of a source of add, so that it is known again: its device, inode number and change time; none: it is not to be.
	Dev   uint64
	Ino   uint64
	Ctime int64 // ns since 1970

	Xattrs map[string][]byte
}

// Batch is some items.
type Batch struct {
	First int // number of the first
	Items []Item
}

// Limits of an item; what they allow that a file system doesn't is refused there.
const (
	itemTextMax   = 1 << 20 // bytes of a name or target
	itemXattrsMax = 1 << 16
	itemXattrMax  = 1 << 20 // bytes of a value
)

// encode writes [first, [item…]], an item as [parent, name, kind, mode, uid, gid, rdev, mtime, size, target, link, flags, dev, ino, ctime, [name, value…], data].
func (b Batch) encode() []byte {
	size := 16 + 96*len(b.Items)
	for i := range b.Items {
		size += len(b.Items[i].Data)
	}
	out := cbor.AppendArray(make([]byte, 0, size), 2)
	out = cbor.AppendArray(cbor.AppendUint(out, uint64(b.First)), len(b.Items))
	for i := range b.Items {
		out = b.Items[i].append(out)
	}
	return out
}

const itemFields = 17

func (it *Item) append(b []byte) []byte {
	b = cbor.AppendInt(cbor.AppendArray(b, itemFields), int64(it.Parent))
	b = cbor.AppendName(b, string(it.Name))
	for _, n := range []uint64{uint64(it.Kind), uint64(it.Mode), uint64(it.UID), uint64(it.GID), it.RDev} {
		b = cbor.AppendUint(b, n)
	}
	b = cbor.AppendUint(cbor.AppendInt(b, it.Mtime), it.Size)
	b = cbor.AppendUint(cbor.AppendName(b, string(it.Target)), uint64(it.Link))
	flags := uint64(0)
	for i, set := range it.flags() {
		if *set {
			flags |= 1 << i
		}
	}
	b = cbor.AppendUint(b, flags)
	b = cbor.AppendInt(cbor.AppendUint(cbor.AppendUint(b, it.Dev), it.Ino), it.Ctime)
	b = cbor.AppendArray(b, 2*len(it.Xattrs))
	for _, name := range slices.Sorted(maps.Keys(it.Xattrs)) {
		b = cbor.AppendBytes(cbor.AppendName(b, name), it.Xattrs[name])
	}
	return cbor.AppendBytes(b, it.Data)
}

// flags are the fields that are bits of one number, from the lowest.
func (it *Item) flags() [5]*bool {
	return [...]*bool{&it.Many, &it.FD, &it.Stream, &it.Keep, &it.Inline}
}

// DecodeBatch reads the payload of a FrameBatch; the Data of items are parts of b. Error: ErrProtocol.
func DecodeBatch(b []byte) (Batch, error) {
	r := cbor.NewReader(b)
	r.Tuple(2)
	out := Batch{First: int(r.UintMax(1 << 40))}
	n := r.Array(BatchMax)
	out.Items = make([]Item, 0, n)
	for range n {
		out.Items = append(out.Items, readItem(r))
	}
	if err := r.Done(); err != nil {
		return Batch{}, fmt.Errorf("api: batch: %w: %w", ErrProtocol, err)
	}
	return out, nil
}

func readItem(r *cbor.Reader) (it Item) {
	const u32, numbers = 1<<32 - 1, 1 << 40
	r.Tuple(itemFields)
	it.Parent = int(r.Int())
	it.Name = Text(r.Name(itemTextMax))
	it.Kind, it.Mode = uint8(r.UintMax(1<<8-1)), uint32(r.UintMax(u32))
	it.UID, it.GID = uint32(r.UintMax(u32)), uint32(r.UintMax(u32))
	it.RDev = r.Uint()
	it.Mtime, it.Size = r.Int(), r.Uint()
	it.Target = Text(r.Name(itemTextMax))
	it.Link = int(r.UintMax(numbers))
	bits := it.flags()
	flags := r.UintMax(1<<len(bits) - 1)
	for i, set := range bits {
		*set = flags>>i&1 == 1
	}
	it.Dev, it.Ino, it.Ctime = r.Uint(), r.Uint(), r.Int()
	n := r.Array(2 * itemXattrsMax)
	if n%2 != 0 {
		r.Fail("a name without a value")
	}
	for range n / 2 {
		if it.Xattrs == nil {
			it.Xattrs = map[string][]byte{}
		}
		name := r.Name(itemTextMax)
		it.Xattrs[name] = append([]byte{}, r.Bytes(itemXattrMax)...)
	}
	if it.Data = r.Bytes(InlineMax); len(it.Data) == 0 {
		it.Data = nil
	} else if !it.Inline {
		r.Fail("data of an item that has them elsewhere")
	}
	return it
}
