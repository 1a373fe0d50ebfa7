package pod

import (
	"context"
	"errors"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// answerOffer is what a pod with this version vector needs to join the newest checkpoint, or one that is made now, if the log is no way. Error: block.ErrNotFound.
func (p *Pod) answerOffer(ctx context.Context, from ident.Pod, body []byte) ([]byte, error) {
	have, err := state.DecodeVV(body)
	if err != nil {
		return nil, err
	}
	p.peers.update(from, func(f *peerFacts) { f.vv = have })
	offer, err := p.db.Offer(ctx, have)
	if errors.Is(err, block.ErrNotFound) && offer.LogBytes < 0 { // without a checkpoint there is no way
		if _, err = p.checkpoint(ctx); err == nil {
			offer, err = p.db.Offer(ctx, have)
		}
	}
	if err != nil {
		return nil, err
	}
	return offer.Encode(), nil
}

// answerDigests is the digests of the commits of a label from one on.
func (p *Pod) answerDigests(ctx context.Context, body []byte) ([]byte, error) {
	label, from, err := state.DecodeFrom(body)
	if err != nil {
		return nil, err
	}
	return p.db.Digests(ctx, label, from)
}
