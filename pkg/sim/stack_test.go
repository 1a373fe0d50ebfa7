package sim_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/sim"
)

// TestStack runs simulations of the whole stack. If it fails, files lose bytes that were acknowledged, or pods show different trees for good.
func TestStack(t *testing.T) {
	fleet, err := sim.NewFleet(t.Context(), t.TempDir(), sim.FleetSize)
	if err != nil {
		t.Fatal(err)
	}
	seed, rounds := *seedFlag, *roundsFlag
	if rounds == 0 {
		rounds = 4
	}
	t.Logf("seeds from %d", seed)
	for i := range rounds {
		var log bytes.Buffer
		begin := time.Now()
		var err error
		synctest.Test(t, func(*testing.T) { err = sim.RunStack(context.Background(), fleet, seed+uint64(i), sim.NewTrace(&log)) })
		if err != nil {
			t.Log(log.String()) // the seed may do something else the next time
			t.Fatalf("seed %d: %v", seed+uint64(i), err)
		}
		if testing.Verbose() {
			t.Logf("seed %d: %v, %d lines", seed+uint64(i), time.Since(begin), bytes.Count(log.Bytes(), []byte("\n")))
		}
	}
}
