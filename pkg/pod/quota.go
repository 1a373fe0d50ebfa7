package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// What a quota allows is counted by what is known here. A tree is counted when it is first written to, and again when that is long ago, or the quota seems to be
// used up; in between it is what was counted and what grew since. So pods that write at once may pass it together by what they write until they
// hear of each other, and what is merged is never refused.
const (
	quotaFresh  = 10 * time.Second       // a count is good for so long
	quotaFactor = 20                     // and for so many times as long as it took
	quotaPause  = 200 * time.Millisecond // between counts while the quota is used up, unless something was removed
	quotaMemory = 200 * time.Millisecond // for so long a file that is written knows its quotas
	quotaPage   = 1000                   // entries that are read at a time
)

// quota is a limit that holds at a node.
type quota struct {
	at    vfs.NodeID // where it is set
	limit int64      // bytes
}

// quotaBook is what trees with quotas hold.
type quotaBook struct {
	mu    sync.Mutex // guards the fields below
	trees map[vfs.NodeID]*quotaTree
}

// quotaTree is what is known of one tree.
type quotaTree struct {
	counting chan struct{} // holds one token while it is counted

	mu      sync.Mutex // guards the fields below
	counted time.Time  // when the count began; zero: never
	took    time.Duration
	used    int64 // as of then
	grown   int64 // since then
	shrunk  bool  // something was removed since then
}

func (b *quotaBook) tree(at vfs.NodeID) *quotaTree {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trees == nil {
		b.trees = make(map[vfs.NodeID]*quotaTree)
	}
	t := b.trees[at]
	if t == nil {
		t = &quotaTree{counting: make(chan struct{}, 1)}
		b.trees[at] = t
	}
	return t
}

// shrank notes that bytes went, somewhere.
func (b *quotaBook) shrank() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.trees {
		t.mu.Lock()
		t.shrunk = true
		t.mu.Unlock()
	}
}

// quotasAt are the quotas that hold at a node, the nearest first. A file that has no name any more has none.
func (p *Pod) quotasAt(id vfs.NodeID) ([]quota, error) {
	var out []quota
	err := p.db.WishesUp(id, func(at vfs.NodeID, w state.Wish) {
		text := w.Rule(state.WishQuota)
		if text == "" || text == quotaNone {
			return
		}
		if limit, err := config.ParseBytes(text); err == nil {
			out = append(out, quota{at, limit})
		}
	})
	if errors.Is(err, vfs.ErrNotExist) {
		return nil, nil
	}
	return out, err
}

// spendOf asks quotas for n bytes more. Error: vfs.ErrQuota.
func (p *Pod) spendOf(ctx context.Context, quotas []quota, n int64) error {
	if n <= 0 {
		return nil
	}
	for _, q := range quotas {
		if err := p.spendOne(ctx, q, n); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pod) spendOne(ctx context.Context, q quota, n int64) error {
	t := p.quotas.tree(q.at)
	if stale, full := t.look(p.clock.Now(), q.limit, n); stale || full {
		if err := p.countTree(ctx, q.at, t, full); err != nil {
			return err
		}
	}
	used, ok := t.take(q.limit, n)
	if ok {
		return nil
	}
	at, err := p.db.Path(q.at)
	if err != nil {
		return err
	}
	return fmt.Errorf("pod: the quota of %s is %d bytes, of which %d are used, and %d more are asked for; delete something there, or have it raised: wh policy set %s --quota BYTES: %w",
		at, q.limit, used, n, at, vfs.ErrQuota)
}

// look says whether the count is old, and whether n bytes more would pass the limit by it.
func (t *quotaTree) look(now time.Time, limit, n int64) (stale, full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counted.IsZero() || now.Sub(t.counted) > max(quotaFresh, quotaFactor*t.took), t.used+t.grown+n > limit
}

// take counts n bytes more, if they fit.
func (t *quotaTree) take(limit, n int64) (used int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if used = t.used + t.grown; used+n > limit {
		return used, false
	}
	t.grown += n
	return used, true
}

// countTree counts a tree, unless somebody else has just done so.
func (p *Pod) countTree(ctx context.Context, at vfs.NodeID, t *quotaTree, full bool) error {
	select {
	case t.counting <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.counting }()
	began := p.clock.Now()
	t.mu.Lock()
	good := quotaFresh
	if full {
		good = quotaPause
	}
	if !t.counted.IsZero() && began.Sub(t.counted) < good && (!full || !t.shrunk) {
		t.mu.Unlock()
		return nil
	}
	grown := t.grown
	t.shrunk = false
	t.mu.Unlock()
	used, err := p.bytesBelow(ctx, at)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counted, t.took, t.used, t.grown = began, clock.Since(p.clock, began), used, t.grown-grown // what grew meanwhile may be counted twice, until the next count
	return nil
}

// bytesBelow is how many bytes of files are at and below a node, as users see them: what is a hole is none, and a file with several names counts once.
func (p *Pod) bytesBelow(ctx context.Context, id vfs.NodeID) (int64, error) {
	a, err := p.attr(id)
	if err != nil || a.Kind != vfs.KindFolder {
		return heldBytes(a), err
	}
	var sum int64
	linked := make(map[vfs.NodeID]bool)
	for folders := []vfs.NodeID{id}; len(folders) > 0; {
		at := folders[len(folders)-1]
		folders = folders[:len(folders)-1]
		for after := ""; ; {
			list, err := p.self.ReadDir(ctx, at, after, quotaPage)
			if errors.Is(err, vfs.ErrNotExist) {
				break // it was removed meanwhile
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				return 0, err
			}
			for _, e := range list {
				switch {
				case e.Attr.Kind == vfs.KindFolder:
					folders = append(folders, e.Attr.ID)
				case e.Attr.NLink > 1 && linked[e.Attr.ID]:
				default:
					linked[e.Attr.ID] = e.Attr.NLink > 1
					sum += heldBytes(e.Attr)
				}
			}
			if len(list) == 0 {
				break
			}
			after = list[len(list)-1].Name
		}
	}
	return sum, nil
}

// heldBytes is what a file counts for.
func heldBytes(a vfs.Attr) int64 {
	if a.Kind != vfs.KindFile {
		return 0
	}
	return int64(min(a.Size, 512*a.Blocks)) //nolint:gosec // a file has at most vfs.FileMax
}

// spendWrite asks the quotas of an open file for what a write of n bytes at off adds at most.
func (p *Pod) spendWrite(ctx context.Context, nd *node, off, n int64) error {
	quotas, err := p.nodeQuotas(nd)
	if err != nil || len(quotas) == 0 {
		return err
	}
	nd.mu.RLock()
	size, held := int64(nd.attr.Size), int64(min(nd.attr.Size, 512*nd.blocks())) //nolint:gosec // see heldBytes
	nd.mu.RUnlock()
	return p.spendOf(ctx, quotas, min(n, max(size, off+n)-held))
}

// nodeQuotas are the quotas of an open file, as of a moment ago.
func (p *Pod) nodeQuotas(nd *node) ([]quota, error) {
	now := p.clock.Now()
	nd.mu.RLock()
	quotas, at, orphan, row := nd.quotas, nd.quotasAt, nd.orphan, nd.row
	nd.mu.RUnlock()
	if d := now.Sub(at); orphan || d >= 0 && d < quotaMemory {
		return quotas, nil
	}
	quotas, err := p.quotasAt(row)
	if err != nil {
		return nil, err
	}
	nd.mu.Lock()
	nd.quotas, nd.quotasAt = quotas, now
	nd.mu.Unlock()
	return quotas, nil
}

// spendMoved asks the quotas that hold at a folder, and not at another, for what comes from there.
func (p *Pod) spendMoved(ctx context.Context, from, to, moved vfs.NodeID) error {
	if from == to || moved == 0 {
		return nil
	}
	there, err := p.quotasAt(to)
	if err != nil || len(there) == 0 {
		return err
	}
	here, err := p.quotasAt(from)
	if err != nil {
		return err
	}
	var other []quota
	for _, q := range there {
		if !slices.ContainsFunc(here, func(h quota) bool { return h.at == q.at }) {
			other = append(other, q)
		}
	}
	if len(other) == 0 {
		return nil
	}
	n, err := p.bytesBelow(ctx, moved)
	if err != nil {
		return err
	}
	return p.spendOf(ctx, other, n)
}

// spendLink asks the quotas of a folder for a file that gets a name there, unless those are the file's own.
func (p *Pod) spendLink(ctx context.Context, id, parent vfs.NodeID) error {
	there, err := p.quotasAt(parent)
	if err != nil || len(there) == 0 {
		return err
	}
	own, err := p.quotasAt(id)
	if err != nil || slices.Equal(own, there) {
		return err
	}
	a, err := p.attr(id)
	if err != nil {
		return err
	}
	return p.spendOf(ctx, there, heldBytes(a))
}

// spendPut asks the quotas of a folder for a file of n bytes at a name, in the place of one that may be there.
func (p *Pod) spendPut(ctx context.Context, parent vfs.NodeID, name string, n int64) error {
	quotas, err := p.quotasAt(parent)
	if err != nil || len(quotas) == 0 {
		return err
	}
	if old, err := p.self.Lookup(ctx, parent, name); err == nil {
		n -= heldBytes(old)
	}
	return p.spendOf(ctx, quotas, n)
}
