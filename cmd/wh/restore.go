package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newRestore(e *env) *cobra.Command {
	var q api.RestoreRequest
	c := &cobra.Command{
		Use:   "restore /PATH --at TIME|SNAPSHOT",
		Short: "Bring back what a path was",
		Long: "Bring back what a path was at a time (2026-11-26T12:00:00Z, 2h, \"3 days ago\") or in a snapshot: files get their old contents and attributes, what is missing in folders " +
			"comes back, what came since stays. No data is copied. With -o it is restored to another path of the network, named as cp -r does. What is there now is kept for an " +
			"hour at least (wh snapshot ls --all). wh get --at exports to this machine instead." + online(exitNotFound, exitConflict, exitNotEnough, exitCorrupt),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			if q.At == "" {
				return usage("--at is missing: a time or a snapshot")
			}
			q.Path = api.Text(args[0])
			return runRestore(ctx, e, q)
		}),
	}
	c.Flags().StringVar((*string)(&q.At), "at", "", "a time or a snapshot")
	c.Flags().StringVarP((*string)(&q.To), "output", "o", "", "another path of the network")
	return c
}

func runRestore(ctx context.Context, e *env, q api.RestoreRequest) error {
	r, err := call[api.Restored](ctx, e, "restore", q)
	if err != nil {
		return err
	}
	if e.json {
		return e.document(r)
	}
	from := when(r.Time)
	switch {
	case r.Snapshot != "":
		from = "snapshot " + e.name(string(r.Snapshot))
	case r.Time == nil:
		from = r.CID.String()
	}
	return e.out("restored %s: %d files, %s, from %s", e.name(string(r.Path)), r.Files, size(int64(r.Bytes)), from)
}
