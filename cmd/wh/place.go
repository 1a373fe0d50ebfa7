package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newPlace(e *env) *cobra.Command {
	var homes []string
	c := &cobra.Command{
		Use:   "place /PATH --home POD[,POD...]",
		Short: "Keep whole copies at home on some pods",
		Long: "Keep whole copies of a path, and of all below it, at home on some pods, on top of what the policy asks for. An empty --home inherits again; WH_HOME is named by --home before the command. " +
			"It returns at once; wh sync --wait waits for the copies." + online(exitNotFound),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			q := api.PlaceRequest{Path: api.Text(args[0]), Homes: []string{}}
			for _, h := range homes {
				if h = strings.TrimSpace(h); h != "" {
					q.Homes = append(q.Homes, h)
				}
			}
			_, err := call[struct{}](ctx, e, "place", q)
			return err
		}),
	}
	c.Flags().StringSliceVar(&homes, "home", nil, "names of pods")
	if err := c.MarkFlagRequired("home"); err != nil {
		panic(err) // the flag is the one above
	}
	return c
}
