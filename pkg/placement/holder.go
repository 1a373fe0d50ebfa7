package placement

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// FormDigest names a stored form: the BLAKE3-256 of its bytes. Zero: not known.
type FormDigest [32]byte

// Stripe names the fragments of a chunk that belong together: those that one form was cut into, one way. Fragments of
// two stripes never count together.
type Stripe struct {
	Form FormDigest
	K, M uint8 // together at most FragmentsMax
}

// Fragment is one of a stripe's K+M.
type Fragment struct {
	Stripe Stripe
	Index  uint8
}

// Holder is what one pod holds of a chunk, as it acknowledged: synced there, and not about to be released.
type Holder struct {
	Pod       ident.Pod
	Whole     bool       // a whole copy of its own
	Cached    bool       // a whole copy that it may drop at any time: it is read from, and counts for nothing
	Form      FormDigest // of the whole copy, own or cached
	Fragments []Fragment
}

func (h *Holder) hasWhole() bool { return h.Whole || h.Cached }

func (h *Holder) has(f Fragment) bool { return slices.Contains(h.Fragments, f) }

// compare orders stripes, so that all pods choose alike.
func (s Stripe) compare(t Stripe) int {
	return cmp.Or(cmp.Compare(s.K, t.K), cmp.Compare(s.M, t.M), bytes.Compare(s.Form[:], t.Form[:]))
}

// matching says which holder stands for which fragment of a stripe: no fragment twice, and no pod twice, however many it
// has. This is the rule that must never break: what lies on one pod is lost with one pod.
type matching struct {
	stripe Stripe
	by     [FragmentsMax]int32 // holder's number + 1 of each index; 0: none
	n      int
}

// match finds a largest matching of a stripe among the holders that may count. Holders of the earlier of the two rounds are
// never left out for those of the later, so a fragment on a member of the set stands for itself wherever possible.
//
// It is Kuhn's algorithm: each holder takes an index that is free, or has its owner move on to another.
func match(s Stripe, holders []Holder, first, second func(ident.Pod) bool) matching {
	m := matching{stripe: s}
	if int(s.K)+int(s.M) > FragmentsMax || s.K == 0 {
		return m
	}
	for _, may := range []func(ident.Pod) bool{first, second} {
		for i := range holders {
			if may == nil || !may(holders[i].Pod) || m.of(i) >= 0 {
				continue
			}
			var seen [FragmentsMax]bool
			if m.place(holders, i, &seen) {
				m.n++
			}
		}
	}
	return m
}

// place gives holder i an index, if that can be done.
func (m *matching) place(holders []Holder, i int, seen *[FragmentsMax]bool) bool {
	for _, f := range holders[i].Fragments {
		if f.Stripe != m.stripe || f.Index >= m.stripe.K+m.stripe.M || seen[f.Index] {
			continue
		}
		seen[f.Index] = true
		if owner := m.by[f.Index]; owner == 0 || m.place(holders, int(owner-1), seen) {
			m.by[f.Index] = int32(i + 1)
			return true
		}
	}
	return false
}

// of is the index for which holder i stands, or -1.
func (m *matching) of(i int) int {
	for index, owner := range m.by {
		if int(owner) == i+1 {
			return index
		}
	}
	return -1
}

// losses is how many of the pods of the matching may go until the stripe can't be read; -1: it can't be read now.
func (m *matching) losses() int { return max(m.n-int(m.stripe.K), -1) }
