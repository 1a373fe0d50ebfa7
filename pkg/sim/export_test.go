package sim

import (
	"context"
	"errors"
)

// ErrTest is what Failing's seeds find.
var ErrTest = errors.New("found")

// Failing is a simulation whose seeds fail as told.
func Failing(bad map[uint64]error) Simulation {
	return func(_ context.Context, seed uint64, _ *Trace) error { return bad[seed] }
}
