package pod

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// offerHeaders is how many headers an offer has at the most.
const offerHeaders = 1 << 20

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
	return encodeOffer(offer), nil
}

// encodeOffer writes [head, [header…], bytes of the log | -1].
func encodeOffer(o state.Offer) []byte {
	b := cbor.AppendBytes(cbor.AppendArray(nil, 3), o.Head)
	b = cbor.AppendArray(b, len(o.Headers))
	for _, h := range o.Headers {
		b = cbor.AppendBytes(b, h)
	}
	return cbor.AppendInt(b, o.LogBytes)
}

func decodeOffer(b []byte) (state.Offer, error) {
	r := cbor.NewReader(b)
	r.Tuple(3)
	o := state.Offer{Head: r.Bytes(p2p.QuestionMax)}
	for range r.Array(offerHeaders) {
		o.Headers = append(o.Headers, r.Bytes(p2p.QuestionMax))
	}
	if o.LogBytes = r.Int(); o.LogBytes < -1 {
		r.Fail("a log of %d bytes", o.LogBytes)
	}
	if err := r.Done(); err != nil {
		return state.Offer{}, fmt.Errorf("pod: offer: %w: %w", err, block.ErrCorrupt)
	}
	return o, nil
}
