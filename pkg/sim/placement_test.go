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

// TestPlacementTroubles: disks of the simulation are full, and slow ones lose what is on its way to them. If it fails, what a simulation finds good says nothing of those.
func TestPlacementTroubles(t *testing.T) {
	refused, undone := 0, 0
	for seed := range uint64(4) {
		r, u, err := sim.PlacementTroubles(t.Context(), seed)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		refused, undone = refused+r, undone+u
	}
	if refused < 4 || undone == 0 {
		t.Errorf("%d writes found no room, %d were undone", refused, undone)
	}
}
