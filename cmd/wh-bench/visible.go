package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

const visibleWithin = 10 * time.Second

// visible measures how soon others see a change.
func (b *bench) visible(ctx context.Context) error {
	if !fleet.CanMount() {
		return errors.New("visible needs root and /dev/fuse")
	}
	rounds := b.rounds
	if rounds == 0 {
		rounds = 20
	}
	if err := b.start(ctx, []string{"a", "b", "c"}, 2); err != nil {
		return err
	}
	var seen []float64
	for i := range b.files {
		ms, err := b.seenAfter(ctx, b.machines[i%2], b.machines[1-i%2], i)
		if err != nil {
			return err
		}
		seen = append(seen, ms)
	}
	var agreed []float64
	for i := range rounds {
		ms, err := b.agreeAfter(ctx, i)
		if err != nil {
			return err
		}
		agreed = append(agreed, ms)
	}
	b.head(ctx, fmt.Sprintf("wh-bench -files %d -rounds %d visible", b.files, rounds))
	b.row("| measured | n | median ms | p99 ms | max ms |\n|---|---|---|---|---|")
	b.row("| a file closed on one mount is read on another | %d | %.1f | %.1f | %.1f |", len(seen), quantile(seen, 0.5), quantile(seen, 0.99), quantile(seen, 1))
	b.row("| three pods show one root after writes on all three | %d | %.1f | %.1f | %.1f |", len(agreed), quantile(agreed, 0.5), quantile(agreed, 0.99), quantile(agreed, 1))
	return nil
}

// seenAfter writes a file through one mount and reads it through another.
func (b *bench) seenAfter(ctx context.Context, from, to *fleet.Machine, i int) (ms float64, err error) {
	text := fmt.Appendf(nil, "text number %d\n", i)
	name := fmt.Sprintf("file-%d", i)
	if err := os.WriteFile(filepath.Join(from.Mount, name), text, 0o644); err != nil {
		return 0, err
	}
	closed := time.Now()
	err = fleet.Eventually(ctx, visibleWithin, func() error {
		got, err := os.ReadFile(filepath.Join(to.Mount, name))
		if err == nil && !bytes.Equal(got, text) {
			err = fmt.Errorf("%s holds %q", name, got)
		}
		return err
	})
	return float64(time.Since(closed).Microseconds()) / 1000, err
}

// agreeAfter writes on all three pods and waits until they show one root.
func (b *bench) agreeAfter(ctx context.Context, i int) (ms float64, err error) {
	for _, m := range b.machines {
		if _, err := m.Run(ctx, "mkdir", fmt.Sprintf("/round-%d-%s", i, m.Name)); err != nil {
			return 0, err
		}
	}
	stopped := time.Now()
	err = fleet.Eventually(ctx, visibleWithin, func() error {
		roots := make(map[string]bool)
		for _, m := range b.machines {
			out, err := m.Run(ctx, "root")
			if err != nil {
				return err
			}
			roots[out] = true
		}
		if len(roots) > 1 {
			return errors.New("roots differ")
		}
		return nil
	})
	return float64(time.Since(stopped).Microseconds()) / 1000, err
}
