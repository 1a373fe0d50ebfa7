package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newCache(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "cache",
		Short: "Show, clean and limit the copies that are kept for quick reading",
		Long: "Show, clean and limit the copies of others' blocks that this pod keeps for quick reading. They go by themselves when they reach their limit or the disk fills: " +
			"what was read once goes before what was read again. Never the last copy that is known, never what the policy or a pin wants here." + online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runCache(ctx, e) }),
	}
	c.AddCommand(
		&cobra.Command{
			Use: "ls", Short: "Show what the cache has, and its limits", Long: "Show what the cache has, and its limits." + online(exitNotFound), Args: cobra.NoArgs,
			RunE: works(func(ctx context.Context, _ []string) error { return runCache(ctx, e) }),
		},
		&cobra.Command{
			Use: "clean", Short: "Drop all cached copies", Long: "Drop all cached copies but those of which no other is known. The space is free when it returns." + online(exitNotFound), Args: cobra.NoArgs,
			RunE: works(func(ctx context.Context, _ []string) error { return runCacheClean(ctx, e) }),
		},
		&cobra.Command{
			Use: "set SIZE", Short: "Limit the cache", Long: "Limit the cache to SIZE, such as 20GiB, from now on; 0 is the default. The same as wh config set cache_bytes SIZE." + online(exitUsage, exitNotFound),
			Args: cobra.ExactArgs(1),
			RunE: works(func(ctx context.Context, args []string) error { return runCacheSet(ctx, e, args[0]) }),
		},
	)
	return c
}

func runCache(ctx context.Context, e *env) error {
	c, err := call[api.Cache](ctx, e, "cache", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(c)
	}
	if err := e.out("%s in %d copies, %s of them read again, of %s; %s of the disk are left free", size(c.CacheBytes), c.Copies, size(c.ProtectedBytes),
		size(c.LimitBytes), size(c.LeaveFreeBytes)); err != nil || c.LastCopies == 0 {
		return err
	}
	return e.out("%d copies stay: no other is known", c.LastCopies)
}

func runCacheClean(ctx context.Context, e *env) error {
	c, err := call[api.CacheCleaned](ctx, e, "cache/clean", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(c)
	}
	return e.out("dropped %s; %s stay", size(c.Bytes), size(c.CacheBytes))
}

func runCacheSet(ctx context.Context, e *env, value string) error {
	done, err := call[api.ConfigDone](ctx, e, "config/set", api.ConfigSet{Scope: api.ScopePod, Key: "cache_bytes", Value: value})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(done)
	}
	return e.out("%s.%s = %s", done.Scope, done.Key, done.Value)
}
