package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newEvict(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "evict /PATH",
		Short: "Drop local copies that are not needed here",
		Long: "Drop what this pod holds of a path and need not: cached copies, and its own where the policy wants them on other pods. Never the last copy, never a " +
			"pinned one, and nothing that the policy wants here. Exits with 7 when the pods that are to have the copies can't be asked." +
			online(exitNotFound, exitNotEnough),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error { return runEvict(ctx, e, args[0]) }),
	}
}

func runEvict(ctx context.Context, e *env, path string) error {
	got, err := call[api.Evicted](ctx, e, "evict", api.PathRequest{Path: api.Text(path)})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(got)
	}
	return e.out("dropped %d blocks, %s; %d stay", got.Blocks, size(got.Bytes), got.KeptBlocks)
}
