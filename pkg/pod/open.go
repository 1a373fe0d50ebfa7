package pod

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/semaphore"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/store"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Defaults of Options.
const (
	DefaultCacheBytes = 10 << 30 // copies of blocks that other pods keep
	DefaultCacheFree  = 1 << 30  // bytes of the disk that these leave free
	plainCacheBytes   = 32 << 20 // verified plain bytes in memory: what is read ahead of three sequential readers at least
	reserveBytes      = 64 << 20 // of the disk that is kept so that deletions work when it is full
)

// Options say how Open opens a pod.
type Options struct {
	Dir           string
	Listen        []string // "HOST:PORT"; none: every address, any port
	Discover      bool     // find pods of the network on the LAN
	Offline       bool     // no network at all
	Tuning                 // what may change while the pod runs
	CapacityBytes int64    // hard limit of all that is stored; 0: the disk's
	Weight        uint32   // share of the network's data; 0: 100. See Portal
	Portal        bool     // stores nothing for others
	Zone, Class   string
	Priority      uint32         // see placement.Entry
	ReserveBytes  int64          // of the disk, and of the capacity, that are kept free; 0: 64 MiB
	TrashAfter    time.Duration  // how long deleted bytes stay in the trash at least; 0: DefaultTrash
	LowerAfter    time.Duration  // how long a policy must have held until what it does not ask for is released; 0: 24 h
	DormantAfter  time.Duration  // a pod that is silent for longer holds up no deletion; 0: DefaultDormant
	NoHistory     bool           // keep no tree roots between snapshots, and make no snapshots
	OnConflict    func(Conflict) // called once when a conflict is first seen; it must not block
	Clock         clock.Clock    // nil: clock.Real
	Log           *slog.Logger   // nil: nothing is logged
	FS            pebblevfs.FS   // nil: the operating system's
	Disk          *diskcrypt.Key // opens a locked disk; nil: there is none to open
	Connect       Connect        // nil: over the machine's network
	LogKeep       int64          // bytes of commits that are kept although all members have them; 0: DefaultLogKeep
	LogMax        int64          // bytes of commits that are kept at most, if others can have them by the tree; 0: DefaultLogMax

	Version   string                // of the program, which other pods are told; "": none
	Unmounted func() []health.Mount // folders where the pod should be mounted and is not; nil: none

	copyName []byte // what tells this copy of the directory from others; nil: the machine and the disk say it
}

func stateOptions(fs pebblevfs.FS, dir string, key ed25519.PrivateKey, cert member.Cert, reg *registry, log *slog.Logger) state.Options {
	return state.Options{
		FS: fs, Dir: filepath.Join(dir, "state"), Network: cert.Network, Actor: cert.Actor(),
		Sign:   func(msg []byte) []byte { return ed25519.Sign(key, msg) },
		Author: reg.author, PodName: reg.actorName,
		BeforeCommit: func(context.Context) error { return nil },
		Clock:        clock.Real{}, Log: log.With("part", "state"),
	}
}

// Open opens the pod in o.Dir. It serves once Run runs. Errors: store.ErrLocked where another daemon has it open, vfs.ErrNoSpace where
// the disk has no room even for that, ErrDiskLocked where it is locked and Options.Disk does not open it.
func Open(ctx context.Context, o Options) (*Pod, error) {
	o = o.withDefaults()
	guard := newDiskGuard(o.Clock, o.Log)
	type result struct {
		p   *Pod
		err error
	}
	done := make(chan result, 1)
	go func() {
		p, err := open(ctx, o, guard)
		done <- result{p, err}
	}()
	_, broken := guard.stuck()
	select {
	case r := <-done:
		return r.p, r.err
	case <-broken: // what opens it waits for ever in Pebble
		return nil, guard.err()
	}
}

func open(ctx context.Context, o Options, guard *diskGuard) (_ *Pod, err error) {
	home, err := unlocked(o.Dir, o.Disk)
	if err != nil {
		return nil, err
	}
	key, err := readKey(home, fileKey)
	if err != nil {
		return nil, err
	}
	chain, err := readChain(home, fileCerts)
	if err != nil {
		return nil, err
	}
	cert := chain.Leaf()
	if _, err := chain.Verify(cert.Network); err != nil {
		return nil, err
	}
	p := &Pod{
		id: cert.Pod(), actor: cert.Actor(), own: authority{key: key, chain: chain},
		dir: o.Dir, home: home, o: o, clock: o.Clock, log: o.Log,
		reg:     newRegistry(cert.Network),
		chunks:  newChunkCache(plainCacheBytes),
		guard:   guard,
		nodes:   nodes{byID: make(map[vfs.NodeID]*node), copies: make(map[*node]bool), logged: make(map[*node]bool), kept: make(map[*keptFile]bool)},
		peers:   newPeerBook(),
		leases:  newLeases(o.Clock),
		askers:  newAskers(),
		events:  newEvents(home.over(o.FS), o.Dir, o.Log),
		started: o.Clock.Now(),
		stamps:  &stampClock{Clock: o.Clock},
		records: newHeadRecords(),
		pace:    pace.New(o.Clock),

		background:  newBackground(),
		forks:       newForkNews(),
		checkpoints: make(chan struct{}, 1),
		cutKick:     make(chan struct{}, 1),
		renewals:    make(chan struct{}, 1),
		rekeys:      make(chan struct{}, 1),
		folds:       make(chan struct{}, 1),
		aheads:      make(chan aheadBlock, aheadQueue),
		cuts:        make(chan *node),
		cutters:     make(cutters, cuttersMax),
		entryKick:   make(chan struct{}, 1),
	}
	p.barrier = newBarrier(p.guard.err)
	p.removing = semaphore.NewWeighted(removersMax)
	p.self = &view{p: p, watches: &p.watches}
	p.pulls, p.spread = newPuller(p), newSpreader(p)
	var opened []func() error
	defer func() {
		if err == nil {
			return
		}
		for _, shut := range opened {
			err = errors.Join(err, shut())
		}
	}()
	fs := home.over(p.guard.guard(o.FS, o.Dir))
	if p.store, err = store.Open(fs, o.Dir, store.Options{CapacityBytes: o.CapacityBytes, ReserveBytes: o.ReserveBytes, NeverResume: home.disk != nil, ReadBack: func() bool { return !p.reg.alone.Load() }, Clock: o.Clock, Log: o.Log.With("part", "store")}); err != nil { //nolint:contextcheck // opening is not cut short
		return nil, err
	}
	opened = append(opened, p.store.Close)
	p.store.KeepCached(p.mustKeepCached)
	p.setTuning(o.Tuning)
	so := stateOptions(fs, o.Dir, key, cert, p.reg, o.Log)
	so.BeforeCommit, so.ContentsDurable, so.Blocks, so.Clock = p.store.Sync, true, blocks{p}, p.stamps
	so.Copy = o.copyName
	if so.Copy == nil {
		so.Copy = copyName(o.Dir)
	}
	so.PutChunk = func(ctx context.Context, plain []byte) (block.ID, error) {
		id, _, err := p.putChunk(ctx, plain, making{})
		return id, err
	}
	so.WhyReadOnly = p.whyReadOnly
	so.SignHead = so.Sign // others must know what it has, also if it may not write: see enforce
	if p.db, err = state.Open(ctx, so); err != nil {
		return nil, err
	}
	opened = append(opened, p.db.Close)
	if err := p.readStatements(ctx); err != nil {
		return nil, err
	}
	if err := p.loadHeat(); err != nil {
		return nil, err
	}
	p.findSealing()
	if err := p.enforce(ctx); err != nil {
		return nil, err
	}
	p.share.Store(&Share{Weight: p.o.Weight, Zone: p.o.Zone, Class: p.o.Class, Priority: p.o.Priority})
	if err := p.announceEntry(ctx); err != nil {
		return nil, err
	}
	if p.net, err = p.openNetwork(); err != nil { //nolint:contextcheck // the host lives until Run ends
		return nil, err
	}
	if err := p.loadPassages(); err != nil {
		return nil, errors.Join(err, p.net.Close())
	}
	p.published = state.Dot{Actor: p.db.Actor(), Seq: p.db.VV()[p.db.Actor()]}
	p.db.OnFork(p.forks.note)
	p.db.OnDirty(p.barrier.wake)
	p.hears = p.applied.add(nil, false)
	p.db.Watch(func(changes []vfs.Change, local bool) {
		switch {
		case !local:
			p.applied.tell(p.self, changes)
		case slices.ContainsFunc(changes, p.renumbered):
			p.watches.tell(nil, changes) // who did it too
		}
	})
	if err := errors.Join(p.knowPeers(), p.loadHistory(), p.conflicts.load(ctx, p), p.replay(ctx)); err != nil {
		return nil, errors.Join(err, p.net.Close())
	}
	p.event(Event{Kind: EventStarted})
	p.guard.serve(p.store.MakeRoom, func() { p.barrier.refuse(p.guard.err()) })
	return p, nil
}

func (o Options) withDefaults() Options {
	o.Clock = orReal(o.Clock)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = pebblevfs.Default
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = reserveBytes
	}
	if o.TrashAfter == 0 {
		o.TrashAfter = DefaultTrash
	}
	if o.LowerAfter == 0 {
		o.LowerAfter = DefaultLower
	}
	if o.DormantAfter == 0 {
		o.DormantAfter = DefaultDormant
	}
	if o.LogKeep == 0 {
		o.LogKeep = DefaultLogKeep
	}
	if o.LogMax == 0 {
		o.LogMax = DefaultLogMax
	}
	switch {
	case o.Portal:
		o.Weight = 0
	case o.Weight == 0:
		o.Weight = defaultPodWeigh
	}
	return o
}

// openNetwork listens, unless the pod is offline.
func (p *Pod) openNetwork() (network, error) {
	if p.o.Offline {
		return offline{}, nil
	}
	if p.o.Connect != nil {
		return p.o.Connect(handler{p})
	}
	listen := p.o.Listen
	if len(listen) == 0 {
		listen = []string{":0"}
	}
	return p2p.New(p2p.Config{
		Key: p.own.key, Network: p.reg.network, Listen: listen, Announce: p.o.Announce, Discover: p.o.Discover,
		Hello: func() []byte { return p.ownChain().Encode() }, Admit: p.admit, Refused: p.turnedAway, Handler: handler{p}, Enrol: p.enrol,
		DHT: p.dhtConfig(), Clock: p.clock, Log: p.log.With("part", "p2p"), Agent: p.o.Version,
	})
}

// readStatements fills the registry from what is stored.
func (p *Pod) readStatements(ctx context.Context) error {
	list, err := p.db.Statements()
	if err != nil {
		return err
	}
	slices.SortStableFunc(list, byKind)
	var old [][]byte
	for _, s := range list {
		if _, err := p.reg.add(s); err != nil {
			p.log.WarnContext(ctx, "a stored statement is not believed", "err", err)
		} else {
			old = append(old, s)
		}
	}
	old = slices.DeleteFunc(old, func(s []byte) bool { return !p.reg.stale(s) })
	if err := p.db.DropStatements(ctx, old); err != nil {
		return err
	}
	p.reg.lengthen()
	if p.reg.defaults().Version == 0 {
		return fmt.Errorf("pod: %s: the network's settings are missing: %w", p.dir, block.ErrCorrupt)
	}
	return nil
}

// findSealing finds the data keys of an encrypted network, and what is derived from them. Without a key the pod keeps blocks for
// others, and the tree can be listed.
func (p *Pod) findSealing() {
	p.keyFile.Lock()
	defer p.keyFile.Unlock()
	keys, err := findKeys(p.home, p.own.key, p.reg)
	s := newSealing(p.reg, keys)
	p.seal.Store(s)
	if err != nil {
		p.log.Warn("the data key was not found, or its file could not be made again", "usable", s.usable() == nil, "err", err)
	}
}
