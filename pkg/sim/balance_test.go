package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Sizes of TestStackBalance. With so many chunks a share is off by 2 % (one standard deviation) by chance alone, and that of the least weight is 5 % too large: two different pods are drawn for each.
const (
	balanceFiles = 4000
	balanceBytes = 8000 // of a file, which is one chunk
)

// TestStackBalance: what lies on the disks of whole pods is as their weights say, within 15 %, and when one has been drained the others have its part so, too.
func TestStackBalance(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes 60 MB into memory")
	}
	fleet, err := NewFleet(t.Context(), t.TempDir(), FleetSize)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		if err := balanced(context.Background(), fleet, t.Logf); err != nil {
			t.Fatal(err)
		}
	})
}

// calmWorld is all pods of a fleet with weights, nil for equal ones, of which nothing ails any. The caller ends it, with an error, too.
func calmWorld(ctx context.Context, fleet *Fleet, weights []uint32) (*stackWorld, error) {
	w := &stackWorld{
		fleet: fleet, rng: rand.New(rand.NewPCG(1, 1)), texts: map[string]*stackText{}, calm: true,
		wires: NewWires(clock.Real{}, NetOptions{}, 1), weights: weights,
	}
	if err := w.start(ctx, FleetSize); err != nil {
		return w, err
	}
	for _, p := range w.pods {
		p.clock.Set(fleet.made.Sub(bubbleBegin) + time.Hour)
	}
	return w, nil
}

func balanced(ctx context.Context, fleet *Fleet, log func(string, ...any)) (err error) {
	w, err := calmWorld(ctx, fleet, []uint32{80, 90, 100, 110, 120})
	defer w.end(&err)
	if err != nil {
		return err
	}
	for i := range balanceFiles {
		if err := w.pods[i%FleetSize].file(ctx, fmt.Sprint("f", i), balanceBytes); err != nil {
			return err
		}
	}
	if err := w.rest(ctx, stackSettle); err != nil {
		return err
	}
	if err := w.shares(ctx, log); err != nil {
		return err
	}
	if err := w.drain(ctx, w.pods[1]); err != nil {
		return err
	}
	if err := w.rest(ctx, stackSettle); err != nil {
		return err
	}
	return w.shares(ctx, log)
}

// shares judges what the pods that are not drained hold for others, and that those that are hold nothing.
func (w *stackWorld) shares(ctx context.Context, log func(string, ...any)) error {
	var found problems
	stored, sum := 0.0, 0.0
	held := map[*stackPod]float64{}
	for _, p := range w.pods {
		if err := w.judgeCare(ctx, p, &found); err != nil {
			return err
		}
		if p.drained {
			continue
		}
		u, err := p.p.Usage(ctx)
		if err != nil {
			return err
		}
		held[p] = float64(u.Live)
		stored, sum = stored+held[p], sum+float64(p.weight)
	}
	if stored < 2*balanceFiles*balanceBytes {
		found.add("all hold %.0f bytes, and two copies have more", stored)
	}
	for _, p := range w.pods {
		if p.drained {
			continue
		}
		want := stored * float64(p.weight) / sum
		log("pod %d: weight %d holds %.0f bytes, %.3f of its share", p.n, p.weight, held[p], held[p]/want)
		if off := held[p]/want - 1; off < -placeBalance || off > placeBalance {
			found.add("pod %d of weight %d holds %.0f bytes, and its share is %.0f", p.n, p.weight, held[p], want)
		}
	}
	return found.err()
}

// file makes a file of noise in the root folder.
func (p *stackPod) file(ctx context.Context, name string, size int) error {
	at, err := p.fs.Create(ctx, vfs.RootID, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		return err
	}
	f, err := p.fs.Open(ctx, at.ID)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(ctx, stream(name, size), 0)
	return errors.Join(err, f.Close(ctx))
}
