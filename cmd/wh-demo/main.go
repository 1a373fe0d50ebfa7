// Command wh-demo shows a network of three pods on one machine, and proves what it shows: it imports a real tree, edits it
// through mounts, kills a pod, reads every file back from a survivor, and compares the SHA-256 of each.
//
// It drives the wh binary beside it, as a user would. Exit code 0 only if every byte was right.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

func main() {
	wh := flag.String("wh", "", "the wh binary; default: beside this one")
	source := flag.String("source", "", "folder that is imported; default: the source of the Go distribution")
	limit := flag.Duration("timeout", 10*time.Minute, "give up after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, *limit)
	err := run(ctx, *wh, *source, os.Stdout)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: error: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, wh, source string, out io.Writer) (err error) {
	if wh == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		wh = filepath.Join(filepath.Dir(self), "wh")
	}
	if source == "" {
		if source, err = fleet.GoSource(ctx); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "wormhole-demo-")
	if err != nil {
		return err
	}
	d := &demo{wh: wh, dir: dir, out: out, begin: time.Now()}
	defer func() { err = errors.Join(err, d.cleanUp(context.WithoutCancel(ctx))) }()
	return d.play(ctx, source)
}
