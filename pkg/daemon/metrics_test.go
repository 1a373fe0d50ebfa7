//go:build unix

package daemon_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/config"
)

// Metrics are on the local socket, and on TCP where the machine's file says so: they alone, and no profile.
func TestMetrics(t *testing.T) {
	home, e := newHome(t), (&mounts{}).engine()
	if _, err := create(t, home, e, api.InitRequest{Network: "home", Name: "box"}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("kind = \"machine\"\nversion = 1\nmetrics_listen = %q\n", addr)
	if err := os.WriteFile(home.File(config.MachineFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, options(home, e))
	for name, want := range map[string]string{"metrics": "wormhole_healthy{", "debug/pprof/goroutine?debug=1": "goroutine profile:"} {
		var b bytes.Buffer
		if err := r.c.Fetch(t.Context(), name, &b); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %v, %.200s", name, err, b.String())
		}
	}
	if err := r.c.Fetch(t.Context(), "nothing", io.Discard); err == nil {
		t.Error("what is not there is")
	}
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + addr + path)
		for begin := time.Now(); err != nil && time.Since(begin) < limit; resp, err = http.Get("http://" + addr + path) {
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if code, got := get("/metrics"); code != 200 || !strings.Contains(got, `wormhole_store_free_bytes{network="home",pod="box"} 6`) {
		t.Errorf("%d %s", code, got)
	}
	for _, path := range []string{"/debug/pprof/heap", "/v1/debug/pprof/heap", "/v1/status", "/"} {
		if code, _ := get(path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := r.end(); err != nil {
		t.Error(err)
	}
}
