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

type duOptions struct {
	path     string
	all      bool
	summary  bool
	human    bool
	apparent bool
}

func newDu(e *env) *cobra.Command {
	var o duOptions
	c := &cobra.Command{
		Use:   "du [/PATH]",
		Short: "Show how much files and folders hold",
		Long: "Show how much each folder holds, with all below it, in KiB: the bytes of files that are not holes. A file with several\n" +
			"names counts once. What redundancy adds, and what compression and equal contents save, isn't in it: see wh df." + online(exitNotFound),
		Args: cobra.MaximumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.path = "/"
			if len(args) > 0 {
				o.path = args[0]
			}
			if o.all && o.summary {
				return usage("--all and --summarize exclude each other")
			}
			return runDu(ctx, e, o)
		}),
	}
	c.Flags().BoolVarP(&o.all, "all", "a", false, "files, too")
	c.Flags().BoolVarP(&o.summary, "summarize", "s", false, "only the sum")
	c.Flags().BoolVarP(&o.human, "human-readable", "H", false, "sizes for people")
	c.Flags().BoolVar(&o.apparent, "apparent-size", false, "sizes of files, holes and all")
	return c
}

// held is what a file, or a folder and all below it, holds.
type held struct {
	Path      api.Text `json:"path"`
	DiskBytes uint64   `json:"disk_bytes"`
	SizeBytes uint64   `json:"size_bytes"`
	Files     uint64   `json:"files"`

	below []*held
}

// sum adds what is below to a folder.
func (h *held) sum() {
	for _, b := range h.below {
		b.sum()
		h.DiskBytes += b.DiskBytes
		h.SizeBytes += b.SizeBytes
		h.Files += b.Files
	}
}

func runDu(ctx context.Context, e *env, o duOptions) error {
	top, err := weigh(ctx, e, o)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(e.stdout)
	line := *e // Its lines are gathered.
	line.stdout = w
	return errors.Join(showHeld(&line, e, o, top), w.Flush())
}

// weigh lists a path, and sums up. It holds a record for each folder below the path, and with --all for each file.
func weigh(ctx context.Context, e *env, o duOptions) (*held, error) {
	st, err := call[api.Stat](ctx, e, "stat", api.PathRequest{Path: api.Text(o.path)})
	if err != nil {
		return nil, err
	}
	top := &held{Path: st.Path, DiskBytes: st.DiskBytes, SizeBytes: st.SizeBytes, Files: 1}
	if st.Kind != "folder" {
		return top, nil
	}
	*top = held{Path: st.Path}
	folders := map[string]*held{string(st.Path): top}
	linked := map[uint64]bool{}
	err = client.List(ctx, e.client(), "ls", api.PathRequest{Path: st.Path, Recursive: true}, func(x api.Entry) error {
		dir := folders[path.Dir(string(x.Path))]
		if dir == nil {
			return fmt.Errorf("%s was listed before its folder: %w", x.Path, api.ErrProtocol)
		}
		if x.Kind == "folder" {
			h := &held{Path: x.Path}
			folders[string(x.Path)] = h
			dir.below = append(dir.below, h)
			return nil
		}
		if x.NLink > 1 {
			if linked[x.ID] {
				return nil
			}
			linked[x.ID] = true
		}
		if o.all {
			dir.below = append(dir.below, &held{Path: x.Path, DiskBytes: x.DiskBytes, SizeBytes: x.SizeBytes, Files: 1})
			return nil
		}
		dir.DiskBytes += x.DiskBytes
		dir.SizeBytes += x.SizeBytes
		dir.Files++
		return nil
	})
	top.sum()
	return top, err
}

// showHeld prints a folder after what is below it.
func showHeld(line, e *env, o duOptions, h *held) error {
	if !o.summary {
		for _, b := range h.below {
			if err := showHeld(line, e, o, b); err != nil {
				return err
			}
		}
	}
	if e.json {
		return line.document(h)
	}
	n := h.DiskBytes
	if o.apparent {
		n = h.SizeBytes
	}
	const kib = 1024
	s := fmt.Sprint((n + kib - 1) / kib)
	if o.human {
		s = size(int64(n))
	}
	return line.out("%s\t%s", s, e.name(string(h.Path)))
}
