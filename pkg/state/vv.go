package state

import (
	"maps"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Covers says whether the change was seen.
func (vv VV) Covers(d Dot) bool { return d.Seq <= vv[d.Actor] }

// LessEqual says whether other has seen all that vv has.
func (vv VV) LessEqual(other VV) bool {
	for a, seq := range vv {
		if other[a] < seq {
			return false
		}
	}
	return true
}

// Merge adds to vv what other has seen.
func (vv VV) Merge(other VV) {
	for a, seq := range other {
		vv[a] = max(vv[a], seq)
	}
}

// Clone is a copy, never nil.
func (vv VV) Clone() VV {
	c := make(VV, len(vv))
	maps.Copy(c, vv)
	return c
}

// Actors are those of which something was seen, sorted.
func (vv VV) Actors() []ident.Actor {
	out := make([]ident.Actor, 0, len(vv))
	for a, seq := range vv {
		if seq > 0 {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, ident.Actor.Compare)
	return out
}

// Append appends the encoded vector, sorted by actor, to b; actors at 0 are left out.
func (vv VV) Append(b []byte) []byte {
	actors := vv.Actors()
	b = cbor.AppendArray(b, len(actors))
	for _, a := range actors {
		b = appendDot(b, Dot{Actor: a, Seq: vv[a]})
	}
	return b
}

// DecodeVV reads what Append writes; the error is block.ErrCorrupt.
func DecodeVV(b []byte) (VV, error) {
	r := cbor.NewReader(b)
	vv := readVV(r)
	if err := r.Done(); err != nil {
		return nil, corrupt("version vector", err)
	}
	return vv, nil
}

// readVV reads a vector; the result is never nil.
func readVV(r *cbor.Reader) VV {
	vv := VV{}
	for _, d := range readDots(r, VVMax, byActor) {
		vv[d.Actor] = d.Seq
	}
	return vv
}
