package pod

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/chunker"
	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/store"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Defaults of Options.
const (
	DefaultCacheBytes = 10 << 30 // copies of blocks that other pods keep
	plainCacheBytes   = 24 << 20 // verified plain bytes in memory
	reserveBytes      = 64 << 20 // of the disk that is kept so that deletions work when it is full
)

var errClosed = fmt.Errorf("pod: %w", vfs.ErrClosed)

// Options say how Open opens a pod.
type Options struct {
	Dir           string
	Listen        []string // "HOST:PORT"; none: every address, any port
	Discover      bool     // find pods of the network on the LAN
	Offline       bool     // no network at all
	CacheBytes    int64    // hard limit of cached copies; 0: DefaultCacheBytes
	CapacityBytes int64    // hard limit of all that is stored; 0: the disk's
	Weight        uint32   // share of the network's data; 0: 100. See Portal
	Portal        bool     // stores nothing for others
	Zone, Class   string
	TrashAfter    time.Duration  // how long deleted bytes stay in the trash at least; 0: DefaultTrash
	LowerAfter    time.Duration  // how long a policy must have held until what it does not ask for is released; 0: 24 h
	DormantAfter  time.Duration  // a pod that is silent for longer holds up no deletion; 0: DefaultDormant
	NoHistory     bool           // keep no tree roots between snapshots, and make no snapshots
	OnConflict    func(Conflict) // called once when a conflict is first seen; it must not block
	Clock         clock.Clock    // nil: clock.Real
	Log           *slog.Logger   // nil: nothing is logged
	FS            pebblevfs.FS   // nil: the operating system's
	Connect       Connect        // nil: over the machine's network
	LogKeep       int64          // bytes of commits that are kept although all members have them; 0: DefaultLogKeep
	LogMax        int64          // bytes of commits that are kept at most, if others can have them by the tree; 0: DefaultLogMax

	Version   string                // of the program, which other pods are told; "": none
	Unmounted func() []health.Mount // folders where the pod should be mounted and is not; nil: none

	copyName []byte // what tells this copy of the directory from others; nil: the machine and the disk say it
}

// Pod is one machine's membership of a network: the engine. It knows the mechanisms; surfaces see its FS.
// All methods are safe for concurrent use.
type Pod struct {
	id    ident.Pod
	actor ident.Actor
	own   authority
	dir   string
	o     Options
	clock clock.Clock
	log   *slog.Logger

	stamps  *stampClock // the state's clock
	clocks  clocks
	records *headRecords
	vain    vain

	reg       *registry
	db        *state.DB
	store     *store.Store
	guard     *diskGuard
	net       network
	table     *chunker.Table
	seal      sealing
	sumKey    [32]byte // of the sums of bodies
	chunks    *chunkCache
	barrier   *barrier
	watches   watchers // surfaces
	applied   watchers // runWatch: changes that came from other pods
	self      *view
	pulls     *puller
	spread    *spreader
	peers     *peerBook
	started   time.Time
	published state.Dot // the newest commit that was told; the barrier's goroutine only

	leases      *leases
	events      *events
	leaving     leaving
	damaged     damaged
	coding      coding
	byFragments atomic.Bool // the last block that came from others was joined from fragments: the next one likely is, too
	kept        keptRoots
	conflicts   conflictWatch
	past        past
	snapshots   snapshotMaker
	named       named
	health      healthWatch
	uncollected atomic.Pointer[string] // why the last collection stopped
	collecting  sync.Mutex             // held by the collection under way; taken before all others
	treeing     sync.Mutex             // held by the checkpoint under way; taken after collecting, before all others
	nodes       nodes
	dirtyBytes  atomic.Int64
	puts        atomic.Uint64 // files that were put
	cutters     cutters
	sums        sync.Pool // of *dag.SumHasher, under the network's key
	closed      atomic.Bool
	background  *background
	unlinking   sync.RWMutex // held by who removes a file's last name; shared by who names contents. Taken before a node's mu
	inviting    sync.Mutex   // one enrolment at a time, so that no number is given twice

	forks       *forkNews
	checkpoints chan struct{} // capacity 1: something was committed or applied
	folds       chan struct{} // capacity 1: a journal is to be folded
	aheads      chan block.ID // capacity aheadQueue: blocks to be read ahead
	cuts        chan *node    // capacity 0: files to be cut behind their writers
}

// network is what the pod needs of the p2p host; an offline pod has one that reaches nobody.
type network interface {
	Run(ctx context.Context) error
	Close() error
	Addrs() []string
	ListenPort() int
	Know(pod ident.Pod, addrs []string)
	Connected(pod ident.Pod) bool
	Peers() []p2p.Peer
	Absent() []p2p.Absent
	Ask(ctx context.Context, pod ident.Pod, kind p2p.Kind, body []byte) ([]byte, error)
	Tell(pod ident.Pod, kind p2p.Kind, body []byte)
	Get(ctx context.Context, pod ident.Pod, ids []block.ID, f func(id block.ID, wire []byte, err error) error) error
	Put(ctx context.Context, pod ident.Pod, n int, id func(i int) block.ID, wire func(i int) ([]byte, error)) ([]error, error)
	GetFragments(ctx context.Context, pod ident.Pod, names []block.Fragment, f func(name block.Fragment, wire []byte, err error) error) error
	PutFragments(ctx context.Context, pod ident.Pod, n int, name func(i int) block.Fragment, wire func(i int) ([]byte, error)) ([]error, error)
}

func stateOptions(fs pebblevfs.FS, dir string, key ed25519.PrivateKey, cert member.Cert, reg *registry, log *slog.Logger) state.Options {
	return state.Options{
		FS: fs, Dir: filepath.Join(dir, "state"), Network: cert.Network, Actor: cert.Actor(),
		Sign:   func(msg []byte) []byte { return ed25519.Sign(key, msg) },
		Author: reg.author, PodName: reg.actorName,
		BeforeCommit: func(context.Context) error { return nil },
		Clock:        clock.Real{}, Log: log,
	}
}

// Open opens the pod in o.Dir. It serves once Run runs. Errors: store.ErrLocked where another daemon has it open, vfs.ErrNoSpace where
// the disk has no room even for that.
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
	key, err := readKey(o.Dir, fileKey)
	if err != nil {
		return nil, err
	}
	chain, err := readChain(o.Dir, fileCerts)
	if err != nil {
		return nil, err
	}
	cert := chain.Leaf()
	if _, err := chain.Verify(cert.Network); err != nil {
		return nil, err
	}
	p := &Pod{
		id: cert.Pod(), actor: cert.Actor(), own: authority{key: key, chain: chain},
		dir: o.Dir, o: o, clock: o.Clock, log: o.Log,
		reg:     newRegistry(cert.Network),
		chunks:  newChunkCache(plainCacheBytes),
		guard:   guard,
		nodes:   nodes{byID: make(map[vfs.NodeID]*node), copies: make(map[*node]bool), logged: make(map[*node]bool), kept: make(map[*keptFile]bool)},
		peers:   newPeerBook(),
		leases:  newLeases(o.Clock),
		events:  newEvents(o.FS, o.Dir, o.Log),
		started: o.Clock.Now(),
		stamps:  &stampClock{Clock: o.Clock},
		records: newHeadRecords(),

		background:  newBackground(),
		forks:       newForkNews(),
		checkpoints: make(chan struct{}, 1),
		folds:       make(chan struct{}, 1),
		aheads:      make(chan block.ID, aheadQueue),
		cuts:        make(chan *node),
		cutters:     make(cutters, cuttersMax),
	}
	p.barrier = newBarrier(p.guard.err)
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
	fs := p.guard.guard(o.FS, o.Dir)
	if p.store, err = store.Open(fs, o.Dir, store.Options{CapacityBytes: o.CapacityBytes, ReserveBytes: reserveBytes, Clock: o.Clock, Log: o.Log}); err != nil { //nolint:contextcheck // opening is not cut short
		return nil, err
	}
	opened = append(opened, p.store.Close)
	p.store.SetCacheLimit(o.CacheBytes)
	so := stateOptions(fs, o.Dir, key, cert, p.reg, o.Log)
	so.BeforeCommit, so.ContentsDurable, so.Blocks, so.Clock = p.store.Sync, true, blocks{p}, p.stamps
	so.Copy = o.copyName
	if so.Copy == nil {
		so.Copy = copyName(o.Dir)
	}
	so.PutChunk = func(ctx context.Context, plain []byte) (block.ID, error) {
		id, _, err := p.putChunk(ctx, plain)
		return id, err
	}
	if !cert.Role.MayWrite() {
		so.Sign = nil
	}
	if p.db, err = state.Open(ctx, so); err != nil {
		return nil, err
	}
	opened = append(opened, p.db.Close)
	if err := p.readStatements(ctx); err != nil {
		return nil, err
	}
	p.prepareSealing()
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
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
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
		Key: p.own.key, Network: p.reg.network, Listen: listen, Discover: p.o.Discover,
		Hello: p.own.chain.Encode, Admit: p.admit, Handler: handler{p}, Enrol: p.enrol,
		DHT: p.dhtConfig(), Clock: p.clock, Log: p.log, Agent: p.o.Version,
	})
}

// Run serves until ctx ends. What was done before is durable and committed when it returns.
func (p *Pod) Run(ctx context.Context) error {
	// The barrier ends last: what others did until their end is committed.
	work, stop := context.WithCancel(ctx)
	defer stop()
	last, endBarrier := context.WithCancel(context.WithoutCancel(ctx))
	defer endBarrier()
	ended := make(chan error, 1)
	go func() { ended <- p.runBarrier(last) }()

	group, work := errgroup.WithContext(work)
	net := p.runNetwork(ctx)
	group.Go(func() error { return net.wait(work) })
	group.Go(func() error { return p.pulls.run(work) })
	group.Go(func() error { return p.spread.run(work) })
	group.Go(func() error { return p.runCheckpoints(work) })
	group.Go(func() error { return p.runUsage(work) })
	group.Go(func() error { return p.runOuts(work) })
	group.Go(func() error { return p.runWatch(work) })
	group.Go(func() error { return p.runCollections(work) })
	group.Go(func() error { return p.runScrub(work) })
	group.Go(func() error { return p.runFold(work) })
	group.Go(func() error { return p.runSnapshots(work) })
	group.Go(func() error { return p.runConflicts(work) })
	group.Go(func() error { return p.runForks(work) })
	group.Go(func() error { return p.events.run(work) })
	group.Go(func() error { return p.runHeadRecords(work) })
	group.Go(func() error { return p.runAnnounce(work) })
	group.Go(func() error { return p.runClocks(work) })
	group.Go(func() error { return p.runHealth(work) })
	for range aheadWorkers {
		group.Go(func() error { return p.runAhead(work) })
	}
	for range cutBehindFiles {
		group.Go(func() error { return p.runCutBehind(work) })
	}
	err := p.awaitGroup(group)
	if p.guard.err() == nil {
		if err := p.stageAll(context.WithoutCancel(ctx)); err != nil {
			p.log.ErrorContext(ctx, "files that were open could not be written", "err", err)
		}
	}
	p.closed.Store(true)
	endBarrier()
	barrierErr := p.awaitBarrier(ended)
	if p.guard.err() == nil {
		p.saveHistory(context.WithoutCancel(ctx))
		p.putLastHead(context.WithoutCancel(ctx))
	}
	net.end(p.guard)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	return errors.Join(err, barrierErr)
}

// awaitBarrier waits for the last pass, unless the disk does not let it end.
func (p *Pod) awaitBarrier(ended <-chan error) error {
	full, broken := p.guard.stuck()
	select {
	case err := <-ended:
		return err
	case <-full:
	case <-broken:
	}
	return p.guard.err()
}

// awaitGroup waits for what runs, unless the databases can't be written any more: what waits for them never ends then.
func (p *Pod) awaitGroup(group *errgroup.Group) error {
	ended := make(chan error, 1)
	go func() { ended <- group.Wait() }()
	_, broken := p.guard.stuck()
	select {
	case err := <-ended:
		return err
	case <-broken:
		return p.guard.err()
	}
}

// Close ends the use of a pod whose Run has returned, or was never called. On a disk that is full or fails it leaves the
// databases as a crash would: what was acknowledged is there at the next start.
func (p *Pod) Close() error {
	p.closed.Store(true)
	p.background.end()
	err := p.net.Close()
	if gerr := p.guard.err(); gerr != nil { // what waits for the databases never ends
		return errors.Join(err, gerr)
	}
	p.background.wait()
	return errors.Join(err, p.db.Close(), p.store.Close())
}

// writable says whether operations are taken. Errors: vfs.ErrClosed, ErrNoKey.
func (p *Pod) writable() error {
	if p.closed.Load() {
		return errClosed
	}
	return errors.Join(p.guard.err(), p.seal.usable())
}

// Info tells what the pod is.
func (p *Pod) Info() Info {
	info := infoOf(p.own.chain, p.reg.defaults().Name)
	info.Encrypted = p.seal.on
	info.Addrs = p.net.Addrs()
	return info
}

// SetCacheLimit limits the bytes of cached copies from here on, and drops what is too much; 0: DefaultCacheBytes.
func (p *Pod) SetCacheLimit(ctx context.Context, bytes int64) {
	if bytes <= 0 {
		bytes = DefaultCacheBytes
	}
	p.store.SetCacheLimit(bytes)
	if _, err := p.store.EvictTo(ctx, bytes); err != nil {
		p.log.WarnContext(ctx, "cached copies could not be dropped", "err", err)
	}
}

// ListenPort is the TCP port on which the pod listens; 0: none.
func (p *Pod) ListenPort() int { return p.net.ListenPort() }

// runWatch takes over what other pods changed into files that are open here, and tells the surfaces.
// The state calls back while it holds its own locks, so this is a goroutine's work.
func (p *Pod) runWatch(ctx context.Context) error {
	return p.applied.run(ctx, nil, func(changes []vfs.Change) {
		if changes == nil {
			p.refreshAll()
		}
		for _, c := range changes {
			if c.Node != 0 {
				p.refresh(c.Node)
			}
		}
		p.watches.tell(nil, changes)
		p.conflicts.look()
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
	if p.reg.defaults().Version == 0 {
		return fmt.Errorf("pod: %s: the network's settings are missing: %w", p.dir, block.ErrCorrupt)
	}
	return nil
}

// prepareSealing finds the data key of an encrypted network, and what is derived from it. Without a key the pod keeps blocks for
// others, and the tree can be listed.
func (p *Pod) prepareSealing() {
	var err error
	if p.seal, err = findSealing(p.dir, p.own.key, p.reg); err != nil {
		p.log.Warn("the data key was not found, or its file could not be made again", "usable", p.seal.usable() == nil, "err", err)
	}
	p.table = chunker.NewTable(p.seal.derive(p.reg.network, useChunker))
	p.sumKey = p.seal.derive(p.reg.network, useSum)
	p.sums.New = func() any { return dag.NewSum(p.sumKey) }
}
