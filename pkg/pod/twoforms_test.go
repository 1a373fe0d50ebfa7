package pod

import (
	"errors"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestTwoForms: of a chunk two stripes are made on the two sides of a partition, by two versions of the compressor, one of them whole and one not, and then both whole. After the network is whole again every
// pod reads it all the time, no fragment of a whole stripe goes while another one is not whole, and in the end one stripe is left, on K+M pods.
func TestTwoForms(t *testing.T) {
	pods := metPods(t, 6)
	a, ctx := pods[0], quickly(t)
	ruled(t, map[string]string{"lower": "1ms"}, pods...)
	if err := a.SetPolicy(ctx, vfs.RootID, "rs:2+1", ""); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range 40 { // what compresses is everywhere: a chunk of nothing else would not be cut
		b.WriteString(randomText(9900+uint64(i), 8000) + strings.Repeat("what compresses well; ", 250))
	}
	text := b.String()
	a.write("/f", text)
	until(t, "/f", func(w Where) error { return cutUp(w, 2, 1) }, pods...)
	w, err := a.Where(ctx, a.at("/f"))
	if err != nil {
		t.Fatal(err)
	}
	var cut []block.ID
	for _, c := range w.Chunks {
		if fullest(t, pods, c.ID) > 0 {
			cut = append(cut, c.ID)
		}
	}
	if len(cut) == 0 {
		t.Fatal("nothing of the file is cut")
	}
	for most := 2; most <= 3; most++ { // fragments of the second stripe: not enough to be whole, then all
		for _, id := range cut {
			plain, err := a.getBlock(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			raw := append(block.Header{PlainLen: uint32(len(plain))}.Append(nil), plain...)
			var targets []target
			for i := range most {
				targets = append(targets, target{pods[3+i].id, i})
			}
			if err := a.Pod.put(ctx, id, plain); err != nil {
				t.Fatal(err)
			}
			_, errs, err := a.encodeTo(ctx, id, raw, 2, 1, targets)
			if err = errors.Join(append(errs, err)...); err != nil {
				t.Fatal(err)
			}
			if err := a.store.Delete(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			for _, p := range pods {
				if err := p.spread.everything(ctx); err != nil {
					t.Fatal(err)
				}
				for _, id := range cut {
					if fullest(t, pods, id) < 3 {
						t.Fatalf("no whole stripe of %s is left", id)
					}
				}
				uncached(t, pods...)
				p.reads("/f", text)
			}
		}
		until(t, "/f", func(w Where) error { return cutUp(w, 2, 1) }, pods...)
	}
}

// fullest is how many fragments there are of the stripe of a block that has most, on different pods.
func fullest(t *testing.T, pods []*testPod, id block.ID) (most int) {
	t.Helper()
	held := make(map[block.Stripe]map[uint8]bool)
	for _, p := range pods {
		list, err := p.store.Fragments(id)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if held[f.Stripe] == nil {
				held[f.Stripe] = make(map[uint8]bool)
			}
			held[f.Stripe][f.I] = true
			most = max(most, len(held[f.Stripe]))
		}
	}
	return most
}
