package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

const (
	statusTimes = 40 // how often wh status is timed
	statusGroup = 7  // pods that run at a time
)

// status measures how soon wh status answers on a pod of a large tree that knows many other pods. The others ran once, a few at a time, so that what they say of
// themselves is known; then they are off, and the files are added.
func (b *bench) status(ctx context.Context) error {
	if err := b.start(ctx, []string{"first"}, 0); err != nil {
		return err
	}
	first := b.machines[0]
	for known := 1; known < b.members; known += statusGroup {
		var group []*fleet.Machine
		for i := known; i < min(known+statusGroup, b.members); i++ {
			name := fmt.Sprintf("pod-%02d", i)
			group = append(group, &fleet.Machine{Name: name, WH: b.wh, Home: filepath.Join(b.dir, name)})
		}
		b.machines = append(b.machines, group...)
		if err := b.meet(ctx, first, group); err != nil {
			return err
		}
	}
	src := filepath.Join(b.dir, "tree")
	if err := makeTree(src, b.many); err != nil {
		return err
	}
	if _, err := first.Run(ctx, "add", src, "--to", "/", "--quiet"); err != nil {
		return err
	}
	if err := pause(ctx, b.settle); err != nil {
		return err
	}
	b.head(ctx, fmt.Sprintf("wh-bench -many %d -members %d -settle %s status", b.many, b.members, b.settle))
	b.row("%d files, %d pods of which one runs; load %s.\n", b.many, b.members, machineLoad())
	b.row("| the whole command, ms | median of %d | least | most | asked for |\n|---|---|---|---|---|", statusTimes)
	for _, args := range [][]string{{"status"}, {"status", "--json"}} {
		ms, err := statusTime(ctx, first, statusTimes, args...)
		if err != nil {
			return err
		}
		b.row("| wh %s | %.0f | %.0f | %.0f | 50 |", strings.Join(args, " "), median(ms), quantile(ms, 0), quantile(ms, 1))
	}
	return nil
}

// meet has pods join, run until the first one sees them, and end; it returns when the first one sees no other any more.
func (b *bench) meet(ctx context.Context, first *fleet.Machine, group []*fleet.Machine) error {
	for _, m := range group {
		if err := m.Join(ctx, first); err != nil {
			return err
		}
	}
	if err := seen(ctx, first, 1+len(group)); err != nil {
		return err
	}
	for _, m := range group {
		if err := m.Stop(ctx); err != nil {
			return err
		}
	}
	return seen(ctx, first, 1)
}

// seen waits until a machine sees so many pods up.
func seen(ctx context.Context, m *fleet.Machine, n int) error {
	return fleet.Eventually(ctx, fleet.UpWithin, func() error {
		up, err := m.PodsUp(ctx)
		if err == nil && up != n {
			err = fmt.Errorf("%d pods are up, not %d", up, n)
		}
		return err
	})
}

// statusTime is how many milliseconds a wh status took, each time. That it says that not all is well (exit code 7) is no error.
func statusTime(ctx context.Context, m *fleet.Machine, times int, args ...string) ([]float64, error) {
	var ms []float64
	for range times {
		begin := time.Now()
		_, err := m.Run(ctx, args...)
		took := time.Since(begin)
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 7) {
			return nil, err
		}
		ms = append(ms, float64(took.Microseconds())/1000)
	}
	return ms, nil
}
