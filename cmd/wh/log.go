package main

import (
	"bufio"
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
)

// logLimit is how many changes are shown where the user doesn't say.
const logLimit = 100

func newLog(e *env) *cobra.Command {
	q := api.LogRequest{Path: "/"}
	c := &cobra.Command{
		Use:   "log [/PATH]",
		Short: "List changes, newest first",
		Long: "List the changes at and below a path, newest first, with the pod that made each. A file is followed through renames. Where the log of changes " +
			"has been cut off, it goes on with what differs between the trees that are kept." + online(exitNotFound, exitNotEnough),
		Args: cobra.MaximumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				q.Path = api.Text(args[0])
			}
			return runLog(ctx, e, q)
		}),
	}
	c.Flags().IntVarP(&q.Limit, "limit", "n", logLimit, "how many; 0 is all")
	return c
}

func runLog(ctx context.Context, e *env, q api.LogRequest) error {
	w := bufio.NewWriter(e.stdout)
	line := *e // Its lines are gathered.
	line.stdout = w
	err := client.List(ctx, e.client(), "log", q, func(l api.LogEntry) error {
		if e.json {
			return line.document(l)
		}
		path := orDash(e.name(string(l.Path)))
		if l.From != "" {
			path = e.name(string(l.From)) + " -> " + path
		}
		if l.Tree != "" {
			path += " (since " + e.name(string(l.Tree)) + ")"
		}
		return line.out("%s  %-10s %-10s %s", l.Time.Format(time.RFC3339), orDash(e.name(string(l.Pod))), l.What, path)
	})
	if ferr := w.Flush(); err == nil {
		err = ferr
	}
	return err
}
