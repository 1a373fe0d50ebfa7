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
	text := halfText(9900, 540_000)
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

// TestTwoFormsApart: both sides of a partition are given the same text, and their compressors make two forms of it. When they see each other again all is read everywhere at any time, there is always a whole stripe, and in the end
// one is left.
func TestTwoFormsApart(t *testing.T) {
	pods := metPods(t, 6)
	a, b, ctx := pods[0], pods[3], quickly(t)
	ruled(t, map[string]string{"lower": "1ms"}, pods...)
	if err := a.SetPolicy(ctx, vfs.RootID, "rs:2+1", ""); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, pods...)
	here, there := pods[:3], pods[3:]
	split(here, there)
	text := halfText(9950, 250_000) // one chunk, and long enough to be cut in both forms
	id := block.Sum(block.Raw, []byte(text))
	a.write("/f", text)
	if err := b.store.PutRaw(ctx, id, []byte(text)); err != nil {
		t.Fatal(err)
	}
	b.write("/g", text)
	if err := a.store.Put(ctx, id, []byte(text)); err != nil { // where it has given its copy up already
		t.Fatal(err)
	}
	for _, side := range [][]*testPod{here, there} { // which cuts it now or later, as the pods see it
		_, errs, err := side[0].encodeTo(ctx, id, nil, 2, 1, []target{{side[0].id, 0}, {side[1].id, 1}, {side[2].id, 2}})
		if err = errors.Join(append(errs, err)...); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(stripesOf(t, pods, id)); n != 2 {
		t.Fatalf("%d stripes", n)
	}
	heal(here, there)
	sameRoot(t, pods...)
	for range 4 {
		for _, p := range pods {
			if err := p.spread.everything(ctx); err != nil {
				t.Fatal(err)
			}
			if fullest(t, pods, id) < 3 {
				t.Fatal("no whole stripe is left")
			}
			uncached(t, pods...)
			p.reads("/f", text)
			p.reads("/g", text)
		}
	}
	until(t, "/f", func(w Where) error { return cutUp(w, 2, 1) }, pods...)
	if n := len(stripesOf(t, pods, id)); n != 1 {
		t.Errorf("%d stripes in the end", n)
	}
}

// halfText is text of which a part can be compressed, everywhere: a chunk of nothing else would not be cut.
func halfText(seed uint64, n int) string {
	var b strings.Builder
	for ; b.Len() < n; seed++ {
		b.WriteString(randomText(seed, 8000) + strings.Repeat("what compresses well; ", 250))
	}
	return b.String()[:n]
}

// fullest is how many fragments there are of the stripe of a block that has most, on different pods.
func fullest(t *testing.T, pods []*testPod, id block.ID) (most int) {
	t.Helper()
	for _, held := range stripesOf(t, pods, id) {
		most = max(most, len(held))
	}
	return most
}

// stripesOf are the stripes of a block of which there are fragments, and which.
func stripesOf(t *testing.T, pods []*testPod, id block.ID) map[block.Stripe]map[uint8]bool {
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
		}
	}
	return held
}
