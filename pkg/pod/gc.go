package pod

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/store"
)

// When garbage is collected, and how long what was collected stays in the trash (DESIGN sections 5 and 6).
const (
	collectFirst     = 10 * time.Minute // after the start
	collectEvery     = time.Hour
	collectFull      = 5 * time.Minute // between collections while the disk is nearly full
	DefaultTrash     = 48 * time.Hour
	DefaultDormant   = 30 * 24 * time.Hour
	nearlyFullShare  = 20  // the disk is nearly full when less than 1/20 of what is stored is free
	collectPaceEvery = 256 // blocks between rests of a collection in the background
	// collectSyncEvery is how many blocks are taken out of use before the store is synced. A writer's sync makes durable what the collection
	// did since the last one, too, and must not wait long for it (docs/bench/gc.md).
	collectSyncEvery = 256
)

// CollectOptions say how garbage is collected.
type CollectOptions struct {
	DryRun bool // only look
	Now    bool // free what no member needs, however short it has been in the trash
	paced  bool // rest now and then
	atOnce bool // for tests: nothing has to wait in the trash
}

// Collected is what a collection found and did. Bytes are those on disk.
type Collected struct {
	Garbage, GarbageBytes   int64    // blocks that nothing names: moved to the trash
	Nodes, NodesBytes       int64    // of earlier checkpoints: deleted at once, since they can be made again
	Restored, RestoredBytes int64    // brought back from the trash: something names them again
	Freed, FreedBytes       int64    // blocks in the trash that were deleted
	Kept, KeptBytes         int64    // that stay in the trash
	CompactedBytes          int64    // of dead space that was given back by rewriting
	Waiting                 []string // pods that must have been met before the rest of the trash can go
}

// nearlyFull says whether a disk is nearly full.
func nearlyFull(u store.Usage) bool {
	return u.FreeBytes <= (u.OwnedBytes+u.TrashBytes)/nearlyFullShare
}

// runCollections collects garbage at intervals, and sooner when the disk is nearly full.
func (p *Pod) runCollections(ctx context.Context) error {
	next := p.clock.Now().Add(collectFirst)
	for {
		if err := clock.Sleep(ctx, p.clock, collectFull); err != nil {
			return err
		}
		full := nearlyFull(p.store.Usage())
		if p.clock.Now().Before(next) && !full {
			continue
		}
		if full {
			p.kept.drop()
		}
		got, err := p.Collect(ctx, CollectOptions{paced: true})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			text := err.Error()
			p.uncollected.Store(&text)
			p.log.WarnContext(ctx, "garbage could not be collected", "err", err)
		default:
			p.uncollected.Store(nil)
			p.log.InfoContext(ctx, "garbage collected", "trashed_bytes", got.GarbageBytes, "freed_bytes", got.FreedBytes+got.NodesBytes,
				"trash_bytes", got.KeptBytes, "compacted_bytes", got.CompactedBytes)
		}
		next = p.clock.Now().Add(collectEvery)
	}
}

// Collect marks what is live, moves other blocks that this pod owns to the trash, and deletes from there what has been in it long enough and no member
// can need any more. Writers go on meanwhile. It is safe against crashes at any point: what is deleted was dead before. One at a time runs.
//
// Errors: what hinders marking (contents whose nodes no reachable pod has: block.ErrUnavailable), and then nothing is swept; those of the store, vfs.ErrNoSpace among them: a
// disk without even the reserve.
func (p *Pod) Collect(ctx context.Context, o CollectOptions) (Collected, error) {
	p.collecting.Lock()
	defer p.collecting.Unlock()
	if p.blind() && !p.closed.Load() {
		return p.collectBlind(ctx, o)
	}
	if err := errors.Join(p.writable(), p.unseen()); err != nil {
		return Collected{}, err
	}
	if o.Now && !o.DryRun {
		p.kept.drop()
	}
	p.treeing.Lock() // a checkpoint holds an era
	p.leases.begin()
	p.treeing.Unlock()
	defer p.leases.end()
	m, err := p.mark(ctx)
	if err != nil {
		return Collected{}, fmt.Errorf("pod: collect garbage: nothing was swept: %w", err)
	}
	// What was marked is durable by this: else a crash could bring back a row whose removal was seen, and whose bytes are gone.
	if err := p.syncLog(ctx); err != nil {
		return Collected{}, fmt.Errorf("pod: collect garbage: nothing was swept: %w", err)
	}
	c := &collection{p: p, o: o, live: m.live, named: m.named, start: p.surelyNow()}
	if err := c.run(ctx); err != nil {
		return c.out, fmt.Errorf("pod: collect garbage: %w", fullDisk(err))
	}
	return c.out, nil
}

// mark marks all that is live.
func (p *Pod) mark(ctx context.Context) (*marker, error) {
	m := p.newMarker()
	p.named.begin()
	defer p.named.take(true)
	for _, s := range p.rootSources() {
		if err := s.mark(ctx, m); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	m.markedAll()
	return m, nil
}

// collection is one sweep.
type collection struct {
	p     *Pod
	o     CollectOptions
	live  *filter
	named *filter // all that is named, here or elsewhere; nil: there is nobody to be told
	start time.Time

	passed  passed
	safe    time.Time // see spreader.safeSince
	seen    int
	changed int // blocks
	out     Collected
}

func (c *collection) run(ctx context.Context) error {
	p := c.p
	p.passMembers(ctx)
	c.passed = p.membersPassed(p.clock.Now())
	if err := c.sweep(ctx); err != nil {
		return err
	}
	if err := c.sweepFragments(ctx); err != nil {
		return err
	}
	if c.o.Now && !c.o.DryRun {
		if err := c.passNow(ctx); err != nil {
			return err
		}
	}
	c.safe = p.spread.safeSince()
	err := errors.Join(c.trash(ctx), c.trashedFragments(ctx))
	if c.out.Kept > 0 {
		c.out.Waiting = c.passed.waiting
	}
	if err != nil || c.o.DryRun {
		return err
	}
	if err := p.store.Sync(ctx); err != nil { // gives the space back
		return err
	}
	if c.out.CompactedBytes, err = p.store.Compact(ctx); err != nil {
		return err
	}
	if err := c.listDrops(ctx); err != nil {
		p.log.WarnContext(ctx, "storage pods were not told of all that they keep for nothing; trying again", "err", err)
	}
	return p.savePassages(ctx)
}

// passNow has the members pass the moment of the sweep, and looks whether all is where it should be, so that what was just swept need not wait for either.
func (c *collection) passNow(ctx context.Context) error {
	p := c.p
	// The trash counts in whole seconds: what was just moved there must be older than what is asked now.
	if err := clock.Sleep(ctx, p.clock, time.Second); err != nil {
		return err
	}
	p.passMembers(ctx)
	c.passed = p.membersPassed(p.clock.Now())
	p.spread.now.Store(true)
	defer p.spread.now.Store(false)
	if err := p.spread.everything(ctx); err != nil {
		p.log.WarnContext(ctx, "not all contents are where they should be; the trash is kept", "err", err)
	}
	return ctx.Err()
}

// rest leaves the processor and the disk to others now and then.
func (c *collection) rest(ctx context.Context) error {
	if c.seen++; c.seen%yieldEvery == 0 {
		runtime.Gosched()
	}
	if !c.o.paced || c.seen%collectPaceEvery != 0 {
		return ctx.Err()
	}
	return clock.Sleep(ctx, c.p.clock, time.Millisecond)
}

// took notes that a block was taken out of use.
func (c *collection) took(ctx context.Context) error {
	if c.changed++; c.changed%collectSyncEvery != 0 || c.o.DryRun {
		return nil
	}
	return c.p.store.Sync(ctx)
}

// sweep takes what is dead out of use. Whether it still is, is asked again while nobody else can use the block.
func (c *collection) sweep(ctx context.Context) error {
	return c.p.store.Each(ctx, func(id block.ID, bytes int64, cached bool) error {
		if err := c.rest(ctx); err != nil {
			return err
		}
		if cached || c.live.has(id) || c.p.leases.has(id) {
			return nil
		}
		node := c.ofCheckpoint(ctx, id)
		if !c.o.DryRun {
			take := c.p.store.Trash
			if node {
				take = c.p.store.DeleteUnless
			}
			done, err := take(ctx, id, func() bool { return c.p.leases.has(id) })
			if err != nil || !done {
				return err
			}
		}
		if node {
			c.out.Nodes++
			c.out.NodesBytes += bytes
		} else {
			c.out.Garbage++
			c.out.GarbageBytes += bytes
		}
		return c.took(ctx)
	})
}

// ofCheckpoint says whether a block is a node of a checkpoint: a new one is made every few seconds under load, and the nodes of
// the old would fill the trash.
func (c *collection) ofCheckpoint(ctx context.Context, id block.ID) bool {
	if id.Codec() != block.DagCBOR {
		return false
	}
	data, err := c.p.store.Get(ctx, id)
	return err == nil && !dag.IsFile(data)
}

// waited says whether what is in the trash since a moment has been there long enough: for the user to think again, for all members to pass the moment, and for
// what it was replaced by to be safe.
func (c *collection) waited(since time.Time) bool {
	if c.o.atOnce {
		return true
	}
	end := since.Add(time.Second) // since has whole seconds
	return (c.o.Now || c.start.Sub(since) >= c.p.trashAfter()) && !c.passed.at.Before(end) && !c.safe.Before(end)
}

// trash looks at all that is in the trash: brings back what is named again, and deletes what nobody can need.
func (c *collection) trash(ctx context.Context) error {
	err := c.p.store.EachTrash(ctx, func(id block.ID, bytes int64, since time.Time) error {
		if err := c.rest(ctx); err != nil {
			return err
		}
		if c.live.has(id) && bytes > 0 { // of a damaged one there is nothing to bring back
			c.out.Restored++
			c.out.RestoredBytes += bytes
			if c.o.DryRun {
				return nil
			}
			return c.p.store.Own(ctx, id)
		}
		if (c.waited(since) || bytes == 0) && !c.p.leases.has(id) {
			done := true
			if !c.o.DryRun {
				var err error
				if done, err = c.p.store.Drop(ctx, id, func() bool { return c.p.leases.has(id) }); err != nil {
					return err
				}
			}
			if done {
				c.out.Freed++
				c.out.FreedBytes += bytes
				return c.took(ctx)
			}
		}
		c.out.Kept++
		c.out.KeptBytes += bytes
		return nil
	})
	return err
}
