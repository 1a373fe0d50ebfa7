package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

// hottest is how many functions of a profile are shown.
const hottest = 12

// profile prints where the daemon's CPU time goes in an add and a get of each data set, which each have a daemon of their own.
func (b *bench) profile(ctx context.Context) error {
	b.head(ctx, fmt.Sprintf("wh-bench -what %s -bytes %d -tiny %d profile", b.what, b.bigBytes, b.tiny))
	for name := range strings.SplitSeq(b.what, ",") {
		s, err := b.makeSource(ctx, name)
		if err != nil {
			return err
		}
		if err := b.profileOf(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (b *bench) profileOf(ctx context.Context, s source) error {
	dir := filepath.Join(b.dir, "profile")
	to := filepath.Join(b.dir, "cpu.pprof")
	got := filepath.Join(dir, "got")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	w := &wormhole{wh: b.wh, encrypt: b.encrypt}
	if err := w.open(ctx, dir); err != nil {
		return err
	}
	if err := w.close(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"add", func() error { return w.add(ctx, s.path) }},
		{"get", func() error { return w.get(ctx, got) }},
	} {
		if err := profiled(ctx, w.m, to, step.do); err != nil {
			return err
		}
		top, err := pprofTop(ctx, b.wh, to, fmt.Sprintf("-nodecount=%d", hottest))
		if err != nil {
			return err
		}
		b.row("## %s %s\n\n```\n%s```\n", strings.ToUpper(s.name), step.name, topTable(top))
	}
	return os.RemoveAll(dir)
}

// profiled runs a machine's daemon with a CPU profile written to a file, while f runs.
func profiled(ctx context.Context, m *fleet.Machine, to string, f func() error) error {
	m.Env = []string{"WH_CPUPROFILE=" + to}
	if err := m.Up(ctx); err != nil {
		return err
	}
	return errors.Join(f(), m.Stop(ctx))
}

// pprofTop is what pprof lists of a program's profile.
func pprofTop(ctx context.Context, program, profile string, flags ...string) (string, error) {
	args := append([]string{"tool", "pprof", "-top"}, flags...)
	return output(exec.CommandContext(ctx, "go", append(args, program, profile)...))
}

// topTable is pprof's table without what names this machine and run.
func topTable(said string) string {
	var out strings.Builder
	for line := range strings.Lines(said) {
		name, _, found := strings.Cut(line, ": ")
		if found && (name == "File" || name == "Build ID" || name == "Type" || name == "Time") {
			continue
		}
		out.WriteString(line)
	}
	return out.String()
}
