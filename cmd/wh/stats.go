package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newStats(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Figures of what this pod does",
		Long: "Figures of what this pod does: bytes sent to and received from the pods that are connected, and the DHT's routing table, keys that are announced (groups that are held " +
			"here, roots of what is pinned here, and the network), and requests both ways since the start." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runStats(ctx, e) }),
	}
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
