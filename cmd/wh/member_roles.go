package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newMemberSetRole(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "set-role NAME ROLE", Short: "Give a pod or a person another role",
		Long: "Give a pod, or a person and all pods that they run, another role: writer, reader or storage. What was written until then stays, as far as this pod has it or others built on it; " +
			"later changes of one that may not write any more are refused by all. Only an admin's pod may do that. A new admin needs a new certificate: wh invite --role admin." +
			online(exitNotFound, exitDenied, exitNotEnough),
		Args: cobra.ExactArgs(2),
		RunE: works(func(ctx context.Context, args []string) error {
			if err := checkRole(args[1]); err != nil {
				return err
			}
			_, err := call[struct{}](ctx, e, "member/role", api.RoleRequest{Name: args[0], Role: args[1]})
			if err == nil {
				e.say("%s has the role %s", args[0], args[1])
			}
			return err
		}),
	}
}

func newMemberLog(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "log", Short: "Tell the history of the members",
		Long: "Tell the history of the members, as the signed statements have it that all pods hold: who was admitted by whom with which role (when, these don't say), then who was given another role, or was revoked, by " +
			"whom and when." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runMemberLog(ctx, e) }),
	}
}

func runMemberLog(ctx context.Context, e *env) error {
	all, err := call[[]api.MemberEvent](ctx, e, "member/log", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	rows := [][]string{{"TIME", "WHAT", "NAME", "KIND", "ROLE", "BY", "ID"}}
	for _, m := range all {
		at := "-"
		if m.At != nil {
			at = when(m.At)
		}
		rows = append(rows, []string{at, m.What, e.name(string(m.Name)), m.Kind, orDash(m.Role), e.name(string(m.By)), m.ID})
	}
	return e.table(rows)
}
