package state

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

var (
	forkRuns = flag.Int("fork-runs", 200, "random runs of TestForkModel")
	forkSeed = flag.Uint64("fork-seed", 0, "seed of the first of them")
)

// forkPod is a modelPod of which there may be several copies: its rows and dots are those that its fork points give.
type forkPod struct {
	*modelPod

	t      *branches
	chain  map[Dot]*Commit   // by label and seq
	order  []Dot             // of chain, as applied
	bare   map[[32]byte]bool // of chain: those of which only the digest is here, as of what a tree brought, or what the log dropped
	proofs map[forkPoint]*Fork
	id     int
}

// forkWorld is pods, copies of them, and backups.
type forkWorld struct {
	*world

	seed    uint64
	fleet   []*forkPod
	backups []*forkPod
	copies  int
	drops   map[[32]byte]map[Ino][]string // by commit: what it dropped
	all     map[[32]byte]*Commit
	tally   map[string]int
}

func newForkWorld(t *testing.T, seed uint64) *forkWorld {
	w := &forkWorld{world: newWorld(t, seed), seed: seed, drops: map[[32]byte]map[Ino][]string{}, all: map[[32]byte]*Commit{}, tally: map[string]int{}}
	w.rng = rand.New(rand.NewPCG(seed, 77))
	for i := range 2 + w.rng.IntN(3) {
		w.fleet = append(w.fleet, w.newForkPod(uint32(i+1)))
	}
	return w
}

func (w *forkWorld) newForkPod(member uint32) *forkPod {
	p := &forkPod{modelPod: newModelPod(member), t: newBranches(), chain: map[Dot]*Commit{}, bare: map[[32]byte]bool{}, proofs: map[forkPoint]*Fork{}}
	w.wake(p)
	return p
}

// wake is what a start does: numbers come out of another lot.
func (w *forkWorld) wake(p *forkPod) {
	w.copies++
	p.id, p.copy = w.copies, fmt.Sprintf(" by %d", w.copies)
	p.ctr = uint64(w.rng.Uint32()>>1) << lotNumberBits
}

// image is a copy of a pod as its disk holds it.
func (p *forkPod) image() *forkPod {
	c := &forkPod{modelPod: newModelPod(p.actor.Member), t: p.t.clone(), chain: maps.Clone(p.chain), order: slices.Clone(p.order), bare: maps.Clone(p.bare), proofs: maps.Clone(p.proofs)}
	c.actor, c.vv, c.hlc = p.actor, p.vv.Clone(), p.hlc
	maps.Copy(c.rows, p.rows)
	maps.Copy(c.dirty, p.dirty)
	for ino, d := range p.drops {
		c.drops[ino] = slices.Clone(d)
	}
	return c
}

// last and digestAt make a forkPod chains.
func (p *forkPod) last(label ident.Actor) uint64 { return p.vv[label] }

func (p *forkPod) digestAt(label ident.Actor, seq uint64) ([32]byte, bool, error) {
	c := p.chain[Dot{label, seq}]
	if c == nil {
		return [32]byte{}, false, nil
	}
	return c.Digest(), true, nil
}

func (p *forkPod) renew(w *forkWorld) {
	w.tally["renewed"]++
	p.actor.Incarnation = w.rng.Uint32() >> 1
}

// commit makes a commit of the dirty rows.
func (p *forkPod) commit(w *forkWorld) {
	if len(p.dirty) > 0 {
		p.commitAlways(w)
	}
}

// commitAlways is commit that may be of no rows.
func (p *forkPod) commitAlways(w *forkWorld) {
	c := &Commit{Header: Header{Network: testNet, Actor: p.actor, Seq: p.vv[p.actor] + 1, HLC: p.hlc}}
	for _, a := range p.vv.Actors() {
		if a != p.actor {
			digest := p.chain[Dot{a, p.vv[a]}].Digest()
			c.Deps = append(c.Deps, Dep{Dot: Dot{a, p.vv[a]}, Digest: [8]byte(digest[:8])})
		}
	}
	if c.Seq > 1 {
		c.Prev = p.chain[Dot{p.actor, c.Seq - 1}].Digest()
	}
	if s := SkipSeq(c.Seq); s > 0 {
		c.Skip = p.chain[Dot{p.actor, s}].Digest()
	}
	for ino, d := range p.dirty {
		row := Row{Key: InodeKey(ino), Observed: slices.Compact(sorted(d.observed, byDot))}
		if d.inode != nil {
			row.Value = AppendInode(nil, d.inode)
		} else if len(row.Observed) == 0 {
			continue
		}
		c.Rows = append(c.Rows, row)
	}
	decoded, err := DecodeCommit(c.Encode(testSign(p.actor)))
	if err != nil {
		w.t.Fatalf("seed %d: %v", w.seed, err)
	}
	w.all[decoded.Digest()], w.drops[decoded.Digest()] = decoded, p.drops
	p.dirty, p.drops = map[Ino]dirtyRow{}, map[Ino][]string{}
	if err := p.take(w, decoded); err != nil {
		w.t.Fatal(err)
	}
}

// take applies a commit as the fork points that are known say.
func (p *forkPod) take(w *forkWorld, c *Commit) error {
	r, err := p.t.read(&c.Header, p)
	if forked, ok := errors.AsType[*forkedError](err); ok && !p.bare[p.chain[forked.held].Digest()] {
		f, err := NewFork(&p.chain[forked.held].Header, &c.Header)
		if err != nil {
			w.t.Fatal(err)
		}
		p.learn(w, f)
		return p.take(w, c)
	}
	if err != nil || r.known {
		return err
	}
	if r.begins() {
		p.t = p.t.enter(&c.Header, &r)
		r.m.t = p.t
	}
	dot := Dot{r.label, c.Seq}
	for i := range c.Rows {
		_, ino, _, _ := ParseKey(c.Rows[i].Key)
		observed := r.m.dots(c.Rows[i].Observed)
		if n := c.Rows[i].inode; n != nil {
			n = r.m.brings(n, r.label).Stamp(dot)
			p.set(ino, p.rows[ino].Replace(observed, Version[*Inode]{Dot: dot, Value: n}))
		} else {
			p.set(ino, p.rows[ino].Remove(observed))
		}
	}
	p.chain[dot] = c
	p.order = append(p.order, dot)
	p.vv[r.label] = c.Seq
	p.hlc = max(p.hlc, c.HLC)
	return nil
}

// learn takes in a fork statement.
func (p *forkPod) learn(w *forkWorld, f *Fork) {
	if p.proofs[f.point()] != nil {
		return
	}
	next, s, err := p.t.learn(f.point(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	p.t, p.proofs[f.point()] = next, f
	if s != nil {
		w.tally["split"]++
		p.split(s.mapped(next), s)
	}
	if p.t.closed(p.actor) {
		p.renew(w)
	}
}

// split re-labels all that is here.
func (p *forkPod) split(m mapped, s *split) {
	for ino, set := range p.rows {
		p.rows[ino] = mapVersions(m, set, func(n *Inode) *Inode { return m.inode(n) })
		for i := range p.rows[ino] {
			p.rows[ino][i].Value.Dot = p.rows[ino][i].Dot
		}
	}
	for ino, d := range p.dirty {
		d.observed = m.dots(sorted(d.observed, byDot))
		if d.inode != nil {
			d.inode = m.inode(d.inode)
		}
		p.dirty[ino] = d
	}
	p.vv = m.vv(p.vv)
	for i, d := range p.order {
		if d.Actor == s.from && d.Seq > s.seq {
			c := p.chain[d]
			delete(p.chain, d)
			d.Actor = s.to
			p.chain[d], p.order[i] = c, d
		}
	}
}

// meet is Reconcile, both ways. It says whether all is settled: if not, a pod of an author has to say where its commits part.
func (w *forkWorld) meet(p, q *forkPod) (settled bool) {
	settled = true
	for again := true; again; {
		again, settled = false, true
		for _, f := range sortedProofs(p.proofs) {
			q.learn(w, f)
		}
		for _, f := range sortedProofs(q.proofs) {
			p.learn(w, f)
		}
		for _, a := range p.vv.Actors() {
			if f := w.parted(p, q, a, &settled); f != nil {
				w.tally["fork"]++
				p.learn(w, f)
				again = true
				break
			}
		}
	}
	if q.vv[p.actor] > p.vv[p.actor] {
		p.renew(w)
	}
	if p.vv[q.actor] > q.vv[q.actor] {
		q.renew(w)
	}
	return settled
}

// parted is the statement of where two pods' commits of a label part; nil if they don't, or if neither can say it.
func (w *forkWorld) parted(p, q *forkPod, a ident.Actor, settled *bool) *Fork {
	for seq := p.t.floor(a) + 1; seq <= min(p.vv[a], q.vv[a]); seq++ {
		x, y := p.chain[Dot{a, seq}], q.chain[Dot{a, seq}]
		if x.Digest() == y.Digest() {
			continue
		}
		if !p.bare[x.Digest()] && !q.bare[y.Digest()] {
			f, err := NewFork(&x.Header, &y.Header)
			if err != nil {
				w.t.Fatal(err)
			}
			return f
		}
		if p.actor.Member != a.Member && q.actor.Member != a.Member {
			w.tally["unsettled"]++
			*settled = false
			return nil
		}
		w.tally["word"]++
		return newForkWord(testNet, pointBefore(&x.Header), testSign(x.Actor))
	}
	return nil
}

func sortedProofs(m map[forkPoint]*Fork) []*Fork {
	return slices.SortedFunc(maps.Values(m), func(a, b *Fork) int {
		return cmp.Or(a.at.actor.Compare(b.at.actor), cmp.Compare(a.at.seq, b.at.seq), slices.Compare(a.at.digest[:], b.at.digest[:]))
	})
}

// fetch applies up to limit commits that q has, or takes q's state where they are in its log no more. Without having met, it may find out that it must meet first.
func (w *forkWorld) fetch(p, q *forkPod, limit int) {
	for _, dot := range slices.Clone(q.order) {
		if limit == 0 {
			return
		}
		c := q.chain[dot]
		if c == nil { // they met, and it has another label
			return
		}
		if q.bare[c.Digest()] {
			if p.t.has(c, p) {
				continue
			}
			w.joinTree(p, q)
			return
		}
		had := len(p.order)
		if err := p.take(w, c); err != nil {
			settled := w.meet(p, q)
			if err := p.take(w, c); err != nil && settled {
				w.t.Fatalf("commit %v of %d: %v", dot, q.id, err)
			} else if err != nil {
				return
			}
		}
		if len(p.order) > had {
			limit--
			if c.Actor == p.actor {
				p.renew(w) // it made this in a life that it doesn't know of
			}
		}
	}
}

// has says whether a commit was applied.
func (t *branches) has(c *Commit, ch chains) bool {
	digest := c.Digest()
	_, err := t.holder(c.Actor, c.Seq, digest[:], ch)
	return err == nil
}

// joinTree takes q's state as a whole, as Join does: the forks that q knows first; not if one that only p knows tells apart what q has under one label; nor if a
// label means other commits here. Of the commits that come only the digests are here then.
func (w *forkWorld) joinTree(p, q *forkPod) {
	for _, f := range sortedProofs(q.proofs) {
		p.learn(w, f)
	}
	for at := range p.proofs {
		if q.proofs[at] == nil {
			if _, s, err := q.t.learn(at, q); s != nil || err != nil {
				w.tally["behind"]++
				w.meet(p, q)
				return
			}
		}
	}
	for a, seq := range q.vv {
		if at := (Dot{a, min(seq, p.vv[a])}); at.Seq > 0 && p.chain[at].Digest() != q.chain[at].Digest() {
			w.tally["refused"]++
			w.meet(p, q)
			return
		}
	}
	w.tally["joined"]++
	rows := map[Ino]VerSet[*Inode]{}
	for _, x := range []*forkPod{p, q} {
		for ino := range x.rows {
			if s := Join(p.rows[ino], p.vv, q.rows[ino], q.vv); len(s) > 0 {
				rows[ino] = s
			}
		}
	}
	p.rows = rows
	own := q.vv[p.actor] > p.vv[p.actor]
	for _, dot := range q.order {
		if c := q.chain[dot]; !p.vv.Covers(dot) {
			p.chain[dot], p.order, p.hlc, p.bare[c.Digest()] = c, append(p.order, dot), max(p.hlc, c.HLC), true
		}
	}
	for name, b := range q.t.byName {
		if _, ok := p.t.byName[name]; !ok {
			p.t = p.t.clone()
			p.t.set(name, b)
		}
	}
	p.vv.Merge(q.vv)
	if own {
		p.renew(w)
	}
}

// truncate drops the oldest commits from a pod's log.
func (w *forkWorld) truncate(p *forkPod) {
	for _, dot := range p.order[:w.rng.IntN(len(p.order)+1)] {
		p.bare[p.chain[dot].Digest()] = true
	}
}

func (w *forkWorld) any() *forkPod { return w.fleet[w.rng.IntN(len(w.fleet))] }

// step runs one random step.
func (w *forkWorld) step(inos []Ino) []Ino {
	p, q := w.any(), w.any()
	switch k := w.rng.IntN(42); {
	case k >= 40:
		w.truncate(p)
	case k < 4 && len(inos) < 6:
		return append(inos, p.create())
	case k < 18:
		if len(inos) > 0 {
			p.op(w.world, inos[w.rng.IntN(len(inos))], true)
		}
	case k < 20:
		if len(inos) > 1 {
			i := w.rng.IntN(len(inos))
			p.saveOver(w.world, inos[i], inos[(i+1)%len(inos)])
		}
	case k < 26:
		p.commit(w)
	case k < 28:
		if p != q {
			w.joinTree(p, q)
		}
	case k < 30:
		w.meet(p, q)
		w.fetch(p, q, 1+w.rng.IntN(5))
	case k < 34:
		w.fetch(p, q, 1+w.rng.IntN(5))
	case k < 35: // a crash loses what was not committed
		p.dirty, p.drops = map[Ino]dirtyRow{}, map[Ino][]string{}
		w.wake(p)
	case k < 37:
		w.backups = append(w.backups, p.image())
	case k < 38 && len(w.backups) > 0: // a backup is brought back in place of the pod, or of a copy of it
		b := w.backups[w.rng.IntN(len(w.backups))].image()
		for i, x := range w.fleet {
			if x.actor.Member == b.actor.Member {
				w.tally["restored"]++
				w.fleet[i] = b
				w.wake(b)
				break
			}
		}
	case k < 39 && len(w.fleet) < 7: // a copy goes on beside the pod
		w.tally["cloned"]++
		c := p.image()
		w.wake(c)
		w.fleet = append(w.fleet, c)
		if w.rng.IntN(3) == 0 { // on another machine
			c.renew(w)
		}
	}
	return inos
}

// settle commits everywhere and exchanges all.
func (w *forkWorld) settle() {
	for _, p := range w.fleet {
		p.commit(w)
	}
	for range 6 {
		w.rng.Shuffle(len(w.fleet), func(i, j int) { w.fleet[i], w.fleet[j] = w.fleet[j], w.fleet[i] })
		for _, p := range w.fleet {
			for _, q := range w.fleet {
				if p != q {
					w.meet(p, q)
					w.fetch(p, q, -1)
				}
			}
		}
	}
}

func sameForkState(t *testing.T, seed uint64, what string, p, q *forkPod) {
	t.Helper()
	if d := gocmp.Diff(p.vv, q.vv); d != "" {
		t.Fatalf("seed %d: %s: vv: got - want +\n%s", seed, what, d)
	}
	if d := gocmp.Diff(p.encoded(), q.encoded()); d != "" {
		t.Fatalf("seed %d: %s: rows: got - want +\n%s", seed, what, d)
	}
}

// replayed is a pod that applied commits in a random order that their pasts allow. It knows the forks beforehand, or finds them, and hears of those
// that it can't find since one side never came here, when it can't go on.
func (w *forkWorld) replayed(seed uint64, commits []*Commit, proofs map[forkPoint]*Fork, late bool) *forkPod {
	p := w.newForkPod(99)
	hear := func() {
		for _, f := range proofs {
			p.learn(w, f)
		}
		late = false
	}
	if !late {
		hear()
	}
	for left := slices.Clone(commits); len(left) > 0; {
		w.rng.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		n := len(left)
		left = slices.DeleteFunc(left, func(c *Commit) bool {
			err := p.take(w, c)
			if err != nil && !errors.Is(err, ErrGap) && !errors.Is(err, ErrFork) {
				w.t.Fatalf("seed %d: replay: %v", seed, err)
			}
			return err == nil
		})
		if len(left) == n && late {
			hear()
		} else if len(left) == n {
			w.t.Fatalf("seed %d: replay: %d commits rest on what is not there", seed, n)
		}
	}
	if late {
		hear()
	}
	return p
}

// checkForkRows holds what was committed against what is there.
func (w *forkWorld) checkForkRows(seed uint64, p *forkPod) {
	written, dropped, removed := map[Ino]map[string]bool{}, map[Ino]map[string]bool{}, map[Ino]bool{}
	modes, places := map[Ino]Reg[uint32]{}, map[Ino]TS{}
	brought := map[string]int{} // copies commit the same uncommitted content apart: it is several then
	note := func(m map[Ino]map[string]bool, ino Ino, body string) {
		if m[ino] == nil {
			m[ino] = map[string]bool{}
		}
		m[ino][body] = true
	}
	for _, c := range p.chain {
		for i := range c.Rows {
			_, ino, _, _ := ParseKey(c.Rows[i].Key)
			n := c.Rows[i].inode
			if n == nil {
				removed[ino] = true
				continue
			}
			modes[ino] = later(modes[ino], n.Mode, func(a, b uint32) int { return int(a) - int(b) })
			places[ino] = maxTS(places[ino], n.Links[0].TS)
			for _, content := range n.Contents {
				note(written, ino, string(content.Body))
				if content.Dot.IsZero() {
					brought[string(content.Body)]++
				}
			}
		}
		for ino, bodies := range w.drops[c.Digest()] {
			for _, b := range bodies {
				note(dropped, ino, b)
			}
		}
	}
	for ino, bodies := range written {
		lives := map[string]bool{}
		f := Fold(p.rows[ino])
		if f.Inode != nil {
			for _, c := range f.Inode.Contents {
				lives[string(c.Body)] = true
			}
		}
		for body := range bodies {
			if !lives[body] && !dropped[ino][body] {
				w.t.Fatalf("seed %d: %q of %d was lost", seed, body, ino)
			}
			if lives[body] && dropped[ino][body] && !removed[ino] && !w.removed[ino] && brought[body] == 1 {
				w.t.Fatalf("seed %d: %q of %d came back", seed, body, ino)
			}
		}
		if removed[ino] || w.removed[ino] {
			continue
		}
		if f.Inode.Mode != modes[ino] || f.Inode.Links[0].TS != places[ino] {
			w.t.Fatalf("seed %d: inode %d has mode %v, place of %v; want %v, %v", seed, ino, f.Inode.Mode, f.Inode.Links[0].TS, modes[ino], places[ino])
		}
	}
}

// TestForkModel: pods crash, are set back to backups, are copied and go on as several, exchange commits and whole states in random order, and drop commits. In the end all
// have the same rows; a replay of all commits gives these, whether it knows the forks beforehand or finds them; nothing that reached another copy is lost.
func TestForkModel(t *testing.T) {
	runs := *forkRuns
	if testing.Short() {
		runs = min(runs, 60)
	}
	tally := map[string]int{}
	for seed := *forkSeed; seed < *forkSeed+uint64(runs); seed++ {
		w := newForkWorld(t, seed)
		var inos []Ino
		for range 40 + w.rng.IntN(80) {
			inos = w.step(inos)
		}
		w.settle()
		first := w.fleet[0]
		for _, p := range w.fleet[1:] {
			sameForkState(t, seed, fmt.Sprintf("copy %d against %d", p.id, first.id), p, first)
		}
		var commits []*Commit
		for _, c := range first.chain {
			commits = append(commits, c)
		}
		slices.SortFunc(commits, func(a, b *Commit) int {
			x, y := a.Digest(), b.Digest()
			return slices.Compare(x[:], y[:])
		})
		sameForkState(t, seed, "replay with the forks known", w.replayed(seed, commits, first.proofs, false), first)
		sameForkState(t, seed, "replay that finds the forks", w.replayed(seed, commits, first.proofs, true), first)
		w.checkForkRows(seed, first)
		for k, n := range w.tally {
			tally[k] += n
		}
		tally["branches"] += len(first.t.byName)
		tally["commits"] += len(commits)
	}
	t.Logf("%d runs: %v", runs, tally)
	if runs >= 200 && (tally["behind"] == 0 || tally["refused"] == 0 || tally["word"] == 0) {
		t.Error("the runs refused no tree, or settled all forks by headers")
	}
	if tally["joined"] == 0 || tally["branches"] == 0 || tally["restored"] == 0 || tally["cloned"] == 0 {
		t.Error("the runs made no forks")
	}
}

// TestRenumberingDiverges is why commits are never renumbered: one that somebody else's commit rests on can't be, since that one goes on naming it as it was. What was
// removed before is there again in a replay.
func TestRenumberingDiverges(t *testing.T) {
	x, again, z := actor(1), ident.Actor{Member: 1, Incarnation: 5}, actor(2)
	made := Version[*Inode]{Dot: Dot{x, 1}, Value: plainInode()}
	removal := []Dot{{x, 1}}

	state := VerSet[*Inode]{}.Replace(nil, made).Remove(removal) // and now X:1 gets another name, in the state and its vector
	vv := VV{again: 1, z: 1}

	renumbered := made
	renumbered.Dot = Dot{again, 1}
	replay := VerSet[*Inode]{}.Replace(nil, renumbered).Remove(removal)
	if len(replay) != 1 || len(state) != 0 {
		t.Fatalf("%d versions after the replay, %d in the state", len(replay), len(state))
	}
	if joined := Join(state, vv, replay, vv); len(joined) != 0 {
		t.Errorf("the join has %d versions", len(joined))
	}
}
