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

func newMemberRekey(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "rekey", Short: "Change the data key of an encrypted network",
		Long: "Change the data key of an encrypted network: what is stored from now on is sealed under a new key, which all get who may read. What was stored before stays sealed as it is, and readable to all who could read it. " +
			"wh member revoke does that by itself, and so does wh member set-role where it takes the right to read. This is for a key that somebody may have seen. Only an admin's pod may do that." + online(exitNotFound, exitDenied),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error {
			_, err := call[struct{}](ctx, e, "member/rekey", struct{}{})
			if err == nil {
				e.say("what is new is sealed under another key from now on")
			}
			return err
		}),
	}
}

func newMemberLog(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "log", Short: "Tell the history of the members",
		Long: "Tell the history of the members, as the signed statements have it that all pods hold: who was admitted by whom with which role (when, these don't say), then who was given another role, or was revoked, and when the data key of an encrypted network was changed, by " +
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
