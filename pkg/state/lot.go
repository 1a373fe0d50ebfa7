package state

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// Widths in the number of an inode, below the member's 18 bits.
const (
	lotBits       = 31
	lotNumberBits = 14
)

// lotMillis is for how long numbers of a lot are given out: copies of a running machine, memory and all, have the rest of a lot in common.
const lotMillis = 60_000

// lot is what numbers of inodes and links are given out of: drawn by chance, so that copies of a pod that don't know of each other give different
// ones, and a pod that was set back to an older state does not give one again. The zero value is used up.
//
// After a year in which a pod drew a lot every minute the next is an old one in one of 4000 draws; what stands under its numbers then is looked for.
type lot struct {
	first uint64 // its first number
	used  uint64 // how many of it are
	drawn HLC
}

// number is a number that was never used.
func (t *tx) number() (uint64, error) {
	d := t.d
	l := &d.lot
	for l.first == 0 || l.used >= 1<<lotNumberBits || t.at-l.drawn > lotMillis<<hlcCounterBits {
		next, err := d.draw()
		if err != nil {
			return 0, err
		}
		next.drawn = t.at
		free, err := t.unused(next)
		if err != nil {
			return 0, err
		}
		if free {
			*l = next
		}
	}
	l.used++
	return l.first + l.used - 1, nil
}

// draw is a lot by chance.
func (d *DB) draw() (lot, error) {
	n, err := d.random()
	if err != nil {
		return lot{}, err
	}
	return lot{first: uint64(InoOf(d.self, n>>(64-lotBits)<<lotNumberBits))}, nil
}

// random is 64 bits by chance.
func (d *DB) random() (uint64, error) {
	source := d.o.Rand
	if source == nil {
		source = rand.Reader
	}
	var b [8]byte
	if _, err := io.ReadFull(source, b[:]); err != nil {
		return 0, fmt.Errorf("state: random number: %w", err)
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

// unused says whether no inode has a number of a lot.
func (t *tx) unused(l lot) (bool, error) {
	for _, prefix := range [][]byte{{KeyInode}, {keyDirty, KeyInode}} {
		lower := binary.BigEndian.AppendUint64(prefix, l.first)
		upper := binary.BigEndian.AppendUint64(append([]byte(nil), prefix...), l.first+1<<lotNumberBits)
		it, err := t.r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return false, fmt.Errorf("state: numbers: %w", damaged(err))
		}
		found := it.First()
		if err := it.Close(); err != nil {
			return false, fmt.Errorf("state: numbers: %w", damaged(err))
		}
		if found {
			return false, nil
		}
	}
	return true, nil
}
