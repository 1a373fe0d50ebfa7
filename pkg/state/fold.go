package state

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Folded is what all versions of an inode say together.
type Folded struct {
	// Inode is nil for a row without versions. It is shared with the row: an operation changes a Clone. Its Dot is zero if it was merged.
	Inode *Inode
	// Dots are the dots of the committed versions, sorted: what an operation observes.
	Dots []Dot
	// Dead says that no link is alive, or that there is no version. The root, which has no link, is not dead.
	Dead bool

	set VerSet[*Inode]
}

// SeenForUpdate is the Seen that a version which observed all of this must carry. It may be shared: it must not be changed.
func (f *Folded) SeenForUpdate() []Dot {
	var seen []Dot
	for _, v := range f.set {
		seen = joinSeen(seen, v.Value.seen())
	}
	return seen
}

// Shown are the links to show: those alive; of a file whose links all died, apart, the one that died last.
// A dead folder has none: it is shown only while something in it lives, which its row can't tell.
func (f *Folded) Shown() []Link {
	if f.Inode == nil {
		return nil
	}
	if !f.Dead {
		return slices.DeleteFunc(slices.Clone(f.Inode.Links), func(l Link) bool { return l.Dead })
	}
	if f.Inode.Kind == vfs.KindFolder {
		return nil
	}
	return []Link{slices.MaxFunc(f.Inode.Links, func(a, b Link) int {
		return cmp.Or(a.DeadTS.Compare(b.DeadTS), cmp.Compare(b.ID, a.ID))
	})}
}

// shownCount is how many links Shown gives.
func (f *Folded) shownCount() int {
	if f.Inode == nil || f.Dead {
		return len(f.Shown())
	}
	n := 0
	for i := range f.Inode.Links {
		if !f.Inode.Links[i].Dead {
			n++
		}
	}
	return n
}

// Fold merges the versions of an inode: registers by stamp; links by id, their place and their death apart; contents as a union, without
// those that another version has seen and doesn't list. It doesn't depend on the order of s.
//
// A tie of stamps, which only a faulty author makes, goes to the greater value. Versions of another kind than the first have no say.
func Fold(s VerSet[*Inode]) Folded {
	if len(s) == 0 {
		return Folded{Dead: true}
	}
	s = sorted(s, byVersion)
	f := Folded{Inode: s[0].Value, Dots: s.Dots(), set: s}
	if len(s) > 1 {
		f.Inode = merge(s)
		f.Inode.Seen = leftOut(f.SeenForUpdate(), f.Inode.Contents)
	}
	f.Dead = len(f.Inode.Links) > 0 && !slices.ContainsFunc(f.Inode.Links, func(l Link) bool { return !l.Dead })
	return f
}

// merge is Fold's inode without Seen, for sorted versions.
func merge(s VerSet[*Inode]) *Inode {
	first := s[0].Value
	n := &Inode{Kind: first.Kind, RDev: first.RDev, Btime: first.Btime, Mode: first.Mode, Owner: first.Owner}
	for _, v := range s {
		if o := v.Value; o.Kind == n.Kind {
			n.RDev, n.Btime = min(n.RDev, o.RDev), min(n.Btime, o.Btime)
			n.Mode = later(n.Mode, o.Mode, cmp.Compare)
			n.Owner = later(n.Owner, o.Owner, compareOwner)
			n.Xattrs = union(n.Xattrs, o.Xattrs, byXattrName, laterXattr)
			n.Ext = union(n.Ext, o.Ext, byField, laterExt)
			n.Links = union(n.Links, o.Links, byLinkID, mergeLink)
		}
	}
	n.Contents = mergeContents(s, n.Kind)
	return n
}

// mergeContents is the union of the contents that the versions of a kind list, but for those that another version, which doesn't list them, has seen.
func mergeContents(s VerSet[*Inode], kind vfs.Kind) []Content {
	var all []Content
	at := map[ContentName]int{}        // where in all
	lists := map[ContentName]int{}     // how many versions list it
	seen := map[ident.Actor][]uint64{} // what each version has seen of an actor
	for _, v := range s {
		if v.Value.Kind != kind {
			continue
		}
		for _, c := range v.Value.Contents {
			name := c.Name()
			if lists[name]++; lists[name] > 1 {
				all[at[name]] = mergeContent(all[at[name]], c)
				continue
			}
			at[name] = len(all)
			all = append(all, c)
		}
		for _, d := range v.Value.seen() {
			seen[d.Actor] = append(seen[d.Actor], d.Seq)
		}
	}
	for _, seqs := range seen {
		slices.Sort(seqs)
	}
	// A version has seen what it lists: if more versions have seen a content than list it, one of them dropped it.
	all = slices.DeleteFunc(all, func(c Content) bool {
		seqs := seen[c.Dot.Actor]
		before, _ := slices.BinarySearch(seqs, c.Dot.Seq)
		return len(seqs)-before > lists[c.Name()]
	})
	slices.SortFunc(all, newestFirst)
	return all
}

// mergeContent merges two records of one content: its mtime is a register, all else never changes.
func mergeContent(a, b Content) Content {
	if cmp.Or(a.TS.Compare(b.TS), cmp.Compare(a.Size, b.Size), bytes.Compare(a.Body, b.Body)) < 0 {
		a.TS, a.Size, a.Body = b.TS, b.Size, b.Body
	}
	if cmp.Or(a.MtimeTS.Compare(b.MtimeTS), cmp.Compare(a.Mtime, b.Mtime)) < 0 {
		a.MtimeTS, a.Mtime = b.MtimeTS, b.Mtime
	}
	return a
}

// mergeLink merges two records of one link: place (with what it was before and what it replaced) and death are registers of their own.
func mergeLink(a, b Link) Link {
	place, death := a, a
	if comparePlace(a, b) < 0 {
		place = b
	}
	if a.DeadTS.Compare(b.DeadTS) < 0 || a.DeadTS == b.DeadTS && b.Dead {
		death = b
	}
	place.Dead, place.DeadTS = death.Dead, death.DeadTS
	return place
}

func comparePlace(a, b Link) int {
	return cmp.Or(a.TS.Compare(b.TS), cmp.Compare(a.Parent, b.Parent), strings.Compare(a.Name, b.Name),
		cmp.Compare(a.PrevParent, b.PrevParent), strings.Compare(a.PrevName, b.PrevName), compareOver(a.Over, b.Over))
}

func compareOver(a, b *Over) int {
	var x, y Over
	if a != nil {
		x = *a
	}
	if b != nil {
		y = *b
	}
	return cmp.Or(cmp.Compare(x.Ino, y.Ino), x.Since.Compare(y.Since), x.TS.Compare(y.TS))
}

// FoldWish merges the versions of a wish: registers by stamp, pins by pod.
func FoldWish(s VerSet[*Wish]) Wish {
	var w Wish
	for _, v := range s {
		o := v.Value
		w.Policy = later(w.Policy, o.Policy, strings.Compare)
		w.Durability = later(w.Durability, o.Durability, strings.Compare)
		w.Homes = later(w.Homes, o.Homes, compareHomes)
		w.Pins = union(w.Pins, o.Pins, byPod, laterPin)
		w.Ext = union(w.Ext, o.Ext, byField, laterExt)
	}
	return w
}
