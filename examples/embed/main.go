// Command embed runs a Wormhole pod inside a Go program: it makes a network in a folder, writes a file, reads it
// back, and prints the tree root. Run it twice on one folder and the second run finds what the first one wrote.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: embed FOLDER")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, folder string, out io.Writer) (err error) {
	dir := filepath.Join(folder, "pod")
	_, err = pod.Create(ctx, dir, pod.CreateOptions{NetworkName: "example", PodName: "embedded"})
	if err != nil && !errors.Is(err, pod.ErrExists) {
		return err
	}
	p, err := pod.Open(ctx, pod.Options{Dir: dir, Offline: true})
	if err != nil {
		return err
	}
	// Run serves until its context ends; what was done is durable when it returns.
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(serving) }()
	defer func() { //nolint:contextcheck // an end is not cut short
		stop()
		err = errors.Join(err, <-ended, p.Close())
	}()

	if old, err := read(ctx, p.FS(), "/hello.txt"); err == nil {
		fmt.Fprintf(out, "found: %s", old)
	} else if !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	text := "written at " + time.Now().UTC().Format(time.RFC3339Nano) + "\n"
	if err := write(ctx, p.FS(), "hello.txt", text); err != nil {
		return err
	}
	root, err := p.Root(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "wrote: %sroot:  %s\n", text, root)
	return err
}

// write makes a file in the root folder, or edits it, and syncs it.
func write(ctx context.Context, fs vfs.FS, name, text string) (err error) {
	a, err := fs.Lookup(ctx, vfs.RootID, name)
	if errors.Is(err, vfs.ErrNotExist) {
		a, err = fs.Create(ctx, vfs.RootID, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	}
	if err != nil {
		return err
	}
	f, err := fs.Open(ctx, a.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(ctx)) }()
	if _, err := f.WriteAt(ctx, []byte(text), 0); err != nil {
		return err
	}
	return f.Sync(ctx)
}

func read(ctx context.Context, fs vfs.FS, path string) (_ string, err error) {
	a, err := vfs.Resolve(ctx, fs, path)
	if err != nil {
		return "", err
	}
	f, err := fs.Open(ctx, a.ID)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close(ctx)) }()
	data := make([]byte, a.Size)
	if _, err := f.ReadAt(ctx, data, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return string(data), nil
}
