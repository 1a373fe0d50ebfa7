package pod

import (
	"context"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

const (
	keyAddrs     = "addrs"
	addrTextMax  = 256 // bytes of one address
	bookPodsMax  = 4096
	bookBytesMax = 1 << 20
)

// addressBook is where pods were reached last: multiaddrs.
type addressBook map[ident.Pod][]string

// learn takes over where a pod says that it is, and says whether that is news.
func (b addressBook) learn(pod ident.Pod, addrs []string) bool {
	var good []string
	for _, a := range addrs {
		if len(a) <= addrTextMax && len(good) < p2p.PeerAddrsMax {
			good = append(good, a)
		}
	}
	slices.Sort(good)
	if len(good) == 0 || slices.Equal(b[pod], good) || (b[pod] == nil && len(b) >= bookPodsMax) {
		return false
	}
	b[pod] = good
	return true
}

// encode writes the book: [[pod, [address…]]…], sorted by pod.
func (b addressBook) encode() []byte {
	pods := make([]ident.Pod, 0, len(b))
	for pod := range b {
		pods = append(pods, pod)
	}
	slices.SortFunc(pods, func(x, y ident.Pod) int { return slices.Compare(x[:], y[:]) })
	out := cbor.AppendArray(nil, len(pods))
	for _, pod := range pods {
		out = cbor.AppendArray(out, 2)
		out = cbor.AppendBytes(out, pod[:])
		out = cbor.AppendArray(out, len(b[pod]))
		for _, a := range b[pod] {
			out = cbor.AppendName(out, a)
		}
	}
	return out
}

func decodeBook(data []byte) (addressBook, error) {
	if len(data) > bookBytesMax {
		return nil, fmt.Errorf("pod: addresses in %d bytes: %w", len(data), cbor.ErrNotCanonical)
	}
	r := cbor.NewReader(data)
	b := addressBook{}
	for range r.Array(bookPodsMax) {
		r.Tuple(2)
		pod := ident.Pod(r.Fixed(len(ident.Pod{})))
		var addrs []string
		for range r.Array(p2p.PeerAddrsMax) {
			addrs = append(addrs, r.Name(addrTextMax))
		}
		b[pod] = addrs
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("pod: addresses: %w", err)
	}
	return b, nil
}

func (b addressBook) save(ctx context.Context, db *state.DB) error {
	return db.SetLocal(ctx, keyAddrs, b.encode())
}
