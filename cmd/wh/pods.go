package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newPods(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "pods",
		Short: "List the network's pods",
		Long:  "List the network's pods: name, id, state, role, zone, class, weight, used, free, last seen." + online(exitNotFound),
		Args:  cobra.NoArgs,
		RunE:  works(func(ctx context.Context, _ []string) error { return runPods(ctx, e) }),
	}
}

func runPods(ctx context.Context, e *env) error {
	all, err := call[[]api.Pod](ctx, e, "pods", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	return e.table(podRows(e, all))
}

func podRows(e *env, all []api.Pod) [][]string {
	rows := [][]string{{"NAME", "ID", "STATE", "ROLE", "ZONE", "CLASS", "WEIGHT", "USED", "FREE", "LAST SEEN"}}
	for _, p := range all {
		rows = append(rows, []string{
			e.name(string(p.Name)), p.ID, p.State, p.Role, orDash(p.Zone), orDash(p.Class), fmt.Sprint(p.Weight), size(p.UsedBytes),
			size(p.FreeBytes), when(p.LastSeen),
		})
	}
	return rows
}
