package pod

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/heat"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/store"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

var errClosed = fmt.Errorf("pod: %w", vfs.ErrClosed)

// Pod is one machine's membership of a network: the engine. It knows the mechanisms; surfaces see its FS.
// All methods are safe for concurrent use.
type Pod struct {
	id    ident.Pod
	actor ident.Actor
	own   authority
	dir   string
	home  folder // dir, as for its small files
	o     Options
	clock clock.Clock
	log   *slog.Logger

	stamps  *stampClock // the state's clock
	clocks  clocks
	records *headRecords
	vain    vain
	liars   liars

	reg       *registry
	db        *state.DB
	store     *store.Store
	guard     *diskGuard
	net       network
	seal      atomic.Pointer[sealing]
	rekeying  sync.Mutex    // held by who makes a data key; taken before keyFile
	keyFile   sync.Mutex    // held by who looks which data keys there are
	rekeys    chan struct{} // capacity 1: it is to be looked at whether data keys are to be given or changed
	chunks    *chunkCache
	barrier   *barrier
	watches   watchers // surfaces
	applied   watchers // changes that came from other pods
	hears     *watcher // of applied: runWatch
	self      *view
	pulls     *puller
	spread    *spreader
	peers     *peerBook
	started   time.Time
	published state.Dot // the newest commit that was told; the barrier's goroutine only

	leases       *leases
	events       *events
	leaving      leaving
	votes        votes        // on a blind pod
	marked       atomic.Int64 // blocks that the last collection marked, repetitions counted
	pace         *pace.Pacer
	lan          atomic.Bool // limits of bytes a second hold on the LAN, too
	lastCopies   lastCopies
	isFrozen     atomic.Bool // see Freeze
	noWriter     atomic.Bool // this pod may not write
	share        atomic.Pointer[Share]
	cutOff       atomic.Bool // half of the active pods or less are up, as seen from here
	repair       repairing
	heat         *heat.Summary // bytes read, by file
	damaged      damaged
	coding       coding
	byFragments  atomic.Bool // the last block that came from others was joined from fragments: the next one likely is, too
	kept         keptRoots
	conflicts    conflictWatch
	past         past
	snapshots    snapshotMaker
	named        named
	health       healthWatch
	uncollected  atomic.Pointer[string] // why the last collection stopped
	unknownPaths unknownPaths
	uncounted    atomic.Pointer[string] // whose changes are here that don't count and could not be taken back yet
	collecting   sync.Mutex             // held by the collection under way; taken before all others
	treeing      sync.Mutex             // held by the checkpoint under way; taken after collecting, before all others
	nodes        nodes
	dirtyBytes   atomic.Int64
	puts         atomic.Uint64 // files that were put
	cutters      cutters
	quotas       quotaBook
	entries      atomic.Pointer[[]string] // Tuning.Entries
	entryKick    chan struct{}            // capacity 1: they changed
	closed       atomic.Bool
	background   *background
	removing     *semaphore.Weighted // held by a checkpoint until the moment that it is of; shared by who removes a name, or moves one. Taken before unlinking
	unlinking    sync.RWMutex        // held by who removes a file's last name; shared by who names contents. Taken before a node's mu
	askers       askers
	refusals     refusals
	inviting     sync.Mutex    // one enrolment at a time, so that no number is given twice
	renewals     chan struct{} // capacity 1: certificates are to be looked at

	forks       *forkNews
	checkpoints chan struct{}         // capacity 1: something was committed or applied
	cutKick     chan struct{}         // capacity 1: there may be changes here that don't count
	folds       chan struct{}         // capacity 1: a journal is to be folded
	aheads      chan aheadBlock       // capacity aheadQueue
	wide        atomic.Pointer[ahead] // the reader that has aheadWide, if one has
	cuts        chan *node            // capacity 0: files to be cut behind their writers
}

// network is what the pod needs of the p2p host; an offline pod has one that reaches nobody.
type network interface {
	Run(ctx context.Context) error
	Close() error
	Addrs() []string
	ListenPort() int
	Know(pod ident.Pod, addrs []string)
	Connect(ctx context.Context, pod ident.Pod, addrs []string) error
	Announce(addrs []string)
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
	group.Go(func() error { return p.runCuts(work) })
	group.Go(func() error { return p.events.run(work) })
	group.Go(func() error { return p.runHeadRecords(work) })
	group.Go(func() error { return p.runAnnounce(work) })
	group.Go(func() error { return p.runClocks(work) })
	group.Go(func() error { return p.runHealth(work) })
	group.Go(func() error { return p.runRenewals(work) })
	group.Go(func() error { return p.runRekeys(work) })
	group.Go(func() error { return p.runCache(work) })
	group.Go(func() error { return p.runHeat(work) })
	group.Go(func() error { return p.runMinority(work) })
	group.Go(func() error { return p.runEntries(work) })
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

// writable says whether operations are taken. Errors: vfs.ErrClosed, ErrNoKey, ErrBlind.
func (p *Pod) writable() error {
	if p.closed.Load() {
		return errClosed
	}
	if err := p.sees(); err != nil {
		return err
	}
	return errors.Join(p.guard.err(), p.seal.Load().usable())
}

// Info tells what the pod is.
func (p *Pod) Info() Info {
	info := infoOf(p.own.chain, p.reg.defaults().Name)
	info.Encrypted = p.seal.Load().on
	info.Locked = p.home.disk != nil
	info.Locked = p.home.disk != nil
	info.Addrs = p.net.Addrs()
	return info
}

// ListenPort is the TCP port on which the pod listens; 0: none.
func (p *Pod) ListenPort() int { return p.net.ListenPort() }

// Rest gives back memory that makes work faster, of a pod that has none just now.
func (p *Pod) Rest() {
	p.chunks.rest()
	p.store.Rest()
	p.db.Rest()
}

// runWatch takes over what other pods changed into files that are open here, and tells the surfaces.
// The state calls back while it holds its own locks, so this is a goroutine's work.
func (p *Pod) runWatch(ctx context.Context) error {
	return p.applied.serve(ctx, p.hears, func(changes []vfs.Change) {
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
