package pod

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// Between snapshots a pod keeps some tree roots of its own checkpoints, so that what was deleted a minute ago can be had back. Each keeps alive the
// nodes that changed until the next one (some 50 KB each), and what was deleted or replaced since then, for a day longer than the
// trash would. They are no promise: they give way when the disk is nearly full, and to wh gc --now.

// keepTiers say how close together roots are kept, by their age: all of the last minute.
var keepTiers = []tier{
	{age: time.Minute, every: time.Nanosecond},
	{age: 10 * time.Minute, every: 10 * time.Second},
	{age: time.Hour, every: time.Minute},
	{age: 24 * time.Hour, every: 10 * time.Minute},
}

// heldFor is how long a root is kept that was the newest before something was overwritten on purpose.
const heldFor = time.Hour

// keptMax is more than the tiers leave.
const keptMax = 1024

// keyHistory is the local value with the kept roots.
const keyHistory = "history"

// tier is a stretch of ages in which one root is kept in each span.
type tier struct {
	age   time.Duration // up to this
	every time.Duration
}

// rootAt is a tree root and when it began to be the newest.
type rootAt struct {
	at   time.Time
	root block.ID
	hold bool // not to be thinned out in its first hour; forgotten by a restart
}

// thin says which of the times, newest first, tiers leave: the newest in each span of each tier. What was the newest for longer than a
// span is left, since it was that at the end of one; and what a tier leaves is chosen from what the tier before left.
func thin(now time.Time, times []time.Time, tiers []tier) []bool {
	keep := make([]bool, len(times))
	type span struct {
		tier int
		n    int64
	}
	seen := map[span]bool{}
	for i, at := range times {
		k := slices.IndexFunc(tiers, func(t tier) bool { return now.Sub(at) <= t.age })
		if k < 0 {
			continue
		}
		s := span{k, at.UnixNano() / int64(tiers[k].every)}
		keep[i], seen[s] = !seen[s], true
	}
	return keep
}

// keptRoots are the roots that a pod keeps, besides snapshots.
type keptRoots struct {
	mu      sync.Mutex // guards the fields below
	current rootAt     // the newest checkpoint; it is kept as such
	old     []rootAt   // newest first
	pins    []block.ID // roots that are about to become snapshots
	unsaved bool
}

// made notes a new checkpoint. The one that it replaces is kept, if tiers leave it.
func (k *keptRoots) made(now time.Time, root block.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if root == k.current.root {
		return
	}
	if !k.current.root.IsZero() {
		k.old = slices.Insert(k.old, 0, k.current)
	}
	k.current, k.unsaved = rootAt{at: now, root: root}, true
	k.thinLocked(now)
}

// thinLocked drops what the tiers don't leave; the newest checkpoint counts among them.
func (k *keptRoots) thinLocked(now time.Time) {
	times := []time.Time{k.current.at}
	for _, r := range k.old {
		times = append(times, r.at)
	}
	keep := thin(now, times, keepTiers)
	i := 0
	k.old = slices.DeleteFunc(k.old, func(r rootAt) bool {
		i++
		return !keep[i] && (!r.hold || now.Sub(r.at) >= heldFor)
	})
	k.old = k.old[:min(len(k.old), keptMax)]
}

// list is all of them, newest first, the newest checkpoint included.
func (k *keptRoots) list() []rootAt {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current.root.IsZero() {
		return nil
	}
	return append([]rootAt{k.current}, k.old...)
}

// aged are all that must stay, those that are not old first, then the newest first. Each is as old as the tree that took its place.
func (k *keptRoots) aged(now time.Time) []agedRoot {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []agedRoot
	for _, root := range k.pins {
		out = append(out, agedRoot{root: root})
	}
	if !k.current.root.IsZero() {
		out = append(out, agedRoot{root: k.current.root})
	}
	next := k.current.at
	for _, r := range k.old {
		out = append(out, agedRoot{r.root, now.Sub(next)})
		next = r.at
	}
	return out
}

// roots are all that must stay. The newest checkpoint's is among them: it may have files that were removed since, which then belong to what is kept.
func (k *keptRoots) roots() []block.ID {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := slices.Clone(k.pins)
	if !k.current.root.IsZero() {
		out = append(out, k.current.root)
	}
	for _, r := range k.old {
		out = append(out, r.root)
	}
	return out
}

// pin keeps a root until unpin.
func (k *keptRoots) pin(root block.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pins = append(k.pins, root)
}

func (k *keptRoots) unpin(root block.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := slices.Index(k.pins, root); i >= 0 {
		k.pins = slices.Delete(k.pins, i, i+1)
	}
}

// forget drops a root that is not pinned.
func (k *keptRoots) forget(root block.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.old = slices.DeleteFunc(k.old, func(r rootAt) bool { return r.root == root })
	k.unsaved = true
}

// hold has the newest checkpoint kept for a while after it is replaced.
func (k *keptRoots) hold() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current.hold = true
}

// drop forgets all but the newest checkpoint.
func (k *keptRoots) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unsaved = k.unsaved || len(k.old) > 0
	k.old = nil
}

// take is what is to be saved; ok says that it changed since the last call.
func (k *keptRoots) take() (all []rootAt, ok bool) {
	k.mu.Lock()
	ok, k.unsaved = k.unsaved, false
	k.mu.Unlock()
	return k.list(), ok
}

func (k *keptRoots) again() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unsaved = true
}

// encodeKept writes [[ns since 1970, root]…], newest first.
func encodeKept(all []rootAt) []byte {
	b := cbor.AppendArray(nil, len(all))
	for _, r := range all {
		b = cbor.AppendInt(cbor.AppendArray(b, 2), r.at.UnixNano())
		b = cbor.AppendLink(b, r.root.Bytes())
	}
	return b
}

func decodeKept(b []byte) ([]rootAt, error) {
	r := cbor.NewReader(b)
	var all []rootAt
	for range r.Array(keptMax + 1) {
		r.Tuple(2)
		at := time.Unix(0, r.Int())
		id, err := block.FromBytes(r.Link(block.IDLen))
		if r.Err() == nil && (err != nil || id.Codec() != block.DagCBOR) {
			r.Fail("no CID of a folder")
		}
		all = append(all, rootAt{at: at, root: id})
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("pod: kept roots: %w: %w", err, block.ErrCorrupt)
	}
	return all, nil
}

// loadHistory brings back what was kept before a restart.
func (p *Pod) loadHistory() error {
	if p.o.NoHistory {
		return nil
	}
	last := p.db.LastCheckpoint().Tree
	b, ok, err := p.db.Local(keyHistory)
	if err != nil {
		return err
	}
	var all []rootAt
	if ok {
		if all, err = decodeKept(b); err != nil {
			p.log.Warn("tree roots that were kept between snapshots are forgotten", "err", err)
			all = nil
		}
	}
	k := &p.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(all) > 0 && all[0].root == last {
		k.current, all = all[0], all[1:]
	} else if !last.IsZero() {
		k.current = rootAt{at: p.clock.Now(), root: last}
	}
	k.old = all
	return nil
}

// saveHistory writes the kept roots where they changed. Sync: one of the state's log.
func (p *Pod) saveHistory(ctx context.Context) {
	all, changed := p.kept.take()
	if !changed || p.o.NoHistory {
		return
	}
	if err := p.db.SetLocal(ctx, keyHistory, encodeKept(all)); err != nil && ctx.Err() == nil {
		p.kept.again()
		p.log.WarnContext(ctx, "kept tree roots could not be saved", "err", err)
	}
}

// KeepNow keeps the tree as it is now for an hour at least, so that what is about to be overwritten can be had back.
func (p *Pod) KeepNow(ctx context.Context) error {
	if _, err := p.rootNow(ctx); err != nil {
		return err
	}
	p.kept.hold()
	return nil
}

// madeRoot notes a new checkpoint's tree.
func (p *Pod) madeRoot(tree block.ID) {
	if !p.o.NoHistory {
		p.kept.made(p.clock.Now(), tree)
	}
}
