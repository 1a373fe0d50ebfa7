package main

import (
	"bufio"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
)

func newDiff(e *env) *cobra.Command {
	var q api.DiffRequest
	c := &cobra.Command{
		Use:   "diff A [B]",
		Short: "Show what differs between two trees",
		Long: "Show what differs between two trees. Each is named by a time (2026-11-26T12:00:00Z, 2h, \"3 days ago\"), a snapshot, a pod (as it last said), a tree root's CID, or now; " +
			"B is now if it is left out." + online(exitNotFound, exitNotEnough),
		Args: cobra.RangeArgs(1, 2), //nolint:mnd // A and B
		RunE: works(func(ctx context.Context, args []string) error {
			q.A = api.Text(args[0])
			if len(args) > 1 {
				q.B = api.Text(args[1])
			}
			return runDiff(ctx, e, q)
		}),
	}
	c.Flags().StringVar((*string)(&q.Path), "path", "/", "only at and below this path")
	return c
}

// diffLetters are how diff shows what is different.
var diffLetters = map[string]string{"added": "A", "removed": "D", "changed": "M", "attributes": "m"}

func runDiff(ctx context.Context, e *env, q api.DiffRequest) error {
	w := bufio.NewWriter(e.stdout)
	line := *e // Its lines are gathered.
	line.stdout = w
	all := []api.Difference{}
	err := client.List(ctx, e.client(), "diff", q, func(d api.Difference) error {
		if e.json {
			all = append(all, d)
			return nil
		}
		name := e.name(string(d.Path))
		if d.Kind == "folder" {
			name += "/"
		}
		sizes := ""
		if d.What == "changed" {
			sizes = fmt.Sprintf("  (%d -> %d bytes)", d.Before, d.After)
		}
		return line.out("%s %s%s", diffLetters[d.What], name, sizes)
	})
	if err == nil && e.json {
		err = line.document(all)
	}
	if ferr := w.Flush(); err == nil {
		err = ferr
	}
	return err
}
