package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// importFolder checks the argument of --import before anything is made, and follows symlinks to it.
func importFolder(e *env, dir string) (string, error) {
	full, err := filepath.EvalSymlinks(dir)
	if err == nil {
		full, err = filepath.Abs(full)
	}
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	st, err := os.Stat(full)
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	if !st.IsDir() {
		return "", fmt.Errorf("import: %s: %w", dir, vfs.ErrNotDir)
	}
	if rel, err := filepath.Rel(string(e.home), full); err == nil && filepath.IsLocal(rel) {
		return "", usage("import: %s belongs to wh itself", dir)
	}
	return full, nil
}

// importInto makes what is in a folder of the host the tree of a pod that was just made: through the daemon if one runs, else with one
// in this process, which ends when all is durable. What was imported before a failure stays, and an add goes on from there.
func importInto(ctx context.Context, e *env, made api.Made, dir string) error {
	e.pod = made.Name
	err := importNow(ctx, e, dir)
	if err != nil {
		return api.WithHint(fmt.Errorf("the network is made, but the import is not complete: %w", err),
			fmt.Sprintf("with wh up running, `wh add %s/.` goes on", dir))
	}
	return nil
}

func importNow(ctx context.Context, e *env, dir string) error {
	for range makeTries {
		err := addAll(ctx, e, client.AddOptions{To: "/"}, []client.Source{{Path: dir}}, nil)
		if !errors.Is(err, api.ErrNoDaemon) {
			return err
		}
		err = importHere(ctx, e, dir)
		if !errors.Is(err, api.ErrInUse) {
			return err // Else a daemon has started meanwhile.
		}
		if err := clock.Sleep(ctx, e.clock, makeRetry); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: its daemon doesn't answer: %w", e.home, api.ErrInUse)
}

// importHere imports with a daemon of its own, which speaks with no other pods and mounts nothing.
func importHere(ctx context.Context, e *env, dir string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{
			Home: e.home, Engine: e.engine, Version: version(), Offline: true, NoMounts: true, Clock: e.clock,
			Log:   slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelError})),
			Ready: func(string) { close(ready) },
			Say:   func(text string) { e.say("wh: %s", text) },
		})
	}()
	select {
	case err := <-ended:
		return err
	case <-ready:
	}
	err := addAll(ctx, e, client.AddOptions{To: "/"}, []client.Source{{Path: dir}}, nil)
	cancel()
	return errors.Join(err, <-ended)
}
