package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newPeers(e *env) *cobra.Command {
	why := false
	c := &cobra.Command{
		Use:   "peers",
		Short: "List this pod's connections",
		Long: "List this pod's connections to the others: address, transport, direct or by a relay, round trip, bytes sent and received a second. With --why\n" +
			"also why a pod is not connected, and where it was looked for." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runPeers(ctx, e, why) }),
	}
	c.Flags().BoolVar(&why, "why", false, "why pods are not connected, or not directly")
	return c
}

func runPeers(ctx context.Context, e *env, why bool) error {
	all, err := call[[]api.Peer](ctx, e, "peers", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	rows := [][]string{{"NAME", "ADDRESS", "BY", "ROUND TRIP", "SENDS", "RECEIVES", "SINCE"}}
	for _, p := range all {
		if p.Connected {
			rows = append(rows, []string{
				e.name(string(p.Name)), p.Address, by(p), fmt.Sprintf("%.1f ms", p.RTTMS), size(p.SentBytesPerS) + "/s",
				size(p.ReceivedBytesPerS) + "/s", when(p.Since),
			})
		} else {
			rows = append(rows, []string{e.name(string(p.Name)), "not connected", "-", "-", "-", "-", "-"})
		}
	}
	if err := e.table(rows); err != nil || !why {
		return err
	}
	for _, p := range all {
		if err := explain(e, p); err != nil {
			return err
		}
	}
	return nil
}

func by(p api.Peer) string {
	if p.Direct {
		return p.Transport
	}
	return p.Transport + ", relayed"
}

// explain says why a pod is not connected, or not directly.
func explain(e *env, p api.Peer) error {
	if p.Connected && p.Direct {
		return nil
	}
	why := p.Why
	if p.Connected {
		why = "a relay is used: none of its addresses answers directly"
	}
	if err := e.out("\n%s: %s", e.name(string(p.Name)), printable(why)); err != nil {
		return err
	}
	if len(p.Addresses) > 0 {
		if err := e.out("  looked for at %s", printable(strings.Join(p.Addresses, ", "))); err != nil {
			return err
		}
	}
	if p.Connected {
		return nil
	}
	return e.out("  last tried %s", when(p.Since))
}
