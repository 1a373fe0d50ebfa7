// Package fleet runs several machines' daemons on this one, by the wh binary, as a user would: for the demonstration,
// benchmarks and crash tests. A Machine is used by one goroutine at a time.
package fleet

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
	"runtime"
	"strings"
	"time"
)

// UpWithin is how long a daemon may take to be ready.
const UpWithin = 60 * time.Second

// Machine is a WH_HOME with its daemon.
type Machine struct {
	Name   string
	WH     string   // the wh binary
	Home   string   // WH_HOME; the daemon's log lies beside it
	Mount  string   // "": not mounted
	Env    []string // more of the environment, KEY=VALUE
	daemon *exec.Cmd
}

// Command is a wh command on this machine, not started.
func (m *Machine) Command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, m.WH, args...)
	c.Env = append(append(os.Environ(), "WH_HOME="+m.Home), m.Env...)
	return c
}

// Run runs a wh command and returns what it printed.
func (m *Machine) Run(ctx context.Context, args ...string) (string, error) {
	c := m.Command(ctx, args...)
	var out, talk bytes.Buffer
	c.Stdout, c.Stderr = &out, &talk
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: wh %s: %w: %s", m.Name, strings.Join(args, " "), err, strings.TrimSpace(talk.String()))
	}
	return out.String(), nil
}

// WithMount adds the mount to the arguments of init or join.
func (m *Machine) WithMount(args ...string) []string {
	if m.Mount == "" {
		return args
	}
	return append(args, "--mount", m.Mount)
}

// Where is " at MOUNT", or nothing.
func (m *Machine) Where() string {
	if m.Mount == "" {
		return ""
	}
	return " at " + m.Mount
}

// Up starts the daemon and waits until it says that it is ready.
func (m *Machine) Up(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(filepath.Dir(m.Home), m.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the daemon has a descriptor of its own
	m.daemon = m.Command(context.WithoutCancel(ctx), "up")
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
		ready <- fmt.Errorf("%s: daemon ended before it was ready", m.Name)
	}()
	select {
	case err := <-ready:
		if err != nil {
			text, _ := os.ReadFile(log.Name())
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(text))
		}
		return err
	case <-time.After(UpWithin):
		return fmt.Errorf("%s: daemon is not ready after %s", m.Name, UpWithin)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PID is the daemon's process; it runs.
func (m *Machine) PID() int { return m.daemon.Process.Pid }

// Kill ends the daemon with SIGKILL.
func (m *Machine) Kill() error {
	if err := m.daemon.Process.Kill(); err != nil {
		return err
	}
	_ = m.daemon.Wait() // says that it was killed
	m.daemon = nil
	return nil
}

// Stop ends the daemon, if it runs, and takes away what its mount may have left.
func (m *Machine) Stop(ctx context.Context) error {
	if m.daemon == nil {
		return m.unmount(ctx)
	}
	_, err := m.Run(ctx, "down")
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
func (m *Machine) unmount(ctx context.Context) error {
	if m.Mount == "" {
		return nil
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || !strings.Contains(string(mounts), " "+m.Mount+" ") {
		return err
	}
	return exec.CommandContext(ctx, "umount", "-l", m.Mount).Run()
}

// PodsUp is how many pods the machine sees up.
func (m *Machine) PodsUp(ctx context.Context) (int, error) {
	out, err := m.Run(ctx, "pods", "--json")
	if err != nil {
		return 0, err
	}
	var pods []struct{ State string }
	if err := json.Unmarshal([]byte(out), &pods); err != nil {
		return 0, fmt.Errorf("%s: wh pods --json: %w", m.Name, err)
	}
	up := 0
	for _, p := range pods {
		if p.State == "up" {
			up++
		}
	}
	return up, nil
}

// Join makes the machine's pod a member of the network of another, which runs, and starts its daemon.
func (m *Machine) Join(ctx context.Context, by *Machine) error {
	printed, err := by.Run(ctx, "invite")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	if _, err := m.Run(ctx, m.WithMount("join", lines[len(lines)-1], "--name", m.Name)...); err != nil {
		return err
	}
	return m.Up(ctx)
}

// Init makes a network, its first pod on this machine, and starts the daemon. More are flags of wh init.
func (m *Machine) Init(ctx context.Context, network string, more ...string) error {
	args := append([]string{"init", network, "--name", m.Name}, more...)
	if _, err := m.Run(ctx, m.WithMount(args...)...); err != nil {
		return err
	}
	return m.Up(ctx)
}

// AllUp waits until every machine sees all the others up.
func AllUp(ctx context.Context, machines []*Machine) error {
	for _, m := range machines {
		err := Eventually(ctx, UpWithin, func() error {
			up, err := m.PodsUp(ctx)
			if err == nil && up != len(machines) {
				err = fmt.Errorf("%s sees %d pods up of %d", m.Name, up, len(machines))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// GoSource is the source tree of the Go distribution that is installed: a real tree of some 11,000 files.
func GoSource(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "src"), nil
}

// CanMount says whether this machine and user can mount with FUSE.
func CanMount() bool {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return false
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// Eventually calls f until it succeeds or the time is over.
func Eventually(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-time.After(time.Millisecond):
		}
	}
}
