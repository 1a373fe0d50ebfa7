package pod

import (
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// readList reads a message of at most so many entries, and nothing behind them. An error of one, which r need not have met, says which it is.
func readList[T any](body []byte, what string, most int, one func(r *cbor.Reader) (T, error)) ([]T, error) {
	r := cbor.NewReader(body)
	var list []T
	for range r.Array(most) {
		v, err := one(r)
		if r.Err() != nil {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("pod: %s, entry %d: %w", what, len(list), err)
		}
		list = append(list, v)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("pod: %s: %w", what, err)
	}
	return list, nil
}
