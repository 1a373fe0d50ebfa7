package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/heat"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	heatFiles   = 4096                  // files whose reads are counted; some 100 bytes of memory each
	heatLook    = time.Minute           // between two looks at what to move
	heatWake    = 2 * time.Second       // the rules may have changed
	heatLookMin = 20 * time.Millisecond // with short rules
	heatMoves   = 64                    // files that are looked at, the hottest ones, and moved at most at a time
	heatSave    = 10 * time.Minute
	heatAsk     = 256 // files in one question
	keyHeat     = "heat"
)

// loadHeat is what was read here before the restart. What can't be read is forgotten: nothing is lost but that.
func (p *Pod) loadHeat() error {
	p.heat = heat.New(heatFiles, p.movesAfter())
	b, ok, err := p.db.Local(keyHeat)
	if err != nil || !ok {
		return err
	}
	kept, err := heat.Decode(b, heatFiles)
	if err != nil {
		p.log.Warn("which files were read most is forgotten", "err", err)
		return nil
	}
	p.heat = kept
	return nil
}

// runHeat looks now and then which files should be at home here, and keeps what was read for the next start.
func (p *Pod) runHeat(ctx context.Context) error {
	saved := p.clock.Now()
	looked := saved
	for {
		every := max(heatLookMin, min(heatLook, p.movesAfter()/4))
		err := clock.Sleep(ctx, p.clock, min(every, heatWake))
		now, after := p.clock.Now(), p.movesAfter()
		if err != nil {
			return errors.Join(err, p.setLocal(context.WithoutCancel(ctx), keyHeat, p.heat.Encode(now)))
		}
		p.heat.SetHalfLife(after, now)
		if now.Sub(looked) < every {
			continue
		}
		looked = now
		if p.textRule(textRules["moves"]).Value == movesAuto && p.role().MayWrite() {
			if err := p.moveHere(ctx); err != nil && ctx.Err() == nil {
				p.log.WarnContext(ctx, "files could not be moved to where they are read", "err", err)
			}
		}
		if now.Sub(saved) >= heatSave {
			saved = now
			if err := p.setLocal(ctx, keyHeat, p.heat.Encode(now)); err != nil && ctx.Err() == nil {
				p.log.WarnContext(ctx, "which files are read most could not be kept", "err", err)
			}
		}
	}
}

// Hot is a file that is read much.
type Hot struct {
	Path   string
	Size   int64
	Bytes  int64    // read here; reads of a while ago count less
	Pods   []Reads  // of all pods that are connected, and this one, the most first
	Homes  []string // where it is at home
	MoveTo string   // the pod where it should rather be at home; "": as it is

	id   vfs.NodeID
	wish state.WishEdit // to move it here
}

// Reads is what a pod read of a file.
type Reads struct {
	Pod   ident.Pod
	Name  string
	Bytes int64
}

// Hot tells which files are read most on this pod, at most n, the hottest first.
func (p *Pod) Hot(ctx context.Context, n int) ([]Hot, error) {
	if err := p.sees(); err != nil {
		return nil, err
	}
	out, _, err := p.hot(ctx, p.heat.Hottest(n, p.clock.Now()))
	return out, err
}

// hot tells of files what is known, and whether all active pods that are not out said what they read.
func (p *Pod) hot(ctx context.Context, reads []heat.Read) (out []Hot, all bool, err error) {
	var kept []heat.Read
	for _, r := range reads {
		h, err := p.hotFile(ctx, r)
		switch {
		case errors.Is(err, vfs.ErrNotExist):
			p.heat.Forget(r.Key)
		case err != nil:
			return nil, false, err
		case h.Size > 0:
			out, kept = append(out, h), append(kept, r)
		}
	}
	all = p.askHeat(ctx, out)
	for i := range out {
		if err := p.judgeHot(&out[i], kept[i]); err != nil {
			return nil, false, err
		}
	}
	return out, all, nil
}

func (p *Pod) hotFile(ctx context.Context, r heat.Read) (Hot, error) {
	id := vfs.NodeID(r.Key)
	at, err := p.self.GetAttr(ctx, id)
	if err != nil || at.Kind != vfs.KindFile {
		return Hot{}, errors.Join(err, p.notFile(at))
	}
	where, err := p.db.Path(id)
	if err != nil {
		return Hot{}, err
	}
	h := Hot{Path: where, Size: int64(at.Size), Bytes: r.Own(), id: id}
	h.Pods = []Reads{{Pod: p.id, Name: p.reg.name(p.id), Bytes: r.Own()}}
	return h, nil
}

func (p *Pod) notFile(at vfs.Attr) error {
	if at.Kind == vfs.KindFile {
		return nil
	}
	return fmt.Errorf("pod: %d is no file any more: %w", at.ID, vfs.ErrNotExist)
}

// judgeHot says where a file should be at home.
func (p *Pod) judgeHot(h *Hot, r heat.Read) error {
	own, _, err := p.db.Wish(h.id)
	if err != nil {
		return err
	}
	effective, _, err := p.db.EffectiveWish(h.id)
	if err != nil {
		return err
	}
	for _, pod := range effective.Homes.Value {
		h.Homes = append(h.Homes, p.reg.name(pod))
	}
	c := heat.Case{
		Size: h.Size, Read: make(map[ident.Pod]int64), Homes: effective.Homes.Value, Chosen: len(effective.Homes.Value) > 0 && !own.Moved(),
		Tracked: r.Since, Now: p.clock.Now(), After: p.movesAfter(),
	}
	if !own.Homes.TS.IsZero() {
		c.Since = own.Homes.TS.HLC.Time()
	}
	for _, one := range h.Pods {
		c.Read[one.Pod] = one.Bytes
	}
	slices.SortStableFunc(h.Pods, func(a, b Reads) int { return int(max(-1, min(1, b.Bytes-a.Bytes))) })
	to, move := heat.Home(c)
	if !move || p.textRule(textRules["moves"]).Value == movesOff {
		return nil
	}
	h.MoveTo = p.reg.name(to)
	if to == p.id {
		h.wish = state.WishEdit{Homes: &[]ident.Pod{to}, Moved: true}
	}
	return nil
}

// moveHere makes this pod the home of files that it reads most.
func (p *Pod) moveHere(ctx context.Context) error {
	list, all, err := p.hot(ctx, p.heat.Hottest(heatMoves, p.clock.Now()))
	if err != nil || !all {
		return err // who does not answer may read more
	}
	for _, h := range list {
		if h.wish.Homes == nil || p.store.Usage().FreeBytes < 4*h.Size {
			continue
		}
		if err := p.wish(ctx, h.id, h.wish); err != nil {
			return err
		}
		p.event(Event{Kind: EventMoved, Path: h.Path, Text: fmt.Sprintf("it is read most here, and at home here now; before: %v", h.Homes)})
	}
	return nil
}

// askHeat asks the connected pods what they read of files. It says whether all active pods that are not out answered.
func (p *Pod) askHeat(ctx context.Context, list []Hot) bool {
	if len(list) == 0 {
		return true
	}
	list = list[:min(len(list), heatAsk)]
	body := cbor.AppendArray(nil, len(list))
	for _, h := range list {
		body = cbor.AppendUint(body, uint64(h.id))
	}
	heard := map[ident.Pod]bool{p.id: true}
	for _, pod := range p.sighted() {
		answer, err := p.ask(ctx, pod, p2p.KindHeat, body)
		var reads []uint64
		if err == nil {
			reads, err = decodeUints(answer, heatAsk)
		}
		if err != nil || len(reads) != len(list) {
			p.log.DebugContext(ctx, "a pod does not say what it reads", "pod", p.reg.name(pod), "err", err)
			continue
		}
		heard[pod] = true
		for i, n := range reads {
			if n > 0 {
				list[i].Pods = append(list[i].Pods, Reads{Pod: pod, Name: p.reg.name(pod), Bytes: int64(min(n, 1<<56))})
			}
		}
	}
	return !slices.ContainsFunc(p.reg.layout().Entries(), func(e placement.Entry) bool { return !heard[e.Pod] && !p.reg.isOut(e.Pod) && !p.reg.blind(e.Pod) })
}

// answerHeat says what this pod read of files.
func (p *Pod) answerHeat(body []byte) ([]byte, error) {
	ids, err := decodeUints(body, heatAsk)
	if err != nil {
		return nil, err
	}
	now := p.clock.Now()
	b := cbor.AppendArray(nil, len(ids))
	for _, id := range ids {
		r, _ := p.heat.Bytes(id, now)
		b = cbor.AppendUint(b, uint64(max(0, r.Own())))
	}
	return b, nil
}

// decodeUints reads an array of numbers, at most so many.
func decodeUints(b []byte, most int) ([]uint64, error) {
	r := cbor.NewReader(b)
	out := make([]uint64, 0, min(most, len(b)))
	for range r.Array(most) {
		out = append(out, r.Uint())
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("pod: reads of files: %w", err)
	}
	return out, nil
}
