package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func newMetrics(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "metrics",
		Short: "Print the metrics of this machine's pods, as Prometheus reads them",
		Long: "Print the metrics of this machine's pods, as Prometheus reads them. Prometheus itself scrapes http://HOST:PORT/metrics where machine.toml sets" +
			" metrics_listen; examples/monitoring has a dashboard and alert rules." + online(),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return e.client().Fetch(ctx, "metrics", e.stdout) }),
	}
}

type pprofOptions struct {
	out     string
	seconds time.Duration
}

func newPprof(e *env) *cobra.Command {
	var o pprofOptions
	c := &cobra.Command{
		Use:   "pprof profile|trace|heap|goroutine|allocs|block|mutex",
		Short: "Write a profile of the running daemon, for developers",
		Long:  "Write a profile of the running daemon, for developers: read it with go tool pprof, a trace with go tool trace." + online(),
		Args:  cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), ValidArgs: []string{"profile", "trace", "heap", "goroutine", "allocs", "block", "mutex"},
		Hidden: true,
		RunE:   works(func(ctx context.Context, args []string) error { return runPprof(ctx, e, args[0], o) }),
	}
	c.Flags().StringVarP(&o.out, "output", "o", "", "the file to write; else NAME.pprof")
	c.Flags().DurationVar(&o.seconds, "seconds", 10*time.Second, "of profile and trace: how long")
	return c
}

func runPprof(ctx context.Context, e *env, name string, o pprofOptions) (err error) {
	if o.out == "" {
		o.out = name + ".pprof"
	}
	f, err := os.Create(o.out)
	if err != nil {
		return fmt.Errorf("pprof: %w", err)
	}
	what := "debug/pprof/" + url.PathEscape(name)
	if name == "profile" || name == "trace" {
		what += fmt.Sprintf("?seconds=%d", max(1, int(o.seconds.Seconds())))
	}
	err = errors.Join(e.client().Fetch(ctx, what, f), f.Close())
	if err != nil {
		_ = os.Remove(o.out) // It is no profile.
		return err
	}
	return e.out("%s", o.out)
}
