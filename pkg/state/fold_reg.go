package state

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// later is the register with the later stamp; of a tie, the greater value.
func later[T any](a, b Reg[T], order func(a, b T) int) Reg[T] {
	if cmp.Or(a.TS.Compare(b.TS), order(a.Value, b.Value)) < 0 {
		return b
	}
	return a
}

// union merges two lists sorted by order, strictly; what is in both is given to merge. The result shares nothing with a and b.
func union[T any](a, b []T, order func(a, b T) int, merge func(a, b T) T) []T {
	if len(a)+len(b) == 0 {
		return nil
	}
	out := make([]T, 0, max(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch c := order(a[0], b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, merge(a[0], b[0]))
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func laterXattr(a, b Xattr) Xattr {
	if cmp.Or(a.TS.Compare(b.TS), compareBool(a.Gone, b.Gone), bytes.Compare(a.Value, b.Value)) < 0 {
		return b
	}
	return a
}

func laterExt(a, b Ext) Ext {
	if cmp.Or(a.TS.Compare(b.TS), bytes.Compare(a.Value, b.Value)) < 0 {
		return b
	}
	return a
}

func laterPin(a, b Pin) Pin {
	if cmp.Or(a.TS.Compare(b.TS), compareBool(a.Gone, b.Gone)) < 0 {
		return b
	}
	return a
}

func compareOwner(a, b Owner) int {
	return cmp.Or(cmp.Compare(a.UID, b.UID), cmp.Compare(a.GID, b.GID))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func compareHomes(a, b []ident.Pod) int {
	return slices.CompareFunc(a, b, func(x, y ident.Pod) int { return bytes.Compare(x[:], y[:]) })
}
