package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newConflicts(e *env) *cobra.Command {
	list := func(ctx context.Context, args []string) error {
		q := pathOf(args)
		return runConflicts(ctx, e, q)
	}
	c := &cobra.Command{
		Use:   "conflicts [ls]",
		Short: "List and resolve what pods changed apart",
		Long: "List what pods changed apart: several contents of one file or several files of one name, what was changed here and deleted there, what was renamed twice. " +
			"Each is listed with its versions: number, pod, time." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(list),
	}
	ls := &cobra.Command{
		Use: "ls [/PATH]", Short: "List conflicts", Long: "List the conflicts at and below a path, with their versions." + online(exitNotFound),
		Args: cobra.MaximumNArgs(1), RunE: works(list),
	}
	var q api.ResolveRequest
	resolve := &cobra.Command{
		Use: "resolve /PATH --keep ours|theirs|both|VERSION", Short: "Keep one version, or both",
		Long: "End the conflict at a path: keep what this pod made, what another made, both as files of their own, or a version by its number or the beginning of it. " +
			"What is not kept can be had back for an hour at least (wh restore)." + online(exitNotFound, exitConflict),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			if q.Keep == "" {
				return usage("--keep is missing: ours, theirs, both, or a version")
			}
			q.Path = api.Text(args[0])
			_, err := call[struct{}](ctx, e, "conflicts/resolve", q)
			return err
		}),
	}
	resolve.Flags().StringVar(&q.Keep, "keep", "", "ours, theirs, both, or a version")
	c.AddCommand(ls, resolve)
	return c
}

func runConflicts(ctx context.Context, e *env, q api.PathRequest) error {
	all, err := call[[]api.Conflict](ctx, e, "conflicts", q)
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	for _, c := range all {
		if err := e.out("%s: %s", e.name(string(c.Path)), conflictTexts[c.Kind]); err != nil {
			return err
		}
		var rows [][]string
		for i, v := range c.Versions {
			rows = append(rows, versionRow(e, c, i, v))
		}
		if err := e.table(rows); err != nil {
			return err
		}
	}
	return nil
}

// conflictTexts say what each kind of conflict is.
var conflictTexts = map[string]string{
	"contents": "several versions", "deleted": "changed, and deleted elsewhere", "renamed": "renamed twice, apart",
}

func versionRow(e *env, c api.Conflict, i int, v api.ConflictVersion) []string {
	at, pod := "unknown", "unknown pod"
	if v.Time != nil {
		at = when(v.Time)
	}
	if v.Pod != "" {
		pod = e.name(string(v.Pod))
	}
	if v.Ours {
		pod += " (this pod)"
	}
	what := fmt.Sprintf("%d bytes", v.Size)
	switch {
	case v.Deleted:
		what = "deleted"
	case v.Kind == "folder":
		what = "folder"
	}
	where := "shown here"
	if i > 0 && !v.Deleted {
		where = "as " + e.name(string(v.Path))
	}
	if i > 0 && c.Kind == "renamed" {
		where = "would be " + e.name(string(v.Path))
	}
	if v.Deleted {
		where = ""
	}
	return []string{"  " + v.ID, at, pod, what, where}
}
