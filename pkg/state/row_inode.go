package state

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Clone is a copy that shares only bytes that nobody changes: values of attributes and bodies.
func (n *Inode) Clone() *Inode {
	c := *n
	c.Xattrs = slices.Clone(n.Xattrs)
	c.Ext = slices.Clone(n.Ext)
	c.Links = slices.Clone(n.Links)
	for i, l := range c.Links {
		if l.Over != nil {
			over := *l.Over
			c.Links[i].Over = &over
		}
	}
	c.Contents = slices.Clone(n.Contents)
	c.Seen = slices.Clone(n.Seen)
	return &c
}

// Stamp is a copy of a version with the dot of the commit that carries it: the zero dots of the version
// and of its contents become d, and d is added to what it has seen if it brings contents.
//
// What an operation changes while a commit runs starts from the stamped version: the seq of a commit is fixed when its rows are taken.
func (n *Inode) Stamp(d Dot) *Inode {
	c := n.Clone()
	seen := n.seen()
	c.Dot = d
	for i := range c.Contents {
		if c.Contents[i].Dot.IsZero() {
			c.Contents[i].Dot = d
		}
	}
	slices.SortFunc(c.Contents, newestFirst)
	c.Seen = leftOut(joinSeen(seen, listed(c.Contents)), c.Contents)
	return c
}

// Newest is the latest stamp in the inode: its ctime.
func (n *Inode) Newest() TS {
	t := maxTS(n.Mode.TS, n.Owner.TS)
	for i := range n.Xattrs {
		t = maxTS(t, n.Xattrs[i].TS)
	}
	for i := range n.Ext {
		t = maxTS(t, n.Ext[i].TS)
	}
	for i := range n.Links {
		t = maxTS(t, maxTS(n.Links[i].TS, n.Links[i].DeadTS))
		if o := n.Links[i].Over; o != nil {
			t = maxTS(t, o.TS)
		}
	}
	for i := range n.Contents {
		t = maxTS(t, maxTS(n.Contents[i].TS, n.Contents[i].MtimeTS))
	}
	return t
}

// Newest is the latest stamp in the wish.
func (w *Wish) Newest() TS {
	t := maxTS(w.Policy.TS, maxTS(w.Durability.TS, w.Homes.TS))
	for i := range w.Pins {
		t = maxTS(t, w.Pins[i].TS)
	}
	for i := range w.Ext {
		t = maxTS(t, w.Ext[i].TS)
	}
	return t
}

// FolderMtime is a folder's mtime as utimes set it, in ns since 1970, if it did.
func (n *Inode) FolderMtime() (mtime int64, at TS, ok bool) { return n.extTime(ExtFolderMtime) }

// SetFolderMtime sets what FolderMtime tells.
func (n *Inode) SetFolderMtime(mtime int64, at TS) { n.setExtTime(ExtFolderMtime, mtime, at) }

// Atime is the time of access, in ns since 1970: as utimes set it, or that of the inode's making. Reading does not change it.
func (n *Inode) Atime() int64 {
	if atime, _, ok := n.extTime(ExtAtime); ok {
		return atime
	}
	return n.Btime
}

// SetAtime sets what Atime tells.
func (n *Inode) SetAtime(atime int64, at TS) { n.setExtTime(ExtAtime, atime, at) }

// extTime is a time in a later field, and when it was set.
func (n *Inode) extTime(field uint64) (ns int64, at TS, ok bool) {
	i, ok := slices.BinarySearchFunc(n.Ext, field, func(e Ext, f uint64) int { return cmp.Compare(e.Field, f) })
	if !ok || len(n.Ext[i].Value) != 8 {
		return 0, TS{}, false
	}
	return int64(binary.BigEndian.Uint64(n.Ext[i].Value)), n.Ext[i].TS, true
}

func (n *Inode) setExtTime(field uint64, ns int64, at TS) {
	n.Ext = put(n.Ext, Ext{Field: field, TS: at, Value: binary.BigEndian.AppendUint64(nil, uint64(ns))}, byField)
}

// SetXattr sets or, with gone, removes an extended attribute; the memory that it is gone stays.
func (n *Inode) SetXattr(x Xattr) { n.Xattrs = put(n.Xattrs, x, byXattrName) }

// put replaces the element of a sorted slice that equals e, or inserts it.
func put[T any](s []T, e T, order func(a, b T) int) []T {
	i, found := slices.BinarySearchFunc(s, e, order)
	if found {
		s[i] = e
		return s
	}
	return slices.Insert(s, i, e)
}

// SetShown makes c, which gets the zero dot and a free K, the shown content, in place of the one shown so far and of
// those with the same bytes. n is a clone of a fold's Inode; its Seen must be, or become, the fold's SeenForUpdate.
func (n *Inode) SetShown(c Content, key BodyKey) {
	if len(n.Contents) > 0 {
		n.DropContent(n.Contents[0].Name(), key)
	}
	n.addContent(c)
}

// SetOver is SetShown for an edit of the content over, which c takes the place of if it is listed still; what else
// is listed stays, and so it stays a conflict. The zero name is what author, who makes the edit, wrote last.
func (n *Inode) SetOver(c Content, over ContentName, author ident.Actor, key BodyKey) {
	if over.Dot.IsZero() {
		for _, o := range n.Contents { // newest first
			if o.Dot.IsZero() || o.Dot.Actor == author {
				over = o.Name()
				break
			}
		}
	}
	n.DropContent(over, key)
	n.addContent(c)
}

// addContent lists a content of the change that is being made.
func (n *Inode) addContent(c Content) {
	c.Dot, c.K = Dot{}, 0
	for slices.ContainsFunc(n.Contents, func(o Content) bool { return o.Name() == c.Name() }) {
		c.K++
	}
	n.Contents = append(n.Contents, c)
	slices.SortFunc(n.Contents, newestFirst)
}

// DropContent removes a content and those with the same bytes, if it is there. As for SetShown, Seen must say that it was observed.
func (n *Inode) DropContent(name ContentName, key BodyKey) {
	i := slices.IndexFunc(n.Contents, func(o Content) bool { return o.Name() == name })
	if i < 0 {
		return
	}
	bytes := key.of(n.Contents[i].Body)
	n.Contents = slices.DeleteFunc(n.Contents, func(o Content) bool { return key.of(o.Body) == bytes })
}

// BodyKey tells for an encoded body what is equal exactly for bodies of the same bytes: its sum, or the
// body itself where it has none (DESIGN section 3). Nil takes the body itself.
type BodyKey func(body []byte) string

func (k BodyKey) of(body []byte) string {
	if k == nil {
		return string(body)
	}
	return k(body)
}

// seen is per actor the highest content dot that the version's author had observed, sorted by actor.
func (n *Inode) seen() []Dot {
	if n.Seen != nil {
		return n.Seen
	}
	return listed(n.Contents)
}

// listed is per actor the highest dot of contents, sorted by actor; zero dots are left out.
func listed(contents []Content) []Dot {
	var out []Dot
	for i := range contents {
		if d := contents[i].Dot; !d.IsZero() {
			out = joinSeen(out, []Dot{d})
		}
	}
	return out
}

// joinSeen is per actor the highest dot of both.
func joinSeen(a, b []Dot) []Dot {
	if len(a) == 0 {
		return b
	}
	out := slices.Clone(a)
	for _, d := range b {
		if i, ok := slices.BinarySearchFunc(out, d, byActor); !ok {
			out = slices.Insert(out, i, d)
		} else if out[i].Seq < d.Seq {
			out[i] = d
		}
	}
	return out
}

// covers says whether a sorted seen has observed d.
func covers(seen []Dot, d Dot) bool {
	i, ok := slices.BinarySearchFunc(seen, d, byActor)
	return ok && d.Seq <= seen[i].Seq && !d.IsZero()
}

// leftOut is seen, or nil if it says no more than the listed contents.
func leftOut(seen []Dot, contents []Content) []Dot {
	if len(seen) == 0 || slices.Equal(seen, listed(contents)) {
		return nil
	}
	return seen
}
