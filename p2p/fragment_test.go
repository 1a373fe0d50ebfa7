package p2p

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// fragmentsOf is n fragments of stripes of their own, as they are sent.
func fragmentsOf(t *testing.T, n int) (names []block.Fragment, wires [][]byte) {
	t.Helper()
	rnd := random(t)
	for i := range n {
		id, form := wireOf(rnd, 1000+i)
		r := block.StripeRecord{Stripe: block.Stripe{ID: id, Form: blake3.Sum256(form), K: 2, M: 1}, FormLen: len(form)}
		data := make([]byte, block.FragmentSize(len(form), 2))
		copy(data, form)
		r.Digests = [][block.HashLen]byte{blake3.Sum256(data), {}, {}}
		names, wires = append(names, block.Fragment{Stripe: r.Stripe}), append(wires, r.AppendWire(nil, 0, data))
	}
	return names, wires
}

// Fragments go and come as blocks do: what is there is not sent, what fails says so, missing ones are misses; whole blocks of the same ID are others.
func TestFragments(t *testing.T) {
	a, b := pair(t)
	names, wires := fragmentsOf(t, batchMax+9)
	b.blocks[fragmentKey(names[3])] = wires[3]
	b.put = func(id block.ID) error {
		if id == fragmentKey(names[7]) {
			return fmt.Errorf("disk: %w", ErrFull)
		}
		return nil
	}
	sent := 0
	errs, err := a.PutFragments(within(t, 20*time.Second), b.id, len(names), func(i int) block.Fragment { return names[i] }, func(i int) ([]byte, error) {
		sent++
		if i == 5 {
			return make([]byte, names[i].WireMax()+1), nil
		}
		return wires[i], nil
	})
	if err != nil || sent != len(names)-1 {
		t.Fatalf("sent %d, %v", sent, err)
	}
	for i, err := range errs {
		if i == 7 && !errors.Is(err, ErrFull) || i == 5 && !errors.Is(err, ErrTooLarge) || i != 7 && i != 5 && err != nil {
			t.Errorf("%d: got %v", i, err)
		}
	}
	if b.synced != len(b.blocks) {
		t.Errorf("synced %d of %d", b.synced, len(b.blocks))
	}
	i := 0
	err = a.GetFragments(within(t, 20*time.Second), b.id, names, func(name block.Fragment, wire []byte, err error) error {
		switch missing := i == 7 || i == 5; {
		case name != names[i]:
			t.Errorf("%d: another name", i)
		case missing && !errors.Is(err, block.ErrNotFound):
			t.Errorf("%d: got %v, not a miss", i, err)
		case !missing && (err != nil || !bytes.Equal(wire, wires[i])):
			t.Errorf("%d: %d bytes, %v", i, len(wire), err)
		}
		i++
		return nil
	})
	if err != nil || i != len(names) {
		t.Errorf("got %d of %d, %v", i, len(names), err)
	}
	err = a.Get(within(t, 20*time.Second), b.id, []block.ID{names[0].ID}, func(_ block.ID, _ []byte, err error) error { return err })
	if !errors.Is(err, block.ErrNotFound) {
		t.Errorf("the whole block: %v", err)
	}
}
