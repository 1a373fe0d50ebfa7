package p2p

import (
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// object is what is got and put: a fragment, or a whole block, whose K, M, I and Form are zero.
type object block.Fragment

func wholeBlock(id block.ID) object { return object{Stripe: block.Stripe{ID: id}} }

func (o object) isFragment() bool { return o.K > 0 }

func (o object) fragment() block.Fragment { return block.Fragment(o) }

// String names it in errors.
func (o object) String() string {
	if o.isFragment() {
		return o.fragment().String()
	}
	return o.ID.String()
}

// wireMax is how many bytes it may have as it is sent.
func (o object) wireMax() int {
	if o.isFragment() {
		return o.WireMax()
	}
	return block.HeaderLen + block.SizeMax(o.ID)
}

// wireOK says whether it may have so many bytes as it is sent.
func (o object) wireOK(length int) bool {
	least := block.HeaderLen
	if o.isFragment() {
		least = block.FragmentNameLen
	}
	return length >= least && length <= o.wireMax()
}

// wantsFragments says whether a request is about fragments.
func (t frameType) wantsFragments() bool { return t == frameGetFragments || t == frameOfferFragments }

// appendObjects appends the body of a request of type t.
func appendObjects(b []byte, t frameType, objects []object) []byte {
	for _, o := range objects {
		if t.wantsFragments() {
			b = o.fragment().Append(b)
		} else {
			b = o.ID.Append(b)
		}
	}
	return b
}

// parseObjects reads what appendObjects writes, one object at least; the error is ErrProtocol.
func parseObjects(t frameType, b []byte) ([]object, error) {
	size := block.IDLen
	if t.wantsFragments() {
		size = block.FragmentLen
	}
	if len(b) == 0 || len(b)%size != 0 || len(b)/size > batchMax {
		return nil, fmt.Errorf("p2p: request of type %d with %d bytes of names: %w", t, len(b), ErrProtocol)
	}
	objects := make([]object, 0, len(b)/size)
	for ; len(b) > 0; b = b[size:] {
		o, err := parseObject(t, b[:size])
		if err != nil {
			return nil, fmt.Errorf("p2p: request of type %d: %w: %w", t, ErrProtocol, err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

func parseObject(t frameType, b []byte) (object, error) {
	if t.wantsFragments() {
		f, err := block.FragmentFromBytes(b)
		return object(f), err
	}
	id, err := block.FromBytes(b)
	return wholeBlock(id), err
}
