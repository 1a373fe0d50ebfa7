package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/config"
)

func newGet(e *env) *cobra.Command {
	o := client.GetOptions{}
	var most string
	c := &cobra.Command{
		Use:   "get /PATH|CID",
		Short: "Export a file or tree",
		Long: "Export a file or tree, by path or CID. DEST is named as cp -r does: an existing folder receives, else the name is " +
			"taken; - is stdout. What is there already, complete, is not written again; a folder that is not there yet is written as " +
			"a hidden one beside it and appears when it is complete, and after an interruption the same command goes on. What can't be had is listed, the rest is " +
			"written. Owners are restored by root only; device files, set-id bits and capabilities are left out and listed, since any " +
			"writer of the network could have put them there." + online(exitNotFound, exitConflict, exitNotEnough, exitCorrupt),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.Source = args[0]
			n, err := config.ParseBytes(most)
			if err != nil {
				return usage("--max-bytes: %v", err)
			}
			if o.Dest == "-" && (n > 0 || o.FilesMax > 0) {
				return usage("--max-bytes and --max-files limit what is written to a disk, not -o -")
			}
			o.BytesMax = uint64(n)
			return runGet(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.At, "at", "", "what the path was at a time (2026-11-26T12:00:00Z, 2h, \"3 days ago\") or in a snapshot")
	c.Flags().StringVarP(&o.Dest, "output", "o", ".", "where to, on this machine; - is stdout")
	c.Flags().BoolVar(&o.Dev, "dev", false, "make device files, too; needs root")
	c.Flags().BoolVar(&o.SUID, "suid", false, "keep set-id bits and capabilities of files")
	c.Flags().Uint64Var(&o.FilesMax, "max-files", 0, "stop before more files and folders than this come; 0: no limit")
	c.Flags().StringVar(&most, "max-bytes", "0", "stop before files have more bytes than this together, holes counted: as 10GiB; 0: no limit")
	return c
}

func runGet(ctx context.Context, e *env, o client.GetOptions) error {
	if o.Dest == "-" {
		return e.client().CatAt(ctx, o.Source, o.At, e.stdout)
	}
	p := newProblems(e)
	show := newProgress(e)
	o.Problem, o.Progress = p.add, show.update
	own := devices(ownMounts(ctx, e))
	for _, dir := range []string{o.Dest, filepath.Dir(filepath.Clean(o.Dest))} {
		if dev, ok := client.Device(dir); ok {
			o.Stream = own[dev]
			break
		}
	}
	err := e.client().Get(ctx, o)
	show.end()
	if err != nil {
		return err
	}
	return p.err()
}
