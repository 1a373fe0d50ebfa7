package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

func newEvents(e *env) *cobra.Command {
	var since string
	var q api.EventsRequest
	c := &cobra.Command{
		Use:   "events",
		Short: "List what happened to this pod, oldest first",
		Long: "List what happened to this pod, oldest first: files that could not be read or saved, and why; damaged blocks; conflicts; pods that came and went." +
			" The newest thousand are kept. --since takes a time as RFC 3339 has it, or a duration: 10m is ten minutes ago." + online(exitUsage, exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) (err error) {
			if q.Since, err = sinceTime(since, clock.Real{}.Now()); err != nil {
				return err
			}
			return runEvents(ctx, e, q)
		}),
	}
	c.Flags().StringVar(&since, "since", "", "a time, or how long ago")
	c.Flags().StringSliceVar(&q.Kinds, "kind", nil, "only events of this kind, or these: "+strings.Join(pod.EventKinds(), ", "))
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with what comes")
	return c
}

// sinceTime reads what the user gives as --since; nil for nothing.
func sinceTime(s string, now time.Time) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		at := now.Add(-d)
		return &at, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, usage("--since %q is neither a time, as 2026-01-31T12:00:00Z, nor a duration, as 10m", s)
	}
	return &at, nil
}

func runEvents(ctx context.Context, e *env, q api.EventsRequest) error {
	return client.List(ctx, e.client(), "events", q, func(ev api.Event) error {
		if e.json {
			return e.document(ev)
		}
		var words []string
		for _, word := range []api.Text{ev.Path, ev.Pod, ev.Text} {
			if word != "" {
				words = append(words, e.name(string(word)))
			}
		}
		return e.out("%s  %-16s %s", ev.Time.Format(time.RFC3339), ev.Kind, strings.Join(words, "  "))
	})
}
