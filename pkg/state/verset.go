package state

import "slices"

// Dots are the dots of the versions, sorted; the zero dot of a dirty version is left out.
func (s VerSet[T]) Dots() []Dot {
	out := make([]Dot, 0, len(s))
	for _, v := range s {
		if !v.Dot.IsZero() {
			out = append(out, v.Dot)
		}
	}
	return out
}

// Has says whether a version with this dot is in the set.
func (s VerSet[T]) Has(d Dot) bool {
	_, ok := slices.BinarySearchFunc(s, d, func(v Version[T], d Dot) int { return v.Dot.Compare(d) })
	return ok
}

// Remove is the set without the versions that an operation observed. s is unchanged.
func (s VerSet[T]) Remove(observed []Dot) VerSet[T] {
	observed = sorted(observed, byDot)
	out := make(VerSet[T], 0, len(s)+1)
	for _, v := range s {
		if _, found := slices.BinarySearchFunc(observed, v.Dot, byDot); !found {
			out = append(out, v)
		}
	}
	return out
}

// Replace is the set with one version in place of all those that an operation observed (I1). s is unchanged.
func (s VerSet[T]) Replace(observed []Dot, v Version[T]) VerSet[T] {
	out := s.Remove(observed)
	i, found := slices.BinarySearchFunc(out, v, byVersion[T])
	if found {
		out[i] = v // the same commit again
		return out
	}
	return slices.Insert(out, i, v)
}

// Join is one row of two states, each with the version vector under which it stands: a version stays if both have it, or
// if the other state has not seen its dot. It commutes, associates, is idempotent, and makes no dot. a and b are unchanged.
func Join[T any](a VerSet[T], avv VV, b VerSet[T], bvv VV) VerSet[T] {
	out := make(VerSet[T], 0, max(len(a), len(b)))
	for len(a) > 0 || len(b) > 0 {
		switch c := firstOf(a, b); {
		case c == 0:
			out = append(out, a[0])
			a, b = a[1:], b[1:]
		case c < 0:
			if !bvv.Covers(a[0].Dot) {
				out = append(out, a[0])
			}
			a = a[1:]
		default:
			if !avv.Covers(b[0].Dot) {
				out = append(out, b[0])
			}
			b = b[1:]
		}
	}
	return out
}

// firstOf says which of two sets, not both empty, has the smaller first dot: -1 a, +1 b, 0 both.
func firstOf[T any](a, b VerSet[T]) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return a[0].Dot.Compare(b[0].Dot)
}
