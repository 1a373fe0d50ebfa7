package sim_test

import (
	"bytes"
	"flag"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/sim"
)

var (
	seedFlag   = flag.Uint64("seed", 1, "first seed; new ones are hunted by wh-sim")
	roundsFlag = flag.Int("rounds", 0, "how many seeds; 0: as many as fit into a test run")
)

// TestState runs simulations of the state. If it fails, pods lose what was acknowledged, or show different trees for good.
func TestState(t *testing.T) {
	seed, rounds := *seedFlag, *roundsFlag
	if rounds == 0 {
		rounds = 30
	}
	t.Logf("seeds from %d", seed)
	for i := range rounds {
		var log bytes.Buffer
		begin := time.Now()
		if err := sim.RunState(t.Context(), seed+uint64(i), sim.NewTrace(&log)); err != nil {
			if rounds == 1 {
				t.Log(log.String())
			}
			t.Fatalf("seed %d: %v", seed+uint64(i), err)
		}
		if testing.Verbose() {
			t.Logf("seed %d: %v, %d lines", seed+uint64(i), time.Since(begin), bytes.Count(log.Bytes(), []byte("\n")))
		}
	}
}
