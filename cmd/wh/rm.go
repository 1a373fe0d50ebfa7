package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newRm(e *env) *cobra.Command {
	var q api.PathRequest
	c := &cobra.Command{
		Use:   "rm /PATH...",
		Short: "Remove files and folders",
		Long:  "Remove files, and with -r folders and all that is in them." + online(exitNotFound),
		Args:  cobra.MinimumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			p := newProblems(e)
			for _, a := range args {
				q.Path = api.Text(a)
				_, err := call[struct{}](ctx, e, "remove", q)
				if err != nil && (ctx.Err() != nil || len(args) == 1 || exitCode(err) == exitNoDaemon) {
					return err
				}
				if err != nil {
					p.add(a, err)
				}
			}
			return p.err()
		}),
	}
	c.Flags().BoolVarP(&q.Recursive, "recursive", "r", false, "folders, with all that is in them")
	c.Flags().BoolVarP(&q.Force, "force", "f", false, "what isn't there is no error")
	return c
}
