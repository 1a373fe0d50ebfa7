package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

type rootOptions struct{ state, all bool }

func newRoots(e *env) *cobra.Command {
	var o rootOptions
	c := &cobra.Command{
		Use:   "root",
		Short: "Print the root's CID, which proves all that the network holds",
		Long: "Print the tree root's CID, or the state root's, alone on the last line; with --all, every pod's as it last said." +
			online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runRoot(ctx, e, o) }),
	}
	c.Flags().BoolVar(&o.state, "state", false, "the state root in place of the tree root")
	c.Flags().BoolVar(&o.all, "all", false, "every pod's")
	c.MarkFlagsMutuallyExclusive("state", "all")
	return c
}

func runRoot(ctx context.Context, e *env, o rootOptions) error {
	if !o.all {
		r, err := call[api.Root](ctx, e, "root", api.RootRequest{State: o.state})
		if err != nil {
			return err
		}
		if e.json {
			return e.document(r)
		}
		return e.out("%s", r.CID)
	}
	all, err := call[[]api.PodRoot](ctx, e, "roots", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	for _, r := range all {
		if err := e.out("%s %s", e.name(string(r.Pod)), orDash(r.CID.String())); err != nil {
			return err
		}
	}
	return nil
}
