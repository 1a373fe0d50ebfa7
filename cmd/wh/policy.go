package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

func newPolicy(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Show or set how files are kept",
		Long: "Show or set how safely files are kept, and how else: compression, chunking, retention, a quota, and what a pod may do that is cut off. What is set at a\n" +
			"folder holds for all below it that has none of its own, and goes with it where it is moved." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("policy needs get, set, unset or ls") },
	}
	c.AddCommand(newPolicyGet(e), newPolicySet(e), newPolicyUnset(e), newPolicyLs(e))
	return c
}

func newPolicyGet(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "get /PATH", Short: "Show the policy and the rules that hold at a path", Long: "Show the policy and the rules that hold at a path, and where each is set." + online(exitNotFound),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			return runPolicy(ctx, e, "policy", api.PathRequest{Path: api.Text(args[0])})
		}),
	}
}

func newPolicySet(e *env) *cobra.Command {
	durability := ""
	keys := pod.PathKeys().All
	values := make([]string, len(keys))
	const pathAndPolicy = 2
	c := &cobra.Command{
		Use: "set /PATH [POLICY]", Short: "Set a policy: none, raid0, raid1, raid5, raid6, replica:N, rs:K+M; and other rules of a path",
		Long: "Set the policy of a path: none, raid0, raid1, raid5, raid6, replica:N, rs:K+M; when a write counts as done: --durability; and other rules. The RAID words are resolved now: raid1 is replica:2, raid5 rs:2+1 (from 7 pods on rs:4+1), raid6 rs:4+2.\n" +
			"The value unset takes a rule away, so that it is inherited again. A rule is in force on all pods as soon as they hear of it; what is stored stays as it is." + online(exitNotFound, exitNotEnough),
		Args: cobra.RangeArgs(1, pathAndPolicy),
		RunE: works(func(ctx context.Context, args []string) error {
			q := api.PolicyRequest{Path: api.Text(args[0]), Durability: durability}
			if len(args) == pathAndPolicy {
				q.Policy = args[1]
			}
			for i, key := range keys {
				if values[i] != "" {
					if q.Rules == nil {
						q.Rules = make(map[string]string)
					}
					q.Rules[key.Name] = values[i]
				}
			}
			if q.Policy == "" && durability == "" && len(q.Rules) == 0 {
				return usage("a policy, --durability or another rule is missing")
			}
			return runPolicy(ctx, e, "policy/set", q)
		}),
	}
	c.Flags().StringVar(&durability, "durability", "", "local, quorum, full")
	for i, key := range keys {
		c.Flags().StringVar(&values[i], key.Name, "", key.Doc)
	}
	return c
}

func newPolicyUnset(e *env) *cobra.Command {
	all := false
	c := &cobra.Command{
		Use: "unset /PATH", Short: "Inherit the policy again", Long: "Remove the policy and the durability of a path, which then inherits; with --all the other rules, too." + online(exitNotFound),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			q := api.PolicyRequest{Path: api.Text(args[0]), Policy: "unset", Durability: "unset"}
			if all {
				q.Rules = make(map[string]string)
				for _, key := range pod.PathKeys().All {
					q.Rules[key.Name] = "unset"
				}
			}
			return runPolicy(ctx, e, "policy/set", q)
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "compression, chunking, retention, minority and quota, too")
	return c
}

func newPolicyLs(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "ls [/PATH]", Short: "List what is set at and below a path", Long: "List what is set at and below a path: policies, durabilities, homes, and other rules, each with its path." + online(exitNotFound),
		Args: cobra.MaximumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			q := pathOf(args)
			list, err := call[[]api.PathRule](ctx, e, "policy/ls", q)
			if err != nil {
				return err
			}
			if e.json {
				return e.document(list)
			}
			var rows [][]string
			for _, r := range list {
				rows = append(rows, []string{e.name(string(r.Path)), r.Rule, e.name(string(r.Value))})
			}
			return e.table(rows)
		}),
	}
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
	if err := e.out("%s %s (%s)", p.Policy, p.Durability, e.name(from)); err != nil {
		return err
	}
	for _, r := range p.Rules {
		if r.Path == "" {
			continue // as always
		}
		if err := e.out("%s %s (%s)", r.Rule, e.name(string(r.Value)), e.name("from "+string(r.Path))); err != nil {
			return err
		}
	}
	return nil
}
