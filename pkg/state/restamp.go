package state

import (
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// restamp reads what a pod did while its clock was far ahead as if it had done it now, under a new incarnation: its commits after a seq get other numbers, and
// stamps beyond a limit others, in the same order.
type restamp struct {
	from, to ident.Actor
	after    uint64
	limit    HLC
	times    map[HLC]HLC
	btimeMax int64 // ns since 1970
}

func (r *restamp) dot(d Dot) Dot {
	if d.Actor == r.from && d.Seq > r.after {
		return Dot{r.to, d.Seq - r.after}
	}
	return d
}

func (r *restamp) dots(list []Dot) []Dot {
	out := make([]Dot, len(list))
	for i, d := range list {
		out[i] = r.dot(d)
	}
	slices.SortFunc(out, byDot)
	return out
}

// seen is as mapped.seen: what comes before on the author's chain was seen too.
func (r *restamp) seen(list []Dot) (out []Dot) {
	for _, d := range list {
		moved := r.dot(d)
		out = joinSeen(out, []Dot{moved})
		if moved != d {
			out = r.floor(out)
		}
	}
	return out
}

func (r *restamp) floor(seen []Dot) []Dot {
	if r.after == 0 {
		return seen
	}
	return joinSeen(seen, []Dot{{r.from, r.after}})
}

func (r *restamp) ts(t *TS) {
	if t.HLC > r.limit {
		t.HLC = r.times[t.HLC]
	}
}

// inode reads a version; own says that a commit that gets another number brings it.
func (r *restamp) inode(n *Inode, own bool) *Inode {
	seen := r.seen(n.seen())
	if own && slices.ContainsFunc(n.Contents, func(c Content) bool { return c.Dot.IsZero() }) {
		seen = r.floor(seen)
	}
	c := n.Clone()
	eachTS(c, r.ts)
	c.Btime = min(c.Btime, r.btimeMax)
	for i := range c.Contents {
		c.Contents[i].Dot = r.dot(c.Contents[i].Dot)
	}
	slices.SortFunc(c.Contents, newestFirst)
	c.Seen = leftOut(seen, c.Contents)
	return c
}

func (r *restamp) wish(w *Wish) *Wish {
	c := *w
	c.Pins, c.Ext = slices.Clone(w.Pins), slices.Clone(w.Ext)
	eachWishTS(&c, r.ts)
	return &c
}

// eachTS calls f with every stamp of an inode.
func eachTS(n *Inode, f func(*TS)) {
	f(&n.Mode.TS)
	f(&n.Owner.TS)
	for i := range n.Xattrs {
		f(&n.Xattrs[i].TS)
	}
	for i := range n.Ext {
		f(&n.Ext[i].TS)
	}
	for i := range n.Links {
		f(&n.Links[i].TS)
		f(&n.Links[i].DeadTS)
		if o := n.Links[i].Over; o != nil {
			f(&o.Since)
			f(&o.TS)
		}
	}
	for i := range n.Contents {
		f(&n.Contents[i].TS)
		f(&n.Contents[i].MtimeTS)
	}
}

// eachWishTS calls f with every stamp of a wish.
func eachWishTS(w *Wish, f func(*TS)) {
	f(&w.Policy.TS)
	f(&w.Durability.TS)
	f(&w.Homes.TS)
	for i := range w.Pins {
		f(&w.Pins[i].TS)
	}
	for i := range w.Ext {
		f(&w.Ext[i].TS)
	}
}

// row is a rowReader.
func (r *restamp) row(kind byte, committed bool, b []byte) ([]byte, error) {
	if !committed {
		return r.dirty(kind, b)
	}
	switch kind {
	case KeyInode:
		s, err := DecodeInodeSet(b)
		return AppendInodeSet(nil, restampSet(r, s, func(n *Inode) *Inode { return r.inode(n, false) })), err
	case KeyWish:
		s, err := DecodeWishSet(b)
		return AppendWishSet(nil, restampSet(r, s, r.wish)), err
	}
	s, err := DecodeSnapSet(b)
	return AppendSnapSet(nil, restampSet(r, s, func(id block.ID) block.ID { return id })), err
}

// restampSet reads the versions of a row. Those of commits that stay name nothing of the others.
func restampSet[T any](r *restamp, s VerSet[T], value func(T) T) VerSet[T] {
	out := slices.Clone(s)
	for i, v := range s {
		if dot := r.dot(v.Dot); dot != v.Dot {
			out[i] = Version[T]{Dot: dot, Value: value(v.Value)}
		}
	}
	slices.SortFunc(out, byVersion[T])
	return out
}

func (r *restamp) dirty(kind byte, b []byte) ([]byte, error) {
	w, err := decodeDirty(b)
	if err != nil {
		return nil, err
	}
	w.observed = r.dots(w.observed)
	if w.hlc > r.limit {
		w.hlc = r.times[w.hlc]
	}
	w.value, err = r.value(kind, w.value, false)
	return w.encode(), err
}

// value reads what a row's change brings.
func (r *restamp) value(kind byte, value []byte, own bool) ([]byte, error) {
	switch {
	case len(value) == 0 || kind == KeySnap:
		return value, nil
	case kind == KeyWish:
		w, err := DecodeWish(value)
		if err != nil {
			return nil, err
		}
		return AppendWish(nil, r.wish(w)), nil
	}
	n, err := DecodeInode(value)
	if err != nil {
		return nil, err
	}
	return AppendInode(nil, r.inode(n, own)), nil
}

// commit makes a commit of the old chain one of the new, without signing it. prev is the one before it there, nil for none.
func (r *restamp) commit(c *Commit, prev *Commit, skip [32]byte, base Dep) (*Commit, error) {
	n := &Commit{Header: Header{Network: c.Network, Actor: r.to, Seq: c.Seq - r.after, Skip: skip, HLC: r.times[c.HLC]}}
	if prev != nil {
		n.Prev = prev.Digest()
	}
	n.Deps = slices.Clone(c.Deps)
	if base.Seq > 0 {
		n.Deps = append(n.Deps, base)
	}
	for i := range c.Rows {
		row := Row{Key: c.Rows[i].Key, Observed: r.dots(c.Rows[i].Observed)}
		var err error
		if row.Value, err = r.value(row.Key[0], c.Rows[i].Value, true); err != nil {
			return nil, err
		}
		n.Rows = append(n.Rows, row)
	}
	return n, nil
}
