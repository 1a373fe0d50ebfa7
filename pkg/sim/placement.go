package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// Sizes of a simulation of the placement.
const (
	placePodsMin   = 8
	placePodsMax   = 12
	placeChunks    = 48
	placeSteps     = 1200
	placeDown      = 20  // steps of silence after which a pod is down, and as many more at most, at random
	placeDownLong  = 60  // steps of silence after which a pod is down for long
	placeOut       = 200 // and out, if more than half of the active pods don't hear it
	placeRoundsMax = 60  // in which all must come to rest when nothing happens any more
	placeExcess    = 1.1 // of what must move
	placeBalance   = 0.15
	placeLarge     = 1 << 20 // bytes of a chunk that is cut
)

// placeWorld is a simulation of the placement and repair logic: pods that hold sets of chunks, of which each plans by what it sees and does its part. What must hold is judged from outside,
// by trying all losses.
type placeWorld struct {
	rng      *rand.Rand
	trace    *Trace
	now      int
	calm     bool
	pods     []*placePod
	entries  []placement.Entry
	layout   placement.Layout
	most     placement.Layout // without those that are out; zero: to be made
	chunks   []*placeChunk
	networks map[string]*placement.Network
	moved    int // pieces that went to a pod which lacked them
	safe     int // how often something was shown as safe
	lost     int // chunks of which more pods were lost between repairs than they bear
}

type placePod struct {
	n      int
	id     ident.Pod
	up     bool
	gone   bool // with its disk
	side   int
	heard  int // when it was last up and on the side of most
	slow   bool
	full   bool
	out    bool
	held   []placeHeld // of each chunk
	silent map[int]int // since when it does not hear another
	slack  map[int]int // how much later than placeDown it finds that another is down
}

// placeHeld is what a pod has of a chunk. marks are what it means to give up: it asks again before it does.
type placeHeld struct {
	whole, cached bool
	frags         map[placement.Fragment]bool
	marks         map[placement.Fragment]bool // the zero Fragment is the whole copy
}

type placeChunk struct {
	group  placement.Group
	bytes  int64
	want   placement.Policy
	author ident.Pod
	placed bool
	// promised is how many losses it bears: set when it was shown as safe, less what was lost since; -1: nothing is promised.
	promised int
}

// RunPlacement runs one simulation of the placement and repair logic: pods join, are drained, crash, lose their disks, are slow or full, and the network parts. An error is what an
// oracle found: bytes below what was promised although no more pods were lost than that bears; a drain, or anything else, that does not end; more moved than must; a share that is not as the weight.
func RunPlacement(ctx context.Context, seed uint64, trace *Trace) error {
	w := &placeWorld{rng: rand.New(rand.NewPCG(seed, 2)), trace: trace, networks: map[string]*placement.Network{}}
	for range placePodsMin + w.rng.IntN(placePodsMax-placePodsMin+1) - 2 {
		w.join()
	}
	for i := range placeChunks {
		w.newChunk(i)
	}
	if err := w.settle(ctx, "at first"); err != nil {
		return err
	}
	for _, change := range []func() string{w.joins, w.drains, w.joins, w.loses} {
		if err := w.moves(ctx, change); err != nil {
			return err
		}
	}
	for range placeSteps {
		if err := w.step(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := w.settle(ctx, "in the end"); err != nil {
		return err
	}
	if w.safe == 0 {
		return fmt.Errorf("nothing was ever safe: the simulation shows nothing")
	}
	return w.balance()
}

func (w *placeWorld) newChunk(i int) {
	all := []string{"replica:2", "replica:3", "rs:2+1", "rs:4+2"}
	want, err := placement.ParsePolicy(all[w.rng.IntN(len(all))])
	if err != nil {
		panic(err)
	}
	c := &placeChunk{group: placement.Group(w.rng.IntN(placement.Groups)), bytes: []int64{placeLarge, placeLarge, placeLarge, 1000}[w.rng.IntN(4)], want: want, promised: -1}
	author := w.pods[w.rng.IntN(len(w.pods))]
	c.author, author.held[i].whole = author.id, true
	w.chunks = append(w.chunks, c)
}

func (w *placeWorld) join() *placePod {
	p := &placePod{n: len(w.pods), up: true, heard: w.now, silent: map[int]int{}, slack: map[int]int{}, held: make([]placeHeld, placeChunks)}
	for i := range p.id {
		p.id[i] = byte(w.rng.Uint32())
	}
	for i := range p.held {
		p.held[i] = placeHeld{frags: map[placement.Fragment]bool{}, marks: map[placement.Fragment]bool{}}
	}
	w.pods = append(w.pods, p)
	w.entries = append(w.entries, placement.Entry{Pod: p.id, Weight: 80 + w.rng.Uint32N(41)})
	w.changed()
	w.trace.say("%d: pod %d joins", w.now, p.n)
	return p
}

func (w *placeWorld) changed() {
	w.layout = placement.NewLayout(slices.Clone(w.entries))
	w.most = placement.Layout{}
	clear(w.networks)
}

// network is the pods as one sees them.
func (w *placeWorld) network(p *placePod) *placement.Network {
	seen := make(map[ident.Pod]placement.Condition, len(w.pods))
	key := make([]byte, 0, len(w.pods))
	for _, q := range w.pods {
		c := placement.Down
		switch {
		case q.out:
			c = placement.Out
		case q.up && q.side == p.side:
			c = placement.Up
		case w.now-p.silent[q.n] <= placeDown+p.slack[q.n]:
			c = placement.Suspect
		case w.now-p.silent[q.n] > placeDownLong:
			c = placement.DownLong
		}
		seen[q.id] = c
		key = append(key, byte(c))
	}
	if w.networks[string(key)] == nil {
		w.networks[string(key)] = placement.NewNetwork(w.layout, seen)
	}
	return w.networks[string(key)]
}

// hear notes who hears whom, and who is out by the word of more than half of the active pods.
func (w *placeWorld) hear() {
	for _, p := range w.pods {
		for _, q := range w.pods {
			if p.up && q.up && p.side == q.side {
				if p.silent[q.n] < w.now-1 {
					p.slack[q.n] = w.rng.IntN(placeDown)
				}
				p.silent[q.n] = w.now
			}
		}
	}
	active := slices.DeleteFunc(slices.Clone(w.pods), func(p *placePod) bool { return p.out })
	for _, q := range w.pods {
		if q.out && slices.ContainsFunc(active, func(p *placePod) bool { return p.up && q.up && p.side == q.side }) {
			q.out, w.most = false, placement.Layout{}
			w.trace.say("%d: pod %d answers", w.now, q.n)
		}
	}
	for _, q := range w.pods {
		says := 0
		for _, p := range active {
			if p != q && p.up && w.now-p.silent[q.n] > placeOut && w.network(p).Majority() {
				says++
			}
		}
		if !q.out && 2*says > len(active) {
			q.out, w.most = true, placement.Layout{}
			w.trace.say("%d: pod %d is out", w.now, q.n)
			return // the next is judged among those that are left
		}
	}
}

// chunk is what one pod knows of a chunk.
func (w *placeWorld) chunk(p *placePod, i int) placement.Chunk {
	c := w.chunks[i]
	out := placement.Chunk{Group: c.group, FormBytes: c.bytes, Want: c.want, Author: c.author, Self: p.id, Lower: true, New: !c.placed && c.author == p.id}
	for _, q := range w.pods {
		if !q.up || q.side != p.side {
			continue
		}
		h := placement.Holder{Pod: q.id, Whole: q.held[i].whole, Cached: q.held[i].cached}
		if h.Whole && q != p && q.held[i].marks[placement.Fragment{}] {
			h.Whole, h.Cached = false, true
		}
		for f := range q.held[i].frags {
			if q == p || !q.held[i].marks[f] {
				h.Fragments = append(h.Fragments, f)
			}
		}
		slices.SortFunc(h.Fragments, func(a, b placement.Fragment) int { return int(a.Index) - int(b.Index) })
		out.Holders = append(out.Holders, h)
	}
	return out
}

// act has a pod plan for a chunk and do its part.
func (w *placeWorld) act(p *placePod, i int) (busy bool, err error) {
	c := w.chunks[i]
	chunk := w.chunk(p, i)
	plan := w.network(p).Plan(chunk)
	c.placed = c.placed || chunk.New
	if plan.Safety.State == placement.StateSafe {
		if !w.bears(i, c.want.Losses()) {
			return false, fmt.Errorf("step %d: pod %d shows chunk %d as safe, and it can't bear %d losses", w.now, p.n, i, c.want.Losses())
		}
		w.safe++
		c.promised = c.want.Losses()
	}
	mine := &p.held[i]
	release := make(map[placement.Fragment]bool)
	for _, a := range plan.Actions {
		if a.Kind == placement.Release {
			if a.To == p.id {
				release[placement.Fragment{Stripe: a.Stripe, Index: a.Index}] = true
			}
			continue
		}
		if a.Kind != placement.Encode && !chunk.New && w.few(p) && !w.layoutOfMost().InSet(c.group, w.pieces(c), a.To) {
			return false, fmt.Errorf("step %d: pod %d, which reaches half of the pods or less, has pod %d make chunk %d again: %+v", w.now, p.n, w.number(a.To), i, a)
		}
		if w.calm || w.rng.IntN(10) < 8 {
			w.do(p, i, a)
		}
	}
	marked := len(mine.marks) > 0
	for f := range mine.marks {
		switch {
		case !release[f]:
		case f == placement.Fragment{}:
			mine.whole, mine.cached = false, true
		default:
			delete(mine.frags, f)
		}
	}
	clear(mine.marks)
	if !marked {
		mine.marks = release
	}
	if c.promised >= 0 && !w.bears(i, c.promised) {
		return false, fmt.Errorf("step %d: chunk %d was promised to bear %d more losses, and does not, after an act of pod %d", w.now, i, c.promised, p.n)
	}
	return len(plan.Actions) > 0, nil
}

// few says whether a pod reaches half of the active pods or less.
func (w *placeWorld) few(p *placePod) bool {
	active, reached := 0, 0
	for _, q := range w.pods {
		if q.out {
			continue
		}
		active++
		if q.up && q.side == p.side {
			reached++
		}
	}
	return 2*reached <= active
}

// layoutOfMost is the layout without those that are out.
func (w *placeWorld) layoutOfMost() placement.Layout {
	if w.most == (placement.Layout{}) {
		var left []placement.Entry
		for i, e := range w.entries {
			if !w.pods[i].out {
				left = append(left, e)
			}
		}
		w.most = placement.NewLayout(left)
	}
	return w.most
}

// number is a pod's number.
func (w *placeWorld) number(id ident.Pod) int {
	return slices.IndexFunc(w.pods, func(p *placePod) bool { return p.id == id })
}

// reach is what a pod holds of a chunk, if another one reaches it.
func (w *placeWorld) reach(p *placePod, id ident.Pod, i int) (*placePod, *placeHeld) {
	for _, q := range w.pods {
		if q.id == id && q.up && q.side == p.side {
			return q, &q.held[i]
		}
	}
	return nil, nil
}

// do carries out a pod's part: what it has it sends, and what is made again is made where it is to be.
func (w *placeWorld) do(p *placePod, i int, a placement.Action) {
	takes := func(q *placePod) bool { return q != nil && !q.full && (!q.slow || w.rng.IntN(4) == 0) }
	to, held := w.reach(p, a.To, i)
	f := placement.Fragment{Stripe: a.Stripe, Index: a.Index}
	switch {
	case a.Kind == placement.CopyWhole && a.From == p.id && takes(to) && (p.held[i].whole || p.held[i].cached):
		if !held.whole && !held.cached {
			w.moved++
		}
		held.whole, held.cached = true, false
	case a.Kind == placement.CopyFragment && a.From == p.id && takes(to) && p.held[i].frags[f]:
		if !held.frags[f] {
			w.moved++
		}
		held.frags[f] = true
	case a.Kind == placement.Encode && a.From == p.id && (p.held[i].whole || p.held[i].cached):
		for _, t := range a.Targets {
			if q, its := w.reach(p, t.Pod, i); takes(q) {
				one := placement.Fragment{Stripe: a.Stripe, Index: t.Index}
				if !its.frags[one] && q != p {
					w.moved++
				}
				its.frags[one] = true
			}
		}
	case a.To != p.id || !takes(p):
	case a.Kind == placement.Rebuild && w.readable(p, i, a.Stripe):
		if !p.held[i].frags[f] {
			w.moved++
		}
		p.held[i].frags[f] = true
	case a.Kind == placement.JoinWhole && w.readable(p, i, a.Stripe):
		w.moved++
		p.held[i].whole, p.held[i].cached = true, false
	}
}

// readable says whether a pod reaches enough of a stripe.
func (w *placeWorld) readable(p *placePod, i int, s placement.Stripe) bool {
	have := map[uint8]bool{}
	for _, q := range w.pods {
		for f := range q.held[i].frags {
			if q.up && q.side == p.side && f.Stripe == s {
				have[f.Index] = true
			}
		}
	}
	return len(have) >= int(s.K)
}

// bears says whether a chunk can be read whichever n of the pods that hold it for good are lost, by trying all.
func (w *placeWorld) bears(i, n int) bool {
	var disks []*placePod
	for _, p := range w.pods {
		if p.held[i].whole || len(p.held[i].frags) > 0 {
			disks = append(disks, p)
		}
	}
	return w.without(i, n, disks, 0, map[*placePod]bool{})
}

func (w *placeWorld) without(i, n int, disks []*placePod, from int, gone map[*placePod]bool) bool {
	if n == 0 {
		have := map[placement.Stripe]map[uint8]bool{}
		for _, p := range disks {
			if gone[p] {
				continue
			}
			if p.held[i].whole {
				return true
			}
			for f := range p.held[i].frags {
				if have[f.Stripe] == nil {
					have[f.Stripe] = map[uint8]bool{}
				}
				if have[f.Stripe][f.Index] = true; len(have[f.Stripe]) >= int(f.Stripe.K) {
					return true
				}
			}
		}
		return false
	}
	for k := from; k < len(disks); k++ {
		gone[disks[k]] = true
		ok := w.without(i, n-1, disks, k+1, gone)
		delete(gone, disks[k])
		if !ok {
			return false
		}
	}
	return len(disks) > n
}
