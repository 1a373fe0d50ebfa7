package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// OriginMax is the most bytes of a NewContent.Origin.
const OriginMax = 1024

// originSize is the size of an origin record, in bytes.
const originSize = 32

// originRecord is what 'o' holds: BLAKE3-256 of
//
//	"wormhole/origin/1"
//	length of the origin, 4 bytes big-endian, and the origin
//	size of the content, 8 bytes
//	length of its body, 4 bytes, and the body as it is encoded
//	for each extended attribute that is there, sorted by name: length of the name, 4 bytes, the name, length of the value, 4 bytes, the value
//
// So it is right only for these very bytes and attributes, whoever gave them to the file: a change of them makes the record
// worthless, and one that comes back makes it right again. No record must be removed for a change to be seen.
func originRecord(origin []byte, c *Content, xattrs []Xattr) []byte {
	b := append(make([]byte, 0, 128+len(origin)+len(c.Body)), "wormhole/origin/1"...)
	b = appendText(b, origin)
	b = binary.BigEndian.AppendUint64(b, c.Size)
	b = appendText(b, c.Body)
	for i := range xattrs {
		if x := &xattrs[i]; !x.Gone {
			b = appendText(appendText(b, x.Name), x.Value)
		}
	}
	sum := blake3.Sum256(b)
	return sum[:]
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}

// putOrigin notes where a content of a file came from, which need not be the one that is shown.
func (t *tx) putOrigin(ino Ino, origin []byte, c *Content, n *Inode) error {
	if len(origin) == 0 {
		return nil
	}
	if len(origin) > OriginMax {
		return fmt.Errorf("origin of %d bytes: %w", len(origin), vfs.ErrTooLarge)
	}
	return t.set(inoKey(keyOrigin, ino), originRecord(origin, c, n.Xattrs))
}

// dropOrigin removes the record of an inode that is no more.
func (t *tx) dropOrigin(ino Ino, before, after *Folded) error {
	if before == nil || after != nil || isFolder(before) {
		return nil
	}
	return t.del(inoKey(keyOrigin, ino))
}

// FromOrigin is the node at a name of a folder, and whether it is a file whose bytes and extended attributes are still those that
// it was given with NewContent.Origin. Mode, owner and time may have changed. Errors: vfs.ErrNotExist, vfs.ErrNotDir.
func (d *DB) FromOrigin(parent vfs.NodeID, name string, origin []byte) (n Node, same bool, err error) {
	err = d.read(func(v view) error {
		s, err := v.lookup(parent, name)
		if err != nil {
			return err
		}
		if n, err = v.node(s); err != nil {
			return err
		}
		if len(origin) == 0 || n.Kind != vfs.KindFile || s.isCopy() || len(s.f.Inode.Contents) == 0 {
			return nil
		}
		record, err := get(v.r, inoKey(keyOrigin, s.ino))
		same = err == nil && record != nil && bytes.Equal(record, originRecord(origin, &s.f.Inode.Contents[0], s.f.Inode.Xattrs))
		return err
	})
	return n, same, err
}

// origins checks the records: of what they are can't be told, but whose.
func (c *checker) origins() error {
	return scanPrefix(c.r, []byte{keyOrigin}, func(key, value []byte) error {
		ino, rest, err := splitNameKey(key)
		if err != nil {
			return err
		}
		if rest != "" || len(value) != originSize {
			c.report("origin %x: %d bytes", key, len(value))
		}
		cur, err := c.inode(ino)
		switch {
		case errors.Is(err, block.ErrCorrupt): // it was reported as a row
		case err != nil:
			return err
		case cur.f == nil:
			c.report("origin of inode %d, which is not there", ino)
		}
		return nil
	})
}
