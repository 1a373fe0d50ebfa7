package dag

import (
	"context"
	"math"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// FolderAttr is what a folder's node says of the folder itself.
type FolderAttr struct {
	Mode    uint32 // 07777
	UID     uint32
	GID     uint32
	Mtime   int64  // ns since 1970
	Entries uint64 // how many; computed by BuildFolder and EditFolder
	Size    uint64 // sum of the entries' sizes in bytes, modulo 2^64; computed as Entries is
}

// folder is a folder's root block: its attributes and the top node of the map of its entries, which is
// part of the block, so that a small folder is one block.
type folder struct {
	attr FolderAttr
	top  []byte // encoded mapNode; empty: no entries
}

// encode encodes the block: [4, mode, uid, gid, mtime, entries, size, top].
func (f *folder) encode() []byte {
	b := cbor.AppendArray(make([]byte, 0, 64+len(f.top)), 8)
	b = cbor.AppendUint(b, typeFolder)
	b = cbor.AppendUint(b, uint64(f.attr.Mode))
	b = cbor.AppendUint(b, uint64(f.attr.UID))
	b = cbor.AppendUint(b, uint64(f.attr.GID))
	b = cbor.AppendInt(b, f.attr.Mtime)
	b = cbor.AppendUint(b, f.attr.Entries)
	b = cbor.AppendUint(b, f.attr.Size)
	return cbor.AppendBytes(b, f.top)
}

// decodeFolder decodes what encode writes; top aliases data.
func decodeFolder(data []byte) (*folder, error) {
	r := cbor.NewReader(data)
	readType(r, 8, typeFolder)
	f := &folder{
		attr: FolderAttr{
			Mode:    uint32(r.UintMax(modeMax)),
			UID:     uint32(r.UintMax(math.MaxUint32)),
			GID:     uint32(r.UintMax(math.MaxUint32)),
			Mtime:   r.Int(),
			Entries: r.Uint(),
			Size:    r.Uint(),
		},
		top: r.Bytes(block.NodeMax),
	}
	if r.Err() == nil && (f.attr.Entries == 0) != (len(f.top) == 0) {
		r.Fail("%d entries, top node of %d bytes", f.attr.Entries, len(f.top))
	}
	if err := r.Done(); err != nil {
		return nil, corrupt("folder", err)
	}
	if len(f.top) > 0 {
		if _, err := decodeMapNode(f.top); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// loadFolder reads a folder's block. The map of its entries is read through the topStore that it returns.
func loadFolder(ctx context.Context, st block.Getter, id block.ID) (*folder, *topStore, error) {
	data, err := getNode(ctx, st, id)
	if err != nil {
		return nil, nil, err
	}
	f, err := decodeFolder(data)
	if err != nil {
		return nil, nil, err
	}
	tops := &topStore{get: st, data: f.top}
	if len(f.top) > 0 {
		tops.top = block.Sum(block.DagCBOR, f.top)
	}
	return f, tops, nil
}

// ReadFolder returns a folder's own attributes.
func ReadFolder(ctx context.Context, get block.Getter, id block.ID) (FolderAttr, error) {
	f, _, err := loadFolder(ctx, get, id)
	if err != nil {
		return FolderAttr{}, err
	}
	return f.attr, nil
}

// ListFolder returns at most limit entries, sorted by name, whose names are greater than after.
func ListFolder(ctx context.Context, get block.Getter, id block.ID, after string, limit int) ([]Dirent, error) {
	if limit <= 0 {
		return nil, nil
	}
	var out []Dirent
	err := WalkFolder(ctx, get, id, after, func(d Dirent) error {
		if out = append(out, d); len(out) == limit {
			return ErrStop
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// WalkFolder calls f for the entries, sorted by name, whose names are greater than after. An error of f ends it and is returned
// as it is, but ErrStop as nil.
func WalkFolder(ctx context.Context, get block.Getter, id block.ID, after string, f func(Dirent) error) error {
	_, tops, err := loadFolder(ctx, get, id)
	if err != nil {
		return err
	}
	var from []byte
	if after != "" {
		from = append([]byte(after), 0) // the least name that is greater
	}
	return WalkTree(ctx, tops, tops.top, from, func(kv KV) error {
		d, err := decodeDirent(kv)
		if err != nil {
			return err
		}
		return f(d)
	})
}

// LookupFolder finds an entry by its name.
func LookupFolder(ctx context.Context, get block.Getter, id block.ID, name string) (Dirent, bool, error) {
	_, tops, err := loadFolder(ctx, get, id)
	if err != nil {
		return Dirent{}, false, err
	}
	return lookup(ctx, tops, tops.top, name)
}

func lookup(ctx context.Context, get block.Getter, root block.ID, name string) (Dirent, bool, error) {
	value, ok, err := GetTree(ctx, get, root, []byte(name))
	if err != nil || !ok {
		return Dirent{}, false, err
	}
	d, err := decodeDirent(KV{Key: []byte(name), Value: value})
	return d, err == nil, err
}

// DiffFolders calls f, in the order of names, for each entry that differs between the folders a and b; an entry that
// one has not is nil. It does not go into folders below. A zero ID is an empty folder. An error of f ends it and is returned as
// it is, but ErrStop as nil.
func DiffFolders(ctx context.Context, get block.Getter, a, b block.ID, f func(da, db *Dirent) error) error {
	ta, err := loadTop(ctx, get, a)
	if err != nil {
		return err
	}
	tb, err := loadTop(ctx, ta, b)
	if err != nil {
		return err
	}
	return DiffTree(ctx, tb, ta.top, tb.top, func(key, va, vb []byte) error {
		var ds [2]*Dirent
		for i, value := range [][]byte{va, vb} {
			if value == nil {
				continue
			}
			d, err := decodeDirent(KV{Key: key, Value: value})
			if err != nil {
				return err
			}
			ds[i] = &d
		}
		return f(ds[0], ds[1])
	})
}

// FolderNodes calls f for every block that a folder itself consists of below its own: the nodes of the map of its
// entries. What the entries link to is not among them. An error of f ends it and is returned as it is.
func FolderNodes(ctx context.Context, get block.Getter, id block.ID, f func(id block.ID) error) error {
	_, tops, err := loadFolder(ctx, get, id)
	if err != nil || tops.top.IsZero() {
		return err
	}
	top, err := decodeMapNode(tops.data)
	if err != nil {
		return err
	}
	return top.nodesBelow(ctx, get, f)
}
