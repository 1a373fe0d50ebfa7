package apitest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/server"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

var _ server.Pod = (*Pod)(nil)

// Info is made up.
func Info() pod.Info {
	return pod.Info{
		Pod: ident.Pod{1, 2, 3}, Name: "box", Network: ident.Network{0xab, 0xcd}, NetworkName: "home", Role: "admin",
		Addrs: []string{"/ip4/127.0.0.1/tcp/4001"},
	}
}

// Machine is a machine with some pods and nothing else.
type Machine struct{ Pods map[string]*Pod }

// Pod is the pod of this name, or the only one.
func (m Machine) Pod(name string) (server.Pod, error) {
	if p, ok := m.Pods[name]; ok {
		return p, nil
	}
	for _, p := range m.Pods {
		if name == "" && len(m.Pods) == 1 {
			return p, nil
		}
	}
	return nil, fmt.Errorf("pod %q: %w", name, api.ErrNoPod)
}

// Init is not supported.
func (m Machine) Init(context.Context, api.InitRequest) (api.Made, error) {
	return api.Made{}, api.ErrUnsupported
}

// Join is not supported.
func (m Machine) Join(context.Context, api.JoinRequest) (api.Made, error) {
	return api.Made{}, api.ErrUnsupported
}

// Mount is not supported.
func (m Machine) Mount(context.Context, string, api.Mount) error { return api.ErrUnsupported }

// Unmount is not supported.
func (m Machine) Unmount(context.Context, string, api.Unmount) error { return api.ErrUnsupported }

// Mounts are none.
func (m Machine) Mounts() []api.Mount { return []api.Mount{} }

// Config is made up.
func (m Machine) Config(context.Context, string) ([]api.ConfigKey, error) {
	return []api.ConfigKey{
		{Scope: api.ScopeMachine, Key: "log_level", Value: "info", Origin: "default"},
		{Scope: api.ScopePod, Key: "cache_bytes", Value: "5", Origin: "/home/pods/box/pod.toml:7"},
		{Scope: api.ScopeNetwork, Key: "trash", Value: "48h0m0s", Origin: "network"},
	}, nil
}

// SetConfig says that it has done so.
func (m Machine) SetConfig(_ context.Context, _ string, q api.ConfigSet) (api.ConfigDone, error) {
	return api.ConfigDone{ConfigKey: api.ConfigKey{Scope: q.Scope, Key: q.Key, Value: q.Value, Origin: "default"}, Restart: true}, nil
}

// TestNotify tells of one that works and one that doesn't.
func (m Machine) TestNotify(context.Context) ([]api.Notified, error) {
	return []api.Notified{{Name: "hook", Error: "notify: webhook: answered 404 Not Found"}, {Name: "me"}}, nil
}

// Metrics are one.
func (m Machine) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "wormhole_healthy 1\n") })
}

// Stop does nothing.
func (m Machine) Stop() {}

// Serve serves a machine until the test ends, and returns its WH_HOME.
func Serve(t testing.TB, m server.Machine) api.Home {
	t.Helper()
	dir, err := os.MkdirTemp("", "whapi-") //nolint:usetesting // t.TempDir's paths can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	home := api.Home(dir)
	path, _, err := home.NewSocket()
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- server.New(m, "test", clock.Real{}, slog.New(slog.DiscardHandler)).Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		_ = os.RemoveAll(dir) // A folder of the test's.
	})
	return home
}
