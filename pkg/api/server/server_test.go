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
	"path/filepath"
	"strings"
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

// What users may is a contract with whoever shares the machine: the daemon's own and root all, a group what it is given, others nothing.
func TestPrivileges(t *testing.T) {
	const own, group = 1000, 77777
	for name, row := range map[string]struct {
		access Access
		cred   peerCred
		want   api.Privilege
	}{
		"owner":         {Access{Group: -1}, peerCred{uid: own}, api.PrivilegeAdminister},
		"root":          {Access{Group: -1}, peerCred{uid: 0}, api.PrivilegeAdminister},
		"another":       {Access{Group: -1}, peerCred{uid: 54321, groups: []int{group}}, ""},
		"a member":      {Access{group, api.PrivilegeMount}, peerCred{uid: 54321, groups: []int{5, group}}, api.PrivilegeMount},
		"not a member":  {Access{group, api.PrivilegeAdminister}, peerCred{uid: 54321, groups: []int{5}}, ""},
		"a group of no": {Access{Group: group}, peerCred{uid: 54321, groups: []int{group}}, ""},
	} {
		if got := row.access.of(row.cred, own); got != row.want {
			t.Errorf("%s: got %q, want %q", name, got, row.want)
		}
	}
	for _, row := range []struct {
		may  api.Privilege
		path string
		want error
	}{
		{"", "/v1/health", api.ErrNotOwner},
		{api.PrivilegeStatus, "/v1/status", nil},
		{api.PrivilegeStatus, "/v1/mount", api.ErrPrivilege},
		{api.PrivilegeStatus, "/v1/ls", api.ErrPrivilege},
		{api.PrivilegeStatus, "/v1/status/../cat", api.ErrPrivilege},
		{api.PrivilegeStatus, "/debug", api.ErrPrivilege},
		{api.PrivilegeMount, "/v1/status", nil},
		{api.PrivilegeMount, "/v1/unmount", nil},
		{api.PrivilegeMount, "/v1/stop", api.ErrPrivilege},
		{api.PrivilegeMount, "/v1/config", api.ErrPrivilege},
		{api.PrivilegeAdminister, "/v1/add", nil},
	} {
		err := caller{uid: 7, may: row.may}.check(row.path)
		if !errors.Is(err, row.want) || err != nil && !strings.Contains(err.Error(), string(api.PrivilegeFor(row.path))) {
			t.Errorf("%q asks %s: got %v, want %v", row.may, row.path, err, row.want)
		}
	}
}

// Another user is refused even where the socket's mode lets them in.
func TestStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		testneed.Missing(t, "needs root to be somebody else")
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
	s := newServer()
	s.Allow(Access{Group: 65533, May: api.PrivilegeStatus})
	go func() { done <- s.Serve(ctx, l) }()
	for _, row := range []struct {
		uid, gid   int
		path, want string
	}{
		{0, 0, "health", `"version":"test"`},
		{65534, 65534, "health", `"code":"not_owner"`},
		{65534, 65533, "health", `"version":"test"`},
		{65534, 65533, "stop", `"code":"no_privilege"`},
	} {
		out, err := testneed.DoAs(ctx, row.uid, row.gid, path, row.path, "")
		if err != nil || !strings.Contains(out, row.want) {
			t.Errorf("user %d, group %d, %s: %s, %v", row.uid, row.gid, row.path, out, err)
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
