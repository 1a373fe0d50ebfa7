package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

type syncOptions struct {
	path    string
	wait    bool
	timeout time.Duration
}

func newSync(e *env) *cobra.Command {
	var o syncOptions
	c := &cobra.Command{
		Use:   "sync [/PATH]",
		Short: "Make all durable here; with --wait, until it is safe",
		Long: "Make all durable here. With --wait, return when all, or what is below the path, is safe under its policy; exits " +
			"with 7, and says what is missing, when it can't be." + online(exitNotFound, exitNotEnough),
		Args: cobra.MaximumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.path = "/"
			if len(args) > 0 {
				o.path = args[0]
			}
			return runSync(ctx, e, o)
		}),
	}
	c.Flags().BoolVar(&o.wait, "wait", false, "until it is safe under its policy")
	c.Flags().DurationVar(&o.timeout, "timeout", 0, "how long to wait; 0: as long as it takes")
	return c
}

func runSync(ctx context.Context, e *env, o syncOptions) error {
	if o.timeout < 0 {
		return usage("--timeout can't be negative")
	}
	_, err := call[struct{}](ctx, e, "sync", api.SyncRequest{Path: api.Text(o.path), Wait: o.wait, TimeoutMS: o.timeout.Milliseconds()})
	return err
}
