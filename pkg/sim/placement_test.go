package sim_test

import (
	"bytes"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/sim"
)

// TestPlacement runs simulations of the placement. If it fails, bytes are less safe than what was shown, a drain does not end, or more moves than must.
func TestPlacement(t *testing.T) {
	seed, rounds := *seedFlag, *roundsFlag
	if rounds == 0 {
		rounds = 4
	}
	for i := range rounds {
		var log bytes.Buffer
		if err := sim.RunPlacement(t.Context(), seed+uint64(i), sim.NewTrace(&log)); err != nil {
			if rounds == 1 {
				t.Log(log.String())
			}
			t.Fatalf("seed %d: %v", seed+uint64(i), err)
		}
	}
}

// TestPlacementSeeds replays the seeds of the placement that found something.
func TestPlacementSeeds(t *testing.T) {
	for _, seed := range seedsOf(t, "placement") {
		if err := sim.RunPlacement(t.Context(), seed, nil); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}
