package pod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// laterMax is how many blocks a round puts off; what is more is done when it is found.
const laterMax = 1 << 14

// leftMax is how many blocks are noted for which a pod waits; those beyond it are waited for in later rounds, too.
const leftMax = 1 << 16

// classesMax is how many kinds of wants a round tells apart. With more of them nothing is released, which is safe.
const classesMax = 64

// class is what files that want the same of their blocks have in common.
type class struct {
	wants
	blocks int     // of them, repetitions counted
	named  *filter // which; nil: not known, for the round before did not see this class
}

// round is a look at all contents, as of one moment. It notes which blocks this pod may give up, and, since a block that one file
// needs no more may be one of another's, what all files that name it want.
type round struct {
	p       *Pod
	classes map[string]*class
	before  map[string]int // blocks of the classes of the round before
	surplus map[block.ID]*placing
	needed  int64      // bytes of blocks that this pod holds for others
	later   []*placing // that are to be copied, and can bear a loss until then
	// incomplete says that some contents could not be listed: what they name is not known.
	incomplete bool

	left map[block.ID]time.Time // what others are to send here, and since when it is waited for

	gone []ident.Pod       // lost or out when it began
	last map[block.ID]bool // cached here, and nowhere else that is known
}

func (s *spreader) newRound() *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &round{p: s.p, classes: make(map[string]*class), before: s.classes, surplus: make(map[block.ID]*placing), left: make(map[block.ID]time.Time), gone: s.p.reg.gone(), last: make(map[block.ID]bool)}
}

// endangeredFirst sorts blocks by how many pods may still be lost until they can't be read.
func endangeredFirst(list []*placing) {
	slices.SortStableFunc(list, func(a, b *placing) int { return cmp.Compare(a.plan.Losses, b.plan.Losses) })
}

// putOff takes those blocks out of a list that are to be copied and can bear a loss, so that all that can't bear any is copied before them.
func (r *round) putOff(list []*placing) []*placing {
	return slices.DeleteFunc(list, func(c *placing) bool {
		later := c.plan.Losses > 0 && c.adds() > 0 && len(r.later) < laterMax
		if later {
			r.later = append(r.later, c)
		}
		return later
	})
}

// leaves says whether an action of a round is left to the pod that has what this one lacks, and sends it in its own rounds: else it would come twice. What does not come for as
// long as there is between two rounds is fetched after all.
func (c *placing) leaves(a placement.Action) bool {
	if c.round == nil || a.Kind != placement.CopyWhole && a.Kind != placement.CopyFragment || a.From == a.To {
		return false
	}
	return c.round.leave(c.id)
}

// leave notes that a block is waited for, and says whether to go on with that.
func (r *round) leave(id block.ID) bool {
	now := r.p.clock.Now()
	r.p.spread.mu.Lock()
	since, known := r.p.spread.left[id]
	r.p.spread.mu.Unlock()
	if !known {
		since = now
	}
	if len(r.left) < leftMax {
		r.left[id] = since
	}
	return now.Sub(since) < spreadEvery/2
}

// finish does what was put off, the most endangered first.
func (r *round) finish(ctx context.Context) (placed, error) {
	var out placed
	var errs []error
	endangeredFirst(r.later)
	for part := range slices.Chunk(r.later, spreadBatch) {
		net := r.p.nets()
		for _, c := range part {
			c.plan = net.plan(c, r.p.id) // pods may have gone or come since
		}
		errs = append(errs, r.p.carryOut(ctx, net, part, true))
		out.countAll(r.p, net, part, r)
		if ctx.Err() != nil {
			break
		}
	}
	r.later = nil
	return out, errors.Join(errs...)
}

// note takes in what became of a block.
func (r *round) note(c *placing) {
	r.noteLast(c)
	r.carriedOut(c)
	owed := r.p.owes(c)
	r.needed += owed
	key := fmt.Sprint(c.policy, c.lower, c.keep)
	k := r.classes[key]
	if k == nil {
		if len(r.classes) > classesMax {
			return
		}
		k = &class{wants: c.wants}
		if n, known := r.before[key]; known && len(r.before) > 1 {
			k.named = newFilter(n + n/8)
		}
		r.classes[key] = k
	}
	k.blocks++
	if k.named != nil {
		k.named.add(c.id)
	}
	if len(r.surplus) < releaseMax && c.id.Codec() == block.Raw && len(surplusHere(c.plan, r.p.id)) > 0 {
		r.surplus[c.id] = &placing{wanted: c.wanted, wants: c.wants, owed: owed}
	}
}

// owes is how many bytes of a block this pod holds as others rely on it: whole, or in fragments. A node, which is never given up, counts as long as the plan
// would not have it given up.
func (p *Pod) owes(c *placing) int64 {
	if slices.Contains(c.keep, p.id) {
		return 0
	}
	node := c.id.Codec() != block.Raw
	if owned, _ := p.store.Has(c.id); owned && (!node || len(surplusHere(c.plan, p.id)) == 0) {
		return c.size
	} else if node {
		return 0
	}
	list, err := p.store.Fragments(c.id)
	if err != nil {
		return c.size
	}
	var n int64
	for _, f := range list {
		n += max(c.size/int64(f.K), 1)
	}
	return n
}

// trim releases what was found surplus, unless another file wants more of it: a live one, or one of a snapshot, of which all is
// kept as the root's policy says.
func (r *round) trim(ctx context.Context) error {
	p := r.p
	counts := make(map[string]int)
	known := len(r.classes) <= classesMax
	for key, k := range r.classes {
		counts[key] = k.blocks
		known = known && (k.named != nil || len(r.classes) == 1)
	}
	p.spread.mu.Lock()
	p.spread.classes = counts
	p.spread.mu.Unlock()
	if len(r.classes) > classesMax {
		p.log.WarnContext(ctx, "nothing is given up: there are too many kinds of wishes for files (policies, homes, pins)", "most", classesMax)
	}
	if !known || len(r.surplus) == 0 {
		return nil // the next round knows the classes
	}
	snapshots, err := p.db.Snapshots()
	if err != nil {
		return err
	}
	var root []wants
	if len(snapshots) > 0 {
		if root, err = p.wantsOf([]state.Node{{Attr: vfs.Attr{ID: vfs.RootID, Btime: p.clock.Now().UnixNano()}}}); err != nil {
			return err
		}
	}
	for id, c := range r.surplus {
		for _, k := range r.classes {
			if k.named != nil && k.named.has(id) {
				c.wants = c.join(k.wants)
			}
		}
		for _, w := range root {
			c.wants = c.join(w)
		}
	}
	n, err := p.giveUp(ctx, r.surplus)
	for _, c := range r.surplus {
		r.needed += p.owes(c) - c.owed
	}
	if n > 0 {
		p.log.InfoContext(ctx, "surplus copies are cache now", "blocks", n)
	}
	return err
}
