package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newCat(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "cat /PATH|CID...",
		Short: "Print files",
		Long:  "Print files, named by path or CID, one after the other." + online(exitNotFound, exitNotEnough, exitCorrupt),
		Args:  cobra.MinimumNArgs(1),
		RunE:  works(func(ctx context.Context, args []string) error { return runCat(ctx, e, args) }),
	}
}

func runCat(ctx context.Context, e *env, sources []string) error {
	for _, s := range sources {
		if err := e.client().Cat(ctx, s, e.stdout); err != nil {
			return err
		}
	}
	return nil
}
