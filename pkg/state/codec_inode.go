package state

import (
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// AppendInode appends an encoded version of an inode to b: the format is drawn in docs/format/state.md. Dot is not part of it: it
// stands beside the version in a VerSet, is the commit's own in a commit, and zero in a dirty row. Contents with the zero dot are the version's own.
//
// Lists out of order are written in order, and a Seen that says no more than the contents is left out.
func AppendInode(b []byte, n *Inode) []byte {
	e := encoder{b: b}
	e.inode(n)
	return e.b
}

// roughLen is about how many bytes AppendInode appends.
func (n *Inode) roughLen() int {
	const fields, perLink, perContent, perXattr = 96, 64, 96, 32
	size := fields
	for i := range n.Links {
		size += perLink + len(n.Links[i].Name)
	}
	for i := range n.Contents {
		size += perContent + len(n.Contents[i].Body)
	}
	for i := range n.Xattrs {
		size += perXattr + len(n.Xattrs[i].Name) + len(n.Xattrs[i].Value)
	}
	return size
}

// DecodeInode reads what AppendInode writes, and nothing else: encoding the result gives b again. Attribute values and bodies alias b.
// The error is block.ErrCorrupt.
func DecodeInode(b []byte) (*Inode, error) {
	d := newDecoder(b)
	if len(b) > InodeMax {
		d.Fail("%d bytes, over the limit of %d", len(b), InodeMax)
	}
	n := d.inode()
	if err := d.Done(); err != nil {
		return nil, corrupt("inode", err)
	}
	return n, nil
}

func (e *encoder) inode(n *Inode) {
	contents := sorted(n.Contents, newestFirst)
	e.array(13)
	e.uint(uint64(n.Kind))
	e.uint(uint64(n.Mode.Value))
	e.ts(n.Mode.TS)
	e.uint(uint64(n.Owner.Value.UID))
	e.uint(uint64(n.Owner.Value.GID))
	e.ts(n.Owner.TS)
	e.uint(n.RDev)
	e.int(n.Btime)
	e.xattrs(sorted(n.Xattrs, byXattrName))
	e.ext(n.Ext)
	e.links(sorted(n.Links, byLinkID))
	e.contents(contents)
	e.b = appendDots(e.b, leftOut(sorted(n.Seen, byActor), contents))
}

func (d *decoder) inode() *Inode {
	n := new(Inode)
	d.Tuple(13)
	n.Kind = vfs.Kind(d.UintMax(uint64(vfs.KindBlockDev)))
	n.Mode.Value = uint32(d.UintMax(0o7777))
	n.Mode.TS = d.ts()
	n.Owner.Value.UID = uint32(d.UintMax(1<<32 - 1))
	n.Owner.Value.GID = uint32(d.UintMax(1<<32 - 1))
	n.Owner.TS = d.ts()
	n.RDev = d.Uint()
	n.Btime = d.Int()
	n.Xattrs = list(&d.Reader, XattrsMax, byXattrName, d.xattr)
	n.Ext = d.ext()
	n.Links = list(&d.Reader, LinksMax, byLinkID, d.link)
	n.Contents = list(&d.Reader, ContentsMax, newestFirst, d.content)
	n.Seen = readDots(&d.Reader, VVMax, byActor)
	if d.Err() == nil {
		if why := n.broken(); why != "" {
			d.Fail("%s", why)
		}
	}
	return n
}

// broken says which rule a version breaks that is not one of a single field, or "".
func (n *Inode) broken() string {
	folder := n.Kind == vfs.KindFolder
	switch {
	case n.Kind == 0:
		return "inode of no kind"
	case !folder && len(n.Links) == 0:
		return "inode without a link"
	case folder && (len(n.Links) > 1 || len(n.Links) == 1 && n.Links[0].ID != 0):
		return "folder whose only link is not number 0"
	case folder && len(n.Contents) > 0:
		return "folder with contents"
	case n.Seen != nil && leftOut(n.Seen, n.Contents) == nil:
		return "seen is not left out"
	}
	var names map[ContentName]bool // of several: most have one
	if len(n.Contents) > 1 {
		names = make(map[ContentName]bool, len(n.Contents))
	}
	for i := range n.Contents {
		c := &n.Contents[i]
		if names[c.Name()] {
			return "two contents of one name"
		}
		if names != nil {
			names[c.Name()] = true
		}
		if n.Seen != nil && !c.Dot.IsZero() && !covers(n.Seen, c.Dot) {
			return "a listed content was not seen"
		}
	}
	return ""
}

func (e *encoder) xattrs(xs []Xattr) {
	e.array(len(xs))
	for i := range xs {
		e.array(3)
		e.name(xs[i].Name)
		if xs[i].Gone {
			e.null()
		} else {
			e.bytes(xs[i].Value)
		}
		e.ts(xs[i].TS)
	}
}

func (d *decoder) xattr() Xattr {
	d.Tuple(3)
	x := Xattr{Name: d.Name(vfs.XattrNameMax)}
	if d.Err() == nil && (x.Name == "" || strings.Contains(x.Name, "\x00")) {
		d.Fail("name of an attribute is empty or has a NUL")
	}
	if x.Gone = d.Null(); !x.Gone {
		x.Value = d.Bytes(vfs.XattrMax)
	}
	x.TS = d.ts()
	return x
}

func (e *encoder) ext(xs []Ext) {
	xs = sorted(xs, byField)
	e.array(len(xs))
	for i := range xs {
		e.array(3)
		e.uint(xs[i].Field)
		e.ts(xs[i].TS)
		e.bytes(xs[i].Value)
	}
}

func (d *decoder) ext() []Ext {
	return list(&d.Reader, ExtMax, byField, func() Ext {
		d.Tuple(3)
		return Ext{Field: d.Uint(), TS: d.ts(), Value: d.Bytes(ExtValueMax)}
	})
}

func (e *encoder) links(ls []Link) {
	e.array(len(ls))
	for i := range ls {
		l := &ls[i]
		e.array(7)
		e.uint(l.ID)
		e.uint(uint64(l.Parent))
		e.name(l.Name)
		e.ts(l.TS)
		if !l.Dead && l.DeadTS.IsZero() {
			e.null() // it never died
		} else {
			e.array(2)
			e.bool(l.Dead)
			e.ts(l.DeadTS)
		}
		if l.PrevParent == 0 {
			e.null() // it never moved
		} else {
			e.array(2)
			e.uint(uint64(l.PrevParent))
			e.name(l.PrevName)
		}
		if l.Over == nil {
			e.null()
			continue
		}
		e.array(3)
		e.uint(uint64(l.Over.Ino))
		e.ts(l.Over.Since)
		e.ts(l.Over.TS)
	}
}

func (d *decoder) link() Link {
	d.Tuple(7)
	l := Link{ID: d.Uint(), Parent: d.ino(), Name: d.fileName(), TS: d.ts()}
	if !d.Null() {
		d.Tuple(2)
		l.Dead, l.DeadTS = d.Bool(), d.ts()
		if d.Err() == nil && !l.Dead && l.DeadTS.IsZero() {
			d.Fail("the death of a link that never died")
		}
	}
	if !d.Null() {
		d.Tuple(2)
		l.PrevParent, l.PrevName = d.ino(), d.fileName()
	}
	if !d.Null() {
		d.Tuple(3)
		l.Over = &Over{Ino: d.ino(), Since: d.ts(), TS: d.ts()}
	}
	return l
}

// ino reads a number that is not zero.
func (d *decoder) ino() Ino {
	n := d.Uint()
	if d.Err() == nil && n == 0 {
		d.Fail("inode number 0")
	}
	return Ino(n)
}

func (e *encoder) contents(cs []Content) {
	e.array(len(cs))
	for i := range cs {
		c := &cs[i]
		e.array(7)
		e.dot(c.Dot)
		e.uint(uint64(c.K))
		e.ts(c.TS)
		e.uint(c.Size)
		e.int(c.Mtime)
		e.ts(c.MtimeTS)
		e.bytes(c.Body)
	}
}

func (d *decoder) content() Content {
	d.Tuple(7)
	c := Content{Dot: d.dot(), K: uint32(d.UintMax(1<<32 - 1)), TS: d.ts(), Size: d.UintMax(vfs.FileMax), Mtime: d.Int(), MtimeTS: d.ts()}
	if b := d.Bytes(BodyMax); len(b) > 0 {
		c.Body = b
	}
	return c
}
