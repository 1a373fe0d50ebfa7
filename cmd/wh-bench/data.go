package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

// data measures add and get beside cp, in turn, each with a sync of the disk afterwards.
func (b *bench) data(ctx context.Context) error {
	rounds := b.rounds
	if rounds == 0 {
		rounds = 3
	}
	big := filepath.Join(b.dir, "big")
	if err := makeBig(big, b.bigBytes); err != nil {
		return err
	}
	source, err := fleet.GoSource(ctx)
	if err != nil {
		return err
	}
	b.head(ctx, fmt.Sprintf("wh-bench -rounds %d -bytes %d data", rounds, b.bigBytes))
	b.row("Seconds, each with a sync of the disk: median of %d rounds, taken in turn. Over 1.00x: faster than cp.\n", rounds)
	b.row("| what | wh add | cp -a | add to cp | wh get | cp -a back | get to cp |\n|---|---|---|---|---|---|---|")
	for _, subject := range []struct{ name, path string }{{fmt.Sprintf("one file of %d bytes", b.bigBytes), big}, {"Go source tree", source}} {
		var add, cp, get, back []float64
		for i := range rounds {
			t, err := b.round(ctx, i, subject.path)
			if err != nil {
				return err
			}
			add, cp, get, back = append(add, t[0]), append(cp, t[1]), append(get, t[2]), append(back, t[3])
		}
		m := func(v []float64) float64 { return quantile(v, 0.5) }
		b.row("| %s | %.2f | %.2f | %.2fx | %.2f | %.2f | %.2fx |", subject.name, m(add), m(cp), m(cp)/m(add), m(get), m(back), m(back)/m(get))
	}
	return nil
}

// makeBig writes a file of random bytes.
func makeBig(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	seed := [32]byte{1}
	if _, err := io.CopyN(f, rand.NewChaCha8(seed), size); err != nil {
		_ = f.Close() // the write's error is the one to tell
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// round adds and gets with a network of its own, and copies there and back: seconds of add, cp, get, cp back.
func (b *bench) round(ctx context.Context, i int, path string) (t [4]float64, err error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("round-%d", i))
	m := &fleet.Machine{Name: "solo", WH: b.wh, Home: filepath.Join(dir, "home")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return t, err
	}
	if err := m.Init(ctx, "bench"); err != nil {
		return t, err
	}
	defer func() {
		if stopErr := m.Stop(ctx); err == nil {
			err = stopErr
		}
		if rmErr := os.RemoveAll(dir); err == nil {
			err = rmErr
		}
	}()
	base := filepath.Base(path)
	copied, got, back := filepath.Join(dir, "copied"), filepath.Join(dir, "got"), filepath.Join(dir, "back")
	steps := []func() error{
		func() error { _, err := m.Run(ctx, "add", path, "--to", "/", "--quiet"); return err },
		func() error { return exec.CommandContext(ctx, "cp", "-a", path, copied).Run() },
		func() error { _, err := m.Run(ctx, "get", "/"+base, "-o", got, "--quiet"); return err },
		func() error { return exec.CommandContext(ctx, "cp", "-a", copied, back).Run() },
	}
	order := []int{0, 1, 2, 3}
	if i%2 == 1 {
		order = []int{1, 0, 3, 2} // who goes first has it easier
	}
	for _, s := range order {
		if err := syncDisks(ctx); err != nil {
			return t, err
		}
		begin := time.Now()
		if err := steps[s](); err != nil {
			return t, err
		}
		if err := syncDisks(ctx); err != nil {
			return t, err
		}
		t[s] = time.Since(begin).Seconds()
	}
	return t, nil
}

func syncDisks(ctx context.Context) error { return exec.CommandContext(ctx, "sync").Run() }
