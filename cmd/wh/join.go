package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
)

type joinOptions struct {
	token string
	flags newPodFlags
}

func newJoin(e *env) *cobra.Command {
	var o joinOptions
	c := &cobra.Command{
		Use:   "join TOKEN",
		Short: "Make a pod here in a network that exists",
		Long: "Make a pod here in the network that the token is for. It is complete or undone. Prints the network's id." +
			exits(exitDenied, exitConflict, exitNotEnough, exitCorrupt),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.token = args[0]
			return runJoin(ctx, e, o)
		}),
	}
	o.flags.add(c)
	return c
}

func runJoin(ctx context.Context, e *env, o joinOptions) error {
	m, err := o.flags.mountRequest()
	if err != nil {
		return err
	}
	r := api.JoinRequest{Token: o.token, Name: o.flags.name, Listen: o.flags.listen, Mount: m}
	made, err := makePod(ctx, e, "join", r, func() (api.Made, error) { return daemon.Join(ctx, e.home, e.engine, r) })
	if err != nil {
		return err
	}
	return e.printMade(made, "joined")
}
