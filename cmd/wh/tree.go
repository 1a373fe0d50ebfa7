package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
)

type treeOptions struct {
	path  string
	depth int // of folders that are opened; 0: all
}

func newTree(e *env) *cobra.Command {
	var o treeOptions
	c := &cobra.Command{
		Use:   "tree [/PATH]",
		Short: "Draw a folder and all below it",
		Long:  "Draw a folder and all below it." + online(exitNotFound),
		Args:  cobra.MaximumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.path = "/"
			if len(args) > 0 {
				o.path = args[0]
			}
			if o.depth < 0 {
				return usage("a depth of %d", o.depth)
			}
			return runTree(ctx, e, o)
		}),
	}
	c.Flags().IntVarP(&o.depth, "level", "L", 0, "open folders down to this depth only; 0: all")
	return c
}

// drawing is a tree that is being drawn. Of the folders that are open it holds all entries.
type drawing struct {
	e              *env
	depth          int
	folders, files int
}

func runTree(ctx context.Context, e *env, o treeOptions) error {
	w := bufio.NewWriter(e.stdout)
	line := *e // Its lines are gathered.
	line.stdout = w
	d := drawing{e: &line, depth: o.depth}
	err := d.draw(ctx, e, o.path)
	return errors.Join(err, w.Flush())
}

func (d *drawing) draw(ctx context.Context, e *env, root string) error {
	top, err := call[api.Stat](ctx, e, "stat", api.PathRequest{Path: api.Text(root)})
	if err != nil {
		return err
	}
	if e.json {
		err = d.e.document(top.Entry)
	} else {
		err = d.e.out("%s", e.name(string(top.Path)))
	}
	if err != nil || top.Kind != "folder" {
		return err
	}
	if err := d.folder(ctx, e, string(top.Path), "", 1); err != nil || e.json {
		return err
	}
	return d.e.out("\nfolders %d, files %d", d.folders, d.files)
}

// folder draws what is in a folder, each line behind indent. One that was removed meanwhile is empty.
func (d *drawing) folder(ctx context.Context, e *env, dir, indent string, depth int) error {
	var all []api.Entry
	err := client.List(ctx, e.client(), "ls", api.PathRequest{Path: api.Text(dir)}, func(x api.Entry) error {
		all = append(all, x)
		return nil
	})
	if err != nil && (depth == 1 || exitCode(err) != exitNotFound) {
		return err
	}
	for i, x := range all {
		branch, below := "├── ", "│   "
		if i == len(all)-1 {
			branch, below = "└── ", "    "
		}
		if err := d.entry(e, indent+branch, x); err != nil {
			return err
		}
		if x.Kind != "folder" {
			d.files++
			continue
		}
		d.folders++
		if d.depth > 0 && depth >= d.depth {
			continue
		}
		if err := d.folder(ctx, e, path.Join(dir, string(x.Name)), indent+below, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *drawing) entry(e *env, before string, x api.Entry) error {
	if e.json {
		return d.e.document(x)
	}
	s := fmt.Sprint(before, e.name(string(x.Name)))
	if x.Kind == "symlink" {
		s += " -> " + e.name(string(x.Target))
	}
	return d.e.out("%s", s)
}
