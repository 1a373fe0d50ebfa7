package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/block"
)

func newFsck(e *env) *cobra.Command {
	var q api.FsckRequest
	c := &cobra.Command{
		Use:   "fsck",
		Short: "Check all that this pod holds",
		Long:  "Check all that this pod holds. Exits with 8 if a problem is left." + online(exitNotFound, exitCorrupt),
		Args:  cobra.NoArgs,
		RunE:  works(func(ctx context.Context, _ []string) error { return runFsck(ctx, e, q) }),
	}
	c.Flags().BoolVar(&q.Repair, "repair", false, "repair what can be")
	return c
}

func runFsck(ctx context.Context, e *env, q api.FsckRequest) error {
	all := []api.Problem{}
	left := 0
	err := client.List(ctx, e.client(), "fsck", q, func(p api.Problem) error {
		if !p.Fixed {
			left++
		}
		if e.json {
			all = append(all, p)
			return nil
		}
		return e.problem(p)
	})
	if err == nil && e.json {
		err = e.document(struct {
			Problems []api.Problem `json:"problems"`
		}{all})
	}
	if err == nil && left > 0 {
		return fmt.Errorf("%d problems are left: %w", left, block.ErrCorrupt)
	}
	return err
}

// problem prints a problem that was found.
func (e *env) problem(p api.Problem) error {
	word := "problem"
	if p.Fixed {
		word = "repaired"
	}
	return e.out("%s: %s: %s", word, e.name(string(p.Where)), e.name(string(p.What)))
}
