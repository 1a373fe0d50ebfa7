package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newSnapshot(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "snapshot",
		Short: "Name the tree as it is, and keep it",
		Long: "Name the tree as it is, and keep it until it is removed. One pod makes automatic snapshots (auto-TIME) every ten minutes if something changed, and keeps those of an hour, " +
			"one an hour for 48 hours, one a day for 30 days, one a week for a year." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("snapshot needs create, ls or rm") },
	}
	var list api.SnapshotsRequest
	create := &cobra.Command{
		Use: "create NAME", Short: "Keep the tree as it is now",
		Long: "Keep the tree as it is now under a name. Returns when enough pods have its nodes." + online(exitNotFound, exitConflict, exitNotEnough),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			s, err := call[api.Snapshot](ctx, e, "snapshot/create", api.SnapshotRequest{Name: api.Text(args[0])})
			switch {
			case err != nil:
				return err
			case e.json:
				return e.document(s)
			}
			return e.out("%s %s", e.name(string(s.Name)), s.CID)
		}),
	}
	ls := &cobra.Command{
		Use: "ls", Short: "List snapshots", Long: "List snapshots, oldest first." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runSnapshots(ctx, e, list) }),
	}
	ls.Flags().BoolVar(&list.All, "all", false, "and what this pod keeps between them, first")
	rm := &cobra.Command{
		Use: "rm NAME...", Short: "Remove snapshots", Long: "Remove snapshots. What they alone kept becomes garbage." + online(exitNotFound),
		Args: cobra.MinimumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			p := newProblems(e)
			for _, a := range args {
				_, err := call[struct{}](ctx, e, "snapshot/remove", api.SnapshotRequest{Name: api.Text(a)})
				if err != nil && (ctx.Err() != nil || len(args) == 1 || exitCode(err) == exitNoDaemon) {
					return err
				}
				if err != nil {
					p.add(a, err)
				}
			}
			return p.err()
		}),
	}
	c.AddCommand(create, ls, rm)
	return c
}

func runSnapshots(ctx context.Context, e *env, q api.SnapshotsRequest) error {
	all, err := call[[]api.Snapshot](ctx, e, "snapshots", q)
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	rows := [][]string{{"NAME", "TIME", "POD", "CID"}}
	for _, s := range all {
		at := "unknown"
		if s.Time != nil {
			at = when(s.Time)
		}
		rows = append(rows, []string{orDash(e.name(string(s.Name))), at, orDash(e.name(string(s.Pod))), s.CID.String()})
	}
	return e.table(rows)
}
