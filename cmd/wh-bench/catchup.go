package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

const catchUpWithin = 30 * time.Minute

// catchup measures how soon a pod that is new, or was away, has the tree of the others, and with how many bytes. Its three pods are in
// this process: a writes, c is with it all the time, d comes and goes.
func (b *bench) catchup(ctx context.Context) (err error) {
	rounds := max(b.rounds, 1)
	dir := filepath.Join(b.dir, "a")
	if _, err := pod.Create(ctx, dir, pod.CreateOptions{NetworkName: "bench", PodName: "a"}); err != nil {
		return err
	}
	var a, c, d *benchPod
	defer func() { //nolint:contextcheck // closing takes no context
		for _, p := range []*benchPod{a, c, d} {
			err = errors.Join(err, p.stop())
		}
	}()
	if a, err = runPod(ctx, dir, 1); err != nil {
		return err
	}
	if err := errors.Join(a.fill(ctx, b.tree), settled(ctx, a)); err != nil {
		return err
	}
	if c, err = joinPod(ctx, a, filepath.Join(b.dir, "c")); err != nil {
		return err
	}
	// After the next checkpoint the log is cut.
	if err := errors.Join(settled(ctx, a, c), a.change(ctx, b.tree, 0, "begin"), settled(ctx, a, c)); err != nil {
		return err
	}
	b.row("# Catching up\n")
	b.head(ctx, fmt.Sprintf("wh-bench -tree %d -changes %d -rounds %d catchup", b.tree, b.changes, rounds))
	b.row("%d files, %d in a folder, on three pods in one process, over TCP on loopback. Seconds count from when the pod begins to join, "+
		"or opens its databases, until all files are listed, or the last change is seen. The pods keep no commit that they need not, so that a "+
		"pod catches up by the tree unless it alone lacks the commits.\n", b.tree, filesInFolder)
	b.row("| what | by | seconds | MB of commits | MB of nodes | nodes | rounds |\n|---|---|---|---|---|---|---|")
	begin := time.Now()
	if d, err = joinPod(ctx, a, filepath.Join(b.dir, "d")); err != nil {
		return err
	}
	if err := d.lists(ctx, b.tree+1); err != nil {
		return err
	}
	b.caughtUp("a new pod lists the whole tree", d, begin)
	for r := range 2 * rounds {
		if err := settled(ctx, a, c, d); err != nil {
			return err
		}
		if err := b.away(ctx, a, c, d, fmt.Sprintf("mark-%d", r), r%2 == 1); err != nil {
			return err
		}
	}
	return nil
}

// away measures a pod that missed changes: by the log, if the third pod is away too, so that the writer keeps the commits, or by the tree.
func (b *bench) away(ctx context.Context, a, c, d *benchPod, mark string, tree bool) error {
	err := d.stop() //nolint:contextcheck // closing takes no context
	if !tree {
		err = errors.Join(err, c.stop()) //nolint:contextcheck // closing takes no context
	}
	if err := errors.Join(err, a.change(ctx, b.tree, b.changes, mark)); err != nil {
		return err
	}
	if tree {
		if err := errors.Join(settled(ctx, a, c), a.change(ctx, b.tree, 0, mark+"-end"), settled(ctx, a, c)); err != nil {
			return err
		}
	}
	begin := time.Now()
	if err := errors.Join(d.restart(ctx), d.sees(ctx, mark)); err != nil {
		return err
	}
	b.caughtUp(fmt.Sprintf("a pod missed %d changes", b.changes), d, begin)
	if !tree {
		return c.restart(ctx)
	}
	return nil
}

func (b *bench) caughtUp(what string, p *benchPod, begin time.Time) {
	took, got, by := time.Since(begin), p.CatchUps(), "log"
	if got.TreeNodes > 0 {
		by = "tree"
	}
	b.row("| %s | %s | %.1f | %.2f | %.2f | %d | %d |", what, by, took.Seconds(), float64(got.LogBytes)/1e6, float64(got.TreeBytes)/1e6, got.TreeNodes, got.Rounds)
}

// settled waits until pods have one tree root.
func settled(ctx context.Context, pods ...*benchPod) error {
	return fleet.Eventually(ctx, catchUpWithin, func() error {
		first, err := pods[0].Root(ctx)
		for _, p := range pods[1:] {
			root, rootErr := p.Root(ctx)
			if err = errors.Join(err, rootErr); err == nil && root != first {
				err = errors.New("roots differ")
			}
		}
		if err != nil && ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
		}
		return err
	})
}
