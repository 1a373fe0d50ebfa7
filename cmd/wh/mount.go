package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

type mountOptions struct {
	dir     string
	options []string
	save    bool
}

func newMount(e *env) *cobra.Command {
	var o mountOptions
	c := &cobra.Command{
		Use:   "mount [DIR]",
		Short: "Mount a pod on a folder, or list the mounts",
		Long:  "Mount a pod on a folder, for this run or for every run. Without a folder, list the mounts." + online(exitNotFound, exitConflict),
		Args:  cobra.MaximumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				return runMounts(ctx, e)
			}
			o.dir = args[0]
			return runMount(ctx, e, o)
		}),
	}
	c.Flags().StringSliceVarP(&o.options, "options", "o", nil, "allow_other, ro, dev, suid, noexec, writeback, keep (a file that is opened for reading stays as it is), uid=HERE[:NETWORK], gid=HERE[:NETWORK]")
	c.Flags().BoolVar(&o.save, "save", false, "at every wh up")
	return c
}

func runMount(ctx context.Context, e *env, o mountOptions) error {
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	_, err = call[struct{}](ctx, e, "mount", api.Mount{Dir: api.Text(dir), Options: append([]string{}, o.options...), Save: o.save})
	return err
}

func runMounts(ctx context.Context, e *env) error {
	all, err := call[[]api.Mount](ctx, e, "mounts", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	for _, m := range all {
		if err := e.out("%s on %s", m.Pod, e.name(string(m.Dir))); err != nil {
			return err
		}
	}
	return nil
}

func newUnmount(e *env) *cobra.Command {
	var u api.Unmount
	c := &cobra.Command{
		Use:   "unmount [DIR]",
		Short: "Take a pod's mount, or all of them, away",
		Long:  "Take a pod's mount, or all of them, away, for this run or for every run." + online(exitNotFound),
		Args:  cobra.MaximumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				dir, err := filepath.Abs(args[0])
				if err != nil {
					return fmt.Errorf("unmount: %w", err)
				}
				u.Dir = api.Text(dir)
			}
			_, err := call[struct{}](ctx, e, "unmount", u)
			return err
		}),
	}
	c.Flags().BoolVar(&u.Save, "save", false, "not at the next wh up either")
	return c
}
