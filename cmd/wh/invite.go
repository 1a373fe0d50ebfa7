package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

type inviteOptions struct {
	role string
	ttl  time.Duration
	uses int
}

func newInvite(e *env) *cobra.Command {
	var o inviteOptions
	c := &cobra.Command{
		Use:   "invite",
		Short: "Print a token with which another machine can join",
		Long:  "Print a token, alone on the last line, with which another machine can join." + online(exitNotFound),
		Args:  cobra.NoArgs,
		RunE:  works(func(ctx context.Context, _ []string) error { return runInvite(ctx, e, o) }),
	}
	c.Flags().StringVar(&o.role, "role", "writer", "what the new pod may do: admin, writer, reader, storage")
	c.Flags().DurationVar(&o.ttl, "ttl", time.Hour, "how long the token is good")
	c.Flags().IntVar(&o.uses, "uses", 1, "how many pods may join with it")
	return c
}

func runInvite(ctx context.Context, e *env, o inviteOptions) error {
	if err := checkRole(o.role); err != nil {
		return err
	}
	if o.ttl < time.Second || o.uses < 1 {
		return usage("--ttl must be a second at least, --uses one")
	}
	t, err := call[api.Token](ctx, e, "invite", api.InviteRequest{Role: o.role, TTLMS: o.ttl.Milliseconds(), Uses: o.uses})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(t)
	}
	e.say("on the other machine: wh join TOKEN (good for %s)", o.ttl)
	return e.out("%s", t.Token)
}
