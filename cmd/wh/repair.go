package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

func newRepair(e *env) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "repair",
		Short: "Make again at once what was lost",
		Long: "Have this pod and all that are connected look at once for copies that are missing or damaged, and make them again: what can bear no further loss first. " +
			"They do so by themselves within a minute; a repair that was cut off goes on where it was, since copies that were made are found. It returns at once, or with --watch when nothing is left that can be done; " +
			"exits with 7 then if something is below its policy." + online(exitNotFound, exitNotEnough),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error {
			if watch {
				return runRepairWatch(ctx, e)
			}
			return runRepair(ctx, e)
		}),
	}
	c.Flags().BoolVar(&watch, "watch", false, "until nothing is left that can be done")
	return c
}

func runRepair(ctx context.Context, e *env) error {
	r, err := call[api.Repair](ctx, e, "repair/now", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(r)
	}
	return e.out("%s", repairText(r))
}

func runRepairWatch(ctx context.Context, e *env) error {
	var last api.Repair
	err := client.List(ctx, e.client(), "repair/watch", struct{}{}, func(r api.Repair) error {
		last = r
		if r.Active && !e.json {
			e.say("%s", repairText(r))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if e.json {
		err = e.document(last)
	} else {
		err = e.out("%s", repairText(last))
	}
	if err == nil && last.UnsafeBytes > 0 {
		return fmt.Errorf("%s are below their policy, and nothing more can be done about it now: %w", size(last.UnsafeBytes), pod.ErrNotSafe)
	}
	return err
}

// repairText says in a line how far a repair is.
func repairText(r api.Repair) string {
	text := "nothing to repair"
	switch left := r.DueBytes - r.DoneBytes; {
	case r.Active && left > 0:
		text = fmt.Sprintf("repairing: %s of %s made again", size(r.DoneBytes), size(r.DueBytes))
		if r.LeftMS > 0 {
			text += fmt.Sprintf(", about %s left", (time.Duration(r.LeftMS) * time.Millisecond).Round(time.Second))
		}
	case r.Active:
		text = fmt.Sprintf("looking: %s of %s", size(r.LookedBytes), size(max(r.OfBytes, r.LookedBytes)))
	case r.UnsafeBytes > 0:
		text = size(r.UnsafeBytes) + " below their policy"
	case r.DoneBytes > 0:
		text = size(r.DoneBytes) + " made again"
	}
	if r.EndangeredBytes > 0 {
		text += fmt.Sprintf("; %s can bear no further loss", size(r.EndangeredBytes))
	}
	if r.UnavailableBytes > 0 {
		text += fmt.Sprintf("; %s can't be had now", size(r.UnavailableBytes))
	}
	if r.DamagedBlocks > 0 {
		text += fmt.Sprintf("; %d damaged blocks have no good copy", r.DamagedBlocks)
	}
	return text
}
