package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newGC(e *env) *cobra.Command {
	var q api.GCRequest
	var yes bool
	c := &cobra.Command{
		Use:   "gc",
		Short: "Collect garbage: blocks that nothing names any more",
		Long: "Collect garbage: blocks that nothing names any more go to the trash, and those that have been there for 48 hours, and that no pod can need, are deleted." +
			" The daemon does this by itself, every hour." + online(exitNotFound, exitNotEnough),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runGC(ctx, e, q, yes) }),
	}
	c.Flags().BoolVar(&q.DryRun, "dry-run", false, "only say what would be done")
	c.Flags().BoolVar(&q.Now, "now", false, "delete what is in the trash now, if no other pod can need it; asks first on a terminal")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	return c
}

func runGC(ctx context.Context, e *env, q api.GCRequest, yes bool) error {
	if q.Now && !q.DryRun && !yes {
		if err := e.confirm("Deleted files can't be brought back after this. Go on?"); err != nil {
			return err
		}
	}
	got, err := call[api.GC](ctx, e, "gc", q)
	if err != nil {
		return err
	}
	if e.json {
		return e.document(got)
	}
	rows := [][]string{
		{"to the trash", size(got.TrashedBytes)},
		{"deleted", size(got.FreedBytes)},
		{"given back by rewriting", size(got.CompactedBytes)},
		{"left in the trash", size(got.TrashBytes)},
	}
	if got.RestoredBytes > 0 {
		rows = append(rows, []string{"back from the trash", size(got.RestoredBytes)})
	}
	if err := e.table(rows); err != nil || len(got.Waiting) == 0 {
		return err
	}
	names := make([]string, len(got.Waiting))
	for i, n := range got.Waiting {
		names[i] = e.name(string(n))
	}
	e.say("waiting for %s, which may need what is in the trash: start it, or it counts as dormant after 30 days", strings.Join(names, ", "))
	return nil
}

// errNotConfirmed says that the user said no.
var errNotConfirmed = errors.New("not confirmed: nothing was done")

// confirm asks on a terminal; elsewhere it goes on.
func (e *env) confirm(question string) error {
	if f, ok := e.stdin.(*os.File); !ok || !isTerminal(f) || !isTerminal(e.stderr) {
		return nil
	}
	if _, err := fmt.Fprintf(e.stderr, "%s [y/N] ", question); err != nil {
		return err
	}
	answer, err := bufio.NewReader(e.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errNotConfirmed
	}
	return nil
}
