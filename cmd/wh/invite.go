package main

import (
	"context"
	"fmt"
	"strings"
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
	c.AddCommand(newInviteLs(e), newInviteRm(e))
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

func newInviteLs(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the invitations that were made here",
		Long: "List the invitations that this pod made: id, role, when it ends, how many pods may join by it, and those that did. Other pods know nothing of them." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runInviteLs(ctx, e) }),
	}
}

func runInviteLs(ctx context.Context, e *env) error {
	all, err := call[[]api.Invite](ctx, e, "invites", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	rows := [][]string{{"ID", "ROLE", "ENDS", "USES", "USED BY"}}
	for _, i := range all {
		used := make([]string, len(i.Used))
		for n, name := range i.Used {
			used[n] = e.name(name)
		}
		rows = append(rows, []string{i.ID, i.Role, when(&i.Ends), fmt.Sprintf("%d of %d", len(i.Used), i.Uses), orDash(strings.Join(used, ", "))})
	}
	return e.table(rows)
}

func newInviteRm(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "rm ID", Short: "Take an invitation back",
		Long: "Take an invitation back: nobody joins by it any more. Who has joined stays; wh member revoke shuts a pod out." + online(exitNotFound),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			_, err := call[struct{}](ctx, e, "invites/remove", api.MemberRequest{Name: args[0]})
			return err
		}),
	}
}
