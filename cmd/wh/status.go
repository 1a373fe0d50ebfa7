package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

func newStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show whether all is well, on one screen",
		Long: "Show whether all is well, on one screen. Exits with 7 when something acknowledged is below its policy while there " +
			"are pods to hold it, or a pod is down." + online(exitNotFound, exitNotEnough),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runStatus(ctx, e) }),
	}
}

func runStatus(ctx context.Context, e *env) error {
	st, err := call[api.Status](ctx, e, "status", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		err = e.document(st)
	} else {
		err = printStatus(e, st)
	}
	if err == nil && !st.Healthy {
		return said(pod.ErrNotSafe) // The lines above say why.
	}
	return err
}

func printStatus(e *env, st api.Status) error {
	word := "healthy"
	if !st.Healthy {
		word = "NOT HEALTHY"
	}
	network := fmt.Sprintf("network %s (%.8s)", st.NetworkName, st.Network)
	if st.Encrypted {
		network += ", encrypted"
	}
	lines := []string{
		network + ": " + word,
		fmt.Sprintf("this pod %s, %s; not yet safe %s, not yet committed %s", st.Name, st.Role, size(st.UnsafeBytes), size(st.DirtyBytes)),
	}
	var states []string
	for _, b := range st.States {
		if b.Bytes > 0 {
			states = append(states, b.State+" "+size(b.Bytes))
		}
	}
	if len(states) > 0 {
		lines = append(lines, "bytes of files: "+strings.Join(states, ", "))
	}
	for _, r := range st.Reasons {
		lines = append(lines, "because: "+r)
	}
	for _, w := range st.Warnings {
		lines = append(lines, fmt.Sprintf("%s: %s: %s (%s)", w.Severity, w.Title, w.Text, w.Code))
	}
	for _, l := range lines {
		if err := e.out("%s", e.name(l)); err != nil {
			return err
		}
	}
	return e.table(podRows(e, st.Pods))
}
