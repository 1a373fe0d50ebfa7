package state

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// Compare orders dots by actor, then seq: -1, 0 or +1.
func (d Dot) Compare(o Dot) int {
	if c := d.Actor.Compare(o.Actor); c != 0 {
		return c
	}
	return cmp.Compare(d.Seq, o.Seq)
}

// IsZero says whether the change has not been committed yet.
func (d Dot) IsZero() bool { return d == Dot{} }

// Compare orders stamps by HLC, then actor: -1, 0 or +1.
func (t TS) Compare(o TS) int {
	if c := cmp.Compare(t.HLC, o.HLC); c != 0 {
		return c
	}
	return t.Actor.Compare(o.Actor)
}

// After says whether t is later than o.
func (t TS) After(o TS) bool { return t.Compare(o) > 0 }

// IsZero says whether t is before all other stamps.
func (t TS) IsZero() bool { return t == TS{} }

// maxTS is the later one.
func maxTS(a, b TS) TS {
	if b.After(a) {
		return b
	}
	return a
}

// Name is the content's name, which is unique within its inode for good.
func (c *Content) Name() ContentName { return ContentName{Dot: c.Dot, K: c.K} }

// Compare orders names of contents by dot, then K: -1, 0 or +1.
func (n ContentName) Compare(o ContentName) int {
	if c := n.Dot.Compare(o.Dot); c != 0 {
		return c
	}
	return cmp.Compare(n.K, o.K)
}

// newestFirst is the order of an inode's contents.
func newestFirst(a, b Content) int {
	if c := b.TS.Compare(a.TS); c != 0 {
		return c
	}
	return b.Name().Compare(a.Name())
}

func byLinkID(a, b Link) int     { return cmp.Compare(a.ID, b.ID) }
func byXattrName(a, b Xattr) int { return strings.Compare(a.Name, b.Name) }
func byField(a, b Ext) int       { return cmp.Compare(a.Field, b.Field) }
func byPod(a, b Pin) int         { return bytes.Compare(a.Pod[:], b.Pod[:]) }
func byDot(a, b Dot) int         { return a.Compare(b) }
func byActor(a, b Dot) int       { return a.Actor.Compare(b.Actor) }

// sorted is s in order: s itself if it is so already, else a sorted copy.
func sorted[T any](s []T, order func(a, b T) int) []T {
	if slices.IsSortedFunc(s, order) {
		return s
	}
	s = slices.Clone(s)
	slices.SortFunc(s, order)
	return s
}
