package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// How many changes of a tree are made at a time. A checkpoint of ever so many takes the memory of these alone: a change may need a leaf of 4 KiB
// of its own. The nodes above the leaves are written once for each time, so it must not be few either.
const (
	editBatch = 2048
	editBytes = 1 << 20 // of their values
)

// marks are the marks of one kind up to a checkpoint's epoch. There are some of more than one epoch if the checkpoint before failed.
type marks []epochMarks

type epochMarks struct {
	it    *pebble.Iterator
	epoch []byte // what its keys begin with: 9 bytes
}

// marks opens the marks of a kind.
func (c *checkpointer) marks(kind byte) (m marks, err error) {
	for epoch := uint64(0); epoch <= c.epoch; epoch++ {
		first, err := firstKey(c.r, seqKey(kind, epoch), seqKey(kind, c.epoch+1))
		if err != nil || first == nil {
			return m, errors.Join(err, m.closeOn(err))
		}
		if len(first) < 9 {
			return nil, errors.Join(corrupt("mark", fmt.Errorf("key %x", first)), m.close())
		}
		epoch = binary.BigEndian.Uint64(first[1:])
		it, err := c.r.NewIter(&pebble.IterOptions{LowerBound: seqKey(kind, epoch), UpperBound: seqKey(kind, epoch+1)})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("state: marks: %w", damaged(err)), m.close())
		}
		m = append(m, epochMarks{it: it, epoch: first[:9]})
	}
	return m, nil
}

// firstKey is a copy of the first key of a range, nil if there is none.
func firstKey(r pebble.Reader, lower, upper []byte) (first []byte, err error) {
	err = scan(r, lower, upper, func(key, _ []byte) error {
		first = bytes.Clone(key)
		return errStop
	})
	return first, err
}

func (m marks) closeOn(err error) error {
	if err == nil {
		return nil
	}
	return m.close()
}

func (m marks) close() error {
	var errs []error
	for _, e := range m {
		errs = append(errs, e.it.Close())
	}
	return damaged(errors.Join(errs...))
}

// each calls f for all that is marked and begins with a prefix, in order and once each. The bytes are valid until f returns. It is not to be called by f.
func (m marks) each(prefix []byte, f func(marked []byte) error) error {
	for _, e := range m {
		e.it.SeekGE(append(bytes.Clone(e.epoch), prefix...))
	}
	for {
		var least []byte
		for _, e := range m {
			if at := e.at(prefix); at != nil && (least == nil || bytes.Compare(at, least) < 0) {
				least = at
			}
		}
		if least == nil {
			break
		}
		if err := f(least); err != nil {
			return err
		}
		least = bytes.Clone(least) // it goes with the step of its iterator
		for _, e := range m {
			if bytes.Equal(e.at(prefix), least) {
				e.it.Next()
			}
		}
	}
	var errs []error
	for _, e := range m {
		errs = append(errs, e.it.Error())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("state: marks: %w", damaged(err))
	}
	return nil
}

// at is what is marked where the iterator stands, nil if that does not begin with a prefix, or is the end.
func (e *epochMarks) at(prefix []byte) []byte {
	if !e.it.Valid() {
		return nil
	}
	if marked := e.it.Key()[9:]; len(marked) > 0 && bytes.HasPrefix(marked, prefix) {
		return marked
	}
	return nil
}
