package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sort"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/notify"
)

// notifiedFile is the file in WH_HOME that keeps what was notified.
const notifiedFile = "notified.json"

// settle is how long a pod that was started needs, beside a warning's own times, to find again what holds: a round over its contents takes a
// minute, and another pod is down after half of one.
const settle = 2 * time.Minute

func (m *machine) newNotifier() *notify.Notifier {
	return notify.New(notify.Options{
		File: m.o.Home.File(notifiedFile), Write: config.WriteFile, Items: m.told, Clock: m.o.Clock, Log: m.o.Log.With(partKey, "notify"),
	})
}

// told is what people are to know of all pods here.
func (m *machine) told() []notify.Item {
	var out []notify.Item
	for _, r := range m.all() {
		for _, w := range r.pod.Told() {
			out = append(out, notify.Item{
				Message: notify.Message{
					Network: r.cfg.NetworkName, Pod: r.cfg.Name, Code: string(w.Code), Subject: w.Subject, Severity: string(w.Severity),
					Title: w.Title, Text: w.Text, Todo: w.Todo, Since: w.Since.UTC(),
				},
				Settle: w.Tell + w.Hold + settle,
			})
		}
	}
	return out
}

// targets are those of a file.
func targets(list []config.Notify, c clock.Clock) []notify.Target {
	var out []notify.Target
	for _, n := range list {
		least := health.Severity(n.Severity)
		if least == "" {
			least = health.Warned
		}
		t := notify.Target{Name: n.Name, Wants: func(s string) bool { return health.Severity(s).AtLeast(least) }}
		switch n.Kind {
		case "command":
			t.Sender = notify.Command{Args: n.Command}
		case "webhook":
			t.Sender = notify.Webhook{URL: n.URL, SecretFile: n.SecretFile, Clock: c}
		case "email":
			t.Sender = notify.Email{Server: n.Server, From: n.From, To: n.To, User: n.User, PasswordFile: n.PasswordFile, Clock: c}
		default:
			t.Sender = notify.Desktop{}
		}
		out = append(out, t)
	}
	return out
}

// errNoTargets says that nobody is to be told.
var errNoTargets = fmt.Errorf("machine.toml has no [[notify]] table: %w", config.ErrNoKey)

// TestNotify sends a message to all who are to be told by what the machine's file says now, which is in force from then on.
func (m *machine) TestNotify(ctx context.Context) ([]api.Notified, error) {
	mc, err := config.LoadMachine(m.machineFile())
	if err != nil {
		return nil, err
	}
	m.notifier.Set(targets(mc.Notify, m.o.Clock))
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	results := m.notifier.Test(ctx, notify.Message{
		Network: "test", Pod: host, Code: "test", Severity: string(health.Notice), Title: "A test", Text: "Somebody runs wh notify test.",
		Since: m.o.Clock.Now().UTC(),
	})
	if len(results) == 0 {
		return nil, api.WithHint(errNoTargets, "wh config template machine shows one")
	}
	out := make([]api.Notified, 0, len(results))
	for name, err := range results {
		n := api.Notified{Name: name}
		if err != nil {
			n.Error = api.Text(err.Error())
		}
		out = append(out, n)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}

// unmounted are the folders where a pod should be mounted, and is not.
func (m *machine) unmounted(name string) []health.Mount {
	m.mu.Lock()
	r := m.pods[name]
	m.mu.Unlock()
	if r == nil || m.o.NoMounts || !m.mountsMade.Load() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []health.Mount
	for _, c := range r.now.Mounts {
		there := false
		for _, x := range r.mounts {
			there = there || x.asked == c.Dir || x.m.Dir() == c.Dir
		}
		if !there {
			out = append(out, health.Mount{Dir: c.Dir, Why: r.whyUnmounted(c.Dir)})
		}
	}
	return out
}

// fuseDevice is what FUSE needs on Linux.
const fuseDevice = "/dev/fuse"

// whyUnmounted says why a folder is not mounted; mu is held.
func (r *running) whyUnmounted(dir string) string {
	err, failed := r.failed[dir]
	_, missing := os.Stat(fuseDevice)
	switch {
	case runtime.GOOS == "linux" && errors.Is(missing, os.ErrNotExist):
		return "FUSE is missing: there is no " + fuseDevice + ", which modprobe fuse makes, or, for a container, --device " + fuseDevice + "; it is tried again"
	case failed && isLasting(err):
		return err.Error()
	case failed:
		return err.Error() + "; it is tried again"
	}
	return "it was taken away, or named since the last wh up"
}
