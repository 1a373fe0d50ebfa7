package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newCp(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "cp /SOURCE... /TARGET",
		Short: "Copy within the network; no data is copied",
		Long:  "Copy files and folders within the network; no data is copied. An existing folder receives." + online(exitNotFound, exitConflict, exitNotEnough),
		Args:  cobra.MinimumNArgs(twoPaths),
		RunE:  works(func(ctx context.Context, args []string) error { return runMove(ctx, e, args, true) }),
	}
	c.Flags().BoolP("recursive", "r", true, "folders are copied with all that is in them, always")
	return c
}
