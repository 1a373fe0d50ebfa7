package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

const (
	wideFiles   = 100_000 // files of the one wide folder
	treeChanges = 20      // single changes that are measured
	// treeSettle is how long after a change its checkpoint is on the disk.
	treeSettle = 1500 * time.Millisecond
)

// bigTree measures a tree of many files: memory, start, listing, single changes, the rename of a large folder.
func (b *bench) bigTree(ctx context.Context) error {
	if !fleet.CanMount() {
		return errors.New("tree needs root and /dev/fuse")
	}
	if b.many < wideFiles {
		return fmt.Errorf("-many: %d files are fewer than the %d of the wide folder", b.many, wideFiles)
	}
	src := filepath.Join(b.dir, "tree")
	if err := makeTree(src, b.many); err != nil {
		return err
	}
	w := &wormhole{wh: b.wh}
	if err := w.open(ctx, b.dir); err != nil {
		return err
	}
	w.m.Mount = filepath.Join(b.dir, "mnt")
	b.machines = append(b.machines, w.m)
	b.head(ctx, fmt.Sprintf("wh-bench -many %d tree", b.many))
	b.row("| measured | result | asked for |\n|---|---|---|")
	begin := time.Now()
	if err := w.add(ctx, src); err != nil {
		return err
	}
	took := time.Since(begin)
	b.row("| add, files/s | %.0f | |", float64(b.many)/took.Seconds())
	b.row("| add, memory of the daemon at most, MB | %.0f | 400 |", float64(w.cost.peakRSS)/1e6)
	if err := b.coldStart(ctx, w); err != nil {
		return err
	}
	if err := b.listing(ctx, w); err != nil {
		return err
	}
	if _, err := w.m.Run(ctx, "mount", w.m.Mount); err != nil {
		return err
	}
	if err := b.singleChanges(ctx, w); err != nil {
		return err
	}
	return b.renameWide(ctx, w)
}

// makeTree makes n files of some 20 bytes: 100,000 in one folder, the rest in folders of 1000.
func makeTree(dir string, n int) error {
	for i := range n {
		folder := "wide"
		if i >= wideFiles {
			folder = fmt.Sprintf("folder-%04d", i/tinyInFolder)
		}
		folder = filepath.Join(dir, folder)
		if i%tinyInFolder == 0 {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("file-%07d", i)), fmt.Appendf(nil, "this is file %d\n", i), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// coldStart starts the daemon anew, its files out of the kernel's memory.
func (b *bench) coldStart(ctx context.Context, w *wormhole) error {
	if err := w.m.Stop(ctx); err != nil {
		return err
	}
	if err := dropCaches(); err != nil {
		return err
	}
	begin := time.Now()
	if err := w.m.Up(ctx); err != nil {
		return err
	}
	took := time.Since(begin)
	p, err := readProcess(w.m.PID())
	if err != nil {
		return err
	}
	b.row("| cold start to ready, s | %.2f | 3 |", took.Seconds())
	b.row("| memory of the daemon then, MB | %.0f | |", float64(p.peakRSS)/1e6)
	return nil
}

func (b *bench) listing(ctx context.Context, w *wormhole) error {
	for _, how := range []string{"first", "again"} {
		begin := time.Now()
		out, err := w.m.Run(ctx, "ls", w.path+"/wide")
		took := time.Since(begin)
		if err != nil {
			return err
		}
		if n := strings.Count(out, "\n"); n != wideFiles {
			return fmt.Errorf("wh ls shows %d lines of %d", n, wideFiles)
		}
		b.row("| wh ls of %d entries, %s, s | %.2f | 0.5 |", wideFiles, how, took.Seconds())
	}
	return nil
}

// singleChanges changes one file's mode through the mount, and has it committed by an fsync of its folder.
func (b *bench) singleChanges(ctx context.Context, w *wormhole) error {
	folder := filepath.Join(w.m.Mount, filepath.Base(w.path), "wide")
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // only synced
	var ms, written []float64
	for i := range treeChanges {
		before, err := readProcess(w.m.PID())
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := os.Chmod(filepath.Join(folder, fmt.Sprintf("file-%07d", i*37)), 0o600); err != nil {
			return err
		}
		if err := dir.Sync(); err != nil {
			return err
		}
		ms = append(ms, float64(time.Since(begin).Microseconds())/1000)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(treeSettle):
		}
		after, err := readProcess(w.m.PID())
		if err != nil {
			return err
		}
		written = append(written, float64(after.written-before.written)/1024)
	}
	b.row("| one change through the mount, committed, ms, median of %d (most) | %.1f (%.1f) | 20 |", treeChanges, quantile(ms, 0.5), quantile(ms, 1))
	b.row("| written to the disk for it and its checkpoint, KiB, median (most) | %.0f (%.0f) | 64 |", quantile(written, 0.5), quantile(written, 1))
	return nil
}

// renameWide renames the folder of 100,000 files through the mount.
func (b *bench) renameWide(ctx context.Context, w *wormhole) error {
	root := filepath.Join(w.m.Mount, filepath.Base(w.path))
	var ms []float64
	for i := range treeChanges {
		from, to := "wide", "renamed"
		if i%2 == 1 {
			from, to = to, from
		}
		begin := time.Now()
		if err := os.Rename(filepath.Join(root, from), filepath.Join(root, to)); err != nil {
			return err
		}
		ms = append(ms, float64(time.Since(begin).Microseconds())/1000)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	b.row("| rename of the folder of %d files through the mount, ms, median of %d (most) | %.1f (%.1f) | 20 |", wideFiles, treeChanges, quantile(ms, 0.5), quantile(ms, 1))
	return nil
}
