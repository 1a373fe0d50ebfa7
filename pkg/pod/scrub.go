package pod

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/store"
)

// How the scrub goes on in the background.
const (
	scrubEvery    = 30 * 24 * time.Hour // between the beginnings of two passes
	scrubPass     = scrubEvery / 3      // how long a pass may take, on a store so large that scrubPauseMax doesn't end it sooner
	scrubStep     = 4 << 20             // bytes that are read in one go
	scrubPauseMin = 50 * time.Millisecond
	scrubPauseMax = 30 * time.Second
	scrubSave     = 16 // steps between two savings of the place
	keyScrub      = "scrub"
)

// Scrubbed is what a scrub did.
type Scrubbed struct {
	Bytes, Blocks int64 // read and verified
}

// damaged are the blocks of this pod that were found damaged, and of which no good copy could be had yet.
type damaged struct {
	mu        sync.Mutex // guards the fields below
	ids       map[block.ID]bool
	fragments map[block.Fragment]bool
}

func (d *damaged) setFragment(f block.Fragment, bad bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !bad {
		delete(d.fragments, f)
		return
	}
	if d.fragments == nil {
		d.fragments = make(map[block.Fragment]bool)
	}
	d.fragments[f] = true
}

func (d *damaged) listFragments() []block.Fragment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.fragments))
}

func (d *damaged) set(id block.ID, bad bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !bad {
		delete(d.ids, id)
		return
	}
	if d.ids == nil {
		d.ids = make(map[block.ID]bool)
	}
	d.ids[id] = true
}

func (d *damaged) list() []block.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]block.ID, 0, len(d.ids))
	for id := range d.ids {
		out = append(out, id)
	}
	return out
}

// scrubPlace is where the scrub in the background is.
type scrubPlace struct {
	cursor string    // of the store; "" is the beginning
	began  time.Time // when this pass began
	rests  bool      // it is done: the next begins scrubEvery after it did
}

// encode writes [cursor, began in s since 1970, rests 0 or 1].
func (s scrubPlace) encode() []byte {
	b := cbor.AppendText(cbor.AppendArray(nil, 3), s.cursor)
	b = cbor.AppendUint(b, uint64(max(0, s.began.Unix())))
	if s.rests {
		return cbor.AppendUint(b, 1)
	}
	return cbor.AppendUint(b, 0)
}

func decodeScrubPlace(data []byte) (scrubPlace, error) {
	r := cbor.NewReader(data)
	r.Tuple(3)
	s := scrubPlace{cursor: r.Text(256), began: time.Unix(int64(r.UintMax(1<<40)), 0), rests: r.UintMax(1) == 1}
	return s, r.Done()
}

// loadScrub is where the scrub was before the restart. A place that can't be read is the beginning: nothing is lost but time.
func (p *Pod) loadScrub() (scrubPlace, error) {
	fresh := scrubPlace{began: p.clock.Now()}
	b, ok, err := p.db.Local(keyScrub)
	if err != nil || !ok {
		return fresh, err
	}
	at, err := decodeScrubPlace(b)
	if err != nil {
		p.log.Warn("where the scrub was is forgotten; it begins anew", "err", err)
		return fresh, nil
	}
	return at, nil
}

// runScrub verifies all that is stored, slowly, over and over, and goes on where it was before a restart.
func (p *Pod) runScrub(ctx context.Context) error {
	at, err := p.loadScrub()
	if err != nil {
		return err
	}
	for step := 1; ; step++ {
		pause := p.scrubPause()
		if at.rests {
			pause = at.began.Add(scrubEvery).Sub(p.clock.Now())
		}
		if err := clock.Sleep(ctx, p.clock, min(pause, time.Hour)); err != nil {
			return errors.Join(err, p.setLocal(context.WithoutCancel(ctx), keyScrub, at.encode()))
		}
		p.mendDamaged(ctx)
		if at.rests {
			if p.clock.Now().Sub(at.began) < scrubEvery {
				continue
			}
			at = scrubPlace{began: p.clock.Now()}
		}
		got, err := p.scrubStep(ctx, at.cursor, func(Problem) {})
		if err != nil {
			if ctx.Err() == nil {
				p.log.WarnContext(ctx, "the scrub could not go on; trying again", "err", err)
			}
			continue
		}
		at.cursor, at.rests = got.Next, got.Done
		if got.Done || step%scrubSave == 0 {
			if err := p.setLocal(ctx, keyScrub, at.encode()); err != nil && ctx.Err() == nil {
				p.log.WarnContext(ctx, "the place of the scrub could not be saved", "err", err)
			}
		}
	}
}

// scrubPause is the wait between two steps.
func (p *Pod) scrubPause() time.Duration {
	u := p.store.Usage()
	steps := (u.OwnedBytes+u.CachedBytes+u.TrashBytes)/scrubStep + 1
	return min(max(scrubPass/time.Duration(steps), scrubPauseMin), scrubPauseMax)
}

// scrubStep verifies what comes next, and mends what is damaged; f is told of it.
func (p *Pod) scrubStep(ctx context.Context, cursor string, f func(Problem)) (store.Scrubbed, error) {
	var found []store.Problem
	got, err := p.store.Scrub(ctx, cursor, scrubStep, func(pr store.Problem) { found = append(found, pr) })
	for _, pr := range found {
		f(p.mend(ctx, pr))
	}
	return got, err
}

// mend replaces a damaged block, if a pod that is connected has a good copy, and tells whether it did. Damage
// in the cache or in the trash is no loss: the block is dropped.
func (p *Pod) mend(ctx context.Context, pr store.Problem) Problem {
	out := Problem{Where: "store", What: pr.String()}
	switch {
	case pr.ID.IsZero():
	case pr.Fragment != (block.Fragment{}):
		out.Fixed = p.mendProblem(ctx, pr.Fragment) == nil
	case pr.Cached:
		out.Fixed = p.store.Uncache(ctx, pr.ID) == nil // it may have been put since, and be the pod's own
	case p.store.InTrash(pr.ID): // nothing names it
		_, err := p.store.Drop(ctx, pr.ID, nil)
		out.Fixed = err == nil
	default:
		_, err := p.replaceDamaged(ctx, pr.ID, block.ErrCorrupt)
		out.Fixed = err == nil
		p.damaged.set(pr.ID, err != nil)
	}
	if out.Fixed {
		p.log.InfoContext(ctx, "damage was mended", "block", pr.ID, "what", pr.String())
	} else {
		p.log.ErrorContext(ctx, "damage can't be mended now: no connected pod has a good copy", "block", pr.ID, "what", pr.String())
	}
	return out
}

// mendProblem mends a damaged fragment: one in the trash is dropped, others are made again.
func (p *Pod) mendProblem(ctx context.Context, f block.Fragment) error {
	if dropped, err := p.store.DropFragment(ctx, f, nil); err != nil || dropped {
		return err
	}
	return p.mendFragment(ctx, f)
}

// mendDamaged tries again to get what is damaged; what nothing names any more, or was put again since, is forgotten.
func (p *Pod) mendDamaged(ctx context.Context) {
	for _, id := range p.damaged.list() {
		owned, _ := p.store.Has(id)
		if !owned {
			_, err := p.replaceDamaged(ctx, id, block.ErrCorrupt)
			owned = err == nil
		}
		if owned {
			p.damaged.set(id, false)
		}
	}
	for _, f := range p.damaged.listFragments() {
		if p.store.HasFragment(f) {
			p.damaged.setFragment(f, false)
		} else if err := p.mendFragment(ctx, f); err == nil {
			p.log.InfoContext(ctx, "a damaged fragment was made again", "fragment", f.String())
		}
	}
}

// Scrub verifies all that is stored, at full speed, and mends what it can; f is told of what it found.
func (p *Pod) Scrub(ctx context.Context, f func(Problem)) (Scrubbed, error) {
	var out Scrubbed
	for cursor := ""; ; {
		got, err := p.scrubStep(ctx, cursor, f)
		out.Bytes += got.Bytes
		out.Blocks += int64(got.Blocks)
		if err != nil {
			return out, fmt.Errorf("pod: scrub: %w", err)
		}
		if got.Done {
			return out, nil
		}
		cursor = got.Next
	}
}
