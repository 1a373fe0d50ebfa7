package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/block"
)

func newScrub(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "scrub",
		Short: "Read and verify all blocks that this pod stores, and replace damaged ones",
		Long: "Read and verify all blocks that this pod stores, and replace damaged ones by other pods' copies. The daemon does the same slowly by itself, once a month." +
			" Exits with 8 if damage is left." + online(exitNotFound, exitCorrupt),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runScrub(ctx, e) }),
	}
}

func runScrub(ctx context.Context, e *env) error {
	all := []api.Problem{}
	var result api.Scrubbed
	left := 0
	err := client.List(ctx, e.client(), "scrub", struct{}{}, func(l api.ScrubLine) error {
		if l.Result != nil {
			result = *l.Result
		}
		if l.Problem == nil {
			return nil
		}
		if !l.Problem.Fixed {
			left++
		}
		if e.json {
			all = append(all, *l.Problem)
			return nil
		}
		return e.problem(*l.Problem)
	})
	switch {
	case err != nil:
	case e.json:
		err = e.document(struct {
			api.Scrubbed
			Problems []api.Problem `json:"problems"`
		}{result, all})
	default:
		err = e.out("%d blocks verified, %s", result.Blocks, size(result.Bytes))
	}
	if err == nil && left > 0 {
		return fmt.Errorf("%d damaged blocks are left: %w", left, block.ErrCorrupt)
	}
	return err
}
