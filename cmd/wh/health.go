package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

func newHealth(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "List what there is to warn of, and what to do about it",
		Long: "List what there is to warn of, the worst first, and what to do about it. docs/health.md has a section for each code. Exits with 7 where wh status does." +
			online(exitNotFound, exitNotEnough),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runHealth(ctx, e) }),
	}
}

func runHealth(ctx context.Context, e *env) error {
	st, err := call[api.Status](ctx, e, "status", struct{}{})
	if err != nil {
		return err
	}
	switch {
	case e.json:
		err = e.document(st.Warnings)
	case len(st.Warnings) == 0:
		err = e.out("nothing to warn of")
	default:
		err = e.out("%s", strings.Join(warningLines(e, st.Warnings), "\n"))
	}
	if err == nil && !st.Healthy {
		return said(pod.ErrNotSafe)
	}
	return err
}
