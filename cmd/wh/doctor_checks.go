package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/config"
)

// examination is what the checks found, with what the report tells beside it.
type examination struct {
	findings []finding
	running  bool // a daemon answers
	status   *api.Status
	peers    []api.Peer
	keys     []api.ConfigKey
	pods     map[string]config.Pod // by the name of their folder
}

// examine makes all checks.
func examine(ctx context.Context, e *env) *examination {
	d := &examination{pods: make(map[string]config.Pod)}
	add := func(list ...finding) { d.findings = append(d.findings, list...) }
	add(d.daemon(ctx, e))
	add(d.config(e)...)
	add(checkFUSE()...)
	add(checkDisk(e)...)
	for _, p := range d.pods {
		for _, l := range p.Listen {
			add(d.port(ctx, l))
		}
	}
	add(checkClock()...)
	add(d.names(ctx))
	add(checkMulticast(ctx))
	add(checkLimits()...)
	if d.status != nil {
		for _, w := range d.status.Warnings {
			f := odd("warning", w.Todo, "%s: %s (%s)", w.Title, w.Text, w.Code)
			if w.Severity == "error" {
				f.State = foundBad
			}
			add(f)
		}
	}
	return d
}

// daemon asks the daemon what it knows.
func (d *examination) daemon(ctx context.Context, e *env) finding {
	h, err := call[api.Health](ctx, e, "health", struct{}{})
	if err != nil {
		return odd("daemon", "start it: wh up --detach, or wh service install", "%v", err)
	}
	d.running = true
	if st, err := call[api.Status](ctx, e, "status", struct{}{}); err == nil {
		d.status = &st
	}
	d.peers, _ = call[[]api.Peer](ctx, e, "peers", struct{}{}) // None, where a machine has several pods and none was chosen.
	d.keys, _ = call[[]api.ConfigKey](ctx, e, "config", struct{}{})
	if h.Version != version() {
		return odd("daemon", "restart it: wh down, wh up", "it runs version %s, this program is %s", h.Version, version())
	}
	return good("daemon", "it answers, version %s, process %d", h.Version, h.PID)
}

// config reads all files of the configuration.
func (d *examination) config(e *env) []finding {
	var out []finding
	const todo = "correct that line; wh config check FILE says when it is good"
	if _, err := config.LoadMachine(e.home.File(config.MachineFile)); err != nil {
		out = append(out, bad("config", todo, "%v", err))
	}
	files, err := filepath.Glob(filepath.Join(e.home.Pods(), "*", config.PodFile))
	if err != nil {
		out = append(out, bad("config", "", "%v", err))
	}
	for _, f := range files {
		p, err := config.LoadPod(f)
		if err != nil {
			out = append(out, bad("config", todo, "%v", err))
			continue
		}
		d.pods[filepath.Base(filepath.Dir(f))] = p
	}
	if len(out) > 0 {
		return out
	}
	if len(d.pods) == 0 {
		return []finding{odd("config", "wh init NETWORK makes a first pod, wh join TOKEN another one's", "%s has no pods", e.home)}
	}
	return []finding{good("config", "machine.toml and %d pod.toml are good", len(d.pods))}
}

// port says whether a pod can, or does, listen where its file says.
func (d *examination) port(ctx context.Context, listen string) finding {
	const todo = "the pod takes another port and announces it; free this one, or: wh config set listen HOST:PORT"
	if !d.running {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", listen)
		if err != nil {
			return odd("port", todo, "%v", err)
		}
		_ = l.Close() // Nobody has used it.
		return good("port", "%s is free", listen)
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return bad("port", "", "%v", err)
	}
	if d.status != nil && !slices.ContainsFunc(d.status.Addrs, func(a string) bool { return strings.Contains(a, "/tcp/"+port) }) && len(d.pods) == 1 {
		return odd("port", todo, "the pod does not listen on port %s, which was taken when it started", port)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	dial := net.Dialer{Timeout: 5 * time.Second}
	c, err := dial.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return bad("port", "wh down, wh up; does a firewall of this machine stand between?", "nobody answers: %v", err)
	}
	_ = c.Close() // It was only opened.
	return good("port", "%s answers; that others reach it, wh peers --why shows", listen)
}

// slowSync is from how long a sync on a disk makes every close slow.
const slowSync = 50 * time.Millisecond

// checkDisk writes and syncs small files in WH_HOME.
func checkDisk(e *env) []finding {
	if _, err := os.Stat(string(e.home)); errors.Is(err, fs.ErrNotExist) {
		return nil // config says so
	}
	var out []finding
	const rounds = 8
	took := make([]time.Duration, 0, rounds)
	for range rounds {
		begin := e.clock.Now()
		if err := syncOnce(string(e.home)); err != nil {
			return []finding{bad("disk", "is the disk full, or mounted read-only? dmesg says more", "%v", err)}
		}
		took = append(took, clock.Since(e.clock, begin))
	}
	slices.Sort(took)
	if median := took[rounds/2]; median > slowSync {
		out = append(out, odd("disk", "every close and fsync waits for it: put WH_HOME on an SSD", "a sync takes %v", median.Round(time.Millisecond)))
	} else {
		out = append(out, good("disk", "a sync takes %v", median.Round(10*time.Microsecond)))
	}
	free, total, err := diskSpace(string(e.home))
	const share = 20
	switch {
	case err != nil: // not known on this system
	case free < total/share:
		out = append(out, odd("disk", "free space, or set capacity_bytes", "%s of %s are free", size(free), size(total)))
	default:
		out = append(out, good("disk", "%s of %s are free", size(free), size(total)))
	}
	return out
}

// syncOnce writes a small file to disk, and removes it.
func syncOnce(dir string) (err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	const size4k = 4096
	b := make([]byte, size4k)
	_, _ = rand.Read(b) // It never fails.
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// names says whether names of hosts are found, of the addresses that have some, or this machine's.
func (d *examination) names(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, p := range d.peers {
		for _, a := range p.Addresses {
			parts := strings.Split(a, "/")
			if len(parts) < 3 || !strings.HasPrefix(parts[1], "dns") {
				continue
			}
			if _, err := net.DefaultResolver.LookupHost(ctx, parts[2]); err != nil {
				return bad("names", "check /etc/resolv.conf, or use IP addresses", "an address of pod %s: %v", p.Name, err)
			}
		}
	}
	host, err := os.Hostname()
	if err == nil {
		_, err = net.DefaultResolver.LookupHost(ctx, host)
	}
	if err != nil {
		return odd("names", "nothing, while addresses have no names: pods use IP addresses", "this machine's own name is not found: %v", err)
	}
	return good("names", "names of hosts are found")
}

// mdnsGroup is the multicast group of mDNS (RFC 6762 section 3).
const mdnsGroup = "224.0.0.251"

// checkMulticast sends itself a word by multicast.
func checkMulticast(ctx context.Context) finding {
	const todo = "pods on this LAN find each other only by tokens and remembered addresses: allow UDP port 5353 in the firewall; Wi-Fi access points often block multicast"
	l, err := net.ListenMulticastUDP("udp4", nil, &net.UDPAddr{IP: net.ParseIP(mdnsGroup)})
	if err != nil {
		return odd("multicast", todo, "%v", err)
	}
	defer func() { _ = l.Close() }() // It is only read.
	deadline := 2 * time.Second
	if t, ok := ctx.Deadline(); ok && t.Before((clock.Real{}).Now().Add(deadline)) {
		return odd("multicast", todo, "there was no time to try it")
	}
	port := l.LocalAddr().(*net.UDPAddr).Port //nolint:errcheck,forcetypeassert // net.UDPConn documents it
	c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.ParseIP(mdnsGroup), Port: port})
	if err != nil {
		return odd("multicast", todo, "%v", err)
	}
	defer func() { _ = c.Close() }() // It was only written.
	word := []byte(rand.Text())
	if _, err := c.Write(word); err != nil {
		return odd("multicast", todo, "%v", err)
	}
	err = l.SetReadDeadline((clock.Real{}).Now().Add(deadline))
	got := make([]byte, 2*len(word))
	for err == nil {
		var n int
		if n, _, err = l.ReadFrom(got); err == nil && bytes.Equal(got[:n], word) {
			return good("multicast", "it works on this machine; others may still be cut off by the network")
		}
	}
	return odd("multicast", todo, "what this machine sends to a group does not come back: %v", err)
}
