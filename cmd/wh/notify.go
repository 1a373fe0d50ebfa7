package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newNotify(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "notify",
		Short: "Try the notifications of warnings",
		Long: "Try the notifications of warnings. Who is told stands in machine.toml, as [[notify]] tables: wh config template machine shows one." +
			exits(),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("notify needs test") },
	}
	c.AddCommand(&cobra.Command{
		Use: "test", Short: "Send a message to all who are told of warnings", Long: "Send a message to all who are told of warnings." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runNotifyTest(ctx, e) }),
	})
	return c
}

// errNotNotified says that a message could not be sent.
var errNotNotified = errors.New("not all could be told")

func runNotifyTest(ctx context.Context, e *env) error {
	all, err := call[[]api.Notified](ctx, e, "notify/test", struct{}{})
	if err != nil {
		return err
	}
	failed := 0
	for _, n := range all {
		line := n.Name + ": sent"
		if n.Error != "" {
			failed++
			line = fmt.Sprintf("%s: %s", n.Name, n.Error)
		}
		if e.json {
			continue
		}
		if err := e.out("%s", e.name(line)); err != nil {
			return err
		}
	}
	if e.json {
		if err := e.document(all); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d: %w", failed, len(all), errNotNotified)
	}
	return nil
}
