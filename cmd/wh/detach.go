package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// detachWait is how long a daemon may take to be ready: it may have a large store to look through.
const detachWait = 5 * time.Minute

// detachGrace is how long one that was not ready in time has to stop.
const detachGrace = 10 * time.Second

// runDetached starts this program again in the background and waits until it is ready.
func runDetached(ctx context.Context, e *env, o upOptions) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("up: %w", err)
	}
	if err := os.MkdirAll(string(e.home), 0o700); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	log, err := os.OpenFile(e.home.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("up: %w", err)
	}
	defer func() { _ = log.Close() }() // The child has its own.
	st, err := log.Stat()
	if err != nil {
		return fmt.Errorf("up: %w", err)
	}
	args := []string{"up", "--home", string(e.home)}
	if o.offline {
		args = append(args, "--offline")
	}
	if o.mount != "" {
		dir, err := filepath.Abs(o.mount)
		if err != nil {
			return fmt.Errorf("up: %w", err)
		}
		args = append(args, "--mount", dir)
	}
	if len(o.options) > 0 {
		args = append(args, "--options", strings.Join(o.options, ","))
	}
	if e.pod != "" {
		args = append(args, "--pod", e.pod)
	}
	u := &unlocker{identity: o.identity}
	keys, err := u.handOver(e.home)
	u.close()
	if err != nil {
		return err
	}
	if keys != nil {
		args = append(args, "--keys-on-stdin")
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), exe, args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = log
	// By a pipe: what stands in arguments and variables is seen by others, and stays.
	if keys != nil {
		cmd.Stdin = bytes.NewReader(keys)
	}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, passphraseEnv+"=") })
	background(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("up: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	line, err := waitReady(ctx, cmd, out)
	if err == nil {
		_ = cmd.Process.Release() // It is on its own now.
		return e.out("%s", line)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &childError{code: exit.ExitCode(), log: tail(e.home.Log(), st.Size())}
	}
	return fmt.Errorf("up: see %s: %w", e.home.Log(), err)
}

// waitReady waits for the line that says that the daemon is ready, or for its end.
func waitReady(ctx context.Context, cmd *exec.Cmd, out io.Reader) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, detachWait)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = terminate(cmd.Process) // If it has ended, so much the better.
	})
	defer stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready ") {
			return lines.Text(), nil
		}
	}
	kill := time.AfterFunc(detachGrace, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err == nil {
		err = errors.New("it has stopped before it was ready")
	}
	return "", err
}

// childError is the end of a daemon in the background that could not start: what it said, and its exit code.
type childError struct {
	code int
	log  string
}

// Error is what the daemon said.
func (c *childError) Error() string { return c.log }

// tail is what was written to a file since, at most its last part, without log lines.
func tail(path string, from int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }() // Only read.
	const most = 64 << 10
	b, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}
