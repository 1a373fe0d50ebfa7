package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Sizes of TestFlaps. The pod is away for longer than the rule out and a repair take.
const (
	flapFiles = 20      // with replica:2 one seed in 30,000 has none of them on the pod
	flapBytes = 300_000 // of a file: one chunk, that is cut
	flapTimes = 5
	flapAway  = 25 * time.Minute
	flapHere  = 5 * time.Minute // five rounds, in which all that is surplus is found and trimmed
)

// TestFlaps: one of five pods is gone for longer than a repair takes, and back, again and again. What it holds is made again at its first two absences at the most, and then
// stays while it comes and goes. With a half-life of no length (the rule lower) it is made again each time: that is the traffic which is saved.
func TestFlaps(t *testing.T) {
	if testing.Short() {
		t.Skip("hours of five pods take some ten seconds")
	}
	fleet, err := NewFleet(t.Context(), t.TempDir(), FleetSize)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		policy, lower string
		takes         float64 // bytes that must go for one that the pod held
		least, most   float64 // of what a first absence moved
	}{
		{"rs:2+1", "24h", 2, 1, 2.2},
		{"rs:2+1", "1ms", 2, 0.8 * flapTimes, 1.2 * flapTimes},
		{"replica:2", "24h", 1, 1, 2.2},
	} {
		t.Run(row.policy+" lower "+row.lower, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				held, first, all, err := flap(context.Background(), fleet, row.policy, row.lower)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("the pod held %d bytes, its first absence moved %d, all %d moved %d", held, first, flapTimes, all)
				if of := float64(first) / float64(held) / row.takes; held < flapBytes/2 || of < 0.9 || of > 1.1 {
					t.Errorf("the first absence moved %.2f of what must", of)
				}
				if n := float64(all) / float64(first); n < row.least || n > row.most {
					t.Errorf("all absences moved %.1f times what the first did", n)
				}
			})
		})
	}
}

// flap has one pod come and go, and returns how many bytes it held, and how many went because of its first absence, and of all.
func flap(ctx context.Context, fleet *Fleet, policy, lower string) (held, first, all int64, err error) {
	w, err := calmWorld(ctx, fleet, nil)
	defer w.end(&err)
	if err != nil {
		return 0, 0, 0, err
	}
	a, away := w.pods[0], w.pods[FleetSize-1]
	for key, value := range map[string]string{"policy": policy, "lower": lower, "out": "10m"} {
		if err := a.p.SetRule(ctx, key, value); err != nil {
			return 0, 0, 0, err
		}
	}
	for i := range flapFiles {
		if err := a.file(ctx, fmt.Sprint("f", i), flapBytes); err != nil {
			return 0, 0, 0, err
		}
	}
	if err := w.rest(ctx, stackSettle); err != nil {
		return 0, 0, 0, err
	}
	usage, err := away.p.Usage(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	held = usage.Live
	begin := w.wires.Carried()
	for n := range 2 * flapTimes {
		gone := n%2 == 0
		w.wires.Split(func(id ident.Pod) int {
			if gone && id == fleet.pods[away.n].id {
				return 1
			}
			return 0
		})
		for _, p := range w.pods {
			if _, err := p.p.CleanCache(ctx); err != nil { // what was given up is gone for good
				return 0, 0, 0, err
			}
		}
		d := flapHere
		if gone {
			d = flapAway
		}
		if err := w.rest(ctx, d); err != nil {
			return 0, 0, 0, err
		}
		if n == 0 {
			first = w.wires.Carried() - begin
		}
	}
	return held, first, w.wires.Carried() - begin, nil
}
