package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
)

// How long, and how often, other processes of this machine are waited for.
const (
	makeTries = 200
	makeRetry = 50 * time.Millisecond
	downWait  = time.Minute
	downRetry = 20 * time.Millisecond
)

func newDown(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop this machine's daemon",
		Long:  "Stop this machine's daemon, and wait until it has stopped." + online(),
		Args:  cobra.NoArgs,
		RunE:  works(func(ctx context.Context, _ []string) error { return runDown(ctx, e) }),
	}
}

func runDown(ctx context.Context, e *env) error {
	if _, err := call[struct{}](ctx, e, "stop", struct{}{}); err != nil && !errors.Is(err, api.ErrStopping) {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, downWait)
	defer cancel()
	for {
		lock, err := daemon.TryLock(e.home)
		if err == nil {
			return lock.Unlock()
		}
		if !errors.Is(err, api.ErrInUse) {
			return err
		}
		if serr := clock.Sleep(limit, e.clock, downRetry); serr != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("the daemon has not stopped after %s: %w", downWait, err)
		}
	}
}
