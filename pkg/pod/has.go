package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// What a pod answers for each block that it is asked about.
const (
	hasNot    = 0
	hasOwned  = 1
	hasCached = 2
	hasShort  = 4 // added to one of these: its form is too short to be cut (block.FragmentedMin)
)

// hasMax is how many blocks are asked about at once.
const hasMax = 8192

// lacking returns the blocks that a pod does not own.
func (p *Pod) lacking(ctx context.Context, pod ident.Pod, list []wanted) ([]wanted, error) {
	ids := make([]block.ID, len(list))
	for i, w := range list {
		ids[i] = w.id
	}
	has, err := p.askHas(ctx, pod, ids)
	if err != nil {
		return list, err
	}
	var lacks []wanted
	for i, w := range list {
		if has[i]&^hasShort != hasOwned {
			lacks = append(lacks, w)
		}
	}
	return lacks, nil
}

// askHas asks a pod how it holds blocks.
func (p *Pod) askHas(ctx context.Context, pod ident.Pod, ids []block.ID) ([]byte, error) {
	var out []byte
	err := p.askOf(ctx, pod, p2p.KindHas, ids, hasMax, func(part []block.ID, answer []byte) error {
		if len(answer) != len(part) {
			return fmt.Errorf("pod: %s answers for %d blocks of %d: %w", p.reg.name(pod), len(answer), len(part), block.ErrCorrupt)
		}
		out = append(out, answer...)
		return nil
	})
	return out, err
}

// askOf asks a pod about blocks, at most so many at a time, and hands over each answer with those that it is about.
func (p *Pod) askOf(ctx context.Context, pod ident.Pod, kind p2p.Kind, ids []block.ID, most int, f func(part []block.ID, answer []byte) error) error {
	for part := range slices.Chunk(ids, most) {
		body := make([]byte, 0, len(part)*block.IDLen)
		for _, id := range part {
			body = id.Append(body)
		}
		answer, err := p.ask(ctx, pod, kind, body)
		if err != nil {
			return err
		}
		if err := f(part, answer); err != nil {
			return err
		}
	}
	return nil
}

// ask is a question with a limit of time.
func (p *Pod) ask(ctx context.Context, pod ident.Pod, kind p2p.Kind, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	answer, err := p.net.Ask(ctx, pod, kind, body)
	if err != nil {
		return nil, fmt.Errorf("pod: ask %s: %w", p.reg.name(pod), err)
	}
	return answer, nil
}

const (
	askPatience = 5 * time.Second        // a pod that was started again, or a link that broke, is back within it
	askTryAgain = 200 * time.Millisecond // between two tries
)

// askPatiently is ask for a question that somebody waits for, and that may be asked twice.
func (p *Pod) askPatiently(ctx context.Context, pod ident.Pod, kind p2p.Kind, body []byte) ([]byte, error) {
	for end := p.clock.Now().Add(askPatience); ; {
		answer, err := p.ask(ctx, pod, kind, body)
		if err == nil || !errors.Is(err, p2p.ErrUnreachable) || p.o.Offline || p.clock.Now().After(end) {
			return answer, err
		}
		if serr := clock.Sleep(ctx, p.clock, askTryAgain); serr != nil {
			return nil, err // that it was not there is the better reason
		}
	}
}

// answerHas answers a question of askHas. What it tells is durable here: who asks may count it for what a policy promises.
func (p *Pod) answerHas(ctx context.Context, body []byte) ([]byte, error) {
	if len(body)%block.IDLen != 0 || len(body) > hasMax*block.IDLen {
		return nil, fmt.Errorf("pod: question about blocks has %d bytes: %w", len(body), block.ErrBadID)
	}
	out := make([]byte, 0, len(body)/block.IDLen)
	for ; len(body) > 0; body = body[block.IDLen:] {
		id, err := block.FromBytes(body[:block.IDLen])
		if err != nil {
			return nil, err
		}
		has := p.holds(id)
		if has != hasNot && id.Codec() == block.Raw {
			if n, ok := p.store.FormLen(id); ok && n < block.FragmentedMin {
				has |= hasShort // who asks may have none of it, and can't know
			}
		}
		out = append(out, has)
	}
	return out, p.store.Sync(ctx) // after the look: what came between the two would be told and not be durable
}
