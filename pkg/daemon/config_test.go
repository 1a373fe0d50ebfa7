//go:build unix

package daemon_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// limited is a pod that says what limits its cache is given.
type limited struct {
	daemon.Pod
	limits chan int64
	told   chan string
}

func (l limited) ConfigChanged(text string) { l.told <- text }

func (l limited) Tune(_ context.Context, t pod.Tuning) { l.limits <- t.CacheBytes + t.Rates.Up }

// warnings is a log that tells of warnings.
type warnings struct {
	slog.Handler
	c chan struct{}
}

func (w warnings) Enabled(_ context.Context, l slog.Level) bool  { return l >= slog.LevelWarn }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler            { return w }
func (w warnings) WithGroup(string) slog.Handler                 { return w }
func (w warnings) Handle(_ context.Context, _ slog.Record) error { w.c <- struct{}{}; return nil }

// What is written into the files while the daemon runs is in force soon, and a mistake changes nothing.
func TestConfigChanges(t *testing.T) {
	home, e := newHome(t), (&mounts{}).engine()
	open, limits, told := e.Open, make(chan int64, 8), make(chan string, 20)
	e.Open = func(ctx context.Context, o daemon.OpenOptions) (daemon.Pod, error) {
		p, err := open(ctx, o)
		return limited{p, limits, told}, err
	}
	if _, err := create(t, home, e, api.InitRequest{Network: "home", Name: "box"}); err != nil {
		t.Fatal(err)
	}
	o := options(home, e)
	wrong := make(chan struct{}, 8)
	o.Levels, o.Log = new(daemon.Levels), slog.New(warnings{slog.DiscardHandler, wrong})
	r := start(t, o)

	if _, err := do[api.ConfigDone](r, "config/set", api.ConfigSet{Scope: api.ScopePod, Key: "cache_bytes", Value: "1MiB"}); err != nil {
		t.Fatal(err)
	}
	if got := <-limits; got != 1<<20 {
		t.Errorf("the cache is limited to %d", got)
	}
	if _, err := do[api.ConfigDone](r, "config/set", api.ConfigSet{Scope: api.ScopePod, Key: "rate_up_bytes", Value: "3"}); err != nil {
		t.Fatal(err)
	}
	if got := <-limits; got != 1<<20+3 {
		t.Errorf("limits of %d bytes", got)
	}
	if _, err := do[api.ConfigDone](r, "config/set", api.ConfigSet{Scope: api.ScopeMachine, Key: "log_level", Value: "error"}); err != nil {
		t.Fatal(err)
	}
	if got := o.Levels.Of("pod"); got != slog.LevelError {
		t.Errorf("the level is %v", got)
	}

	found, err := filepath.Glob(filepath.Join(home.Pods(), "*", config.PodFile))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	path := found[0]
	edit := func(old, by string) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(b), old, by, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wait := func(want int64) {
		t.Helper()
		select {
		case got := <-limits:
			if got != want {
				t.Errorf("the cache is limited to %d, not %d", got, want)
			}
		case <-time.After(limit):
			t.Fatalf("the limit of %d does not come into force", want)
		}
	}
	edit("cache_bytes = 1048576", "cache_bytes = -7")
	select {
	case <-wrong:
	case <-time.After(limit):
		t.Fatal("nothing is said of a wrong file")
	}
	edit("cache_bytes = -7", "cache_bytes = 7777")
	wait(7777 + 3)
	all, err := do[[]api.ConfigKey](r, "config", struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		if k.Key == "cache_bytes" && (k.Value != "7777" || !strings.HasPrefix(k.Origin, path+":")) {
			t.Errorf("%+v", k)
		}
	}
	if _, err := do[api.ConfigDone](r, "config/set", api.ConfigSet{Scope: api.ScopePod, Key: "capacity_bytes", Value: "1GiB"}); err != nil {
		t.Fatal(err)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	close(told)
	var events []string
	for text := range told {
		events = append(events, strings.ReplaceAll(text, path, "FILE"))
	}
	want := []string{
		`pod: cache_bytes is "1048576", was "0"`, `pod: rate_up_bytes is "3", was "0"`, `machine: log_level is "error", was "info"`,
		"what was before stays in force: config: FILE:8: ", `pod: cache_bytes is "7777", was "1048576"`, `pod: capacity_bytes is "1073741824", was "0"; in force at the next wh up`,
	}
	if !slices.EqualFunc(events, want, strings.HasPrefix) {
		t.Errorf("events %q", events)
	}
}
