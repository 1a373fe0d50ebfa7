package state

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// modelPod is a pod as the rules know it: committed rows, dirty rows beside them, and a log.
type modelPod struct {
	actor ident.Actor
	rows  map[Ino]VerSet[*Inode]
	vv    VV
	hlc   HLC
	ctr   uint64
	dirty map[Ino]dirtyRow
	log   []*Commit // in the order in which they were applied here
	copy  string    // of several copies of one pod: which

	drops map[Ino][]string // bodies of contents that uncommitted changes dropped
}

// dirtyRow is what operations made of a row since the last commit; inode nil: they removed it.
type dirtyRow struct {
	observed []Dot
	inode    *Inode
}

// world is what all pods did, for the oracles.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	pods    []*modelPod
	commits map[Dot]*Commit
	dropped map[Ino]map[ContentName]bool // by a version or removal whose author had observed it
	written map[Ino]map[ContentName]bool
	removed map[Ino]bool        // the row was removed by someone
	modes   map[Ino]Reg[uint32] // the latest chmod
	places  map[Ino]TS          // the latest rename of the first link
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 5)), commits: map[Dot]*Commit{},
		dropped: map[Ino]map[ContentName]bool{}, written: map[Ino]map[ContentName]bool{},
		removed: map[Ino]bool{}, modes: map[Ino]Reg[uint32]{}, places: map[Ino]TS{},
	}
	for i := range 3 {
		w.pods = append(w.pods, newModelPod(uint32(i+1)))
	}
	return w
}

func newModelPod(member uint32) *modelPod {
	return &modelPod{actor: actor(member), rows: map[Ino]VerSet[*Inode]{}, vv: VV{}, dirty: map[Ino]dirtyRow{}, drops: map[Ino][]string{}}
}

// view is the fold of a row as the pod shows it: the dirty version and what that did not observe.
func (p *modelPod) view(ino Ino) Folded {
	d, ok := p.dirty[ino]
	if !ok {
		return Fold(p.rows[ino])
	}
	rest := p.rows[ino].Remove(d.observed)
	if d.inode != nil {
		rest = rest.Replace(nil, Version[*Inode]{Value: d.inode})
	}
	return Fold(rest)
}

func (p *modelPod) tick() TS {
	p.hlc = NextHLC(p.hlc, time.UnixMilli(1000))
	return TS{HLC: p.hlc, Actor: p.actor}
}

// change runs an operation on a row: f changes a clone of what all versions say, or returns nil to remove the row.
func (p *modelPod) change(w *world, ino Ino, f func(*Inode) *Inode) {
	folded := p.view(ino)
	if folded.Inode == nil {
		return
	}
	before := folded.Inode.Contents
	n := folded.Inode.Clone()
	n.Seen = slices.Clone(folded.SeenForUpdate())
	n = f(n)
	for _, c := range before {
		if c.Dot.IsZero() || n != nil && slices.ContainsFunc(n.Contents, func(o Content) bool { return o.Name() == c.Name() }) {
			continue
		}
		w.drop(ino, c.Name())
		p.drops[ino] = append(p.drops[ino], string(c.Body))
	}
	if n == nil {
		w.removed[ino] = true
	}
	p.dirty[ino] = dirtyRow{observed: append(slices.Clone(p.dirty[ino].observed), folded.Dots...), inode: n}
}

func (w *world) drop(ino Ino, name ContentName) {
	if w.dropped[ino] == nil {
		w.dropped[ino] = map[ContentName]bool{}
	}
	w.dropped[ino][name] = true
}

// create makes a file with one content.
func (p *modelPod) create() Ino {
	p.ctr++
	ino, ts := InoOf(p.actor, p.ctr), p.tick()
	n := plainInode()
	n.Mode.TS, n.Owner.TS, n.Links[0].TS = ts, ts, ts
	n.Contents[0].TS, n.Contents[0].MtimeTS, n.Contents[0].Body = ts, ts, fmt.Appendf(nil, "new %d%s", ino, p.copy)
	p.dirty[ino] = dirtyRow{inode: n}
	return ino
}

// op runs a random operation on a row that is shown.
func (p *modelPod) op(w *world, ino Ino, removals bool) {
	ts := p.tick()
	switch k := w.rng.IntN(10); {
	case k < 3:
		p.change(w, ino, func(n *Inode) *Inode {
			n.SetShown(Content{TS: ts, MtimeTS: ts, Body: fmt.Appendf(nil, "%s at %d%s", p.actor, ts.HLC, p.copy)}, nil)
			return n
		})
	case k < 5:
		p.change(w, ino, func(n *Inode) *Inode {
			n.Mode = Reg[uint32]{Value: w.rng.Uint32N(0o1000), TS: ts}
			if w.modes[ino].TS.HLC < ts.HLC || w.modes[ino].TS.Compare(ts) < 0 {
				w.modes[ino] = n.Mode
			}
			return n
		})
	case k < 7:
		p.change(w, ino, func(n *Inode) *Inode {
			l := &n.Links[0]
			l.PrevParent, l.PrevName, l.Parent, l.Name, l.TS = l.Parent, l.Name, RootIno, fmt.Sprintf("to %d", ts.HLC), ts
			w.places[ino] = maxTS(w.places[ino], ts)
			return n
		})
	case k == 7:
		p.change(w, ino, func(n *Inode) *Inode {
			p.ctr++
			n.Links = put(n.Links, Link{ID: uint64(InoOf(p.actor, p.ctr)), Parent: RootIno, Name: fmt.Sprintf("link %d", p.ctr), TS: ts}, byLinkID)
			return n
		})
	case k == 8:
		p.change(w, ino, func(n *Inode) *Inode {
			if len(n.Contents) > 1 { // a conflict is resolved
				n.DropContent(n.Contents[len(n.Contents)-1].Name(), nil)
			}
			return n
		})
	default:
		if removals {
			p.change(w, ino, func(n *Inode) *Inode {
				live := slices.IndexFunc(n.Links, func(l Link) bool { return !l.Dead })
				if rest := slices.DeleteFunc(slices.Clone(n.Links), func(l Link) bool { return l.Dead }); len(rest) <= 1 {
					return nil // the last unlink
				}
				n.Links[live].Dead, n.Links[live].DeadTS = true, ts
				return n
			})
		}
	}
}

// saveOver renames a file over another, which goes: a save by rename.
func (p *modelPod) saveOver(w *world, ino, target Ino) {
	f, g := p.view(ino), p.view(target)
	if f.Dead || g.Dead || len(g.Shown()) != 1 || len(f.Inode.Contents) == 0 {
		return
	}
	old, ts := g.Shown()[0], p.tick()
	over := Over{Ino: target, Since: old.TS, TS: ts}
	if old.Over != nil {
		over.Ino, over.Since = old.Over.Ino, old.Over.Since
	}
	p.change(w, target, func(*Inode) *Inode { return nil })
	p.change(w, ino, func(n *Inode) *Inode {
		i := slices.IndexFunc(n.Links, func(l Link) bool { return !l.Dead })
		l := &n.Links[i]
		l.PrevParent, l.PrevName, l.Parent, l.Name, l.TS, l.Over = l.Parent, l.Name, old.Parent, old.Name, ts, &over
		if i == 0 {
			w.places[ino] = maxTS(w.places[ino], ts)
		}
		return n
	})
}

// names are what the root shows, by the committed rows. Ranging over the map gives the entries in another order each time.
func (p *modelPod) names(t *testing.T) []string {
	t.Helper()
	var entries []ViewEntry
	want := 0
	for ino, s := range p.rows {
		f := Fold(s)
		es := ViewEntries(ino, &f, nil)
		want += len(es)
		if len(es) == 0 {
			t.Fatalf("inode %d is in no folder", ino)
		}
		want += len(es[0].Copies)
		if len(es[0].Copies) != max(len(f.Inode.Contents)-1, 0) { // all contents of the model differ
			t.Fatalf("%d contents of inode %d are not shown", len(f.Inode.Contents)-1-len(es[0].Copies), ino)
		}
		entries = append(entries, es...)
	}
	out := shows(entries, nil)
	if len(out) != want {
		t.Fatalf("%d names for %d links and copies", len(out), want)
	}
	return out
}

// commit makes one commit of the dirty rows, by its bytes, and applies it.
func (p *modelPod) commit(w *world) {
	if len(p.dirty) == 0 {
		return
	}
	c := &Commit{Header: Header{Network: testNet, Actor: p.actor, Seq: p.vv[p.actor] + 1, HLC: p.hlc}}
	for _, a := range p.vv.Actors() {
		if a != p.actor {
			c.Deps = append(c.Deps, Dep{Dot: Dot{a, p.vv[a]}})
		}
	}
	if c.Seq > 1 {
		c.Prev = w.commits[Dot{p.actor, c.Seq - 1}].Digest()
	}
	if s := SkipSeq(c.Seq); s > 0 {
		c.Skip = w.commits[Dot{p.actor, s}].Digest()
	}
	for ino, d := range p.dirty {
		row := Row{Key: InodeKey(ino), Observed: sorted(d.observed, byDot)}
		row.Observed = slices.Compact(row.Observed)
		if d.inode != nil {
			row.Value = AppendInode(nil, d.inode)
		} else if len(row.Observed) == 0 {
			continue // made and removed with nobody having seen it
		}
		c.Rows = append(c.Rows, row)
	}
	decoded, err := DecodeCommit(c.Encode(testSign(p.actor)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.commits[c.Dot()] = decoded
	for i := range decoded.Rows {
		_, ino, _, _ := ParseKey(decoded.Rows[i].Key)
		if n := decoded.Inode(i); n != nil {
			for _, content := range n.Contents {
				if w.written[ino] == nil {
					w.written[ino] = map[ContentName]bool{}
				}
				w.written[ino][content.Name()] = true
			}
		}
	}
	p.dirty = map[Ino]dirtyRow{}
	p.apply(decoded)
}

// apply applies a commit whose past was applied.
func (p *modelPod) apply(c *Commit) {
	for i := range c.Rows {
		_, ino, _, _ := ParseKey(c.Rows[i].Key)
		if n := c.Inode(i); n != nil {
			p.set(ino, p.rows[ino].Replace(c.Rows[i].Observed, Version[*Inode]{Dot: c.Dot(), Value: n}))
		} else {
			p.set(ino, p.rows[ino].Remove(c.Rows[i].Observed))
		}
	}
	p.vv[c.Actor] = c.Seq
	p.hlc = max(p.hlc, c.HLC)
	p.log = append(p.log, c)
}

func (p *modelPod) set(ino Ino, s VerSet[*Inode]) {
	if len(s) == 0 {
		delete(p.rows, ino)
		return
	}
	p.rows[ino] = s
}

// pull applies up to limit commits that q has and p lacks, in q's order.
func (p *modelPod) pull(q *modelPod, limit int) {
	for _, c := range q.log {
		if limit == 0 {
			return
		}
		if !p.vv.Covers(c.Dot()) {
			p.apply(c)
			limit--
		}
	}
}

// state is a copy of the committed rows, under their version vector.
func (p *modelPod) state() *modelPod {
	c := newModelPod(p.actor.Member)
	maps.Copy(c.rows, p.rows)
	c.vv = p.vv.Clone()
	return c
}

// joined is the join of two states.
func joined(a, b *modelPod) *modelPod {
	c := a.state()
	for _, q := range []*modelPod{a, b} {
		for ino := range q.rows {
			c.set(ino, Join(a.rows[ino], a.vv, b.rows[ino], b.vv))
		}
	}
	c.vv.Merge(b.vv)
	return c
}

// encoded is all that a state says, as bytes.
func (p *modelPod) encoded() map[Ino]string {
	out := map[Ino]string{}
	for ino, s := range p.rows {
		out[ino] = string(AppendInodeSet(nil, s))
	}
	return out
}

// step runs one random step.
func (w *world) step(inos []Ino, removals bool) []Ino {
	p := w.pods[w.rng.IntN(len(w.pods))]
	switch k := w.rng.IntN(12); {
	case k == 0 && len(inos) < 5:
		return append(inos, p.create())
	case k < 7:
		if len(inos) > 0 {
			p.op(w, inos[w.rng.IntN(len(inos))], removals)
		}
	case k < 8 || k == 8 && !removals:
		p.commit(w)
	case k == 8 && removals && len(inos) > 1:
		i := w.rng.IntN(len(inos))
		p.saveOver(w, inos[i], inos[(i+1)%len(inos)])
	case k == 9:
		q := w.pods[w.rng.IntN(len(w.pods))]
		p.joinFrom(q, w)
	default:
		p.pull(w.pods[w.rng.IntN(len(w.pods))], 1+w.rng.IntN(4))
	}
	return inos
}

// joinFrom takes q's state as a whole instead of its commits.
func (p *modelPod) joinFrom(q *modelPod, w *world) {
	p.rows = joined(p, q).rows
	for _, c := range q.log { // the log comes along, without being applied again
		if !p.vv.Covers(c.Dot()) {
			p.log, p.hlc = append(p.log, c), max(p.hlc, c.HLC)
		}
	}
	p.vv.Merge(q.vv)
	if got := len(p.log); got != p.total() {
		w.t.Fatalf("log of %d commits under %v", got, p.vv)
	}
}

func (p *modelPod) total() int {
	n := 0
	for _, seq := range p.vv {
		n += int(seq)
	}
	return n
}

// settle commits everywhere and exchanges all.
func (w *world) settle() {
	for _, p := range w.pods {
		p.commit(w)
	}
	for range 2 {
		w.rng.Shuffle(len(w.pods), func(i, j int) { w.pods[i], w.pods[j] = w.pods[j], w.pods[i] })
		for _, p := range w.pods {
			for _, q := range w.pods {
				p.pull(q, -1)
			}
		}
	}
}

func rounds(t *testing.T) uint64 {
	if testing.Short() {
		return 100
	}
	return 500
}

// TestConverge: three pods change the same rows at once and exchange commits, or whole states, in random order. After all is exchanged they must have equal rows,
// and nothing may be lost that no author who had observed it replaced.
func TestConverge(t *testing.T) {
	for seed := range rounds(t) {
		w, removals := newWorld(t, seed), seed%2 == 0
		var inos []Ino
		for range 60 {
			inos = w.step(inos, removals)
		}
		w.settle()
		first := w.pods[0]
		for _, p := range w.pods[1:] {
			if d := cmp.Diff(p.encoded(), first.encoded()); d != "" {
				t.Fatalf("seed %d: pods %s and %s have different rows:\n%s", seed, p.actor, first.actor, d)
			}
			if d := cmp.Diff(p.names(t), first.names(t)); d != "" {
				t.Fatalf("seed %d: pods %s and %s show different names:\n%s", seed, p.actor, first.actor, d)
			}
		}
		for _, ino := range inos {
			w.checkContents(seed, ino, Fold(first.rows[ino]))
		}
		w.checkOneVersion(seed, inos)
	}
}

// checkContents: a content that is gone was dropped by someone who had observed it; in rows that nobody removed the other
// way round too, and the latest chmod and rename hold.
func (w *world) checkContents(seed uint64, ino Ino, f Folded) {
	w.t.Helper()
	lives := map[ContentName]bool{}
	if f.Inode != nil {
		for _, c := range f.Inode.Contents {
			lives[c.Name()] = true
		}
	}
	for name := range w.written[ino] {
		if !lives[name] && !w.dropped[ino][name] {
			w.t.Fatalf("seed %d: content %v of %d was lost", seed, name, ino)
		}
		if lives[name] && w.dropped[ino][name] && !w.removed[ino] {
			w.t.Fatalf("seed %d: content %v of %d came back", seed, name, ino)
		}
	}
	if w.removed[ino] || f.Inode == nil {
		return
	}
	if m, ok := w.modes[ino]; ok && f.Inode.Mode != m {
		w.t.Fatalf("seed %d: mode of %d is %v, want the latest, %v", seed, ino, f.Inode.Mode, m)
	}
	if p, ok := w.places[ino]; ok && f.Inode.Links[0].TS != p {
		w.t.Fatalf("seed %d: place of %d is of %v, want the latest, %v", seed, ino, f.Inode.Links[0].TS, p)
	}
}

// checkOneVersion is I1: an operation that observed all versions leaves one, which says the same.
func (w *world) checkOneVersion(seed uint64, inos []Ino) {
	p := w.pods[0]
	for _, ino := range inos {
		want := Fold(p.rows[ino])
		if want.Inode == nil {
			continue
		}
		p.change(w, ino, func(n *Inode) *Inode { return n })
		p.commit(w)
		if got := len(p.rows[ino]); got != 1 {
			w.t.Fatalf("seed %d: %d versions of %d after an update that observed all", seed, got, ino)
		}
		got := Fold(p.rows[ino])
		if !bytes.Equal(AppendInode(nil, got.Inode), AppendInode(nil, want.Inode)) || got.Dead != want.Dead {
			w.t.Fatalf("seed %d: an update that changed nothing changed %d: %s", seed, ino, cmp.Diff(got.Inode, want.Inode))
		}
		if d := cmp.Diff(got.SeenForUpdate(), want.SeenForUpdate()); d != "" {
			w.t.Fatalf("seed %d: seen: got - want +\n%s", seed, d)
		}
	}
}

// TestReplayOrder: commits applied in any order that respects their pasts make the same rows.
func TestReplayOrder(t *testing.T) {
	for seed := range rounds(t) / 5 {
		w := newWorld(t, seed+1e6)
		var inos []Ino
		for range 60 {
			inos = w.step(inos, true)
		}
		w.settle()
		fresh := newModelPod(9)
		for len(fresh.log) < len(w.commits) {
			a := w.pods[w.rng.IntN(3)].actor
			c := w.commits[Dot{a, fresh.vv[a] + 1}]
			if c != nil && c.Past().LessEqual(fresh.vv) {
				fresh.apply(c)
			}
		}
		if d := cmp.Diff(fresh.encoded(), w.pods[0].encoded()); d != "" {
			t.Fatalf("seed %d: another order made other rows:\n%s", seed, d)
		}
	}
}

// TestJoinLaws: join commutes, associates, and repeats harmlessly.
func TestJoinLaws(t *testing.T) {
	for seed := range rounds(t) / 2 {
		w := newWorld(t, seed+2e6)
		var inos []Ino
		for range 50 {
			inos = w.step(inos, true)
		}
		a, b, c := w.pods[0].state(), w.pods[1].state(), w.pods[2].state()
		for name, pair := range map[string][2]*modelPod{
			"commutes":   {joined(a, b), joined(b, a)},
			"associates": {joined(joined(a, b), c), joined(a, joined(b, c))},
			"repeats":    {joined(joined(a, b), b), joined(a, b)},
			"idempotent": {joined(a, a), a},
		} {
			if d := cmp.Diff(pair[0].encoded(), pair[1].encoded()); d != "" || !pair[0].vv.LessEqual(pair[1].vv) || !pair[1].vv.LessEqual(pair[0].vv) {
				t.Fatalf("seed %d: %s: no:\n%s", seed, name, d)
			}
		}
		if a.vv.LessEqual(b.vv) {
			if d := cmp.Diff(joined(a, b).encoded(), b.encoded()); d != "" {
				t.Fatalf("seed %d: the join with a state of the past is not the newer one:\n%s", seed, d)
			}
		}
	}
}

// TestFoldOrder: a fold doesn't depend on the order of the versions, and all that it lists can be written and read.
func TestFoldOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		var s VerSet[*Inode]
		for i := range 1 + rng.IntN(4) {
			n := randomInode(rng)
			if rng.IntN(8) > 0 {
				n.Kind = vfs.KindFile
				n.Links[0].ID = 0
			}
			d := Dot{actor(uint32(i + 1)), 9}
			s = append(s, Version[*Inode]{Dot: d, Value: n.Stamp(d)})
		}
		want := Fold(s)
		b := AppendInode(nil, want.Inode)
		if _, err := DecodeInode(b); err != nil {
			t.Fatalf("a fold that can't be read: %v", err)
		}
		mixed := slices.Clone(s)
		rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		got := Fold(mixed)
		if !bytes.Equal(AppendInode(nil, got.Inode), b) || !slices.Equal(got.Dots, want.Dots) || got.Dead != want.Dead {
			t.Fatalf("another order folds to something else: %s", cmp.Diff(got.Inode, want.Inode))
		}
	}
}
