package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

// wormhole is a network of one pod, with its daemon.
type wormhole struct {
	wh      string
	encrypt bool
	env     []string // more of the environment
	m       *fleet.Machine
	path    string // where in the network what was added last is
	cost    cost   // of the last add
}

// cost is what an add took beside time.
type cost struct {
	cpu     time.Duration // of the daemon and the command line
	peakRSS int64         // bytes of memory of the daemon
	written int64         // bytes that the daemon wrote to the disk; the command line writes none
}

func (w *wormhole) open(ctx context.Context, dir string) error {
	w.m = &fleet.Machine{Name: "solo", WH: w.wh, Home: filepath.Join(dir, "home"), Env: w.env}
	if w.encrypt {
		return w.m.Init(ctx, "bench", "--encrypt")
	}
	return w.m.Init(ctx, "bench")
}

func (w *wormhole) add(ctx context.Context, path string) error {
	w.path = "/" + filepath.Base(path)
	before, err := readProcess(w.m.PID())
	if err != nil {
		return err
	}
	if err := resetPeak(w.m.PID()); err != nil {
		return err
	}
	c := w.m.Command(ctx, "add", path, "--to", "/", "--quiet")
	if _, err := output(c); err != nil {
		return err
	}
	after, err := readProcess(w.m.PID())
	if err != nil {
		return err
	}
	w.cost = cost{
		cpu:     after.cpu - before.cpu + c.ProcessState.UserTime() + c.ProcessState.SystemTime(),
		peakRSS: after.peakRSS,
		written: after.written - before.written,
	}
	return nil
}

func (w *wormhole) get(ctx context.Context, to string) error {
	_, err := w.m.Run(ctx, "get", w.path, "-o", to, "--quiet")
	return err
}

func (w *wormhole) stored(ctx context.Context) (int64, error) {
	said, err := w.m.Run(ctx, "df", "--json")
	if err != nil {
		return 0, err
	}
	var usage struct {
		StoredBytes int64 `json:"stored_bytes"`
	}
	if err := json.Unmarshal([]byte(said), &usage); err != nil {
		return 0, fmt.Errorf("wh df --json: %w", err)
	}
	return usage.StoredBytes, nil
}

func (w *wormhole) close(ctx context.Context) error { return w.m.Stop(ctx) }
