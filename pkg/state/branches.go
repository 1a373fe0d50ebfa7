package state

import (
	"maps"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// The commits of an incarnation that forked are told apart by labels: every commit whose parent is a fork point begins a branch, and a commit's label is the
// branch of the nearest such commit up its own chain, itself included; below all of them it is the incarnation. So a label depends on a commit's chain and on the set
// of known fork points alone, and it doesn't matter in which order these became known. Seqs are kept.
//
// A label names one unbroken piece of one chain. A commit that was signed by who knew fewer fork points names longer pieces; it is read through the chain
// of digests that it names.

// branch is a piece of a chain that begins behind a fork point.
type branch struct {
	point  forkPoint
	parent ident.Actor // the label of the piece before; the incarnation if point.seq is 0
	first  [32]byte    // digest of the first commit
}

// branches are the fork points that are known, and the branches of which commits are here.
type branches struct {
	points map[forkPoint]bool
	byName map[ident.Actor]branch
	names  map[ident.Actor][]ident.Actor // by incarnation: its branches
}

func newBranches() *branches {
	return &branches{points: map[forkPoint]bool{}, byName: map[ident.Actor]branch{}, names: map[ident.Actor][]ident.Actor{}}
}

// clone is a copy, for a change that may fail.
func (t *branches) clone() *branches {
	return &branches{points: maps.Clone(t.points), byName: maps.Clone(t.byName), names: maps.Clone(t.names)} // set copies a list before it changes it
}

func (t *branches) set(name ident.Actor, b branch) {
	t.byName[name] = b
	if list := t.names[b.point.actor]; !slices.Contains(list, name) {
		t.names[b.point.actor] = append(slices.Clone(list), name)
	}
}

// remove forgets a branch of which no commit is here any more.
func (t *branches) remove(name ident.Actor) {
	incarnation := t.incarnation(name)
	delete(t.byName, name)
	t.names[incarnation] = slices.DeleteFunc(slices.Clone(t.names[incarnation]), func(a ident.Actor) bool { return a == name })
}

// closed says whether an incarnation has forked: nobody may go on with it.
func (t *branches) closed(incarnation ident.Actor) bool {
	for p := range t.points {
		if p.actor == incarnation {
			return true
		}
	}
	return false
}

// incarnation is the actor that signed the commits of a label.
func (t *branches) incarnation(label ident.Actor) ident.Actor {
	if b, ok := t.byName[label]; ok {
		return b.point.actor
	}
	return label
}

// floor is the seq after which a label's own commits begin.
func (t *branches) floor(label ident.Actor) uint64 { return t.byName[label].point.seq }

// at is the label of the commit with a seq on the chain that ends in a label.
func (t *branches) at(label ident.Actor, seq uint64) ident.Actor {
	for {
		b, ok := t.byName[label]
		if !ok || seq > b.point.seq {
			return label
		}
		label = b.parent
	}
}

// above calls f with the pieces of a chain before a label, up to and with until, each with its last seq; those without commits are left out.
func (t *branches) above(label, until ident.Actor, f func(d Dot)) {
	for label != until {
		b, ok := t.byName[label]
		if !ok {
			return
		}
		label = b.parent
		if b.point.seq > t.floor(label) {
			f(Dot{Actor: label, Seq: b.point.seq})
		}
	}
}

// listed is the name under which a content is listed now that was named before a fork was known; the name itself if there is no such one, or several.
func (t *branches) listed(name ContentName, contents []Content) ContentName {
	var found []ContentName
	for i := range contents {
		c := contents[i].Name()
		if c == name {
			return name
		}
		if c.K == name.K && c.Dot.Seq == name.Dot.Seq && t.under(c.Dot.Actor, name.Dot.Actor) {
			found = append(found, c)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return name
}

// under says whether a label is a branch of what was once known as actor.
func (t *branches) under(label, actor ident.Actor) bool {
	for {
		b, ok := t.byName[label]
		if !ok {
			return false
		}
		if label = b.parent; label == actor {
			return true
		}
	}
}

// mapped is how the actors that a commit names are to be read: each as a chain, by the label of that chain's end. Actors that are not in it are read as they are.
type mapped struct {
	t    *branches
	tips map[ident.Actor]ident.Actor
}

// dot reads a dot.
func (m mapped) dot(d Dot) Dot {
	if tip, ok := m.tips[d.Actor]; ok {
		d.Actor = m.t.at(tip, d.Seq)
	}
	return d
}

// dots reads dots that a row's change observed.
func (m mapped) dots(list []Dot) []Dot {
	if len(list) == 0 {
		return list
	}
	out := make([]Dot, len(list))
	for i, d := range list {
		out[i] = m.dot(d)
	}
	slices.SortFunc(out, byDot)
	return out
}

// seen reads what a version has seen: who saw a commit saw what comes before it on its chain.
func (m mapped) seen(list []Dot) []Dot {
	var out []Dot
	for _, d := range list {
		label := m.dot(d)
		out = joinSeen(out, []Dot{label})
		m.t.above(label.Actor, d.Actor, func(d Dot) { out = joinSeen(out, []Dot{d}) })
	}
	return out
}

// inode reads a version. Nothing of n is changed.
func (m mapped) inode(n *Inode) *Inode {
	seen := m.seen(n.seen())
	c := n.Clone()
	for i := range c.Contents {
		c.Contents[i].Dot = m.dot(c.Contents[i].Dot)
	}
	slices.SortFunc(c.Contents, newestFirst)
	c.Seen = leftOut(seen, c.Contents)
	return c
}

// brings reads a version as a commit with a label brings it: its own contents are seen, and so is what comes before on its own chain, up to the incarnation.
func (m mapped) brings(n *Inode, label ident.Actor) *Inode {
	c := m.inode(n)
	if !slices.ContainsFunc(n.Contents, func(c Content) bool { return c.Dot.IsZero() }) {
		return c
	}
	seen := c.seen()
	m.t.above(label, m.t.incarnation(label), func(d Dot) { seen = joinSeen(seen, []Dot{d}) })
	c.Seen = leftOut(seen, c.Contents)
	return c
}

// vv reads a version vector whose entries are the ends of chains.
func (m mapped) vv(vv VV) VV {
	out := VV{}
	for a, seq := range vv {
		d := m.dot(Dot{a, seq})
		out[d.Actor] = max(out[d.Actor], d.Seq)
		m.t.above(d.Actor, a, func(d Dot) { out[d.Actor] = max(out[d.Actor], d.Seq) })
	}
	return out
}

// mapVersions reads the versions of a row. value reads one; nil: it holds no dots.
func mapVersions[T any](m mapped, s VerSet[T], value func(T) T) VerSet[T] {
	out := make(VerSet[T], len(s))
	for i, v := range s {
		v.Dot = m.dot(v.Dot)
		if value != nil {
			v.Value = value(v.Value)
		}
		out[i] = v
	}
	slices.SortFunc(out, byVersion[T])
	return out
}
