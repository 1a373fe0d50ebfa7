package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// machine is one of the demo's machines: a WH_HOME with its daemon.
type machine struct {
	name, wh, home string
	mount          string // "": not mounted
	daemon         *exec.Cmd
}

func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, m.wh, args...)
	c.Env = append(os.Environ(), "WH_HOME="+m.home)
	return c
}

// run runs a wh command and returns what it printed.
func (m *machine) run(ctx context.Context, args ...string) (string, error) {
	c := m.command(ctx, args...)
	var out, talk bytes.Buffer
	c.Stdout, c.Stderr = &out, &talk
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: wh %s: %w: %s", m.name, strings.Join(args, " "), err, strings.TrimSpace(talk.String()))
	}
	return out.String(), nil
}

func (m *machine) withMount(args ...string) []string {
	if m.mount == "" {
		return args
	}
	return append(args, "--mount", m.mount)
}

func (m *machine) where() string {
	if m.mount == "" {
		return ""
	}
	return " at " + m.mount
}

// up starts the daemon and waits until it says that it is ready.
func (m *machine) up(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(filepath.Dir(m.home), m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the daemon has a descriptor of its own
	m.daemon = m.command(context.WithoutCancel(ctx), "up")
	m.daemon.Stderr = log
	out, err := m.daemon.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.daemon.Start(); err != nil {
		return err
	}
	ready := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "ready ") {
				ready <- nil
				break
			}
		}
		for lines.Scan() { // so that the daemon can go on printing
		}
		ready <- fmt.Errorf("%s: daemon ended before it was ready", m.name)
	}()
	select {
	case err := <-ready:
		if err != nil {
			text, _ := os.ReadFile(log.Name())
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(text))
		}
		return err
	case <-time.After(upWithin):
		return fmt.Errorf("%s: daemon is not ready after %s", m.name, upWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends the daemon with SIGKILL.
func (m *machine) kill() error {
	if err := m.daemon.Process.Kill(); err != nil {
		return err
	}
	_ = m.daemon.Wait() // says that it was killed
	m.daemon = nil
	return nil
}

// stop ends the daemon, if it runs, and takes away what its mount may have left.
func (m *machine) stop(ctx context.Context) error {
	if m.daemon == nil {
		return m.unmount(ctx)
	}
	_, err := m.run(ctx, "down")
	ended := make(chan struct{})
	go func() {
		_ = m.daemon.Wait() // its exit code is not the point here
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		err = errors.Join(err, m.daemon.Process.Kill())
		<-ended
	}
	m.daemon = nil
	return errors.Join(err, m.unmount(ctx))
}

// unmount takes away the mount of a daemon that was killed.
func (m *machine) unmount(ctx context.Context) error {
	if m.mount == "" {
		return nil
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || !strings.Contains(string(mounts), " "+m.mount+" ") {
		return err
	}
	return exec.CommandContext(ctx, "umount", "-l", m.mount).Run()
}

// podsUp is how many pods the machine sees up.
func (m *machine) podsUp(ctx context.Context) (int, error) {
	out, err := m.run(ctx, "pods", "--json")
	if err != nil {
		return 0, err
	}
	var pods []struct{ State string }
	if err := json.Unmarshal([]byte(out), &pods); err != nil {
		return 0, fmt.Errorf("%s: wh pods --json: %w", m.name, err)
	}
	up := 0
	for _, p := range pods {
		if p.State == "up" {
			up++
		}
	}
	return up, nil
}
