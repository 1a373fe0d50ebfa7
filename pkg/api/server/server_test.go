//go:build linux

package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// none is a machine without pods.
type none struct{ Machine }

func (none) Pod(string) (Pod, error) { return nil, api.ErrNoPod }

func (none) Mounts() []api.Mount { panic("a bug") }

func newServer() *Server {
	return New(none{}, "test", clock.Real{}, slog.New(slog.DiscardHandler))
}

func answer(t *testing.T, path, body string) (int, api.Error) {
	t.Helper()
	w := httptest.NewRecorder()
	newServer().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	var e api.Error
	_ = json.NewDecoder(w.Body).Decode(&e)
	return w.Code, e
}

// What is no request, or a broken one, is an error with a code; a bug in one request doesn't end the daemon.
func TestBadRequests(t *testing.T) {
	for name, c := range map[string]struct {
		path, body string
		want       api.Code
	}{
		"unknown":    {"/v1/nonsense", "", "protocol"},
		"no version": {"/status", "", "protocol"},
		"no JSON":    {"/v1/init", "{", "protocol"},
		"too long":   {"/v1/init", `"` + strings.Repeat("x", bodyMax) + `"`, "protocol"},
		"no pod":     {"/v1/status", "", "no_pod"},
		"no upgrade": {"/v1/cat", "", "no_pod"},
		"a bug":      {"/v1/mounts", "", api.CodeFailed},
	} {
		if code, e := answer(t, c.path, c.body); code != http.StatusUnprocessableEntity || e.Code != c.want {
			t.Errorf("%s: %d, %+v", name, code, e)
		}
	}
	if code, _ := answer(t, "/v1/health", ""); code != http.StatusOK {
		t.Errorf("health: %d", code)
	}
}

func TestCheckUID(t *testing.T) {
	if err := checkUID(1000, 1000); err != nil {
		t.Error(err)
	}
	if err := checkUID(0, 1000); err != nil {
		t.Error(err)
	}
	if err := checkUID(1001, 1000); !errors.Is(err, api.ErrNotOwner) {
		t.Error(err)
	}
	if err := checkUID(1000, 0); !errors.Is(err, api.ErrNotOwner) {
		t.Error(err)
	}
}

// Another user is refused even where the socket's mode lets them in.
func TestStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		testneed.Missing(t, "needs root to be somebody else")
	}
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("SKIPPED: needs curl")
	}
	dir, err := os.MkdirTemp("", "stranger-") //nolint:usetesting // t.TempDir's folders are closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	for p, mode := range map[string]os.FileMode{dir: 0o755, path: 0o666} {
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	done := make(chan error, 1)
	go func() { done <- newServer().Serve(ctx, l) }()
	for uid, want := range map[uint32]string{0: `"version":"test"`, 65534: `"code":"not_owner"`} {
		c := exec.CommandContext(ctx, curl, "-s", "--unix-socket", path, "-X", "POST", "http://x/v1/health")
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := c.Output()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("user %d: %s, %v", uid, out, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPathError(t *testing.T) {
	err := pathError("/a", io.ErrUnexpectedEOF)
	if err.Error() != "/a: unexpected EOF" || pathError("/a", err).Error() != err.Error() || pathError("/a", nil) != nil {
		t.Error(err)
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, s := range []string{"/", "//a/../..", "a", "", "/a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		got, err := cleanPath(p)
		if err == nil && (!strings.HasPrefix(got, "/") || strings.Contains("/"+got+"/", "/../")) {
			t.Errorf("%q: %q", p, got)
		}
	})
}
