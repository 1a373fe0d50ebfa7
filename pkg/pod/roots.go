package pod

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// A rootSource is a part of the program that names blocks which must be kept. Its mark tells the marker of all of them; an
// error stops the collection before anything is swept.
type rootSource struct {
	name string
	mark func(ctx context.Context, m *marker) error
}

// rootSources are marked in this order. Open files come after the rows: a file may be opened while the rows are read, and hold contents that another
// pod replaced before. What is named from an open file meanwhile comes last.
func (p *Pod) rootSources() []rootSource {
	return []rootSource{
		{"rows", p.markRows},
		{"checkpoint", p.markCheckpoint},
		{"join", p.markJoining},
		{"open files", p.markOpen},
		{"journal", p.markJournal},
		{"kept tree roots", p.markKept},
		{"snapshots", p.markSnapshots},
		{"contents named meanwhile", p.markNamed},
	}
}

// marker collects what is live.
type marker struct {
	p    *Pod
	get  block.Getter
	live *filter
	seen int // blocks

	named *filter // all, wherever they are; nil: nobody asks for it. See listDrops

	// What was marked with all below it. Folders are all remembered, some 40 bytes for each: in trees that share them everywhere one can be met on
	// endlessly many ways.
	folders map[walked]bool
	bodies  walkedBodies
}

// yieldEvery is how many blocks a collection looks at before it lets others have the processor, about a millisecond: Go takes it away from one
// that computes after ten only, and writers would wait that long for each step of theirs.
const yieldEvery = 32

func (p *Pod) newMarker() *marker {
	n := int(p.store.Usage().Blocks) + 1<<12
	m := &marker{p: p, get: quietBlocks{p}, live: newFilter(n), folders: make(map[walked]bool), bodies: newWalkedBodies(n)}
	if p.mayWrite() && len(p.blindConnected()) > 0 {
		m.named = newFilter(max(n, int(p.marked.Load())))
	}
	return m
}

// markedAll notes how much was marked. A filter that was made for less affirms too much of what it is asked: it is left unused this time.
func (m *marker) markedAll() {
	m.p.marked.Store(int64(m.seen))
	if m.named != nil && m.named.full() {
		m.named = nil
	}
}

// add marks a block, if this pod owns it, or fragments of it: the filter's size is by what is here, not by what the network holds.
func (m *marker) add(id block.ID) {
	if m.seen++; m.seen%yieldEvery == 0 {
		runtime.Gosched()
	}
	if m.named != nil {
		m.named.add(id)
	}
	if owned, _ := m.p.store.Has(id); owned || m.p.store.InTrash(id) {
		m.live.add(id)
	} else if knows, err := m.p.store.KnowsFragments(id); knows || err != nil {
		m.live.add(id) // an index that can't be read makes nothing garbage
	}
}

// body marks a file's body and all below it.
func (m *marker) body(ctx context.Context, b dag.Body) error {
	if b.Size == 0 {
		return nil
	}
	top := b.ID()
	m.add(top)
	err := dag.Blocks(ctx, m.get, b, func(id block.ID, _ bool, _ uint64) error {
		m.add(id)
		return nil
	})
	if err == nil {
		m.bodies.add(walkedID(top))
	}
	return err
}

// quietBlocks gets blocks without a place in the memory of those that were read.
type quietBlocks struct{ p *Pod }

// Get is block.Getter's.
func (q quietBlocks) Get(ctx context.Context, id block.ID) ([]byte, error) {
	plain, err := q.p.store.Get(ctx, id)
	if errors.Is(err, block.ErrNotFound) || errors.Is(err, block.ErrCorrupt) {
		return q.p.getBlock(ctx, id)
	}
	return plain, err
}

// markRows marks the contents of all that the view shows.
func (p *Pod) markRows(ctx context.Context, m *marker) error {
	return p.db.EachContent(ctx, func(n state.Node) error {
		body, err := decodeBody(n.Body)
		if err == nil {
			err = m.body(ctx, body)
		}
		if err != nil {
			return fmt.Errorf("inode %d: %w", n.ID, err)
		}
		return nil
	})
}

// markCheckpoint marks the nodes of the newest checkpoint. It can be made again, so what of it is lost is no reason to keep garbage.
func (p *Pod) markCheckpoint(ctx context.Context, m *marker) error {
	last := p.db.LastCheckpoint()
	if last.State.IsZero() {
		return nil
	}
	err := p.db.CheckpointBlocks(ctx, func(id block.ID) error {
		m.add(id)
		return nil
	})
	if errors.Is(err, block.ErrNotFound) || errors.Is(err, block.ErrCorrupt) || errors.Is(err, block.ErrUnavailable) {
		p.log.WarnContext(ctx, "the last checkpoint can't be read; the next is made from the rows", "err", err)
		return nil
	}
	return err
}

// markOpen marks what is held by files that are open, or whose contents wait to be named.
func (p *Pod) markOpen(ctx context.Context, m *marker) error {
	p.nodes.mu.Lock()
	list := make([]*node, 0, len(p.nodes.byID))
	for _, n := range p.nodes.byID {
		n.refs++
		list = append(list, n)
	}
	var kept []dag.Body
	for k := range p.nodes.kept {
		kept = append(kept, k.body)
	}
	p.nodes.mu.Unlock()
	var errs []error
	for _, b := range kept {
		errs = append(errs, m.body(ctx, b))
	}
	for _, n := range list {
		errs = append(errs, p.markNode(ctx, m, n))
		p.release(n)
	}
	return errors.Join(errs...)
}

func (p *Pod) markNode(ctx context.Context, m *marker, n *node) error {
	n.mu.RLock()
	bodies := []dag.Body{n.body}
	if n.staged != nil {
		bodies = append(bodies, n.staged.body)
	}
	n.mu.RUnlock()
	for _, b := range bodies {
		if err := m.body(ctx, b); err != nil {
			return fmt.Errorf("open file %d: %w", n.id, err)
		}
	}
	return nil
}

// markJournal marks what journal records lie over.
func (p *Pod) markJournal(ctx context.Context, m *marker) error {
	return p.eachJournalBody(func(b dag.Body) error { return m.body(ctx, b) })
}

// named are the bodies that were given to the state while rows are marked: they may be missing among those. Blocks that were put meanwhile have leases;
// but a body may be made of older ones, too.
type named struct {
	mu      sync.Mutex
	marking bool       // guarded by mu
	bodies  []dag.Body // guarded by mu
}

func (l *named) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marking = true
}

func (l *named) add(b dag.Body) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.marking {
		l.bodies = append(l.bodies, b)
	}
}

// take hands over what was added. When nothing was, or with last set, marking is over.
func (l *named) take(last bool) []dag.Body {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.bodies
	l.bodies = nil
	l.marking = l.marking && len(got) > 0 && !last
	return got
}

// markNamed marks what was named meanwhile. After it a body can only be made of blocks that are marked or leased: what
// a file holds when it is opened is in the state, and was marked there or here.
func (p *Pod) markNamed(ctx context.Context, m *marker) error {
	for {
		bodies := p.named.take(false)
		if len(bodies) == 0 {
			return nil
		}
		for b := range slices.Values(bodies) {
			if err := m.body(ctx, b); err != nil {
				return err
			}
		}
	}
}
