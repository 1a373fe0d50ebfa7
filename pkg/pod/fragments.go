package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/wormhole-fs/wormhole/erasure"
	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/store"
)

// Limits of a question about fragments. An answer of all that it may have is below p2p.QuestionMax.
const (
	fragmentsAskMax = 512 // blocks in one question
	fragmentsOfMax  = 255 // fragments told of one block
)

// coding is what the pod needs to cut and join forms.
type coding struct {
	codec erasure.Codec
	sets  sync.Pool     // of *erasure.Set
	times fragmentTimes // how long fragments take to come

	speaks sync.Map // ident.Pod -> true: pods that answered a question about fragments, so that they know the frames of fragments
}

// set lends a set, whose contents are undefined.
func (c *coding) set() *erasure.Set {
	if s, ok := c.sets.Get().(*erasure.Set); ok {
		return s
	}
	return new(erasure.Set)
}

func (c *coding) give(s *erasure.Set) { c.sets.Put(s) }

// Fragment is p2p.FragmentHandler's.
func (h handler) Fragment(ctx context.Context, to ident.Pod, f block.Fragment) (wire []byte, done func(), err error) {
	wire, done, err = h.p.store.LendFragment(ctx, f)
	if err = h.p.notedFragment(f, err); err == nil {
		err = h.p.served(ctx, pace.Up, to, len(wire))
	}
	return wire, done, err
}

// PutFragment is p2p.FragmentHandler's.
func (h handler) PutFragment(ctx context.Context, from ident.Pod, f block.Fragment, wire []byte) error {
	if err := h.p.served(ctx, pace.Down, from, len(wire)); err != nil {
		return err
	}
	defer h.p.leases.release(h.p.leases.take(f.ID))
	if err := h.p.leaving.stay(ctx, f.ID); err != nil {
		return err
	}
	h.p.renewed(ctx, f.ID)
	err := h.p.store.PutFragment(ctx, f, wire)
	if errors.Is(err, store.ErrNoSpace) {
		return errors.Join(err, p2p.ErrFull)
	}
	return err
}

// HaveFragment is p2p.FragmentHandler's.
func (h handler) HaveFragment(ctx context.Context, _ ident.Pod, f block.Fragment) bool {
	defer h.p.leases.release(h.p.leases.take(f.ID)) // before the look
	if h.p.leaving.stay(ctx, f.ID) != nil {
		return false
	}
	h.p.renewed(ctx, f.ID)
	return h.p.store.HasFragment(f)
}

// storedFragment is a fragment of this pod as it is sent. One that turns out damaged is noted, to be made again.
func (p *Pod) storedFragment(ctx context.Context, f block.Fragment) ([]byte, error) {
	wire, err := p.store.Fragment(ctx, f)
	return wire, p.notedFragment(f, err)
}

// notedFragment notes a fragment that turned out damaged, as the error of reading it says, which it returns.
func (p *Pod) notedFragment(f block.Fragment, err error) error {
	if errors.Is(err, block.ErrCorrupt) {
		p.damaged.setFragment(f, true)
	}
	return err
}

// askFragments asks a pod which fragments it has of blocks: a list for each.
func (p *Pod) askFragments(ctx context.Context, pod ident.Pod, ids []block.ID) ([][]block.Fragment, error) {
	var out [][]block.Fragment
	err := p.askOf(ctx, pod, p2p.KindFragments, ids, fragmentsAskMax, func(part []block.ID, answer []byte) error {
		lists, err := decodeFragments(answer, part)
		if err != nil {
			return fmt.Errorf("pod: fragments of %s: %w", p.reg.name(pod), err)
		}
		p.coding.speaks.Store(pod, true)
		out = append(out, lists...)
		return nil
	})
	return out, err
}

// answerFragments answers a question of askFragments.
func (p *Pod) answerFragments(ctx context.Context, body []byte) ([]byte, error) {
	return p.tellFragments(ctx, body, p.store.Fragments, func() error { return nil })
}

// tellFragments tells what list says of some blocks; settle is called before it is told.
func (p *Pod) tellFragments(ctx context.Context, ids []byte, list func(block.ID) ([]block.Fragment, error), settle func() error) ([]byte, error) {
	if len(ids)%block.IDLen != 0 || len(ids) > fragmentsAskMax*block.IDLen {
		return nil, fmt.Errorf("pod: question about fragments has %d bytes: %w", len(ids), block.ErrBadID)
	}
	var out []byte
	for ; len(ids) > 0; ids = ids[block.IDLen:] {
		id, err := block.FromBytes(ids[:block.IDLen])
		if err != nil {
			return nil, err
		}
		p.renewed(ctx, id)
		has, err := list(id)
		if err != nil {
			return nil, err
		}
		out = appendFragments(out, has)
	}
	return out, settle()
}

// appendFragments appends the fragments of one block: a byte says how many, then come their names.
func appendFragments(b []byte, list []block.Fragment) []byte {
	list = list[:min(len(list), fragmentsOfMax)]
	b = append(b, byte(len(list)))
	for _, f := range list {
		b = f.Append(b)
	}
	return b
}

// decodeFragments reads an answer about blocks; what could not have been written so is block.ErrCorrupt.
func decodeFragments(b []byte, ids []block.ID) ([][]block.Fragment, error) {
	out := make([][]block.Fragment, len(ids))
	for i, id := range ids {
		if len(b) == 0 || len(b) < 1+int(b[0])*block.FragmentLen {
			return nil, fmt.Errorf("answer ends in block %d of %d: %w", i, len(ids), block.ErrCorrupt)
		}
		n := int(b[0])
		for b = b[1:]; n > 0; n-- {
			f, err := block.FragmentFromBytes(b[:block.FragmentLen])
			if err == nil && f.ID != id {
				err = fmt.Errorf("fragment of %s, asked for %s", f.ID, id)
			}
			if err != nil {
				return nil, fmt.Errorf("%w: %w", err, block.ErrCorrupt)
			}
			out[i] = append(out[i], f)
			b = b[block.FragmentLen:]
		}
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%d bytes behind the answer: %w", len(b), block.ErrCorrupt)
	}
	return out, nil
}
