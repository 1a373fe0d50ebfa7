package pod

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/store"
)

// goldenOrders are orders of each kind.
func goldenOrders() []order {
	id := block.Sum(block.Raw, []byte("chunk"))
	f := block.Fragment{Stripe: block.Stripe{ID: id, Form: [32]byte{1, 2, 3}, K: 4, M: 2}, I: 5}
	return []order{
		{do: directOwn, f: block.Fragment{Stripe: block.Stripe{ID: id}}},
		{do: directFragment, f: f, from: ident.Pod{7}},
		{do: directFragment, f: f},
		{do: directEncode, f: block.Fragment{Stripe: block.Stripe{ID: id, K: 2, M: 1}}, targets: []placement.Target{{Pod: ident.Pod{1}, Index: 2}}},
	}
}

func goldenStored() []byte {
	now := time.Unix(1_700_000_000, 5)
	id := block.Sum(block.Raw, []byte("chunk"))
	return encodeStored([]store.Held{{Key: id, ID: id}, {Key: id, ID: id, Since: now.Add(-time.Hour)}}, now)
}

func goldenDrops() []drop {
	id := block.Sum(block.Raw, []byte("chunk"))
	return []drop{{id, verdictNeeded}, {id, verdictDead}, {id, verdictDrop}}
}

// TestBlindGolden: the bytes of the questions of kinds 27 to 29 and their answers never change.
func TestBlindGolden(t *testing.T) {
	golden(t, "stored", goldenStored())
	golden(t, "drop", encodeDrops(goldenDrops()))
	golden(t, "direct", encodeOrders(goldenOrders()))
}

// FuzzStored: no answer makes the reader panic, and none is read two ways.
func FuzzStored(f *testing.F) {
	f.Add(goldenStored())
	f.Add([]byte{0x9a, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeStored(b)
		if err != nil {
			return
		}
		now := time.Unix(1<<33, 0)
		var held []store.Held
		for _, s := range list {
			h := store.Held{Key: s.key, ID: s.id}
			if s.trashed {
				h.Since = now.Add(-s.age)
			}
			held = append(held, h)
		}
		if again := encodeStored(held, now); !bytes.Equal(again, b) {
			t.Errorf("read %x, written %x", b, again)
		}
	})
}

// FuzzDrops: no drop list makes the reader panic, and none is read two ways.
func FuzzDrops(f *testing.F) {
	f.Add(encodeDrops(goldenDrops()))
	f.Add([]byte{0x9a, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = decodeBehind(b) // it does not panic
		if list, err := decodeDrops(b); err == nil && !bytes.Equal(encodeDrops(list), b) {
			t.Errorf("read %x, written %x", b, encodeDrops(list))
		}
	})
}

// FuzzOrders: no orders make the reader panic, and none are read two ways.
func FuzzOrders(f *testing.F) {
	f.Add(encodeOrders(goldenOrders()))
	f.Add([]byte{0x9a, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := decodeOrders(b); err == nil && !bytes.Equal(encodeOrders(list), b) {
			t.Errorf("read %x, written %x", b, encodeOrders(list))
		}
	})
}

// TestBlindMessages breaks if what passes between pods is read as something else than was written.
func TestBlindMessages(t *testing.T) {
	id := block.Sum(block.Raw, []byte("x"))
	f := block.Fragment{Stripe: block.Stripe{ID: id, Form: [32]byte{3}, K: 4, M: 2}, I: 5}
	orders := []order{
		{do: directOwn, f: block.Fragment{Stripe: block.Stripe{ID: id}}},
		{do: directFragment, f: f, from: ident.Pod{7}},
		{do: directFragment, f: f},
		{do: directEncode, f: block.Fragment{Stripe: block.Stripe{ID: id, K: 2, M: 1}}, targets: []placement.Target{{Pod: ident.Pod{1}, Index: 2}}},
	}
	got, err := decodeOrders(encodeOrders(orders))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(orders) {
		t.Errorf("%v, %v", got, err)
	}
	node := block.Sum(block.DagCBOR, []byte("x"))
	for name, bad := range map[string]order{
		"a node":                  {do: directOwn, f: block.Fragment{Stripe: block.Stripe{ID: node}}},
		"nothing":                 {f: block.Fragment{Stripe: block.Stripe{ID: id}}},
		"a fragment beyond":       {do: directFragment, f: block.Fragment{Stripe: f.Stripe, I: 6}},
		"encode for nobody":       {do: directEncode, f: block.Fragment{Stripe: block.Stripe{ID: id, K: 2, M: 1}}},
		"encode into none":        {do: directEncode, f: block.Fragment{Stripe: block.Stripe{ID: id}}, targets: []placement.Target{{}}},
		"own a fragment":          {do: directOwn, f: f},
		"a whole copy, from whom": {do: directOwn, f: block.Fragment{Stripe: block.Stripe{ID: id}}, from: ident.Pod{1}},
	} {
		if _, err := decodeOrders(encodeOrders([]order{bad})); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if !errors.Is(errBlindPeer, member.ErrDenied) {
		t.Error("the refusal is no denial")
	}
}
