package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newDf(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "df",
		Short: "Show how this pod's disk is used",
		Long:  "Show how this pod's disk is used." + online(exitNotFound),
		Args:  cobra.NoArgs,
		RunE:  works(func(ctx context.Context, _ []string) error { return runDf(ctx, e) }),
	}
}

func runDf(ctx context.Context, e *env) error {
	u, err := call[api.Usage](ctx, e, "usage", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(u)
	}
	return e.table([][]string{
		{"stored", size(u.StoredBytes)},
		{"live", size(u.LiveBytes)},
		{"pinned", size(u.PinnedBytes)},
		{"cache", size(u.CacheBytes)},
		{"trash", size(u.TrashBytes)},
		{"snapshots", size(u.SnapshotBytes)},
		{"garbage", size(u.GarbageBytes)},
		{"free", size(u.FreeBytes)},
	})
}
