package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// clonesMax is how many pods of a simulation are copies of others.
const clonesMax = 2

// source is a new source of numbers: of two copies of a pod each has its own.
func (w *stateWorld) source() *rand.ChaCha8 {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(w.rng.Uint32())
	}
	return rand.NewChaCha8(seed)
}

// peer is what a pod asks another when they compare numbers.
type peer struct {
	db    *state.DB
	clock *Clock
}

var _ state.Peer = peer{}

// Forks is state.Peer's.
func (p peer) Forks(context.Context) ([][]byte, error) { return p.db.Forks() }

// Tips is state.Peer's.
func (p peer) Tips(context.Context) ([]state.Tip, error) { return p.db.Tips() }

// Log is state.Peer's.
func (p peer) Log(ctx context.Context, have state.VV) ([][]byte, error) {
	return p.db.Log(ctx, have, 1<<20)
}

// Digests is state.Peer's.
func (p peer) Digests(ctx context.Context, label ident.Actor, from uint64) ([]byte, error) {
	return p.db.Digests(ctx, label, from)
}

// Now is state.Peer's.
func (p peer) Now(context.Context) (time.Time, error) { return p.clock.Now(), nil }

// reconcile compares numbers with another pod, which is reached at once.
func (p *statePod) reconcile(ctx context.Context, q *statePod) error {
	before := p.db.Actor()
	err := p.db.Reconcile(ctx, peer{q.db, q.clock})
	if p.disk.Failed() {
		return p.w.crash(ctx, p)
	}
	if err != nil {
		p.w.trace.say("%d: compares numbers with %d: %v", p.n, q.n, err)
		return nil // it is tried again
	}
	p.met[q.n] = q.life
	if after := p.db.Actor(); after != before {
		p.w.trace.say("%d: has compared numbers with %d, and is %s now", p.n, q.n, after)
	}
	return p.publish(ctx)
}

// copies makes a backup of a pod, brings it back from one, or makes a clone of it.
func (w *stateWorld) copies(ctx context.Context, p *statePod) error {
	clones := len(w.pods) - w.made
	switch k := w.rng.IntN(3); {
	case k == 0 || p.backup == nil:
		p.backup = w.backup(p)
		w.trace.say("%d: a backup is made", p.n)
	case k == 1:
		return w.restore(ctx, p)
	case clones < clonesMax:
		return w.clone(ctx, p)
	}
	return nil
}

// backup copies what is durable of a pod.
func (w *stateWorld) backup(p *statePod) *backup {
	b := &backup{disk: p.disk.After(), blocks: p.blocks.copy(), texts: map[*written]bool{}, removed: map[*removal]bool{}, noted: p.known()}
	for _, t := range w.shadow.texts {
		b.texts[t] = t.durable
	}
	for _, r := range w.shadow.removed {
		b.removed[r] = r.durable
	}
	return b
}

// restore brings a pod back from its backup. What it did since then, and nobody heard of, is gone.
func (w *stateWorld) restore(ctx context.Context, p *statePod) error {
	w.forked = true
	heard, err := w.heard(ctx, p)
	if err != nil {
		return err
	}
	lost := func(pod int, by [32]byte) bool { return pod == p.n && !heard[by] }
	for _, t := range w.shadow.texts {
		if !p.backup.texts[t] && lost(t.pod, t.by) {
			t.durable = false
		}
	}
	for _, r := range w.shadow.removed {
		if !p.backup.removed[r] && lost(r.pod, r.by) {
			r.durable = false
		}
	}
	if err := p.db.Close(); err != nil {
		return fmt.Errorf("pod %d: close: %w", p.n, err)
	}
	p.who = w.life()
	p.disk, p.blocks, p.copied = p.backup.disk.Copy(), p.backup.blocks.copy(), p.backup.noted
	if w.rng.IntN(2) == 0 { // it is told that the disk is another
		p.copyID = fmt.Appendf(nil, "disk %d", w.rng.Uint32())
	}
	w.trace.say("%d: is brought back from its backup, as disk %q", p.n, p.copyID)
	return w.again(ctx, p)
}

// heard is the digests of a member's commits that pods other than p have. Numbers don't tell: a clone has others under the same.
func (w *stateWorld) heard(ctx context.Context, p *statePod) (map[[32]byte]bool, error) {
	out := map[[32]byte]bool{}
	for _, q := range w.pods {
		if q == p {
			continue
		}
		digests, err := digestsOf(ctx, q.db, func(a ident.Actor) bool { return a.Member == p.actor.Member })
		if err != nil {
			return nil, err
		}
		maps.Copy(out, digests)
	}
	return out, nil
}

// clone copies a pod's disk; both go on.
func (w *stateWorld) clone(ctx context.Context, p *statePod) error {
	w.forked = true
	w.net.Add()
	q := w.add(len(w.pods))
	q.actor = p.actor
	q.disk, q.blocks, q.copied = p.disk.After(), p.blocks.copy(), p.known()
	if w.rng.IntN(2) == 0 {
		q.copyID = fmt.Appendf(nil, "disk %d", w.rng.Uint32())
	}
	w.trace.say("%d: is a clone of %d, as disk %q", q.n, p.n, q.copyID)
	return w.again(ctx, q)
}

// again starts a pod on a disk that was used before.
func (w *stateWorld) again(ctx context.Context, p *statePod) error {
	p.open, p.fresh, p.gone, p.busy = nil, nil, nil, 0
	p.noted = state.VV{}
	if err := p.start(ctx); err != nil {
		return err
	}
	clear(p.logged)
	err := p.db.Journaled(func(ino state.Ino, gen uint64, _ *state.JournalRecord, err error) error {
		p.logged[ino] = gen
		return err
	})
	if err != nil {
		return fmt.Errorf("pod %d: %w", p.n, err)
	}
	w.trace.say("%d: starts again, at commit %d", p.n, p.last().Seq)
	return p.check(ctx)
}
