package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newWhere(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "where /PATH",
		Short: "Show who holds a file",
		Long:  "Show who holds a file, block by block, and whether it is safe." + online(exitNotFound),
		Args:  cobra.ExactArgs(1),
		RunE:  works(func(ctx context.Context, args []string) error { return runWhere(ctx, e, args[0]) }),
	}
}

func runWhere(ctx context.Context, e *env, path string) error {
	w, err := call[api.Where](ctx, e, "where", api.PathRequest{Path: api.Text(path)})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(w)
	}
	if err := e.out("%s: %s, policy %s, %s", e.name(string(w.Path)), safety(w.Safety), w.Policy, w.CID); err != nil {
		return err
	}
	rows := [][]string{{"BLOCK", "BYTES", "STATE", "HELD BY"}}
	for _, c := range w.Chunks {
		var held []string
		for _, h := range c.Holders {
			s := e.name(string(h.Pod)) + " " + h.Kind
			if h.Index >= 0 {
				s += fmt.Sprintf(" %d", h.Index)
			}
			if h.Pinned {
				s += " pinned"
			}
			held = append(held, s)
		}
		rows = append(rows, []string{c.CID.String(), fmt.Sprint(c.Bytes), safety(c.Safety), orDash(strings.Join(held, ", "))})
	}
	return e.table(rows)
}

// safety is how safe something is, with the numbers where they tell something.
func safety(s api.Safety) string {
	if s.State == "spreading" || s.State == "degraded" {
		return fmt.Sprintf("%s %d/%d", s.State, s.Have, s.Need)
	}
	return s.State
}
