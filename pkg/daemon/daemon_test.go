//go:build unix

package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
	"github.com/wormhole-fs/wormhole/pkg/daemon/daemontest"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long anything may take here.
const limit = 30 * time.Second

func newHome(t *testing.T) api.Home {
	t.Helper()
	dir, err := os.MkdirTemp("", "whd-") //nolint:usetesting // t.TempDir's paths can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return api.Home(filepath.Join(dir, "h"))
}

// mounts are mounts that only seem to be.
type mounts struct {
	mu    sync.Mutex
	log   []string
	stale map[string]bool
}

func (m *mounts) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *mounts) said() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.log, "; ")
}

func (m *mounts) engine() daemon.Engine {
	e := daemontest.Engine()
	e.Mount = func(_ context.Context, dir string, _ vfs.FS, o mountfs.Options) (daemon.Mounted, error) {
		if strings.HasSuffix(dir, "full") {
			return nil, vfs.ErrNotEmpty
		}
		m.note("mount %s ro=%v", filepath.Base(dir), o.ReadOnly)
		return &fakeMount{m: m, dir: dir, gone: make(chan struct{})}, nil
	}
	e.Stale = func(dir string) (bool, error) { return m.stale[dir], nil }
	e.Detach = func(dir string) error { m.note("detach %s", filepath.Base(dir)); return nil }
	return e
}

type fakeMount struct {
	m    *mounts
	dir  string
	once sync.Once
	gone chan struct{}
}

func (f *fakeMount) Dir() string { return f.dir }
func (f *fakeMount) Wait() error { <-f.gone; return nil }
func (f *fakeMount) Unmount(context.Context) error {
	f.m.note("unmount %s", filepath.Base(f.dir))
	f.once.Do(func() { close(f.gone) })
	return nil
}

// running is a daemon that runs.
type running struct {
	t    *testing.T
	home api.Home
	c    *client.Client
	said *bytes.Buffer
	stop context.CancelFunc
	done chan error
	line string
}

func options(home api.Home, e daemon.Engine) daemon.Options {
	return daemon.Options{
		Home: home, Engine: e, Version: "test", Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler),
		Ready: func(string) {}, Say: func(string) {},
	}
}

func start(t *testing.T, o daemon.Options) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, home: o.Home, c: client.New(o.Home, ""), stop: cancel, done: make(chan error, 1), said: &bytes.Buffer{}}
	ready := make(chan string, 1)
	o.Ready = func(line string) { ready <- line }
	o.Say = func(text string) { r.said.WriteString(text + "\n") }
	go func() { r.done <- daemon.Run(ctx, o) }()
	t.Cleanup(func() { _ = r.end() })
	select {
	case r.line = <-ready:
	case err := <-r.done:
		r.done <- err
		t.Fatalf("run: %v", err)
	case <-time.After(limit):
		t.Fatal("not ready")
	}
	return r
}

// end stops it and returns what Run did.
func (r *running) end() error {
	r.stop()
	select {
	case err := <-r.done:
		r.done <- err
		return err
	case <-time.After(limit):
		r.t.Fatal("it doesn't stop")
		return nil
	}
}

func do[A any](r *running, name string, q any) (A, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return client.Call[A](ctx, r.c, name, q)
}

func create(t *testing.T, home api.Home, e daemon.Engine, r api.InitRequest) (api.Made, error) {
	t.Helper()
	lock, err := daemon.TryLock(home)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
	}()
	return daemon.Create(context.Background(), home, e, r)
}

// A pod is made with its file, and the daemon serves it, its mounts included, until it is told to stop.
func TestRun(t *testing.T) {
	home, m := newHome(t), &mounts{}
	dir := filepath.Join(filepath.Dir(string(home)), "mnt")
	made, err := create(t, home, m.engine(), api.InitRequest{
		Network: "home", Name: "box", Mount: &api.Mount{Dir: api.Text(dir), Options: []string{"ro"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if made.Name != "box" || made.NetworkName != "home" || len(made.Network) != 64 {
		t.Errorf("made %+v", made)
	}
	cfg, err := config.LoadPod(filepath.Join(home.Pods(), "box", config.PodFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Listen) != 1 || strings.HasSuffix(cfg.Listen[0], ":0") || cfg.Network != made.Network {
		t.Errorf("pod.toml: %+v", cfg)
	}
	r := start(t, options(home, m.engine()))
	if !strings.Contains(r.line, "1 pods, 1 mounts") {
		t.Errorf("ready %s", r.line)
	}
	for path, want := range map[string]fs.FileMode{"": 0o700, "pods": 0o700, "pods/box": 0o700, "lock": 0o600, "api.sock": 0o600, "pods/box/pod.toml": 0o600} {
		st, err := os.Stat(home.File(path))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	if _, err := do[api.Status](r, "status", struct{}{}); err != nil {
		t.Error(err)
	}
	if err := daemon.Run(context.Background(), options(home, m.engine())); !errors.Is(err, api.ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
	if _, err := do[struct{}](r, "stop", struct{}{}); err != nil {
		t.Error(err)
	}
	if err := <-r.done; err != nil {
		t.Errorf("run: %v", err)
	}
	r.done <- nil
	if got := m.said(); got != "mount mnt ro=true; unmount mnt" {
		t.Error(got)
	}
	if _, err := do[api.Status](r, "status", struct{}{}); !errors.Is(err, api.ErrNoDaemon) {
		t.Errorf("after the stop: %v", err)
	}
	if _, err := os.Stat(home.File("api.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket: %v", err)
	}
}

// A pod that a running daemon makes serves at once; pods must be named then, and a network can't be here twice.
func TestMakeWhileRunning(t *testing.T) {
	m := &mounts{}
	r := start(t, options(newHome(t), m.engine()))
	if _, err := do[api.Status](r, "status", struct{}{}); !errors.Is(err, api.ErrNoPod) || api.HintOf(err) == "" {
		t.Errorf("no pods: %v", err)
	}
	if _, err := do[api.Made](r, "init", api.InitRequest{Network: "home", Name: "box"}); err != nil {
		t.Fatal(err)
	}
	st, err := do[api.Status](r, "status", struct{}{})
	if err != nil || st.NetworkName != "home" {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := do[api.Made](r, "init", api.InitRequest{Network: "home"}); !errors.Is(err, api.ErrConflict) {
		t.Errorf("the same again: %v", err)
	}
	if _, err := do[api.Made](r, "init", api.InitRequest{Network: "other", Name: "box"}); !errors.Is(err, api.ErrConflict) {
		t.Errorf("the same pod's name: %v", err)
	}
	for _, bad := range []api.InitRequest{{Network: ""}, {Network: "a/b"}, {Network: "x", Name: "../x"}, {Network: "x", Listen: []string{"1"}}} {
		if _, err := do[api.Made](r, "init", bad); !errors.Is(err, api.ErrUsage) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	token := "wh1fake." + strings.Repeat("ab", 32)
	made, err := do[api.Made](r, "join", api.JoinRequest{Token: token, Name: "two"})
	if err != nil || made.Name != "two" {
		t.Errorf("%+v, %v", made, err)
	}
	if _, err := do[api.Made](r, "join", api.JoinRequest{Token: token, Name: "three"}); !errors.Is(err, api.ErrConflict) {
		t.Errorf("the same network: %v", err)
	}
	if _, err := do[api.Status](r, "status", struct{}{}); !errors.Is(err, api.ErrUsage) || !strings.Contains(api.HintOf(err), "box, two") {
		t.Errorf("which pod? %v, %q", err, api.HintOf(err))
	}
	r.c = client.New(r.home, "joined") // A network's name does as well.
	if st, err := do[api.Status](r, "status", struct{}{}); err != nil || st.Name != "two" {
		t.Errorf("%+v, %v", st, err)
	}
	entries, err := os.ReadDir(r.home.Pods())
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}

// What can't be completed leaves nothing, and what was cut off is cleaned up.
func TestUndone(t *testing.T) {
	home := newHome(t)
	e := daemontest.Engine()
	e.Create = func(_ context.Context, dir string, _ daemon.CreateOptions) (pod.Info, error) {
		if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
			return pod.Info{}, err
		}
		return pod.Info{}, vfs.ErrNoSpace
	}
	if _, err := create(t, home, e, api.InitRequest{Network: "home"}); !errors.Is(err, vfs.ErrNoSpace) {
		t.Errorf("%v", err)
	}
	e.Create = func(context.Context, string, daemon.CreateOptions) (pod.Info, error) {
		return pod.Info{Name: "../../etc", NetworkName: "home"}, nil
	}
	if _, err := create(t, home, e, api.InitRequest{Network: "home"}); err == nil {
		t.Error("a name that leads elsewhere")
	}
	full := filepath.Join(filepath.Dir(string(home)), "dir")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := create(t, home, daemontest.Engine(), api.InitRequest{Network: "home", Mount: &api.Mount{Dir: api.Text(full)}})
	if !errors.Is(err, vfs.ErrNotEmpty) {
		t.Errorf("a full folder as a mount: %v", err)
	}
	if entries, err := os.ReadDir(home.Pods()); err != nil || len(entries) != 0 {
		t.Errorf("left over: %v, %v", entries, err)
	}
	if err := os.Mkdir(filepath.Join(home.Pods(), ".new-cut"), 0o700); err != nil {
		t.Fatal(err)
	}
	start(t, options(home, daemontest.Engine()))
	if entries, err := os.ReadDir(home.Pods()); err != nil || len(entries) != 0 {
		t.Errorf("not cleaned up: %v, %v", entries, err)
	}
}

// Mounts come and go; what is saved comes back, what a killed daemon left is detached.
func TestMounts(t *testing.T) {
	home, m := newHome(t), &mounts{}
	if _, err := create(t, home, m.engine(), api.InitRequest{Network: "home", Name: "box"}); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(string(home), "left")
	if err := os.WriteFile(home.File("pods/box/mount.json"), fmt.Appendf(nil, `[{"dir":%q},{"dir":"/gone"}]`, left), 0o600); err != nil {
		t.Fatal(err)
	}
	m.stale = map[string]bool{left: true}
	r := start(t, options(home, m.engine()))
	if got := m.said(); got != "detach left" {
		t.Error(got)
	}
	dir := func(name string) api.Text { return api.Text(filepath.Join(string(home), name)) }
	for _, q := range []api.Mount{{Dir: dir("a")}, {Dir: dir("b"), Save: true}} {
		if _, err := do[struct{}](r, "mount", q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := do[struct{}](r, "mount", api.Mount{Dir: dir("c"), Options: []string{"fast"}}); !errors.Is(err, api.ErrUsage) {
		t.Errorf("%v", err)
	}
	if _, err := do[struct{}](r, "mount", api.Mount{Dir: dir("full")}); !errors.Is(err, vfs.ErrNotEmpty) {
		t.Errorf("%v", err)
	}
	if _, err := do[struct{}](r, "unmount", api.Unmount{Dir: dir("none")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	all, err := do[[]api.Mount](r, "mounts", struct{}{})
	if err != nil || len(all) != 2 || all[0].Save || !all[1].Save || all[1].Pod != "box" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := do[struct{}](r, "unmount", api.Unmount{Dir: dir("a")}); err != nil {
		t.Error(err)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if got := m.said(); got != "detach left; mount a ro=false; mount b ro=false; unmount a; unmount b" {
		t.Error(got)
	}
	m.log = nil
	r = start(t, options(home, m.engine()))
	if _, err := do[struct{}](r, "unmount", api.Unmount{Save: true}); err != nil {
		t.Error(err)
	}
	if got := m.said(); got != "mount b ro=false; unmount b" {
		t.Error(got)
	}
	cfg, err := config.LoadPod(home.File("pods/box/pod.toml"))
	if err != nil || len(cfg.Mounts) != 0 {
		t.Errorf("%+v, %v", cfg, err)
	}
}

// A mount at a folder that has something in it keeps the daemon from being ready: only its user can say what is to become of that.
func TestMountFails(t *testing.T) {
	home, m := newHome(t), &mounts{}
	full := filepath.Join(string(home), "full")
	if _, err := create(t, home, m.engine(), api.InitRequest{Network: "home", Mount: &api.Mount{Dir: api.Text(full)}}); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Run(context.Background(), options(home, m.engine())); !errors.Is(err, vfs.ErrNotEmpty) {
		t.Errorf("%v", err)
	}
	lock, err := daemon.TryLock(home) // All is freed again.
	if err != nil {
		t.Fatal(err)
	}
	_ = lock.Unlock()
}

// Where FUSE is missing the pod serves all the same, says that it is not mounted, and tries again until it is.
func TestFuseMissing(t *testing.T) {
	home, m := newHome(t), &mounts{}
	e := m.engine()
	if _, err := create(t, home, e, api.InitRequest{Network: "home", Mount: &api.Mount{Dir: api.Text(filepath.Join(string(home), "mnt"))}}); err != nil {
		t.Fatal(err)
	}
	mount := e.Mount
	var there atomic.Bool
	tried := make(chan struct{}, 100)
	e.Mount = func(ctx context.Context, dir string, f vfs.FS, o mountfs.Options) (daemon.Mounted, error) {
		if !there.Load() {
			tried <- struct{}{}
			return nil, errors.New("no /dev/fuse")
		}
		return mount(ctx, dir, f, o)
	}
	r := start(t, options(home, e))
	if !strings.Contains(r.line, "1 pods, 0 mounts") || !strings.Contains(r.line, "1 mounts that could not be made") || !strings.Contains(r.said.String(), "no /dev/fuse") {
		t.Errorf("ready %q, said %q", r.line, r.said)
	}
	if _, err := do[api.Status](r, "status", struct{}{}); err != nil {
		t.Errorf("the pod does not serve: %v", err)
	}
	<-tried
	<-tried // again
	there.Store(true)
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		all, err := do[[]api.Mount](r, "mounts", struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 1 && all[0].Save {
			break
		}
		if time.Since(began) > limit {
			t.Fatalf("mounts %v", all)
		}
	}
	if s := m.said(); strings.Count(s, "mount mnt") != 1 {
		t.Errorf("%s", s)
	}
}

// A mount that could not be made and is not wanted any more is not tried again.
func TestFuseMissingGivenUp(t *testing.T) {
	home, m := newHome(t), &mounts{}
	e := m.engine()
	dir := filepath.Join(string(home), "mnt")
	if _, err := create(t, home, e, api.InitRequest{Network: "home", Mount: &api.Mount{Dir: api.Text(dir)}}); err != nil {
		t.Fatal(err)
	}
	var tries atomic.Int64
	e.Mount = func(context.Context, string, vfs.FS, mountfs.Options) (daemon.Mounted, error) {
		tries.Add(1)
		return nil, errors.New("no /dev/fuse")
	}
	r := start(t, options(home, e))
	if _, err := do[struct{}](r, "unmount", api.Unmount{Dir: api.Text(dir), Save: true}); err != nil {
		t.Fatal(err)
	}
	before := tries.Load()
	time.Sleep(2500 * time.Millisecond)  // two tries would have come
	if n := tries.Load(); n > before+1 { // one may have been under way
		t.Errorf("%d tries after it was given up", n-before)
	}
	if _, err := do[struct{}](r, "unmount", api.Unmount{Dir: api.Text(dir)}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not mounted is taken away: %v", err)
	}
}

// A port that is taken is replaced by another, and that is said.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	home := newHome(t)
	addr := fmt.Sprintf("0.0.0.0:%d", l.Addr().(*net.TCPAddr).Port)
	if _, err := create(t, home, daemontest.Engine(), api.InitRequest{Network: "home", Listen: []string{addr}}); err != nil {
		t.Fatal(err)
	}
	r := start(t, options(home, daemontest.Engine()))
	if !strings.Contains(r.said.String(), addr+" is taken") || strings.Contains(r.line, addr[len("0.0.0.0"):]) {
		t.Errorf("said %q, ready %q", r.said, r.line)
	}
}

// A pod that ends by itself ends the daemon, with an error.
func TestPodEnds(t *testing.T) {
	home := newHome(t)
	if _, err := create(t, home, daemontest.Engine(), api.InitRequest{Network: "home", Name: "box"}); err != nil {
		t.Fatal(err)
	}
	e := daemontest.Engine()
	open := e.Open
	broken := make(chan struct{})
	e.Open = func(ctx context.Context, o daemon.OpenOptions) (daemon.Pod, error) {
		p, err := open(ctx, o)
		return breaking{p, broken}, err
	}
	r := start(t, options(home, e))
	close(broken)
	select {
	case err := <-r.done:
		r.done <- err
		if err == nil || !strings.Contains(err.Error(), "disk is gone") {
			t.Errorf("%v", err)
		}
	case <-time.After(limit):
		t.Error("it runs on")
	}
}

type breaking struct {
	daemon.Pod
	broken chan struct{}
}

func (b breaking) Run(ctx context.Context) error {
	select {
	case <-b.broken:
		return errors.New("disk is gone")
	case <-ctx.Done():
		return nil
	}
}
