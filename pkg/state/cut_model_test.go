package state

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

var (
	cutRuns = flag.Int("cut-runs", 200, "random runs of TestCutModel")
	cutSeed = flag.Uint64("cut-seed", 0, "seed of the first of them")
)

// cutStatement takes a member's right to write away; revoked: nobody who knows it talks to the member's pods.
type cutStatement struct {
	Cut

	revoked bool
	by      *cutPod
}

// cutPod is a forkPod that knows statements.
type cutPod struct {
	*forkPod

	reader  bool // it never may write
	knows   map[int]bool
	pending []*Header
}

// cutWorld is pods of which some lose their right to write.
type cutWorld struct {
	*forkWorld

	copying    bool    // pods may be copied, and fork
	anchor     *cutPod // its member never loses its right: of what it lacks no log is dropped
	pods       []*cutPod
	statements []cutStatement
}

func newCutWorld(t *testing.T, seed uint64) *cutWorld {
	w := &cutWorld{forkWorld: newForkWorld(t, seed), copying: seed%2 == 1}
	w.fleet = nil
	n := 4 + w.rng.IntN(2)
	for i := range n {
		w.add(uint32(i+1), i > 3 && w.rng.IntN(2) == 0)
	}
	w.add(uint32(n+1), true)
	w.anchor = w.pods[3]
	return w
}

func (w *cutWorld) add(member uint32, reader bool) *cutPod {
	p := &cutPod{forkPod: w.newForkPod(member), reader: reader, knows: map[int]bool{}}
	w.pods = append(w.pods, p)
	return p
}

// cuts are the statements that a pod knows.
func (p *cutPod) cuts(w *cutWorld) map[uint32][]Dep {
	out := map[uint32][]Dep{}
	for i := range p.knows {
		s := w.statements[i]
		out[s.Member] = append(out[s.Member], s.Last...)
	}
	return out
}

// reach is how far commits count, as far as a pod knows; of is who holds them.
func (p *cutPod) reach(w *cutWorld, of *cutPod) *reach {
	at := func(label ident.Actor, seq uint64) (*Header, error) {
		c := of.chain[Dot{label, seq}]
		if c == nil || of.bare[c.Digest()] && seq != of.vv[label] {
			return nil, nil //nolint:nilnil // as DB's
		}
		return &c.Header, nil
	}
	r, err := newReach(p.cuts(w), of.t, of.forkPod, of.vv.Actors(), at, p.pending)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (p *cutPod) may(w *cutWorld) bool { return !p.reader && !p.saysEnded(w, p.actor.Member) }

func (p *cutPod) saysEnded(w *cutWorld, member uint32) bool {
	_, ended := p.cuts(w)[member]
	return ended
}

// shuts says whether a pod doesn't talk to another.
func (p *cutPod) shuts(w *cutWorld, q *cutPod) bool {
	for i := range p.knows {
		if w.statements[i].revoked && w.statements[i].Member == q.actor.Member {
			return true
		}
	}
	return false
}

func (p *cutPod) beyond(w *cutWorld) (beyond bool, counting VV) {
	r := p.reach(w, p)
	counting = VV{}
	for a, seq := range p.vv {
		upTo := r.upTo(a, seq)
		beyond = beyond || upTo < seq
		if upTo > 0 {
			counting[a] = upTo
		}
	}
	return beyond, counting
}

// has says whether another pod has some commits.
func (p *cutPod) has(anchor *cutPod, dots []Dot) bool {
	return !slices.ContainsFunc(dots, func(d Dot) bool { return !anchor.t.has(p.chain[d], anchor.forkPod) })
}

// adopt is DB.Adopt.
func (w *cutWorld) adopt(p *cutPod) {
	if beyond, _ := p.beyond(w); beyond && p.may(w) {
		w.tally["adopted"]++
		p.commitAlways(w.forkWorld)
	}
}

// meets exchanges statements and forks; false: one shuts the other out.
func (w *cutWorld) meets(p, q *cutPod) bool {
	if p.shuts(w, q) || q.shuts(w, p) {
		return false
	}
	maps.Copy(p.knows, q.knows)
	maps.Copy(q.knows, p.knows)
	w.meet(p.forkPod, q.forkPod)
	for _, x := range []*cutPod{p, q} {
		if !x.may(w) {
			x.dirty, x.drops = map[Ino]dirtyRow{}, map[Ino][]string{}
		}
	}
	return true
}

// pull takes commits of another pod, in the order in which that one did, as Apply does with a page.
func (w *cutWorld) pull(p, q *cutPod, limit int) {
	if !w.meets(p, q) {
		return
	}
	order := slices.Clone(q.order)
	for _, dot := range order {
		c := q.chain[dot]
		if q.bare[c.Digest()] && !p.t.has(c, p.forkPod) {
			w.tree(p, q)
			return
		}
		if r := p.reach(w, p); !p.t.has(c, p.forkPod) && r.raises(&c.Header) {
			p.pending = append(p.pending, &c.Header)
		}
	}
	for _, dot := range order {
		c := q.chain[dot]
		if limit == 0 || c == nil {
			return
		}
		if p.t.has(c, p.forkPod) {
			continue
		}
		r, err := p.t.read(&c.Header, p.forkPod)
		if err == nil && !p.reach(w, p).counts(r.label, c.Actor, c.Seq) {
			w.tally["refused commits"]++
			continue
		}
		if errors.Is(err, ErrGap) {
			continue // it rests on one that was refused
		}
		own := c.Actor == p.actor
		if err := p.take(w.forkWorld, c); err != nil && !errors.Is(err, ErrGap) {
			w.meets(p, q)
			return
		}
		if own {
			p.renew(w.forkWorld) // it was set back
		}
		limit--
	}
}

// believes says whether a pod's state can be joined by another, or take the place of that one's.
func (w *cutWorld) believes(p, q *cutPod, replace bool) bool {
	if q.reader || p.saysEnded(w, q.actor.Member) {
		return false
	}
	theirs, mine := p.reach(w, q), p.reach(w, p)
	for a, seq := range q.vv {
		if max(theirs.upTo(a, seq), mine.upTo(a, seq)) < seq && (replace || seq > p.vv[a]) {
			w.tally["refused trees"]++
			return false
		}
	}
	return true
}

func (w *cutWorld) tree(p, q *cutPod) {
	if w.meets(p, q) && w.believes(p, q, false) && q.has(w.anchor, q.order) {
		w.joinTree(p.forkPod, q.forkPod)
	}
}

// rebuild is DB.Rebuild.
func (w *cutWorld) rebuild(p, q *cutPod) {
	if !w.meets(p, q) || p.may(w) || len(p.proofs) != len(q.proofs) {
		return
	}
	beyond, counting := p.beyond(w)
	if !beyond || !w.believes(p, q, true) || !counting.LessEqual(q.vv) {
		return
	}
	w.tally["rebuilt"]++
	i := q.image()
	p.t, p.chain, p.order, p.vv, p.rows, p.bare = i.t, i.chain, i.order, i.vv, i.rows, map[[32]byte]bool{}
	for _, c := range p.chain {
		p.bare[c.Digest()] = true
	}
	p.renew(w.forkWorld)
}

// end takes a member's right to write away, on the word of a pod that may write.
func (w *cutWorld) end() {
	by := w.pods[w.rng.IntN(len(w.pods))]
	member := uint32(1 + w.rng.IntN(3))
	if !by.may(w) || by.actor.Member == member || len(w.ended()) == 2 {
		return
	}
	s := cutStatement{Cut: Cut{Member: member}, by: by, revoked: w.rng.IntN(3) > 0}
	for _, a := range by.vv.Actors() {
		if a.Member == member {
			digest := by.chain[Dot{a, by.vv[a]}].Digest()
			s.Last = append(s.Last, Dep{Dot: Dot{a, by.vv[a]}, Digest: [8]byte(digest[:8])})
		}
	}
	w.statements = append(w.statements, s)
	by.knows[len(w.statements)-1] = true
	w.tally["ended"]++
}

// ended are the members whose right has ended by statements that pods know which are left.
func (w *cutWorld) ended() map[uint32]bool {
	out := map[uint32]bool{}
	for i := range w.known() {
		out[w.statements[i].Member] = true
	}
	return out
}

// known are the statements that pods know which nobody shuts out: one of a pod that was revoked itself may have come to nobody.
func (w *cutWorld) known() map[int]bool {
	known := map[int]bool{}
	for i := range w.statements {
		known[i] = true
	}
	for range 4 {
		next := map[int]bool{}
		for _, p := range w.leftBy(known) {
			maps.Copy(next, p.knows)
		}
		known = next
	}
	return known
}

func (w *cutWorld) step(inos []Ino) []Ino {
	p, q := w.pods[w.rng.IntN(len(w.pods))], w.pods[w.rng.IntN(len(w.pods))]
	switch k := w.rng.IntN(40); {
	case k < 4 && len(inos) < 6:
		if p.may(w) {
			return append(inos, p.create())
		}
	case k < 16:
		if len(inos) > 0 && p.may(w) {
			p.op(w.world, inos[w.rng.IntN(len(inos))], true)
		}
	case k < 22:
		if p.may(w) {
			p.commit(w.forkWorld)
		}
	case k < 30:
		if p != q {
			w.pull(p, q, 1+w.rng.IntN(6))
		}
	case k < 32:
		if p != q {
			w.tree(p, q)
		}
	case k < 34:
		w.adopt(p)
	case k < 36:
		if p != q {
			w.rebuild(p, q)
		}
	case k < 37:
		if drop := p.order[:w.rng.IntN(len(p.order)+1)]; p.has(w.anchor, drop) {
			for _, dot := range drop {
				p.bare[p.chain[dot].Digest()] = true
			}
		}
	case k < 38: // a restart in the middle: what was not committed, and headers that were heard, are gone
		p.dirty, p.drops, p.pending = map[Ino]dirtyRow{}, map[Ino][]string{}, nil
		w.wake(p.forkPod)
	case k < 39 && w.copying && len(w.pods) < 8: // a copy goes on beside the pod
		w.tally["cloned"]++
		c := &cutPod{forkPod: p.image(), reader: p.reader, knows: maps.Clone(p.knows)}
		w.wake(c.forkPod)
		w.pods = append(w.pods, c)
	default:
		w.end()
	}
	return inos
}

// left are the pods that nobody shuts out when all know all statements.
func (w *cutWorld) left() []*cutPod { return w.leftBy(w.known()) }

func (w *cutWorld) leftBy(known map[int]bool) []*cutPod {
	return slices.DeleteFunc(slices.Clone(w.pods), func(p *cutPod) bool {
		for i := range known {
			if s := w.statements[i]; s.revoked && s.Member == p.actor.Member {
				return true
			}
		}
		return false
	})
}

// settle has all that are left exchange everything.
func (w *cutWorld) settle() []*cutPod {
	left := w.left()
	for _, p := range left {
		if p.may(w) {
			p.commit(w.forkWorld)
		}
	}
	for range 12 {
		w.rng.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		for _, p := range left {
			for _, q := range left {
				if p != q {
					w.pull(p, q, -1)
					w.adopt(p)
					w.rebuild(p, q)
				}
			}
		}
	}
	return left
}

// kept are all commits of members that never lost their right which a pod that is left has.
func (w *cutWorld) kept() map[[32]byte]*Commit {
	ended, out := w.ended(), map[[32]byte]*Commit{}
	for _, p := range w.left() {
		for _, c := range p.chain {
			if !ended[c.Actor.Member] {
				out[c.Digest()] = c
			}
		}
	}
	return out
}

// TestCutModel: members lose their right to write while their commits are on some pods and not on others, and commits of others rest on them; those who were revoked go on
// and come to pods that have not heard of it; pods take logs and trees, drop logs and restart. In the end all pods that are left have one state, newcomers by log and by tree get the same,
// all that others did is in it, and so is what the statements name.
func TestCutModel(t *testing.T) {
	runs := *cutRuns
	if testing.Short() {
		runs = min(runs, 60)
	}
	tally := map[string]int{}
	for seed := *cutSeed; seed < *cutSeed+uint64(runs); seed++ {
		w := newCutWorld(t, seed)
		var inos []Ino
		for range 60 + w.rng.IntN(120) {
			inos = w.step(inos)
		}
		kept := w.kept()
		left := w.settle()
		maps.Copy(kept, w.kept())
		first := left[slices.IndexFunc(left, func(p *cutPod) bool { return p.may(w) })]
		for _, p := range left {

			sameForkState(t, seed, fmt.Sprintf("pod %d against %d", p.id, first.id), p.forkPod, first.forkPod)
		}
		have := map[[32]byte]bool{}
		for _, c := range first.chain {
			have[c.Digest()] = true
		}
		for digest, c := range kept {
			if !have[digest] {
				t.Fatalf("seed %d: commit %v of a member that may write was lost", seed, c.Dot())
			}
		}
		for i := range w.known() {
			if !slices.Contains(left, w.statements[i].by) {
				continue // nobody who is left may have it
			}
			for _, d := range w.statements[i].Last {
				if _, err := first.t.holder(d.Actor, d.Seq, d.Digest[:], first.forkPod); err != nil {
					t.Fatalf("seed %d: statement %d names %v: %v", seed, i, d.Dot, err)
				}
			}
		}
		w.newcomers(seed, first)
		for k, n := range w.tally {
			tally[k] += n
		}
	}
	t.Logf("%d runs: %v", runs, tally)
	for _, k := range []string{"adopted", "rebuilt", "refused commits", "refused trees", "joined", "ended"} {
		if tally[k] == 0 {
			t.Errorf("%s: none", k)
		}
	}
}

// newcomers join by the log and by the tree.
func (w *cutWorld) newcomers(seed uint64, first *cutPod) {
	if beyond, _ := first.beyond(w); beyond {
		w.t.Fatalf("seed %d: a pod has what does not count", seed)
	}
	for _, tree := range []bool{true, false} {
		p := w.add(90, true)
		if tree {
			w.tree(p, first)
		} else {
			whole := *first
			whole.forkPod = first.image()
			clear(whole.bare)
			w.pull(p, &whole, -1)
		}
		sameForkState(w.t, seed, fmt.Sprintf("newcomer, by a tree %v", tree), p.forkPod, first.forkPod)
	}
}
