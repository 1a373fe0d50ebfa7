package dag

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// Limits of maps.
const (
	KeyMax   = 1024      // bytes of a key; it has one at least
	ValueMax = 768 << 10 // bytes of a value: with its key it must fit a node (block.NodeMax)

	levelMax   = 32       // the highest level: two items a node at the least
	mapNodeMin = 512      // bytes of items; no node but the last of its level has fewer, unless a wide item follows
	mapNodeMax = 16 << 10 // bytes of items; only a node of a single item, or of two above level 0, has more
	itemsMax   = mapNodeMax / 3
)

// ErrOrder says that keys which must ascend do not.
var ErrOrder = errors.New("keys not in ascending order")

// KV is an item of a map. Slices that come from a map alias its blocks and must not be changed.
type KV struct{ Key, Value []byte }

// mapNode is a node of a prolly tree.
type mapNode struct {
	level int
	items []KV // above level 0 the value is the child's ID in its binary form, the key its first key
}

func (n *mapNode) first() []byte { return n.items[0].Key }

func (n *mapNode) last() []byte { return n.items[len(n.items)-1].Key }

// overlap says that a node reaches beyond the first key of what follows it.
func overlap(n *mapNode, next []byte) error {
	return corruptf("map node", "key %x is not before %x in the next node", n.last(), next)
}

// child is the ID of a child, which decodeMapNode and the builder have made sure of.
func (n *mapNode) child(i int) (block.ID, error) { return block.FromBytes(n.items[i].Value) }

// find is the index of the item with the greatest key that is less than key, or with orEqual not greater; -1 if
// there is none.
func (n *mapNode) find(key []byte, orEqual bool) int {
	lo, hi := 0, len(n.items)
	for lo < hi {
		mid := (lo + hi) / 2
		if c := bytes.Compare(n.items[mid].Key, key); c < 0 || (c == 0 && orEqual) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// encode encodes the node: [3, level, [key, value, ...]], values being links above level 0.
func (n *mapNode) encode() []byte {
	size := 8
	for _, kv := range n.items {
		size += width(n.level, kv)
	}
	b := cbor.AppendArray(make([]byte, 0, size), 3)
	b = cbor.AppendUint(cbor.AppendUint(b, typeMapNode), uint64(n.level))
	b = cbor.AppendArray(b, 2*len(n.items))
	for _, kv := range n.items {
		b = cbor.AppendBytes(b, kv.Key)
		if n.level == 0 {
			b = cbor.AppendBytes(b, kv.Value)
		} else {
			b = cbor.AppendLink(b, kv.Value)
		}
	}
	return b
}

// decodeMapNode decodes what encode writes; the items alias data.
func decodeMapNode(data []byte) (*mapNode, error) {
	r := cbor.NewReader(data)
	readType(r, 3, typeMapNode)
	n := &mapNode{level: int(r.UintMax(levelMax))}
	count := r.Array(2 * itemsMax)
	if r.Err() == nil && (count == 0 || count%2 != 0) {
		r.Fail("%d keys and values", count)
	}
	n.items = make([]KV, 0, count/2)
	size := 0
	for range count / 2 {
		kv := KV{Key: r.Bytes(KeyMax)}
		if n.level == 0 {
			kv.Value = r.Bytes(ValueMax)
		} else if id := readLink(r, block.DagCBOR); !id.IsZero() {
			kv.Value = id.Bytes()
		}
		if r.Err() == nil && (len(kv.Key) == 0 || (len(n.items) > 0 && bytes.Compare(n.items[len(n.items)-1].Key, kv.Key) >= 0)) {
			r.Fail("key is empty or not greater than the one before it")
		}
		size += width(n.level, kv)
		if least := min(n.level, 1) + 1; r.Err() == nil && size > mapNodeMax && len(n.items)+1 > least {
			r.Fail("%d bytes of items, over the limit of %d", size, mapNodeMax)
		}
		if r.Err() != nil {
			break
		}
		n.items = append(n.items, kv)
	}
	if err := r.Done(); err != nil {
		return nil, corrupt("map node", err)
	}
	return n, nil
}

// loadMapNode gets and decodes a node.
func loadMapNode(ctx context.Context, get block.Getter, id block.ID) (*mapNode, error) {
	data, err := getNode(ctx, get, id)
	if err != nil {
		return nil, err
	}
	return decodeMapNode(data)
}

// loadChild gets a child and checks it against what its parent says.
func (n *mapNode) loadChild(ctx context.Context, get block.Getter, i int) (*mapNode, error) {
	id, err := n.child(i)
	if err != nil {
		return nil, corrupt("map node", err)
	}
	kid, err := loadMapNode(ctx, get, id)
	if err != nil {
		return nil, err
	}
	if kid.level != n.level-1 || !bytes.Equal(kid.first(), n.items[i].Key) {
		return nil, corruptf("map node "+id.String(), "level %d, first key %x where level %d, key %x are expected",
			kid.level, kid.first(), n.level-1, n.items[i].Key)
	}
	return kid, nil
}

// width is the length of an item's encoding in bytes: what the rule of boundaries counts.
func width(level int, kv KV) int {
	w := headLen(len(kv.Key)) + len(kv.Key)
	if level > 0 {
		return w + linkLen
	}
	return w + headLen(len(kv.Value)) + len(kv.Value)
}

// linkLen is the length of an encoded link: a tag (2), the head of 37 bytes (2), a zero, the CID.
const linkLen = 2 + 2 + 1 + block.IDLen

// headLen is the length of the head of n bytes.
func headLen(n int) int {
	switch {
	case n < 24:
		return 1
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	}
	return 5
}

// boundary is the rule of the package doc: whether a node ends after its items-th item, of width w and with this
// key, when its items have size bytes so far, this one included.
func boundary(level int, key []byte, items, size, w int) bool {
	var shift uint
	switch {
	case size < mapNodeMin || (level > 0 && items < 2):
		return false
	case size < 2048:
		shift = 19
	case size < 4096:
		shift = 20
	case size < 8192:
		shift = 21
	default:
		shift = 22
	}
	return uint64(keyHash(level, key)) < uint64(w)<<shift
}

// keyHash is the first 32 bits of BLAKE3 over the level, one byte, and the key.
func keyHash(level int, key []byte) uint32 {
	var room [1 + 64]byte
	h := blake3.Sum256(append(append(room[:0], byte(level)), key...))
	return binary.BigEndian.Uint32(h[:])
}

// full says whether a node of this many items and bytes ends before an item of width w.
func full(level, items, size, w int) bool {
	return items > min(level, 1) && size+w > mapNodeMax
}
