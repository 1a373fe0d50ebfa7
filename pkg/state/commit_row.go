package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// The first byte of a row's key says what the row is.
const (
	KeyInode = 'i' // and the inode's number, 8 bytes big-endian: VerSet<Inode>
	KeyWish  = 'p' // and the inode's number: VerSet<Wish>
	KeySnap  = 't' // and the snapshot's name: VerSet<tree root>
)

// Row is a change of one row: the versions with the observed dots are removed, and replaced by one, or by none.
type Row struct {
	Key      []byte
	Observed []Dot  // sorted
	Value    []byte // AppendInode, AppendWish or AppendSnap, of a version with zero dots; empty: the row is removed

	inode *Inode // the decoded value
	wish  *Wish
	snap  block.ID
}

// InodeKey is the key of an inode's row.
func InodeKey(n Ino) []byte { return binary.BigEndian.AppendUint64([]byte{KeyInode}, uint64(n)) }

// WishKey is the key of a wish's row.
func WishKey(n Ino) []byte { return binary.BigEndian.AppendUint64([]byte{KeyWish}, uint64(n)) }

// SnapKey is the key of a snapshot's row.
func SnapKey(name string) []byte { return append([]byte{KeySnap}, name...) }

// ParseKey reads a row's key: its first byte, and the number or name after it. The error is block.ErrCorrupt.
func ParseKey(key []byte) (kind byte, n Ino, name string, err error) {
	switch {
	case len(key) == 9 && (key[0] == KeyInode || key[0] == KeyWish):
		if n = Ino(binary.BigEndian.Uint64(key[1:])); n != 0 {
			return key[0], n, "", nil
		}
	case len(key) > 1 && key[0] == KeySnap && CheckName(string(key[1:])) == nil:
		return key[0], 0, string(key[1:]), nil
	}
	return 0, 0, "", fmt.Errorf("state: key %x of no row: %w", key, block.ErrCorrupt)
}

// Inode is the version that a decoded commit's row brings, with the commit's dot in place of the zero one; nil if it removes the row or isn't an inode's.
func (c *Commit) Inode(i int) *Inode {
	if c.Rows[i].inode == nil {
		return nil
	}
	return c.Rows[i].inode.Stamp(c.Dot())
}

// Wish is the wish that a decoded commit's row brings; nil if it removes the row or isn't a wish's.
func (c *Commit) Wish(i int) *Wish { return c.Rows[i].wish }

// Snap is the tree root that a decoded commit's row brings; zero if it removes the row or isn't a snapshot's.
func (c *Commit) Snap(i int) block.ID { return c.Rows[i].snap }

func appendRows(b []byte, rows []Row) []byte {
	size := 9
	for i := range rows {
		size += 32 + len(rows[i].Key) + len(rows[i].Value) + 32*len(rows[i].Observed)
	}
	b = cbor.AppendArray(slices.Grow(b, size), len(rows))
	for i := range rows {
		b = cbor.AppendArray(b, 3)
		b = cbor.AppendBytes(b, rows[i].Key)
		b = appendDots(b, sorted(rows[i].Observed, byDot))
		b = cbor.AppendBytes(b, rows[i].Value)
	}
	return b
}

// decodeRows reads rows with their values.
func decodeRows(b []byte) ([]Row, error) {
	r := cbor.NewReader(b)
	rows := list(r, RowsMax, byKey, func() (row Row) {
		r.Tuple(3)
		row.Key = r.Bytes(1 + vfs.NameMax)
		row.Observed = readDots(r, VersionsMax, byDot)
		row.Value = r.Bytes(InodeMax)
		if r.Err() == nil {
			if err := row.decode(); err != nil {
				r.Fail("row %x: %v", row.Key, err)
			}
		}
		return row
	})
	return rows, r.Done()
}

// decode decodes the value.
func (row *Row) decode() error {
	kind, _, _, err := ParseKey(row.Key)
	switch {
	case err != nil:
		return err
	case len(row.Value) == 0 && len(row.Observed) == 0:
		return errors.New("it removes nothing")
	case len(row.Value) == 0:
		return nil
	}
	switch kind {
	case KeyInode:
		row.inode, err = DecodeInode(row.Value)
	case KeyWish:
		row.wish, err = DecodeWish(row.Value)
	default:
		row.snap, err = DecodeSnap(row.Value)
	}
	return err
}

// check says whether a row names only what its author can name: dots of the commit's past, stamps not after its own.
func (c *Commit) check(row *Row, past VV) error {
	for _, d := range row.Observed {
		if !past.Covers(d) {
			return fmt.Errorf("it observed commit %d of actor %s, which its author had not seen", d.Seq, d.Actor)
		}
	}
	if row.wish != nil && row.wish.Newest().HLC > c.HLC {
		return errors.New("a stamp is after the commit's")
	}
	if row.inode == nil {
		return nil
	}
	_, ino, _, _ := ParseKey(row.Key) // decode has parsed it
	return c.checkInode(ino, row.inode, past)
}

// checkPlaces says whether an inode may have its number, and its links their parents: only folders have derived numbers, and no links but such to folders.
func checkPlaces(ino Ino, n *Inode) error {
	folder := n.Kind == vfs.KindFolder
	switch {
	case folder && (len(n.Links) == 0) != (ino == RootIno), ino == RootIno && !folder:
		return errors.New("only the root, a folder, has no link")
	case folder != isParent(ino):
		return errors.New("a derived number is not a folder's, or the other way round")
	}
	for i := range n.Links {
		if l := &n.Links[i]; !isParent(l.Parent) || l.PrevParent != 0 && !isParent(l.PrevParent) {
			return errors.New("a link is in what is no folder")
		}
	}
	return nil
}

func (c *Commit) checkInode(ino Ino, n *Inode, past VV) error {
	if n.Newest().HLC > c.HLC {
		return errors.New("a stamp is after the commit's")
	}
	if err := checkPlaces(ino, n); err != nil {
		return err
	}
	for i := range n.Links {
		if o := n.Links[i].Over; o != nil && o.Since.HLC > c.HLC {
			return errors.New("a stamp is after the commit's")
		}
	}
	for i := range n.Contents {
		if d := n.Contents[i].Dot; !d.IsZero() && !past.Covers(d) {
			return fmt.Errorf("a content is of commit %d of actor %s, which its author had not seen", d.Seq, d.Actor)
		}
	}
	for _, d := range n.Seen {
		if !past.Covers(d) {
			return fmt.Errorf("it saw a content of commit %d of actor %s, which its author had not", d.Seq, d.Actor)
		}
	}
	return nil
}
