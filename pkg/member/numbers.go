package member

import "fmt"

// Range is member numbers from Lo to Hi, both included.
type Range struct{ Lo, Hi uint32 }

// NextNumber is the smallest number of r that is in none of given; the error is ErrNoNumbers.
//
// An issuer must keep what it gave durably before it hands out a certificate: two pods with one number would
// write as one author.
func NextNumber(r Range, given []Range) (uint32, error) {
	for n := uint64(r.Lo); n <= uint64(r.Hi) && n != 0; {
		hit, ok := covering(uint32(n), uint32(n), given)
		if !ok {
			return uint32(n), nil
		}
		n = uint64(hit.Hi) + 1
	}
	return 0, fmt.Errorf("range %d to %d: %w", r.Lo, r.Hi, ErrNoNumbers)
}

// NextRange is the highest count numbers of r in one piece of which none is in given: ranges are given from the
// top, single numbers from the bottom. The error is ErrNoNumbers.
func NextRange(r Range, count uint32, given []Range) (Range, error) {
	for hi := int64(r.Hi); count > 0 && r.Lo > 0 && hi-int64(count)+1 >= int64(r.Lo); {
		got := Range{Lo: uint32(hi - int64(count) + 1), Hi: uint32(hi)}
		hit, ok := covering(got.Lo, got.Hi, given)
		if !ok {
			return got, nil
		}
		hi = int64(hit.Lo) - 1
	}
	return Range{}, fmt.Errorf("%d numbers of the range %d to %d: %w", count, r.Lo, r.Hi, ErrNoNumbers)
}

// covering is one of given that shares a number with lo to hi.
func covering(lo, hi uint32, given []Range) (Range, bool) {
	for _, g := range given {
		if g.Lo <= hi && lo <= g.Hi {
			return g, true
		}
	}
	return Range{}, false
}
