package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newUndelete(e *env) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "undelete /PATH",
		Short: "Bring back what was deleted",
		Long: "Bring back a file or folder that was deleted, as it was in the newest tree that is kept and has it: a pod keeps trees seconds apart for some minutes, and farther apart for " +
			"a day; snapshots go on from there." + online(exitNotFound, exitConflict, exitNotEnough, exitCorrupt),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			return runRestore(ctx, e, api.RestoreRequest{Path: api.Text(args[0]), To: api.Text(to)})
		}),
	}
	c.Flags().StringVarP(&to, "output", "o", "", "another path of the network")
	return c
}
