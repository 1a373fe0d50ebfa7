package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newMemberPending(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "pending", Short: "List who waits to be let in",
		Long: "List the machines that ask this pod to be let in, by wh join NETWORK, and wait: the name that each calls itself, its id, since when. It shows the id there too: compare them. " +
			"Only admins' pods are asked, and only where the network's access is ask (wh config set --network access ask)." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runMemberPending(ctx, e) }),
	}
}

func runMemberPending(ctx context.Context, e *env) error {
	all, err := call[[]api.Asker](ctx, e, "member/pending", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	rows := [][]string{{"NAME", "SINCE", "ID"}}
	for _, a := range all {
		rows = append(rows, []string{e.name(string(a.Name)), when(&a.Since), a.ID})
	}
	return e.table(rows)
}

func newMemberAccept(e *env) *cobra.Command {
	q := api.AcceptRequest{}
	c := &cobra.Command{
		Use: "accept NAME|ID", Short: "Let in who waits",
		Long: "Let in a machine that waits (wh member pending), by the name that it calls itself or by its id." + online(exitNotFound, exitConflict),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			if err := checkRole(q.Role); err != nil {
				return err
			}
			q.Name = args[0]
			_, err := call[struct{}](ctx, e, "member/accept", q)
			return err
		}),
	}
	c.Flags().StringVar(&q.Role, "role", "writer", "what it may do: admin, writer, reader, storage")
	return c
}

func newMemberDeny(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "deny NAME|ID", Short: "Send away who waits",
		Long: "Send a machine away that waits (wh member pending): for an hour it is told so at once." + online(exitNotFound, exitConflict),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			_, err := call[struct{}](ctx, e, "member/accept", api.AcceptRequest{Name: args[0], Deny: true})
			return err
		}),
	}
}
