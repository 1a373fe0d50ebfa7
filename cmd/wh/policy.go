package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newPolicy(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Show or set how safely files are kept",
		Long:  "Show or set how safely files are kept. A folder's policy holds for all below it that has none of its own." + online(exitNotFound),
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("policy needs get, set or unset") },
	}
	durability := ""
	get := &cobra.Command{
		Use: "get /PATH", Short: "Show the policy that holds at a path", Long: "Show the policy that holds at a path." + online(exitNotFound),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			return runPolicy(ctx, e, "policy", api.PathRequest{Path: api.Text(args[0])})
		}),
	}
	const pathAndPolicy = 2
	set := &cobra.Command{
		Use: "set /PATH [POLICY]", Short: "Set a policy: none, raid0, raid1, raid5, raid6, replica:N, rs:K+M",
		Long: "Set the policy of a path: none, raid0, raid1, raid5, raid6, replica:N, rs:K+M; and when a write counts as done: --durability. The RAID words are resolved now: raid1 is replica:2, raid5 rs:2+1 (from 7 pods on rs:4+1), raid6 rs:4+2." + online(exitNotFound, exitNotEnough),
		Args: cobra.RangeArgs(1, pathAndPolicy),
		RunE: works(func(ctx context.Context, args []string) error {
			q := api.PolicyRequest{Path: api.Text(args[0]), Durability: durability}
			if len(args) == pathAndPolicy {
				q.Policy = args[1]
			}
			if q.Policy == "" && durability == "" {
				return usage("a policy or --durability is missing")
			}
			return runPolicy(ctx, e, "policy/set", q)
		}),
	}
	set.Flags().StringVar(&durability, "durability", "", "local, quorum, full")
	unset := &cobra.Command{
		Use: "unset /PATH", Short: "Inherit the policy again", Long: "Remove the policy of a path, which then inherits." + online(exitNotFound),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			return runPolicy(ctx, e, "policy/set", api.PolicyRequest{Path: api.Text(args[0]), Policy: "unset", Durability: "unset"})
		}),
	}
	c.AddCommand(get, set, unset)
	return c
}

func runPolicy(ctx context.Context, e *env, name string, q any) error {
	p, err := call[api.Policy](ctx, e, name, q)
	if err != nil {
		return err
	}
	if e.json {
		return e.document(p)
	}
	from := "the network's default"
	if p.From != "" {
		from = "from " + string(p.From)
	}
	return e.out("%s %s (%s)", p.Policy, p.Durability, e.name(from))
}
