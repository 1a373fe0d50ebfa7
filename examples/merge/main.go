// Command merge shows two machines that work apart and meet again: it makes a network of two pods in a folder, lets both
// change the same files while they can't reach each other, and shows what both see when they can.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// meetWithin is how long the two may take to be of one mind.
const meetWithin = time.Minute

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: merge FOLDER (an empty one, or none yet)")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "merge:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, folder string, out io.Writer) (err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	desk, laptop := &machine{dir: filepath.Join(folder, "desk")}, &machine{dir: filepath.Join(folder, "laptop")}
	defer func() { err = errors.Join(err, desk.stop(), laptop.stop()) }() //nolint:contextcheck // an end is not cut short
	if err := together(ctx, desk, laptop); err != nil {
		return err
	}
	if err := desk.do(ctx, write("/plan.txt", "tea at four"), write("/draft.txt", "once"), mkdir("/photos"), write("/photos/cat", "a cat")); err != nil {
		return err
	}
	if err := show(ctx, out, "At first both have:", desk, laptop); err != nil {
		return err
	}

	// The laptop leaves: from now on neither reaches the other.
	for _, m := range []*machine{desk, laptop} {
		if err := m.restart(ctx, pod.Options{Offline: true}); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "\nApart, the desk plans tea at five, renames the draft, and clears /photos away;")
	fmt.Fprintln(out, "the laptop plans tea at six, edits the draft, and adds a photo.")
	err = desk.do(ctx, write("/plan.txt", "tea at five"), rename("/draft.txt", "/final.txt"), remove("/photos/cat"), rmdir("/photos"))
	if err != nil {
		return err
	}
	if err := laptop.do(ctx, write("/plan.txt", "tea at six"), write("/draft.txt", "once upon a time"), write("/photos/dog", "a dog")); err != nil {
		return err
	}

	// It comes back. Nobody has to do anything.
	for _, m := range []*machine{desk, laptop} {
		if err := m.restart(ctx, online()); err != nil {
			return err
		}
	}
	if err := show(ctx, out, "\nTogether again, both have:", desk, laptop); err != nil {
		return err
	}

	// A conflict copy is an ordinary file. Removing it settles the matter, everywhere.
	list, err := laptop.list(ctx)
	if err != nil {
		return err
	}
	for _, f := range list {
		if strings.Contains(f.path, ".conflict-") {
			if err := laptop.do(ctx, remove(f.path)); err != nil {
				return err
			}
		}
	}
	return show(ctx, out, "\nThe laptop removes the other plan. Both have:", desk, laptop)
}

// together makes a network on one machine, and a second pod of it on the other. Both run then.
func together(ctx context.Context, desk, laptop *machine) error {
	if _, err := pod.Create(ctx, desk.dir, pod.CreateOptions{NetworkName: "home", PodName: "desk"}); err != nil {
		return err
	}
	if err := desk.start(ctx, online()); err != nil {
		return err
	}
	token, err := desk.pod.Invite(ctx, "writer", time.Hour, 1)
	if err != nil {
		return err
	}
	if _, err := pod.Join(ctx, laptop.dir, pod.JoinOptions{Token: token, PodName: "laptop"}); err != nil {
		return err
	}
	return laptop.start(ctx, online())
}

// show waits until both machines have the same tree, and prints it.
func show(ctx context.Context, out io.Writer, title string, desk, laptop *machine) error {
	root, err := agree(ctx, desk, laptop)
	if err != nil {
		return err
	}
	list, err := laptop.list(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, title)
	for _, f := range list {
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("  %-50s %s", f.path, f.text), " "))
	}
	_, err = fmt.Fprintln(out, "  tree root", root)
	return err
}

// agree waits until two machines that have met show one tree.
func agree(ctx context.Context, desk, laptop *machine) (block.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, meetWithin)
	defer cancel()
	for {
		// SyncWait returns when a pod has heard of all that the others did, and both have all bytes.
		err := errors.Join(desk.pod.SyncWait(ctx, vfs.RootID), laptop.pod.SyncWait(ctx, vfs.RootID))
		a, errA := desk.pod.Root(ctx)
		b, errB := laptop.pod.Root(ctx)
		if err = errors.Join(err, errA, errB); err == nil && a == b {
			return a, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return block.ID{}, fmt.Errorf("the two don't agree after %v: %w", meetWithin, err)
		}
	}
}
