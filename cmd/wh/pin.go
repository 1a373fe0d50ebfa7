package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newPin(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "pin",
		Short: "Keep whole copies on a pod",
		Long: "Keep whole copies of files on a pod, on top of what the policy asks for. A folder's pin holds for all below it, what comes later included." +
			online(exitNotFound),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usage("pin needs add, rm or ls") },
	}
	var on string
	set := func(gone bool) func(context.Context, []string) error {
		return func(ctx context.Context, args []string) error {
			_, err := call[struct{}](ctx, e, "pins/set", api.PinRequest{Path: api.Text(args[0]), Pod: on, Gone: gone})
			return err
		}
	}
	add := &cobra.Command{
		Use: "add /PATH", Short: "Make a pin", Long: "Keep whole copies of all at and below a path here, or on another pod. It returns at once; wh sync --wait waits for the copies." +
			online(exitNotFound),
		Args: cobra.ExactArgs(1), RunE: works(set(false)),
	}
	rm := &cobra.Command{
		Use: "rm /PATH", Short: "Take a pin back", Long: "Take back a pin that was made at this very path. The copies become cache." + online(exitNotFound),
		Args: cobra.ExactArgs(1), RunE: works(set(true)),
	}
	for _, sub := range []*cobra.Command{add, rm} {
		sub.Flags().StringVar(&on, "pod", "", "the pod that keeps the copies; without it, the one that is asked")
	}
	ls := &cobra.Command{
		Use: "ls [/PATH]", Short: "List pins and homes", Long: "List the pins and homes that are set at and below a path." + online(exitNotFound),
		Args: cobra.MaximumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			q := pathOf(args)
			return runPins(ctx, e, q)
		}),
	}
	c.AddCommand(add, rm, ls)
	return c
}

func runPins(ctx context.Context, e *env, q api.PathRequest) error {
	all, err := call[[]api.Pin](ctx, e, "pins", q)
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	rows := [][]string{{"PATH", "POD", "KIND"}}
	for _, p := range all {
		kind := "pin"
		if p.Home {
			kind = "home"
		}
		rows = append(rows, []string{e.name(string(p.Path)), e.name(string(p.Pod)), kind})
	}
	return e.table(rows)
}
