package state

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// ViewEntry is a link as a claim on a name in the folder that is named.
type ViewEntry struct {
	Ino    Ino
	Link   uint64 // its id
	Name   string // the name that it claims
	Folder bool
	TS     TS    // of its place
	Over   *Over // nil: it replaced nothing
	Newest TS    // of the content that it shows; zero if it has none
	Copies []ViewCopy
}

// ViewCopy is a content that is shown beside the one that its link shows.
type ViewCopy struct {
	Content ContentName
	TS      TS
}

// Named is a name of the view and what it shows.
type Named struct {
	Name     string
	Entry    int  // index of the ViewEntry
	Copy     int  // index in its Copies, or -1 for the link itself
	Computed bool // the name stands in no row: an operation on it first makes it real, in the same batch
}

// ViewEntries are the claims of an inode, one for each link that is shown, at the places in the rows (folders: see EffectiveParents).
// Contents with the same bytes as a newer one are not shown; the others but the first are Copies of the link with the smallest id.
func ViewEntries(ino Ino, f *Folded, key BodyKey) []ViewEntry {
	links := f.Shown()
	if len(links) == 0 {
		return nil
	}
	var newest TS
	var copies []ViewCopy
	if contents := f.Inode.Contents; len(contents) > 0 {
		newest = contents[0].TS
		copies = viewCopies(contents, key)
	}
	out := make([]ViewEntry, 0, len(links))
	for i := range links {
		l := &links[i]
		e := ViewEntry{Ino: ino, Link: l.ID, Name: l.Name, Folder: f.Inode.Kind == vfs.KindFolder, TS: l.TS, Over: l.Over, Newest: newest}
		if i == 0 {
			e.Copies = copies
		}
		out = append(out, e)
	}
	return out
}

// viewCopies are the contents with other bytes than the first and than each other.
func viewCopies(contents []Content, key BodyKey) (copies []ViewCopy) {
	if len(contents) == 1 {
		return nil
	}
	shown := map[string]bool{key.of(contents[0].Body): true}
	for i := range contents[1:] {
		c := &contents[1+i]
		if k := key.of(c.Body); !shown[k] {
			copies = append(copies, ViewCopy{Content: c.Name(), TS: c.TS})
			shown[k] = true
		}
	}
	return copies
}

// ViewNames names what is in one folder, sorted by name. It is pure: the result depends neither on the order of the entries nor on anything else.
//
// At one name a folder comes first; then the lineage with the least since (of a tie, the smaller number), and in it the newest by
// what it shows and when it replaced. What comes first gets the name; all else gets a computed one: real names are given out first in
// all the folder, then the computed ones in the order (name, ino, link id, content); one that is taken gets +2, +3 ….
//
// podName tells what stands in computed names for an author. taken says which names other entries of the folder claim, so that only
// entries with Copies and those of contested names need be given: nil if all are given.
func ViewNames(entries []ViewEntry, podName func(ident.Actor) string, taken func(string) bool) []Named {
	n := namer{entries: entries, podName: podName, used: make(map[string]bool, len(entries)), taken: taken, tries: map[string]int{}}
	byName := make(map[string][]int, len(entries))
	for i := range entries {
		byName[entries[i].Name] = append(byName[entries[i].Name], i)
	}
	out := make([]Named, 0, len(entries))
	var rest []Named // what needs a computed name; Name is the claimed one so far
	for name, claims := range byName {
		first := winner(entries, claims)
		out = append(out, Named{Name: name, Entry: first, Copy: -1})
		n.used[name] = true
		for _, i := range claims {
			if i != first {
				rest = append(rest, Named{Name: name, Entry: i, Copy: -1, Computed: true})
			}
			for j := range entries[i].Copies {
				rest = append(rest, Named{Name: name, Entry: i, Copy: j, Computed: true})
			}
		}
	}
	slices.SortFunc(rest, n.order)
	for _, r := range rest {
		r.Name = n.compute(&r)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Named) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// winner is the entry, of those that claim one name, that gets it.
func winner(entries []ViewEntry, claims []int) int {
	if len(claims) == 1 {
		return claims[0]
	}
	since := map[Ino]TS{} // of each lineage
	for _, i := range claims {
		e := &entries[i]
		id, at := e.lineage()
		if t, ok := since[id]; !ok || t.After(at) {
			since[id] = at
		}
	}
	return slices.MinFunc(claims, func(i, j int) int {
		a, b := &entries[i], &entries[j]
		la, _ := a.lineage()
		lb, _ := b.lineage()
		return cmp.Or(compareBool(b.Folder, a.Folder), since[la].Compare(since[lb]), cmp.Compare(la, lb),
			b.when().Compare(a.when()), cmp.Compare(a.Ino, b.Ino), cmp.Compare(a.Link, b.Link))
	})
}

// lineage is the file that an entry continues, through all saves by rename, and since when that has the name.
func (e *ViewEntry) lineage() (Ino, TS) {
	if e.Over != nil {
		return e.Over.Ino, e.Over.Since
	}
	return e.Ino, e.TS
}

// when is the time of what an entry shows: of its content, or of the rename that brought it over another.
func (e *ViewEntry) when() TS {
	if e.Over != nil {
		return maxTS(e.Newest, e.Over.TS)
	}
	return e.Newest
}

// namer gives out computed names.
type namer struct {
	entries []ViewEntry
	podName func(ident.Actor) string
	used    map[string]bool
	taken   func(string) bool
	tries   map[string]int // per first choice, the last number that was tried after it
}

// order is that in which computed names are given out.
func (n *namer) order(a, b Named) int {
	x, y := &n.entries[a.Entry], &n.entries[b.Entry]
	return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(x.Ino, y.Ino), cmp.Compare(x.Link, y.Link), n.content(a).Compare(n.content(b)))
}

func (n *namer) content(r Named) ContentName {
	if r.Copy < 0 {
		return ContentName{}
	}
	return n.entries[r.Entry].Copies[r.Copy].Content
}

// compute gives a free name to r.
func (n *namer) compute(r *Named) string {
	e := &n.entries[r.Entry]
	at := e.when()
	if r.Copy >= 0 {
		at = e.Copies[r.Copy].TS
	} else if at.IsZero() {
		at = e.TS // it never had a content: since it is here
	}
	pod := podWord(n.podName(at.Actor))
	hex4 := fmt.Sprintf("%04x", hash16(e.Ino, e.Link, n.content(*r)))
	first := conflictName(r.Name, e.Folder, pod, at.HLC.Time(), hex4)
	name := first
	for n.used[name] || n.taken != nil && n.taken(name) {
		n.tries[first] = max(n.tries[first], 1) + 1
		name = conflictName(r.Name, e.Folder, pod, at.HLC.Time(), hex4+"+"+strconv.Itoa(n.tries[first]))
	}
	n.used[name] = true
	return name
}

// hash16 is 16 bits that tell computed names of one time apart: the first of hashVersion.
func hash16(ino Ino, link uint64, c ContentName) uint16 {
	sum := hashVersion(ino, link, c)
	return binary.BigEndian.Uint16(sum[:])
}

// hashVersion is BLAKE3 over ino u64, link id u64, actor u64, seq u64, k u32 (big-endian).
func hashVersion(ino Ino, link uint64, c ContentName) [32]byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 36), uint64(ino))
	b = binary.BigEndian.AppendUint64(b, link)
	b = binary.BigEndian.AppendUint64(b, c.Dot.Actor.Uint())
	b = binary.BigEndian.AppendUint64(b, c.Dot.Seq)
	b = binary.BigEndian.AppendUint32(b, c.K)
	return blake3.Sum256(b)
}
