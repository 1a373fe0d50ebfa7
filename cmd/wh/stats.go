package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newStats(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "stats",
		Short: "Figures of what this pod does",
		Long: "Figures of what this pod does: bytes sent to and received from the pods that are connected, and the DHT's routing table, keys that are announced (groups that are held " +
			"here, roots of what is pinned here, and the network), and requests both ways since the start." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runStats(ctx, e) }),
	}
	var q api.HotRequest
	hot := &cobra.Command{
		Use:   "hot",
		Short: "Files that are read most",
		Long: "Files that are read most on this pod, what of them each pod reads, and where they should rather be at home. Reads count half after the time of the network's rule " +
			"moves_after. With its rule moves = auto the home of a file moves to where it is read by itself; a home that was set by wh place stays." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runHot(ctx, e, q) }),
	}
	hot.Flags().IntVarP(&q.Most, "number", "n", 20, "how many files at most")
	c.AddCommand(hot)
	return c
}

func runHot(ctx context.Context, e *env, q api.HotRequest) error {
	list, err := call[[]api.Hot](ctx, e, "stats/hot", q)
	if err != nil {
		return err
	}
	if e.json {
		return e.document(list)
	}
	for _, h := range list {
		line := fmt.Sprintf("%10s read of %s  %s", size(h.ReadBytes), size(h.SizeBytes), e.name(string(h.Path)))
		for _, r := range h.Pods[min(1, len(h.Pods)):] {
			line += fmt.Sprintf("; %s on %s", size(r.ReadBytes), e.name(string(r.Pod)))
		}
		if h.MoveTo != "" {
			line += "; better at home on " + e.name(string(h.MoveTo))
		}
		if err := e.out("%s", line); err != nil {
			return err
		}
	}
	return nil
}

func runStats(ctx context.Context, e *env) error {
	s, err := call[api.Stats](ctx, e, "stats", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(s)
	}
	if err := e.out("connections: %s sent, %s received", size(s.SentBytes), size(s.ReceivedBytes)); err != nil {
		return err
	}
	if !s.DHT.On {
		return e.out("DHT: off")
	}
	return e.out("DHT: %d peers in the routing table, %d keys announced, %d requests answered, %d asked", s.DHT.Peers, s.DHT.AnnouncedKeys, s.DHT.Answered, s.DHT.Asked)
}
