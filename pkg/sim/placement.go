package sim

import (
	"context"
	"fmt"
	"math/bits"
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
	writes   []placeWrite
	refused  int // writes, for want of room
	undone   int // writes that a crash undid
	safe     int // how often something was shown as safe
	lost     int // chunks of which more pods were lost between repairs than they bear
}

type placePod struct {
	n      int
	id     ident.Pod
	up     bool
	gone   bool // with its disk
	side   int
	slow   bool
	room   int64 // bytes of its disk
	others int64 // of them, those that other programs take
	out    bool
	backTo int         // until when it counts as one that comes and goes
	held   []placeHeld // of each chunk
	silent []int       // since when it does not hear another
	slack  []int       // how much later than placeDown it finds that another is down
}

// placeHeld is what a pod has of a chunk. marks are what it means to give up: it asks again before it does.
type placeHeld struct {
	whole, cached bool
	frags         pieces
	marks         pieces // the zero Fragment is the whole copy
}

// any says whether there is something that counts.
func (h *placeHeld) any() bool { return h.whole || len(h.frags) > 0 }

// pieces are some fragments of a chunk, each once.
type pieces []placement.Fragment

func (s pieces) has(f placement.Fragment) bool { return slices.Contains(s, f) }

func (s *pieces) add(f placement.Fragment) {
	if !s.has(f) {
		*s = append(*s, f)
	}
}

func (s *pieces) drop(f placement.Fragment) {
	*s = slices.DeleteFunc(*s, func(g placement.Fragment) bool { return g == f })
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

// RunPlacement runs one simulation of the placement and repair logic: pods join, are drained, crash, come and go, lose their disks, which may be slow or full, and the network parts. An error is
// what an oracle found: bytes below what was promised although no more pods were lost than that bears; a drain, or anything else, that does not end; more moved than must; a share that is not as the
// weight; a disk that has other bytes than its part in the end, or more than it has room for.
func RunPlacement(ctx context.Context, seed uint64, trace *Trace) error {
	return newPlaceWorld(seed, trace).run(ctx)
}

func newPlaceWorld(seed uint64, trace *Trace) *placeWorld {
	w := &placeWorld{rng: rand.New(rand.NewPCG(seed, 2)), trace: trace, networks: map[string]*placement.Network{}}
	for range placePodsMin + w.rng.IntN(placePodsMax-placePodsMin+1) - 2 {
		w.join()
	}
	for i := range placeChunks {
		w.newChunk(i)
	}
	return w
}

func (w *placeWorld) run(ctx context.Context) error {
	if err := w.settle(ctx, "at first"); err != nil {
		return err
	}
	for _, change := range []func() string{w.joins, w.drains, w.joins, w.loses} {
		if err := w.moves(ctx, change); err != nil {
			return err
		}
	}
	if err := w.flaps(ctx); err != nil {
		return err
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
	p := &placePod{n: len(w.pods), up: true, held: make([]placeHeld, placeChunks)}
	p.silent, p.slack = make([]int, len(w.pods)), make([]int, len(w.pods))
	for i := range p.id {
		p.id[i] = byte(w.rng.Uint32())
	}
	w.pods = append(w.pods, p)
	for _, q := range w.pods {
		q.silent, q.slack = append(q.silent, w.now), append(q.slack, 0)
	}
	weight := 80 + w.rng.Uint32N(41)
	p.room = placeRoom / placement.WeightDefault * int64(weight)
	w.entries = append(w.entries, placement.Entry{Pod: p.id, Weight: weight})
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
	key := make([]byte, len(w.pods))
	for i, q := range w.pods {
		key[i] = byte(w.condition(p, q))
	}
	if w.networks[string(key)] == nil {
		seen := make(map[ident.Pod]placement.Condition, len(w.pods))
		for i, q := range w.pods {
			seen[q.id] = placement.Condition(key[i])
		}
		w.networks[string(key)] = placement.NewNetwork(w.layout, seen)
	}
	return w.networks[string(key)]
}

// condition is a pod's as another one sees it.
func (w *placeWorld) condition(p, q *placePod) placement.Condition {
	switch silent := w.now - p.silent[q.n]; {
	case q.out:
		return placement.Out
	case q.up && q.side == p.side && w.now < q.backTo:
		return placement.Back
	case q.up && q.side == p.side:
		return placement.Up
	case silent <= placeDown+p.slack[q.n]:
		return placement.Suspect
	case silent > placeDownLong:
		return placement.DownLong
	}
	return placement.Down
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
			q.backTo = w.now + w.rng.IntN(2*placeOut)
			w.trace.say("%d: pod %d answers; it counts as one that comes and goes until %d", w.now, q.n, q.backTo)
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
		if h.Whole && q != p && q.held[i].marks.has(placement.Fragment{}) {
			h.Whole, h.Cached = false, true
		}
		for _, f := range q.held[i].frags {
			if q == p || !q.held[i].marks.has(f) {
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
	var release pieces
	for _, a := range plan.Actions {
		if a.Kind == placement.Release {
			if a.To == p.id {
				release.add(placement.Fragment{Stripe: a.Stripe, Index: a.Index})
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
	for _, f := range mine.marks {
		switch {
		case !release.has(f):
		case f == placement.Fragment{}:
			mine.whole, mine.cached = false, true
		default:
			mine.frags.drop(f)
		}
	}
	mine.marks = nil
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
	to, _ := w.reach(p, a.To, i)
	mine := &p.held[i]
	f := placement.Fragment{Stripe: a.Stripe, Index: a.Index}
	switch {
	case a.Kind == placement.CopyWhole && a.From == p.id && (mine.whole || mine.cached), a.Kind == placement.JoinWhole && a.To == p.id && w.readable(p, i, a.Stripe):
		w.put(to, i, placement.Fragment{})
	case a.Kind == placement.CopyFragment && a.From == p.id && mine.frags.has(f), a.Kind == placement.Rebuild && a.To == p.id && w.readable(p, i, a.Stripe):
		w.put(to, i, f)
	case a.Kind == placement.Encode && a.From == p.id && (mine.whole || mine.cached):
		for _, t := range a.Targets {
			q, _ := w.reach(p, t.Pod, i)
			w.put(q, i, placement.Fragment{Stripe: a.Stripe, Index: t.Index})
		}
	}
}

// readable says whether a pod reaches enough of a stripe.
func (w *placeWorld) readable(p *placePod, i int, s placement.Stripe) bool {
	have := uint64(0) // by index
	for _, q := range w.pods {
		for _, f := range q.held[i].frags {
			if q.up && q.side == p.side && f.Stripe == s {
				have |= 1 << f.Index
			}
		}
	}
	return bits.OnesCount64(have) >= int(s.K)
}

// bears says whether a chunk can be read whichever n of the pods that hold it for good are lost, by trying all.
func (w *placeWorld) bears(i, n int) bool {
	var disks []*placeHeld
	for _, p := range w.pods {
		if h := &p.held[i]; h.any() {
			disks = append(disks, h)
		}
	}
	return without(disks, make([]bool, len(disks)), 0, n)
}

// without says whether a chunk can be read from disks, without those that are gone, whichever n of those from one on go, too.
func without(disks []*placeHeld, gone []bool, from, n int) bool {
	if n == 0 {
		return read(disks, gone)
	}
	for k := from; k < len(disks); k++ {
		gone[k] = true
		ok := without(disks, gone, k+1, n-1)
		gone[k] = false
		if !ok {
			return false
		}
	}
	return len(disks) > n
}

// read says whether a chunk can be read from the disks that are not gone.
func read(disks []*placeHeld, gone []bool) bool {
	type stripe struct {
		of   placement.Stripe
		have uint64 // by index
	}
	var all []stripe
	for d, h := range disks {
		if gone[d] {
			continue
		}
		if h.whole {
			return true
		}
		for _, f := range h.frags {
			at := slices.IndexFunc(all, func(s stripe) bool { return s.of == f.Stripe })
			if at < 0 {
				at, all = len(all), append(all, stripe{of: f.Stripe})
			}
			if all[at].have |= 1 << f.Index; bits.OnesCount64(all[at].have) >= int(f.Stripe.K) {
				return true
			}
		}
	}
	return false
}
