package sim

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// simNetwork is the network's id in simulations of the state.
var simNetwork = ident.Network{7}

// statePod is one pod of a simulation of the state: a real state.DB on a disk that loses power.
type statePod struct {
	w      *stateWorld
	n      int // its number
	who    int // no other pod has this, nor this one from when it was brought back from a backup
	actor  ident.Actor
	clock  *Clock
	disk   *Disk
	blocks *blocks
	db     *state.DB
	rng    *rand.Rand

	committing bool                 // a commit is under way
	busy       int                  // operations to run while the next commit is under way
	open       []openFile           // what programs have open
	fresh      []*written           // what is not known to be durable
	gone       []*removal           // the same
	untold     []*written           // what is durable, and was in no commit yet
	untoldGone []*removal           // the same
	noted      state.VV             // own commits that the world knows
	copied     state.VV             // those that it knew of the pod, or the backup, that this one is a copy of: their log may begin behind them
	logged     map[state.Ino]uint64 // journal records to be folded: the newest of each file
	crashes    int

	random   *rand.ChaCha8 // what its state draws numbers from
	life     int           // counts its starts
	met      map[int]int   // with which life of which pods it has compared numbers since its own last start
	imported bool          // there are imports that no commit has made durable
	backup   *backup
	copyID   []byte
}

// backup is a copy of a pod's disk as it was.
type backup struct {
	disk    *Disk
	blocks  *blocks
	texts   map[*written]bool // that it has for sure
	removed map[*removal]bool
	noted   state.VV
}

// openFile is a file as a program saw it when it opened it.
type openFile struct {
	ino  state.Ino
	over state.ContentName
	text string // what it held
}

// podKey is the key of a member, which everybody knows.
func podKey(member uint32) ed25519.PrivateKey {
	var seed [ed25519.SeedSize]byte
	seed[0], seed[1] = byte(member), byte(member>>8)
	return ed25519.NewKeyFromSeed(seed[:])
}

// keyring caches public keys.
type keyring map[uint32]ed25519.PublicKey

var errStranger = errors.New("no member")

func newKeyring(members int) keyring {
	k := keyring{}
	for m := range uint32(members) {
		k[m+1], _ = podKey(m + 1).Public().(ed25519.PublicKey)
	}
	return k
}

func (k keyring) author(a ident.Actor) (ed25519.PublicKey, error) {
	key := k[a.Member]
	if key == nil {
		return nil, errStranger
	}
	return key, nil
}

// podName is the name of an actor's pod in computed names. Some are long, some need escapes.
func podName(a ident.Actor) string {
	switch a.Member % 4 {
	case 1:
		return fmt.Sprintf("pod%d", a.Member)
	case 2:
		return fmt.Sprintf("a pod/of a very long name, so that it has to be cut somewhere: number %060d", a.Member)
	case 3:
		return ""
	}
	return fmt.Sprintf("pöd-%d", a.Member)
}

func (p *statePod) options() state.Options {
	key := podKey(p.actor.Member)
	return state.Options{
		FS: p.disk.FS(), Dir: "state", Network: simNetwork, Actor: p.actor,
		Sign:   func(msg []byte) []byte { return ed25519.Sign(key, msg) },
		Author: p.w.keys.author, PodName: podName,
		BeforeCommit: p.beforeCommit,
		Blocks:       p.blocks, Clock: p.clock, Quiet: true, Rand: p.random, Copy: p.copyID,
		JoinRows: p.w.joinRows,
	}
}

// start opens the pod's state.
func (p *statePod) start(ctx context.Context) error {
	db, err := state.Open(ctx, p.options())
	if err != nil {
		return fmt.Errorf("pod %d: open: %w", p.n, err)
	}
	p.db = db
	p.life++
	p.met, p.imported = map[int]int{}, false
	return nil
}

// beforeCommit makes blocks durable, and lets users do things meanwhile.
func (p *statePod) beforeCommit(ctx context.Context) error {
	n, was := p.busy, p.committing
	p.busy, p.committing = 0, true
	defer func() { p.committing = was }()
	for range n {
		if err := p.step(ctx); err != nil {
			return err
		}
	}
	p.blocks.sync()
	return nil
}

// failed turns an error of the state into nothing if the power has failed: what happens then did never happen.
func (p *statePod) failed(err error) error {
	if err == nil || p.disk.Failed() {
		return nil
	}
	return fmt.Errorf("pod %d: %w", p.n, err)
}

// commit commits, and notes what is durable now.
func (p *statePod) commit(ctx context.Context, busy int) error {
	texts, removals := slices.Clone(p.fresh), slices.Clone(p.gone)
	p.busy = busy
	n, err := p.db.Commit(ctx)
	p.busy = 0
	if err != nil || p.disk.Failed() {
		return p.failed(err)
	}
	p.imported = false
	p.w.trace.say("%d: commit of %d rows", p.n, n)
	return p.committed(ctx, texts, removals)
}

// sync makes durable what was done, without a commit.
func (p *statePod) sync(ctx context.Context) error {
	texts, removals := slices.Clone(p.fresh), slices.Clone(p.gone)
	if err := p.db.Sync(ctx); err != nil || p.disk.Failed() {
		return p.failed(err)
	}
	p.w.trace.say("%d: sync", p.n)
	p.acknowledged(texts, removals, [32]byte{})
	return nil
}

// known is the own commits that the world knows, of this pod or what it is a copy of.
func (p *statePod) known() state.VV {
	out := p.copied.Clone()
	out.Merge(p.noted)
	return out
}

// last is its newest commit.
func (p *statePod) last() state.Dot {
	self := p.db.Actor()
	return state.Dot{Actor: self, Seq: p.db.VV()[self]}
}

// committed notes that these operations were acknowledged with the newest commit, and publishes it.
func (p *statePod) committed(ctx context.Context, texts []*written, removals []*removal) error {
	tips, err := p.db.Tips()
	if err != nil {
		return p.failed(err)
	}
	self := p.db.Actor()
	var by [32]byte
	// What waits for a journal is durable, and in no commit.
	if i := slices.IndexFunc(tips, func(t state.Tip) bool { return t.Actor == self }); i >= 0 && !p.db.Dirty() {
		by = tips[i].Digest
	}
	p.acknowledged(texts, removals, by)
	return p.publish(ctx)
}

// acknowledged notes that these operations were; those who have seen the commit of this digest have seen them, and all before, if it is one.
func (p *statePod) acknowledged(texts []*written, removals []*removal, by [32]byte) {
	if by == [32]byte{} {
		p.untold, p.untoldGone = append(p.untold, texts...), append(p.untoldGone, removals...)
	} else {
		for _, t := range p.untold {
			t.by = by
		}
		for _, r := range p.untoldGone {
			r.by = by
		}
		p.untold, p.untoldGone = nil, nil
	}
	for _, t := range texts {
		t.durable, t.by = true, by
	}
	for _, r := range removals {
		r.durable, r.by = true, by
	}
	p.fresh = slices.DeleteFunc(p.fresh, func(t *written) bool { return t.durable })
	p.gone = slices.DeleteFunc(p.gone, func(r *removal) bool { return r.durable })
}

// checkpoint writes a checkpoint.
func (p *statePod) checkpoint(ctx context.Context) (state.CheckpointInfo, error) {
	texts, removals := slices.Clone(p.fresh), slices.Clone(p.gone)
	cp, err := p.db.Checkpoint(ctx)
	if errors.Is(err, state.ErrUnfolded) {
		p.w.trace.say("%d: checkpoint waits for journals", p.n)
		return cp, nil
	}
	if err != nil || p.disk.Failed() {
		return cp, p.failed(err)
	}
	p.imported = false
	p.w.trace.say("%d: checkpoint %s", p.n, cp.Tree)
	return cp, p.committed(ctx, texts, removals)
}

// publish tells the world of own commits that are new, and others of them.
func (p *statePod) publish(ctx context.Context) error {
	last, have := p.last(), p.db.VV()
	self, own := last.Actor, last.Seq
	if own < p.noted[self] && !p.w.forked {
		return fmt.Errorf("pod %d: its last commit is %d, it had %d before (I2)", p.n, own, p.noted[self])
	}
	if own <= p.noted[self] {
		p.noted[self] = own
		return nil
	}
	have[self] = p.noted[self]
	commits, err := p.db.Log(ctx, have, 1<<30)
	if errors.Is(err, state.ErrTruncated) && have[self] < p.copied[self] {
		have[self] = p.copied[self]
		commits, err = p.db.Log(ctx, have, 1<<30)
	}
	if err != nil {
		return p.failed(err)
	}
	if err := p.w.history.add(p.who, commits); err != nil && !p.w.forked {
		return fmt.Errorf("pod %d: %w", p.n, err)
	}
	p.noted[self] = own
	for _, q := range p.w.pods {
		if q != p && p.rng.IntN(2) == 0 {
			p.w.net.Send(p.n, q.n, func() error { return q.receive(ctx, p, commits) })
		}
	}
	return nil
}

// receive applies commits that arrive. What they rest on may be missing.
func (p *statePod) receive(ctx context.Context, from *statePod, commits [][]byte) error {
	p.arm()
	if p.met[from.n] != from.life {
		if err := p.reconcile(ctx, from); err != nil {
			return err
		}
	}
	last, dirty := p.last(), p.db.Dirty()
	n, err := p.db.Apply(ctx, commits)
	switch {
	case p.disk.Failed():
		return p.w.crash(ctx, p)
	case errors.Is(err, state.ErrFork) && p.w.forked:
		p.w.trace.say("%d: %d of %d commits of %d: %v", p.n, n, len(commits), from.n, err)
		return p.reconcile(ctx, from)
	case errors.Is(err, state.ErrGap), errors.Is(err, state.ErrFuture):
		p.w.trace.say("%d: %d of %d commits of %d: %v", p.n, n, len(commits), from.n, err)
	case err != nil:
		return fmt.Errorf("pod %d: commits of %d: %w", p.n, from.n, err)
	default:
		p.w.trace.say("%d: %d of %d commits of %d", p.n, n, len(commits), from.n)
	}
	if (p.last() != last || p.db.Dirty() != dirty) && !p.imported && !p.w.forked {
		return fmt.Errorf("pod %d: commits of %d made changes of its own (I6)", p.n, from.n)
	}
	return nil
}

// ask asks another pod for what is missing here.
func (p *statePod) ask(ctx context.Context, q *statePod, maxBytes int) {
	have := p.db.VV()
	p.w.net.Send(p.n, q.n, func() error {
		commits, err := q.db.Log(ctx, have, maxBytes)
		if errors.Is(err, state.ErrTruncated) {
			return q.offer(ctx, p, have)
		}
		if err != nil {
			return q.failed(err)
		}
		p.w.net.Send(q.n, p.n, func() error { return p.receive(ctx, q, commits) })
		return nil
	})
}

// arm may have the power fail at one of the next syncs.
func (p *statePod) arm() {
	if p.w.calm || p.rng.IntN(60) != 0 {
		return
	}
	keep := []int{0, 0, 50, 90, 100}[p.rng.IntN(5)]
	n := 1 + p.rng.IntN(4)
	p.disk.FailAt(n, keep, p.rng.Uint64())
	p.w.trace.say("%d: the power will fail at sync %d, %d%% of what is not synced stay", p.n, n, keep)
}
