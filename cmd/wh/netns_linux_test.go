package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// The limits of what the machines of the test do by themselves: generous, since the test's machine may be busy.
const (
	netnsWait = 60 * time.Second
	netnsBoot = 30 * time.Second
)

// netnsHost is a machine of its own in the eyes of the kernel: a network namespace with one interface.
type netnsHost struct {
	t        *testing.T
	wh       string
	ns, home string
	port     string // the bridge's end of the cable
	hub      string
	daemon   *exec.Cmd
}

// TestNetns breaks if pods on one LAN don't find each other with no address given, or don't come together again after
// a pulled cable and after a change of address.
func TestNetns(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	hosts := netnsLAN(t, 3)
	a, b, c := hosts[0], hosts[1], hosts[2]

	a.must("init", "lan", "--name", "a")
	a.up()
	for _, h := range []*netnsHost{b, c} {
		h.joins(a)
	}
	// b and c were never told of each other but by a, and c learns b's address from a or by discovery.
	for _, h := range hosts {
		h.seesUp(3)
	}
	a.add("one", "from a")
	c.reads("/one", "from a")

	t.Log("the cable of a is pulled")
	a.cable("down")
	b.eventually("a is gone", func() error {
		if n, err := b.pods("up"); err != nil || n != 2 {
			return fmt.Errorf("%d up, %w", n, err)
		}
		return nil
	})
	a.add("two", "from a, alone")
	b.add("three", "from b")
	c.reads("/three", "from b")
	a.cable("up")
	for _, h := range hosts {
		h.seesUp(3)
	}
	b.reads("/two", "from a, alone")
	a.reads("/three", "from b")

	t.Log("b gets another address")
	b.ip("addr", "flush", "dev", "eth0")
	b.ip("addr", "add", "10.123.45.99/24", "dev", "eth0")
	b.add("four", "from b's new address")
	a.reads("/four", "from b's new address")
	c.reads("/four", "from b's new address")

	a.eventually("one root", func() error {
		roots := make(map[string]bool)
		for _, h := range hosts {
			out, err := h.run("root")
			if err != nil {
				return err
			}
			roots[out] = true
		}
		if len(roots) != 1 {
			return errors.New("roots differ")
		}
		return nil
	})
}

// netnsLAN makes n hosts on one switch.
func netnsLAN(t *testing.T, n int) []*netnsHost {
	t.Helper()
	if os.Getuid() != 0 {
		testneed.Missing(t, "network namespaces need root")
	}
	tag := fmt.Sprintf("wh%d", os.Getpid())
	hub := tag + "hub"
	if out, err := exec.Command("ip", "netns", "add", hub).CombinedOutput(); err != nil {
		testneed.Missing(t, "no network namespaces here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", hub).Run() })
	ip(t, "-n", hub, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
	ip(t, "-n", hub, "link", "set", "br0", "up")

	wh := filepath.Join(t.TempDir(), "wh")
	if out, err := exec.Command("go", "build", "-o", wh, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	var hosts []*netnsHost
	for i := range n {
		name := string(rune('a' + i))
		h := &netnsHost{t: t, wh: wh, ns: tag + name, home: filepath.Join(t.TempDir(), name), port: "port" + name, hub: hub}
		ip(t, "netns", "add", h.ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", h.ns).Run() })
		ip(t, "-n", hub, "link", "add", h.port, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
		ip(t, "-n", hub, "link", "set", h.port, "master", "br0", "up")
		h.ip("link", "set", "lo", "up")
		h.ip("link", "set", "eth0", "up")
		h.ip("addr", "add", fmt.Sprintf("10.123.45.%d/24", i+1), "dev", "eth0")
		hosts = append(hosts, h)
	}
	return hosts
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (h *netnsHost) ip(args ...string) {
	h.t.Helper()
	ip(h.t, append([]string{"-n", h.ns}, args...)...)
}

// cable sets the switch's end of the host's cable up or down: the host's own interface sees no carrier then.
func (h *netnsHost) cable(state string) {
	h.t.Helper()
	ip(h.t, "-n", h.hub, "link", "set", h.port, state)
}

func (h *netnsHost) command(args ...string) *exec.Cmd {
	c := exec.Command("ip", append([]string{"netns", "exec", h.ns, h.wh}, args...)...)
	c.Env = append(os.Environ(), "WH_HOME="+h.home)
	return c
}

func (h *netnsHost) run(args ...string) (string, error) {
	c := h.command(args...)
	var out, talk bytes.Buffer
	c.Stdout, c.Stderr = &out, &talk
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("wh %s: %w: %s", strings.Join(args, " "), err, talk.String())
	}
	return out.String(), nil
}

func (h *netnsHost) must(args ...string) string {
	h.t.Helper()
	out, err := h.run(args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// up starts the daemon.
func (h *netnsHost) up() {
	h.t.Helper()
	h.daemon = h.command("up")
	var talk bytes.Buffer
	h.daemon.Stderr = &talk
	out, err := h.daemon.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.daemon.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_, _ = h.run("down") // if it doesn't work, the kill does
		killed := time.AfterFunc(20*time.Second, func() { _ = h.daemon.Process.Kill() })
		defer killed.Stop()
		_ = h.daemon.Wait()
		if h.t.Failed() {
			h.t.Logf("daemon of %s said: %s", h.ns, talk.String())
		}
	})
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "ready ") {
				ready <- true
			}
		}
		ready <- false
	}()
	select {
	case ok := <-ready:
		if !ok {
			h.t.Fatalf("the daemon of %s ended", h.ns)
		}
	case <-time.After(netnsBoot):
		h.t.Fatalf("the daemon of %s is not ready after %s", h.ns, netnsBoot)
	}
}

// name is the name of the host's pod.
func (h *netnsHost) name() string { return filepath.Base(h.home) }

// joins makes a pod of the network of a's, and starts the daemon.
func (h *netnsHost) joins(a *netnsHost) {
	h.t.Helper()
	lines := strings.Split(strings.TrimSpace(a.must("invite")), "\n")
	h.must("join", lines[len(lines)-1], "--name", h.name())
	h.up()
}

// kill kills daemons.
func kill(hosts ...*netnsHost) {
	for _, h := range hosts {
		h.t.Helper()
		if err := h.daemon.Process.Kill(); err != nil {
			h.t.Fatal(err)
		}
		_ = h.daemon.Wait() // it was killed
	}
}

func (h *netnsHost) add(name, text string) {
	h.t.Helper()
	c := h.command("add", "-", "--name", name)
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		h.t.Fatalf("add on %s: %v: %s", h.ns, err, out)
	}
}

func (h *netnsHost) reads(path, want string) {
	h.t.Helper()
	h.eventually("read "+path, func() error {
		got, err := h.run("cat", path)
		if err == nil && got != want {
			err = fmt.Errorf("%q", got)
		}
		return err
	})
}

// pods is how many pods the host sees in a state.
func (h *netnsHost) pods(state string) (int, error) {
	out, err := h.run("pods", "--json")
	if err != nil {
		return 0, err
	}
	var list []struct{ State string }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return 0, err
	}
	n := 0
	for _, p := range list {
		if p.State == state {
			n++
		}
	}
	return n, nil
}

func (h *netnsHost) seesUp(want int) {
	h.t.Helper()
	h.eventually("pods", func() error {
		n, err := h.pods("up")
		if err == nil && n != want {
			err = fmt.Errorf("%d up, want %d", n, want)
		}
		return err
	})
}

func (h *netnsHost) eventually(what string, f func() error) {
	h.t.Helper()
	h.eventuallyWithin(netnsWait, what, f)
}

func (h *netnsHost) eventuallyWithin(limit time.Duration, what string, f func() error) {
	h.t.Helper()
	end := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("%s: %s: %v", h.ns, what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
