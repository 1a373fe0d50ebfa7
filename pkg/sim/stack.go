package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing/synctest"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// FleetSize is how many pods a Fleet of RunStack must have.
const FleetSize = 5

// Sizes of a simulation of the stack.
const (
	stackPodsMin   = 3
	stackRoundsMin = 8
	stackRoundsMax = 40
	stackSettle    = 20 * time.Minute // until commits of clocks that were ahead count, and all are told
)

// stackWorld is a simulation of the whole stack.
type stackWorld struct {
	fleet *Fleet
	rng   *rand.Rand
	trace *Trace
	wires *Wires
	pods  []*stackPod
	texts map[string]*stackText
	count int

	weights []uint32 // of pods, by number; nil: all are as others
	calm    bool
}

// RunStack runs one simulation of the whole stack: pods that are real pod.Pods, with files, fsyncs and blocks, on disks that lose power, over
// connections that break. It must be called in a bubble of testing/synctest, whose time it takes; fleet is made outside of it, by NewFleet with FleetSize, and not
// changed. An error is what an oracle found, or what a pod did not expect.
func RunStack(ctx context.Context, fleet *Fleet, seed uint64, trace *Trace) (err error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &stackWorld{
		fleet: fleet, rng: rng, trace: trace, texts: map[string]*stackText{},
		wires: NewWires(clock.Real{}, NetOptions{DelayMax: time.Duration(1+rng.IntN(300)) * time.Millisecond, Lost: rng.IntN(10)}, seed),
	}
	defer w.end(&err) //nolint:contextcheck // closing takes no context
	if err := w.start(ctx, stackPodsMin+rng.IntN(FleetSize-stackPodsMin+1)); err != nil {
		return err
	}
	for range stackRoundsMin + rng.IntN(stackRoundsMax-stackRoundsMin) {
		if err := w.round(ctx); err != nil {
			return err
		}
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	return w.judge(ctx)
}

// end ends all pods, and adds to an error what they say.
func (w *stackWorld) end(err *error) {
	for _, p := range w.pods {
		*err = errors.Join(*err, p.end())
	}
}

func (w *stackWorld) start(ctx context.Context, pods int) error {
	for range pods {
		if err := w.join(ctx); err != nil {
			return err
		}
	}
	return nil
}

// join starts one more pod, if the fleet has one. It was admitted when the fleet was made, and knows nothing of what is there.
func (w *stackWorld) join(ctx context.Context) error {
	i := len(w.pods)
	if i == FleetSize {
		return nil
	}
	disk, err := w.fleet.disk(i)
	if err != nil {
		return err
	}
	p := &stackPod{w: w, n: i, clock: NewClock(clock.Real{}), disk: disk}
	if w.weights != nil {
		p.weight = w.weights[i]
	}
	p.clock.Set(w.skew())
	w.pods = append(w.pods, p)
	if err := p.start(ctx); err != nil {
		return err
	}
	w.trace.say("%d: starts at %v", i, p.clock.Now())
	return nil
}

// skew is how wrong a clock is, and the way from a bubble's time, which begins in 2000, to the fleet's.
func (w *stackWorld) skew() time.Duration {
	d := w.fleet.made.Sub(bubbleBegin) + time.Hour
	switch w.rng.IntN(8) {
	case 0:
		return d + time.Duration(w.rng.IntN(20)-10)*time.Minute
	case 1:
		return d - 365*24*time.Hour
	}
	return d + time.Duration(w.rng.IntN(2000)-1000)*time.Millisecond
}

// bubbleBegin is when the time of a bubble begins.
var bubbleBegin = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// round is some operations of one user, or some trouble.
func (w *stackWorld) round(ctx context.Context) error {
	p := w.pods[w.rng.IntN(len(w.pods))]
	if err := w.act(ctx, p); err != nil {
		return err
	}
	if err := w.rest(ctx, time.Duration(w.rng.IntN(3000))*time.Millisecond); err != nil {
		return err
	}
	for _, q := range w.pods {
		if q.disk.Failed() {
			w.trace.say("%d: the power has failed", q.n)
			if err := q.crash(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// rest lets some time pass, and waits until all that goes on waits for more of it.
func (w *stackWorld) rest(ctx context.Context, d time.Duration) error {
	err := clock.Sleep(ctx, clock.Real{}, d)
	synctest.Wait()
	return err
}

func (w *stackWorld) act(ctx context.Context, p *stackPod) error {
	switch k := w.rng.IntN(104); {
	case k < 70:
		for range 1 + w.rng.IntN(5) {
			if err := p.step(ctx); err != nil || p.disk.Failed() {
				return p.failed(err)
			}
			if err := w.rest(ctx, time.Duration(w.rng.IntN(60))*time.Millisecond); err != nil {
				return err
			}
		}
	case k < 75:
		return p.settle(ctx)
	case k < 86:
		w.cut()
	case k < 91:
		n, keep := 1+w.rng.IntN(40), []int{0, 50, 90, 100}[w.rng.IntN(4)]
		w.trace.say("%d: the power will fail at sync %d, %d%% of what is not synced stay", p.n, n, keep)
		p.disk.FailAt(n, keep, w.rng.Uint64())
	case k < 93:
		w.trace.say("%d: the power fails now", p.n)
		return p.crash(ctx)
	case k < 94:
		return p.restart(ctx)
	case k < 96:
		return p.fill()
	case k < 97:
		p.slow()
	case k < 98:
		return w.drain(ctx, p)
	case k < 99:
		p.clock.Set(w.skew())
		w.trace.say("%d: its clock shows %v now", p.n, p.clock.Now())
	case k < 103:
		return w.join(ctx)
	default:
		got, err := p.p.Collect(ctx, pod.CollectOptions{})
		w.trace.say("%d: collects %+v, %v", p.n, got, err)
		if errors.Is(err, block.ErrUnavailable) {
			return nil // some of what is retained can't be read for now, so nothing was swept
		}
		return p.failed(err)
	}
	return nil
}

func (w *stackWorld) cut() {
	sides, alone := 1, -1
	switch w.rng.IntN(3) {
	case 0:
		sides = 2
	case 1:
		alone = w.rng.IntN(len(w.pods))
	}
	side := map[ident.Pod]int{}
	for i, p := range w.pods {
		side[w.fleet.pods[p.n].id] = w.rng.IntN(sides)
		if i == alone {
			side[w.fleet.pods[p.n].id] = 9
		}
	}
	w.wires.Split(func(id ident.Pod) int { return side[id] })
	w.trace.say("net: %d sides, alone: %d", sides, alone)
}

// settle ends all trouble and waits until all is told.
func (w *stackWorld) settle(ctx context.Context) error {
	w.trace.say("all is well from now on")
	w.calm = true
	w.wires.Become(NetOptions{})
	w.wires.Split(func(ident.Pod) int { return 0 })
	for _, p := range w.pods {
		w.wires.Slow(w.fleet.pods[p.n].id, 0)
		p.disk.FailAt(0, 0, 0)
		if err := p.disk.Fill(diskRoom, 0); err != nil {
			return err
		}
		p.clock.Set(w.fleet.made.Sub(bubbleBegin) + 2*time.Hour)
	}
	if err := w.rest(ctx, time.Minute); err != nil {
		return err
	}
	for _, p := range w.pods {
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	return w.rest(ctx, stackSettle)
}

// judge asks all oracles.
func (w *stackWorld) judge(ctx context.Context) error {
	var roots []block.ID
	for _, p := range w.pods {
		root, err := p.p.Root(ctx)
		if err != nil {
			return p.failed(err)
		}
		roots = append(roots, root)
	}
	var found problems
	var first map[string]string
	for i, p := range w.pods {
		if roots[i] != roots[0] {
			found.add("pods 0 and %d show the roots %s and %s", p.n, roots[0], roots[i])
		}
		err := p.p.Fsck(ctx, false, func(q pod.Problem) { found.add("pod %d: fsck: %s: %s", p.n, q.Where, q.What) })
		if err != nil {
			return p.failed(err)
		}
		if err := w.judgeCare(ctx, p, &found); err != nil {
			return err
		}
		view, err := p.walk(ctx)
		if err != nil {
			return p.failed(err)
		}
		if first == nil {
			first = view
		}
		for _, path := range sortedKeys(first) {
			if got, ok := view[path]; !ok || got != first[path] {
				found.add("pod %d shows %.60q at %q, pod 0 %.60q", p.n, got, path, first[path])
			}
		}
		if len(view) != len(first) {
			found.add("pod %d shows %d names, pod 0 %d", p.n, len(view), len(first))
		}
	}
	w.judgeTexts(first, &found)
	return found.err()
}

// judgeTexts: each file holds what somebody wrote, and what was acknowledged is there, whole, unless somebody who saw it replaced or removed it.
func (w *stackWorld) judgeTexts(view map[string]string, found *problems) {
	size := map[string]int{}
	for _, path := range sortedKeys(view) {
		if path[len(path)-1] == '/' || view[path] == "" {
			continue
		}
		tag := tagOf(view[path])
		if w.texts[tag] == nil || !isText(tag, view[path]) {
			found.add("%q holds %d bytes that nobody wrote: %.60q", path, len(view[path]), view[path])
			continue
		}
		size[tag] = max(size[tag], len(view[path]))
	}
	for _, tag := range sortedKeys(w.texts) {
		switch t := w.texts[tag]; {
		case !t.durable || t.dropped:
		case size[tag] == 0:
			found.add("%q, which pod %d wrote, is nowhere", tag, t.pod)
		case size[tag] < t.size:
			found.add("of %q, which pod %d wrote, %d bytes of %d are there", tag, t.pod, size[tag], t.size)
		}
	}
}
