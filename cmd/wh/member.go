package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/sshkey"
)

func newMember(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "member",
		Short: "Say who belongs to the network",
		Long:  "Say who belongs to the network: add people by their keys, let in who asks, list members, give them other roles and revoke them." + online(exitNotFound),
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage("member needs ls, add, pending, accept, deny, renew, set-role, revoke, rekey, log or root")
		},
	}
	c.AddCommand(newMemberLs(e), newMemberAdd(e), newMemberPending(e), newMemberAccept(e), newMemberDeny(e), newMemberRenew(e), newMemberSetRole(e), newMemberRevoke(e), newMemberRekey(e), newMemberLog(e), newMemberRoot(e))
	return c
}

func newMemberLs(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the members",
		Long: "List the network's users and pods: name, kind, role, who admitted them, when their certificates end, id. Those that were revoked are marked." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runMemberLs(ctx, e) }),
	}
}

func runMemberLs(ctx context.Context, e *env) error {
	all, err := call[[]api.Member](ctx, e, "members", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	rows := [][]string{{"NAME", "KIND", "ROLE", "BY", "ENDS", "ID"}}
	for _, m := range all {
		ends := "-"
		if m.Ends != nil {
			ends = when(m.Ends)
		}
		if m.Revoked {
			ends = "revoked"
		}
		rows = append(rows, []string{e.name(string(m.Name)), m.Kind, m.Role, e.name(orDash(string(m.By))), ends, m.ID})
	}
	return e.table(rows)
}

type memberAddOptions struct{ key, name, role string }

func newMemberAdd(e *env) *cobra.Command {
	var o memberAddOptions
	c := &cobra.Command{
		Use: "add SSH_PUBLIC_KEY|FILE", Short: "Make a person a member, by an OpenSSH key",
		Long: "Make a person a member, by the public half of an OpenSSH Ed25519 key: the key itself, or a file that has one (id_ed25519.pub, authorized_keys). The person can then make pods " +
			"with wh join NETWORK --identity KEY, with no token. Of a file with several keys each becomes a member: NAME, NAME-2 and so on. Only an admin's pod may do that." +
			online(exitNotFound, exitConflict),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.key = args[0]
			return runMemberAdd(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.name, "name", "", "what the person is called in the network")
	c.Flags().StringVar(&o.role, "role", "writer", "what the person's pods may do: admin, writer, reader, storage")
	_ = c.MarkFlagRequired("name") // It is a flag of this command.
	return c
}

func runMemberAdd(ctx context.Context, e *env, o memberAddOptions) error {
	if err := checkRole(o.role); err != nil {
		return err
	}
	keys, err := sshkey.ReadPublic(o.key)
	if err != nil {
		return err
	}
	for i, k := range keys {
		name := o.name
		if i > 0 {
			name = fmt.Sprintf("%s-%d", o.name, i+1)
		}
		if _, err := call[struct{}](ctx, e, "member/add", api.AddMember{Key: k.Key, Name: name, Role: o.role}); err != nil {
			return err
		}
		e.say("%s is a member with the role %s", name, o.role)
	}
	return nil
}

// checkRole says whether a text is a role.
func checkRole(role string) error {
	switch role {
	case "admin", "writer", "reader", "storage":
		return nil
	}
	return usage("role %q: it is none of admin, writer, reader, storage", role)
}

func newMemberRenew(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "renew NAME", Short: "Give a member a certificate with a later end",
		Long: "Give a member a certificate with a later end, as the network's rule certificate_life says; of a pod that a person runs, that person. Certificates of pods that are connected to an admin's pod are " +
			"renewed by themselves: this is for a pod that was away until its certificate had ended. Only an admin's pod may do that." + online(exitNotFound),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			_, err := call[struct{}](ctx, e, "member/renew", api.MemberRequest{Name: args[0]})
			return err
		}),
	}
}

func newMemberRevoke(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME", Short: "Shut out a pod, or all pods of a user, for good",
		Long: "Shut out a pod, or all pods of a user, for good: a lost laptop, a person who left. No pod that has heard of it talks to them again; what they did until then stays. " +
			"An encrypted network seals what is new under another key from then on, which they don't get; what they could read they can read for ever, if they have it, or get hold of it. Only an admin's pod may do that." + online(exitNotFound, exitNotEnough),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			_, err := call[struct{}](ctx, e, "member/revoke", api.MemberRequest{Name: args[0]})
			if err == nil {
				e.say("%s is shut out", args[0])
			}
			return err
		}),
	}
}
