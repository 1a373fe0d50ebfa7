package sim_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/sim"
)

// TestSeeds replays the seeds that found something.
func TestSeeds(t *testing.T) {
	seeds := seedsOf(t, "state")
	if len(seeds) == 0 {
		t.Error("no seeds")
	}
	for _, seed := range seeds {
		if err := sim.RunState(t.Context(), seed, nil); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// TestStackSeeds replays those of the whole stack.
func TestStackSeeds(t *testing.T) {
	seeds := seedsOf(t, "stack")
	if len(seeds) == 0 {
		t.Fatal("no seeds")
	}
	fleet, err := sim.NewFleet(t.Context(), t.TempDir(), sim.FleetSize)
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range seeds {
		synctest.Test(t, func(*testing.T) { err = sim.RunStack(context.Background(), fleet, seed, nil) })
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// seedsOf are the seeds of a kind that found something: each begins a line, and what it found follows.
func seedsOf(t *testing.T, kind string) []uint64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "seeds", kind+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var out []uint64
	for line := range strings.Lines(string(b)) {
		first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		seed, err := strconv.ParseUint(first, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, seed)
	}
	return out
}

// TestStateRepeats: a seed does the same each time. If it fails, what a seed finds can't be looked into.
func TestStateRepeats(t *testing.T) {
	for seed := range uint64(5) {
		var logs [2]bytes.Buffer
		for i := range logs {
			if err := sim.RunState(t.Context(), seed, sim.NewTrace(&logs[i])); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if logs[0].String() != logs[1].String() {
			t.Errorf("seed %d did two things", seed)
		}
	}
}

// TestRunRange: a range ends at the least seed that fails, and says up to where all are good.
func TestRunRange(t *testing.T) {
	bad := map[uint64]error{23: sim.ErrTest, 31: sim.ErrTest}
	var good uint64
	failed, err := sim.RunRange(t.Context(), sim.Failing(bad), 10, 40, 3, func(now uint64) { good = now })
	if failed != 23 || err == nil || good > 23 {
		t.Errorf("failed %d, good up to %d: %v", failed, good, err)
	}
	failed, err = sim.RunRange(t.Context(), sim.Failing(nil), 10, 40, 3, func(now uint64) { good = now })
	if failed != 40 || err != nil || good != 40 {
		t.Errorf("failed %d, good up to %d: %v", failed, good, err)
	}
}

// TestTimeline: a timer fires when its time has come, and not before.
func TestTimeline(t *testing.T) {
	l := sim.NewTimeline(time.Unix(0, 0))
	c := sim.NewClock(l)
	c.Set(time.Hour)
	late, early, stopped := c.NewTimer(2*time.Second), c.NewTimer(time.Second), c.NewTimer(time.Second)
	stopped.Stop()
	l.Turn(1500 * time.Millisecond)
	select {
	case <-early.C:
	default:
		t.Error("a timer did not fire")
	}
	select {
	case <-late.C:
		t.Error("a timer fired too early")
	default:
	}
	if got, want := c.Now(), time.Unix(3601, 5e8); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
}
