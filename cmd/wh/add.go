package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
)

type addOptions struct {
	paths  []string
	to     string
	name   string
	policy string
	move   bool
	force  bool
	pin    bool
}

func newAdd(e *env) *cobra.Command {
	var o addOptions
	c := &cobra.Command{
		Use:   "add PATH...",
		Short: "Import files, folders, or - (stdin)",
		Long: "Import files, folders, or - (stdin, with --name). Targets are named as cp -r does: an existing folder receives, " +
			"else the name is taken. A file that exists gets new contents; folders merge. Prints \"added CID PATH\" for each " +
			"argument, when all is durable here." + online(exitNotFound, exitConflict, exitNotEnough, exitCorrupt),
		Args: cobra.MinimumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.paths = args
			return runAdd(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.to, "to", "/", "where to, in the network")
	c.Flags().StringVar(&o.name, "name", "", "name of what comes from stdin")
	c.Flags().StringVar(&o.policy, "policy", "", "policy of what is added: none, raid0, raid1, raid5, raid6, replica:N, rs:K+M")
	c.Flags().BoolVar(&o.pin, "pin", false, "keep whole copies of it on this pod (wh pin)")
	c.Flags().BoolVar(&o.move, "move", false, "delete the sources afterwards")
	c.Flags().BoolVar(&o.force, "force", false, "replace files and links that are in the way")
	return c
}

func runAdd(ctx context.Context, e *env, o addOptions) error {
	sources, err := addSources(e, o)
	if err != nil {
		return err
	}
	ao := client.AddOptions{To: o.to, Policy: o.policy, Force: o.force, Move: o.move}
	return addAll(ctx, e, ao, sources, func(a api.Added) error {
		if o.pin {
			if _, err := call[struct{}](ctx, e, "pins/set", api.PinRequest{Path: a.Path}); err != nil {
				return fmt.Errorf("%s was added, and not pinned: %w", e.name(string(a.Path)), err)
			}
		}
		if e.json {
			return e.document(a)
		}
		return e.out("added %s %s", a.CID, e.name(string(a.Path)))
	})
}

// addAll adds sources, and calls each, if it is not nil, with those that came.
func addAll(ctx context.Context, e *env, o client.AddOptions, sources []client.Source, each func(api.Added) error) error {
	p := newProblems(e)
	show := newProgress(e)
	mounts := ownMounts(ctx, e)
	o.Sources, o.Devices, o.Skip = sources, devices(mounts), skipped(e, sources, mounts)
	o.Problem, o.Progress = p.add, show.update
	r, err := e.client().Add(ctx, o)
	show.end()
	if err != nil {
		return err
	}
	for _, a := range r.Added {
		if a.CID.IsZero() || each == nil {
			continue // Its problem was told.
		}
		if err := each(a); err != nil {
			return err
		}
	}
	return p.err()
}

// addSources makes sources of the arguments.
func addSources(e *env, o addOptions) ([]client.Source, error) {
	var out []client.Source
	stdin := false
	for _, p := range o.paths {
		if p == "-" {
			if o.name == "" {
				return nil, usage("- needs --name")
			}
			if stdin {
				return nil, usage("- is there twice")
			}
			stdin = true
			out = append(out, client.Source{Path: "-", Name: o.name, Reader: e.stdin, Mtime: e.clock.Now().UnixNano()})
			continue
		}
		if p == "" {
			return nil, usage("an empty path")
		}
		out = append(out, client.Source{Path: p, Name: sourceName(p)})
	}
	if o.name != "" && !stdin {
		return nil, usage("--name is for - only; --to can name the target")
	}
	return out, nil
}

// sourceName is the name that a source has in a folder that receives it. As with cp -r, "." and its like have none:
// what is in them is merged into the folder.
func sourceName(p string) string {
	for len(p) > 1 && os.IsPathSeparator(p[len(p)-1]) {
		p = p[:len(p)-1]
	}
	name := p
	for i := len(p) - 1; i >= 0; i-- {
		if os.IsPathSeparator(p[i]) {
			name = p[i+1:]
			break
		}
	}
	if name == "." || name == ".." || name == filepath.VolumeName(p) {
		return ""
	}
	return name
}

// skipped are the folders that an add leaves out: WH_HOME, whose files change while it runs, and the network's own
// mounts.
func skipped(e *env, sources []client.Source, mounts []api.Mount) map[string]bool {
	out := map[string]bool{string(e.home): true}
	for _, m := range mounts {
		out[string(m.Dir)] = true
	}
	for _, s := range sources { // What is named itself is meant.
		if abs, err := filepath.Abs(s.Path); err == nil {
			delete(out, abs)
		}
	}
	return out
}

// ownMounts are the mounts of this machine's pods.
func ownMounts(ctx context.Context, e *env) []api.Mount {
	all, err := call[[]api.Mount](ctx, e, "mounts", struct{}{})
	if err != nil {
		return nil // What follows will say why.
	}
	return all
}

// devices are those of mounts. A daemon that reads or writes on its own mount, through a descriptor that it was handed,
// can't be killed while it waits for itself: there this process reads and writes, and streams.
func devices(mounts []api.Mount) map[uint64]bool {
	out := map[uint64]bool{}
	for _, m := range mounts {
		if dev, ok := client.Device(string(m.Dir)); ok {
			out[dev] = true
		}
	}
	return out
}
