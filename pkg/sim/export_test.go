package sim

import (
	"context"
	"errors"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
)

// ErrTest is what Failing's seeds find.
var ErrTest = errors.New("found")

// Failing is a simulation whose seeds fail as told.
func Failing(bad map[uint64]error) Simulation {
	return func(_ context.Context, seed uint64, _ *Trace) error { return bad[seed] }
}

// Mix is what is left of a file of which half of what was not synced stays.
func Mix(synced, all string, seed uint64) (left string, err error) {
	m := mixer{synced: pebblevfs.NewCrashableMem(), all: pebblevfs.NewCrashableMem(), keep: 50, seed: seed}
	if err := errors.Join(writeAll(m.synced, "/f", []byte(synced)), writeAll(m.all, "/f", []byte(all)), m.folder("/")); err != nil {
		return "", err
	}
	b, err := readAll(m.synced, "/f")
	return string(b), err
}

// PlacementTroubles runs a simulation of the placement, and says how often a disk had no room, and how many writes to slow disks a crash undid.
func PlacementTroubles(ctx context.Context, seed uint64) (refused, undone int, err error) {
	w := newPlaceWorld(seed, nil)
	err = w.run(ctx)
	return w.refused, w.undone, err
}
