package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newMkdir(e *env) *cobra.Command {
	parents := false
	c := &cobra.Command{
		Use:   "mkdir /PATH...",
		Short: "Make folders",
		Long:  "Make folders." + online(exitNotFound, exitConflict, exitNotEnough),
		Args:  cobra.MinimumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			for _, p := range args {
				if _, err := call[struct{}](ctx, e, "mkdir", api.PathRequest{Path: api.Text(p), Parents: parents}); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	c.Flags().BoolVarP(&parents, "parents", "p", false, "those above too; what is there is no error")
	return c
}
