// Package chunkmem has memory for the bytes of large blocks, which is used again: a new piece has to be cleared for each block, and the garbage
// collector to find each of them.
//
// Memory that is taken need not be given back: then the garbage collector has it. It must not be given back while somebody may still look at it.
package chunkmem

import (
	"slices"
	"sync"
)

const (
	least = 256 << 10 // bytes; less is as quick to make anew
	most  = 5 << 20   // bytes: the largest block, and what stands before it

	// slack is how much longer a piece is than its class asks for, in bytes. What comes back lacks what stood before the block, a header: so often is
	// a piece used until it falls into the class below, some 50 times.
	slack = 4 << 10
	// headers is how much of it is for what stands before the block, in bytes.
	headers = 256
)

// classes are the lengths of pieces, in bytes, by quarters of powers of two.
var classes = func() (sizes []int) {
	for step := least / 4; ; step *= 2 {
		for n := 4; n < 8; n++ {
			if sizes = append(sizes, n*step); n*step >= most {
				return sizes
			}
		}
	}
}()

var pools = make([]sync.Pool, len(classes)) // of *[]byte

// Take returns n bytes, with anything in them.
func Take(n int) []byte {
	if n < least || n > most {
		return make([]byte, n)
	}
	at, _ := slices.BinarySearch(classes, n-headers)
	if b, ok := pools[at].Get().(*[]byte); ok {
		return (*b)[:n]
	}
	return make([]byte, n, classes[at]+slack)
}

// Give has memory used again, whether Take made it or not. b is the end of the memory that is nobody's else.
func Give(b []byte) {
	b = b[:cap(b)]
	if len(b) < least+headers || len(b) > most+slack {
		return
	}
	poison(b)
	at, exact := slices.BinarySearch(classes, len(b)-headers)
	if !exact {
		at-- // what it is long enough for
	}
	pools[at].Put(&b)
}
