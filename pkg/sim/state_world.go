package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Sizes of a simulation of the state: as large as a seed's time allows.
const (
	podsMin, podsMax     = 5, 12
	roundsMin, roundsMax = 15, 70
	batchMax             = 50 // operations without a commit
	operationsMax        = 250
	depthMax             = 200 // of folders
	settleRounds         = 200
)

// stateWorld is a simulation of the state.
type stateWorld struct {
	rng      *rand.Rand
	trace    *Trace
	time     *Timeline
	net      *Net
	keys     keyring
	pods     []*statePod
	history  *history
	ops      []stateOp
	weights  []int      // of ops
	more     bool       // the seed is of moreFrom or later
	trees    *rand.Rand // nil: pods catch up by commits alone, and keep them all
	joinRows int
	shadow   *shadow
	count    int  // of texts and values, so that no two are equal
	calm     bool // nothing fails any more
	copying  bool // there are clones and backups
	forked   bool // there was a clone, or a pod was brought back from a backup
	done     int  // operations
	made     int  // pods that are no clones
	lives    int  // how many were given out
}

// begin is when all simulations begin.
var begin = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// RunState runs one simulation of the state: pods that are real state.DBs on disks that lose power, and exchange commits over a bad
// network. The same seed does the same. An error is what an oracle found, or what a pod did not expect.
func RunState(ctx context.Context, seed uint64, trace *Trace) (err error) {
	w := newStateWorld(seed, trace)
	defer func() {
		for _, p := range w.pods {
			if p.db != nil {
				err = errors.Join(err, p.db.Close())
			}
		}
	}()
	w.calm = true
	if err := w.start(ctx); err != nil {
		return err
	}
	w.calm = false
	for range roundsMin + w.rng.IntN(roundsMax-roundsMin) {
		if err := w.round(ctx); err != nil {
			return err
		}
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	return w.judge(ctx)
}

func newStateWorld(seed uint64, trace *Trace) *stateWorld {
	rng := rand.New(rand.NewPCG(seed, 0))
	ops := stateOps
	if seed >= moreFrom {
		ops = slices.Concat(stateOps, laterOps)
	}
	w := &stateWorld{
		rng: rng, trace: trace, ops: ops, weights: opWeights(rng, ops), more: seed >= moreFrom,
		trees: newTrees(seed),
		time:  NewTimeline(begin), keys: newKeyring(64), history: newHistory(), shadow: newShadow(),
	}
	n := podsMin + rng.IntN(podsMax-podsMin+1)
	w.net = NewNet(n, NetOptions{DelayMax: time.Duration(1+rng.IntN(2000)) * time.Millisecond, Lost: rng.IntN(40), Twice: rng.IntN(20)}, rng, w.time)
	for i := range n {
		w.add(i)
	}
	w.made, w.copying = n, rng.IntN(2) == 0
	if w.trees != nil {
		w.joinRows = 1 + w.trees.IntN(30)
	}
	return w
}

// add makes a pod that is not started.
func (w *stateWorld) add(n int) *statePod {
	p := &statePod{
		w: w, n: n, actor: ident.Actor{Member: uint32(n + 1)}, clock: NewClock(w.time), disk: NewDisk(), blocks: newBlocks(),
		who: w.life(), rng: w.rng, logged: map[state.Ino]uint64{}, noted: state.VV{}, random: w.source(),
	}
	w.pods = append(w.pods, p)
	return p
}

// life is a number for a pod that goes its own way from now on.
func (w *stateWorld) life() int {
	w.lives++
	return w.lives
}

func (w *stateWorld) start(ctx context.Context) error {
	for _, p := range w.pods {
		if err := p.start(ctx); err != nil {
			return err
		}
		p.clock.Set(w.skew())
		w.trace.say("%d: starts, its clock is %v ahead", p.n, p.clock.Skew())
	}
	if w.rng.IntN(3) > 0 {
		return w.furnish(ctx)
	}
	return nil
}

// furnish gives all pods the same tree to begin with.
func (w *stateWorld) furnish(ctx context.Context) error {
	p := w.pods[w.rng.IntN(len(w.pods))]
	for range 5 + w.rng.IntN(15) {
		op := (*statePod).opCreate
		if w.rng.IntN(2) == 0 {
			op = (*statePod).opMkdir
		}
		if err := op(p, ctx); err != nil && !errors.Is(err, vfs.ErrExist) {
			return fmt.Errorf("pod %d: %w", p.n, err)
		}
	}
	if err := p.commit(ctx, 0); err != nil {
		return err
	}
	commits, err := p.db.Log(ctx, nil, 1<<30)
	if err != nil {
		return err
	}
	for _, q := range w.pods {
		if q != p {
			if err := q.receive(ctx, p, commits); err != nil {
				return err
			}
		}
	}
	return nil
}

// skew is how wrong a clock is: mostly a little, now and then ten minutes, or years.
func (w *stateWorld) skew() time.Duration {
	d := time.Duration(w.rng.IntN(2000)-1000) * time.Millisecond
	switch w.rng.IntN(16) {
	case 0, 1:
		d = time.Duration(w.rng.IntN(20)-10) * time.Minute
	case 2:
		d = time.Duration(w.rng.IntN(6)-3) * 365 * 24 * time.Hour
	}
	return d
}

// round is one thing that happens to one pod, and what arrives meanwhile.
func (w *stateWorld) round(ctx context.Context) error {
	p := w.pods[w.rng.IntN(len(w.pods))]
	if err := w.act(ctx, p); err != nil {
		return err
	}
	if p.disk.Failed() {
		if err := w.crash(ctx, p); err != nil {
			return err
		}
	}
	w.time.Turn(time.Duration(w.rng.IntN(500)) * time.Millisecond)
	return w.net.Step()
}

func (w *stateWorld) act(ctx context.Context, p *statePod) error {
	p.arm()
	if w.copying && w.rng.IntN(12) == 0 {
		return w.copies(ctx, p)
	}
	if w.trees != nil && w.trees.IntN(8) == 0 {
		return w.treeAct(ctx, p)
	}
	switch k := w.rng.IntN(100); {
	case k < 45:
		return w.batch(ctx, p)
	case k < 55:
		return p.commit(ctx, w.rng.IntN(4))
	case k < 60:
		_, err := p.checkpoint(ctx)
		return err
	case k < 63:
		return p.sync(ctx)
	case k < 85:
		for range 1 + w.rng.IntN(3) {
			if q := w.pods[w.rng.IntN(len(w.pods))]; q != p {
				p.ask(ctx, q, 1+w.rng.IntN(20000))
			}
		}
	case k < 90:
		w.cut()
	case k < 94:
		w.trace.say("%d: the power fails now", p.n)
		return w.crash(ctx, p)
	case k < 96:
		p.clock.Set(w.skew())
		w.trace.say("%d: its clock is %v ahead now", p.n, p.clock.Skew())
	case k < 98:
		return w.compare(ctx, p)
	default:
		return p.check(ctx)
	}
	return nil
}

// batch runs operations, and hears of others between them: rows come on rows that are not committed.
func (w *stateWorld) batch(ctx context.Context, p *statePod) error {
	n := 1 + w.rng.IntN(6)
	if w.rng.IntN(6) == 0 {
		n = 1 + w.rng.IntN(batchMax)
	}
	for range n {
		if w.done++; w.done > operationsMax || p.disk.Failed() {
			return nil
		}
		if err := p.step(ctx); err != nil {
			return err
		}
		if w.rng.IntN(8) == 0 {
			w.time.Turn(time.Duration(w.rng.IntN(300)) * time.Millisecond)
			if p.disk.Failed() {
				return nil
			}
			if err := w.net.Step(); err != nil {
				return err
			}
		}
	}
	if w.rng.IntN(2) == 0 {
		return p.commit(ctx, w.rng.IntN(3))
	}
	return nil
}

func (w *stateWorld) cut() {
	switch w.rng.IntN(3) {
	case 0:
		w.net.Split(1)
		w.trace.say("net: healed")
	case 1:
		w.net.Split(2 + w.rng.IntN(2))
		w.trace.say("net: split: %v", w.net.side)
	default:
		w.net.Isolate(w.rng.IntN(len(w.pods)))
		w.trace.say("net: split: %v", w.net.side)
	}
}

// crash has a pod lose its power and start again.
func (w *stateWorld) crash(ctx context.Context, p *statePod) error {
	after := p.disk.After()
	if err := p.db.Close(); err != nil {
		return fmt.Errorf("pod %d: close: %w", p.n, err)
	}
	p.db = nil
	p.disk = after
	// With trees a join may be under way, which can't end without its blocks.
	p.blocks.fail(w.rng.IntN(8) == 0 && w.trees == nil)
	p.crashes++
	noted := p.noted
	if err := w.again(ctx, p); err != nil {
		return err
	}
	p.noted = noted
	return p.publish(ctx)
}

// settle ends all trouble and has all pods exchange all they have.
func (w *stateWorld) settle(ctx context.Context) error {
	w.trace.say("all is well from now on")
	w.calm = true
	w.net.Drop()
	w.net.Perfect()
	w.time.Turn(10 * 365 * 24 * time.Hour) // no commit is from the future
	for _, p := range w.pods {
		p.disk.FailAt(0, 0, 0)
		p.clock.Set(0)
		for _, ino := range sortedKeys(p.logged) {
			if err := p.fold(ino); err != nil { //nolint:contextcheck // operations of the state take no context
				return fmt.Errorf("pod %d: fold: %w", p.n, err)
			}
		}
		if err := p.commit(ctx, 0); err != nil {
			return err
		}
		if p.db.Dirty() {
			return fmt.Errorf("pod %d: a commit leaves changes", p.n)
		}
	}
	for i := range settleRounds {
		even, err := w.even()
		if even && (i > 1 || !w.forked) || err != nil {
			return err
		}
		for _, p := range w.pods {
			for _, q := range w.pods {
				if p != q && w.forked {
					if err := p.reconcile(ctx, q); err != nil {
						return err
					}
				}
				if p != q && !q.db.VV().LessEqual(p.db.VV()) {
					p.ask(ctx, q, 1<<20)
				}
				if err := errors.Join(w.net.Step(), w.net.Step()); err != nil {
					return err
				}
			}
		}
	}
	return errors.New("pods that reach each other do not hear of all changes")
}

// even says whether all pods have the same changes, and know the same forks.
func (w *stateWorld) even() (bool, error) {
	first := w.pods[0]
	forks, err := first.db.Forks()
	if err != nil {
		return false, err
	}
	for _, p := range w.pods[1:] {
		others, err := p.db.Forks()
		if err != nil || len(others) != len(forks) || !sameVV(p.db.VV(), first.db.VV()) {
			return false, err
		}
	}
	return true, nil
}
