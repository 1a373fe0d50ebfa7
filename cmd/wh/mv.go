package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// twoPaths is how many arguments mv and cp need.
const twoPaths = 2

func newMv(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "mv /SOURCE... /TARGET",
		Short: "Move or rename",
		Long:  "Move or rename. An existing folder receives; an existing file is replaced, as by a save." + online(exitNotFound, exitConflict),
		Args:  cobra.MinimumNArgs(twoPaths),
		RunE:  works(func(ctx context.Context, args []string) error { return runMove(ctx, e, args, false) }),
	}
}

func runMove(ctx context.Context, e *env, args []string, cp bool) error {
	last := len(args) - 1
	q := api.MoveRequest{Target: api.Text(args[last]), Copy: cp}
	for _, a := range args[:last] {
		q.Sources = append(q.Sources, api.Text(a))
	}
	_, err := call[struct{}](ctx, e, "move", q)
	return err
}
