package dag

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// Limits of a folder's entries.
const (
	NameMax      = 255       // bytes of a name (vfs.NameMax)
	XattrNameMax = 255       // bytes (vfs.XattrNameMax)
	XattrMax     = 64 << 10  // bytes of a value (vfs.XattrMax)
	XattrsMax    = 512 << 10 // bytes of all names and values of an entry

	modeMax    = 0o7777
	kindMax    = 7 // vfs.KindBlockDev
	kindFolder = 2 // vfs.KindFolder
)

// ErrBadDirent says that an entry of a folder is none: its name is empty, too long, ".", "..", or has a slash or
// NUL, or a field is out of its range.
var ErrBadDirent = errors.New("no valid folder entry")

// Dirent is an entry of a folder of the view.
type Dirent struct {
	Name   string
	Kind   uint8  // a vfs.Kind
	Mode   uint32 // 07777
	UID    uint32
	GID    uint32
	RDev   uint64   // of devices
	Mtime  int64    // ns since 1970
	Size   uint64   // bytes; of a folder, whatever its parent is to add up: FolderAttr.Size
	Ino    uint64   // its number
	Child  block.ID // a body or a folder; zero for an empty file and what has no content
	Xattrs []Xattr  // sorted by name
}

// Xattr is an extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// CheckName says what is wrong with a name in a folder: ErrBadDirent.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > NameMax || name == "." || name == ".." {
		return fmt.Errorf("%w: name %.40q of %d bytes", ErrBadDirent, name, len(name))
	}
	for i := range len(name) {
		if name[i] == 0 || name[i] == '/' {
			return fmt.Errorf("%w: name %q", ErrBadDirent, name)
		}
	}
	return nil
}

// Check says what is wrong with the entry: ErrBadDirent, or ErrTooLarge for its attributes.
func (d *Dirent) Check() error {
	if err := CheckName(d.Name); err != nil {
		return err
	}
	switch {
	case d.Kind == 0 || d.Kind > kindMax:
		return fmt.Errorf("%w: %q: kind %d", ErrBadDirent, d.Name, d.Kind)
	case d.Mode > modeMax:
		return fmt.Errorf("%w: %q: mode %#o", ErrBadDirent, d.Name, d.Mode)
	case !d.Child.IsZero() && d.Child.Codec() != block.DagCBOR:
		return fmt.Errorf("%w: %q: %s is no node", ErrBadDirent, d.Name, d.Child)
	case d.Kind == kindFolder && d.Child.IsZero():
		return fmt.Errorf("%w: %q: a folder without a node", ErrBadDirent, d.Name)
	}
	total := 0
	for i, x := range d.Xattrs {
		if len(x.Name) == 0 || len(x.Name) > XattrNameMax || (i > 0 && d.Xattrs[i-1].Name >= x.Name) {
			return fmt.Errorf("%w: %q: attribute %.40q", ErrBadDirent, d.Name, x.Name)
		}
		total += len(x.Name) + len(x.Value)
		if len(x.Value) > XattrMax || total > XattrsMax {
			return fmt.Errorf("dag: attributes of %q: %w", d.Name, ErrTooLarge)
		}
	}
	return nil
}

// appendValue appends all but the name:
// [kind, mode, uid, gid, rdev, mtime, size, ino, link or null, [name, value, ...]].
func (d *Dirent) appendValue(b []byte) []byte {
	b = cbor.AppendArray(b, 10)
	b = cbor.AppendUint(b, uint64(d.Kind))
	b = cbor.AppendUint(b, uint64(d.Mode))
	b = cbor.AppendUint(b, uint64(d.UID))
	b = cbor.AppendUint(b, uint64(d.GID))
	b = cbor.AppendUint(b, d.RDev)
	b = cbor.AppendInt(b, d.Mtime)
	b = cbor.AppendUint(b, d.Size)
	b = cbor.AppendUint(b, d.Ino)
	if d.Child.IsZero() {
		b = cbor.AppendNull(b)
	} else {
		b = appendLink(b, d.Child)
	}
	b = cbor.AppendArray(b, 2*len(d.Xattrs))
	for _, x := range d.Xattrs {
		b = cbor.AppendBytes(cbor.AppendName(b, x.Name), x.Value)
	}
	return b
}

// item is the entry as an item of a map, checked.
func (d *Dirent) item() (KV, error) {
	if err := d.Check(); err != nil {
		return KV{}, err
	}
	return KV{Key: []byte(d.Name), Value: d.appendValue(make([]byte, 0, 96))}, nil
}

// decodeDirent decodes an item of a folder's map; the entry does not alias it.
func decodeDirent(kv KV) (Dirent, error) {
	const u32 = 1<<32 - 1
	r := cbor.NewReader(kv.Value)
	r.Tuple(10)
	d := Dirent{
		Name:  string(kv.Key),
		Kind:  uint8(r.UintMax(kindMax)),
		Mode:  uint32(r.UintMax(modeMax)),
		UID:   uint32(r.UintMax(u32)),
		GID:   uint32(r.UintMax(u32)),
		RDev:  r.Uint(),
		Mtime: r.Int(),
		Size:  r.Uint(),
		Ino:   r.Uint(),
	}
	if !r.Null() {
		d.Child = readLink(r, block.DagCBOR)
	}
	count := r.Array(XattrsMax)
	if count%2 != 0 {
		r.Fail("%d attribute names and values", count)
	}
	for range count / 2 {
		d.Xattrs = append(d.Xattrs, Xattr{Name: r.Name(XattrNameMax), Value: bytes.Clone(r.Bytes(XattrMax))})
		if r.Err() != nil {
			break
		}
	}
	if err := r.Done(); err != nil {
		return Dirent{}, corrupt("folder entry", err)
	}
	if err := d.Check(); err != nil {
		return Dirent{}, corrupt("folder entry", err)
	}
	return d, nil
}
