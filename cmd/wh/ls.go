package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
)

type lsOptions struct {
	path      string
	long      bool
	recursive bool
}

func newLs(e *env) *cobra.Command {
	var o lsOptions
	c := &cobra.Command{
		Use:   "ls [/PATH]",
		Short: "List a folder",
		Long:  "List a folder, or show a file." + online(exitNotFound),
		Args:  cobra.MaximumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.path = "/"
			if len(args) > 0 {
				o.path = args[0]
			}
			return runLs(ctx, e, o)
		}),
	}
	c.Flags().BoolVarP(&o.long, "long", "l", false, "with mode, owner, size and time")
	c.Flags().BoolVarP(&o.recursive, "recursive", "R", false, "with all that is below")
	return c
}

func runLs(ctx context.Context, e *env, o lsOptions) error {
	w := bufio.NewWriter(e.stdout)
	line := *e // Its lines are gathered.
	line.stdout = w
	last := path.Clean(o.path)
	if o.recursive && !e.json {
		_, _ = fmt.Fprintf(w, "%s:\n", e.name(last)) // Flush tells.
	}
	q := api.PathRequest{Path: api.Text(o.path), Recursive: o.recursive}
	if !o.long && !o.recursive && !e.json {
		err := client.List(ctx, e.client(), "names", q, func(page []api.Text) error {
			for _, name := range page {
				if err := line.out("%s", e.name(string(name))); err != nil {
					return err
				}
			}
			return nil
		})
		return errors.Join(err, w.Flush())
	}
	err := client.List(ctx, e.client(), "ls", q, func(x api.Entry) error {
		if e.json {
			return line.document(x)
		}
		if dir := path.Dir(string(x.Path)); o.recursive && dir != last && string(x.Path) != last {
			last = dir
			if err := line.out("\n%s:", e.name(dir)); err != nil {
				return err
			}
		}
		return line.out("%s", lsLine(e, x, o.long))
	})
	if ferr := w.Flush(); err == nil {
		err = ferr
	}
	return err
}

func lsLine(e *env, x api.Entry, long bool) string {
	name := string(x.Name)
	if name == "" {
		name = string(x.Path)
	}
	name = e.name(name)
	if !long {
		return name
	}
	s := fmt.Sprintf("%s %3d %5d %5d %12d %s %s", modeString(x.Kind, x.Mode), x.NLink, x.UID, x.GID, x.SizeBytes,
		x.Mtime.Format(time.DateTime), name)
	if x.Kind == "symlink" {
		s += " -> " + e.name(string(x.Target))
	}
	return s
}

// kindLetters are how ls shows kinds.
var kindLetters = map[string]string{"file": "-", "folder": "d", "symlink": "l", "fifo": "p", "socket": "s", "chardev": "c", "blockdev": "b"}

// modeString is a kind and a mode, as ls shows them.
func modeString(kind, mode string) string {
	m, err := strconv.ParseUint(mode, 8, 32)
	if err != nil {
		return mode
	}
	bits := []byte(os.FileMode(m & 0o777).String()[1:])
	for _, s := range []struct {
		bit   uint64
		at    int
		set   byte
		alone byte
	}{{0o4000, 2, 's', 'S'}, {0o2000, 5, 's', 'S'}, {0o1000, 8, 't', 'T'}} {
		if m&s.bit == 0 {
			continue
		}
		if bits[s.at] == 'x' {
			bits[s.at] = s.set
		} else {
			bits[s.at] = s.alone
		}
	}
	return kindLetters[kind] + string(bits)
}
