//go:build unix

package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/notify"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// nightSpeed is how much faster than the machine's the clock of a night runs.
const nightSpeed = 20

// fastClock runs so.
type fastClock struct{ from time.Time }

func (f fastClock) Now() time.Time { return f.from.Add(time.Since(f.from) * nightSpeed) }
func (f fastClock) NewTimer(d time.Duration) *time.Timer {
	return time.NewTimer(d / nightSpeed)
}

// podEngine makes and opens real pods, which live by a fast clock and meet on this machine alone.
func podEngine(c fastClock) daemon.Engine {
	e := (&mounts{}).engine()
	e.Create = func(ctx context.Context, dir string, o daemon.CreateOptions) (pod.Info, error) {
		return pod.Create(ctx, dir, pod.CreateOptions{NetworkName: o.NetworkName, PodName: o.PodName, Clock: c})
	}
	e.Join = func(ctx context.Context, dir string, o daemon.JoinOptions) (pod.Info, error) {
		return pod.Join(ctx, dir, pod.JoinOptions{Token: o.Token, PodName: o.PodName})
	}
	e.TokenNetwork = func(token string) (ident.Network, error) {
		t, err := member.ParseToken(token)
		return t.Network, err
	}
	e.Open = func(ctx context.Context, o daemon.OpenOptions) (daemon.Pod, error) {
		p, err := pod.Open(ctx, pod.Options{
			Dir: o.Dir, Listen: []string{"127.0.0.1:0"}, Weight: o.Share.Weight, Clock: c, Log: o.Log, Version: o.Version, Unmounted: o.Unmounted,
		})
		if err != nil {
			return nil, err // Not a nil *pod.Pod in an interface.
		}
		return p, nil
	}
	return e
}

// A pod that is lost at night, though it comes and goes once more, is told once; when it is back and all is whole, that is told once: three daemons with
// real pods, from what one of them doesn't hear any more to the messages that a webhook gets.
func TestLostAtNight(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	told := make(chan notify.Message, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m notify.Message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		told <- m
	}))
	defer hook.Close()
	c := fastClock{time.Now()}
	e := podEngine(c)
	run := func(home api.Home) *running {
		o := options(home, e)
		o.Clock = c
		return start(t, o)
	}
	homes := []api.Home{newHome(t), newHome(t), newHome(t)}
	if _, err := create(t, homes[0], e, api.InitRequest{Network: "home", Name: "box"}); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("kind = \"machine\"\nversion = 1\n[[notify]]\nname = \"hook\"\nkind = \"webhook\"\nseverity = \"warning\"\nurl = %q\n", hook.URL)
	if err := os.WriteFile(homes[0].File(config.MachineFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	box := run(homes[0])
	// All that would come of the loss comes in this night: what the pod has is made again, and it counts as out.
	for key, value := range map[string]string{"repair": "1m", "out": "3m", "lower": "1m"} {
		if _, err := do[api.ConfigDone](box, "config/set", api.ConfigSet{Scope: api.ScopeNetwork, Key: key, Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	var pi *running
	for i, name := range []string{"nas", "pi"} {
		token, err := do[api.Token](box, "invite", api.InviteRequest{Role: "writer", TTLMS: time.Hour.Milliseconds(), Uses: 1})
		if err != nil {
			t.Fatal(err)
		}
		pi = join(t, homes[i+1], e, api.JoinRequest{Token: token.Token, Name: name}, run)
	}
	files := filepath.Join(t.TempDir(), "files")
	if err := os.Mkdir(files, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 40 { // enough that the pod has some of them
		if err := os.WriteFile(filepath.Join(files, fmt.Sprint(i)), fmt.Appendf(nil, "this is file %d", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := box.c.Add(ctx, client.AddOptions{Sources: []client.Source{{Path: files, Name: "files"}}, To: "/"}); err != nil {
		t.Fatal(err)
	}
	if _, err := do[struct{}](box, "sync", api.SyncRequest{Path: "/", Wait: true}); err != nil {
		t.Fatal(err)
	}
	hear := func(what string, limit time.Duration, over bool) {
		t.Helper()
		select {
		case m := <-told:
			if m.Code != "pod_down" || m.Subject != "pi" || m.Over != over {
				t.Errorf("%s: told %+v", what, m)
			}
		case <-time.After(limit):
			t.Fatalf("%s: nothing is told", what)
		}
	}
	silence := func(what string, night time.Duration) {
		t.Helper()
		select {
		case m := <-told:
			t.Errorf("%s: told %+v", what, m)
		case <-time.After(night / nightSpeed):
		}
	}
	silence("all are there", 2*time.Minute)
	if err := pi.end(); err != nil {
		t.Fatal(err)
	}
	hear("it is lost", limit, false)
	silence("it stays away", 4*time.Minute)
	pi = run(homes[2])
	silence("it is back for a moment", 20*time.Second)
	if err := pi.end(); err != nil {
		t.Fatal(err)
	}
	silence("it is away again", 4*time.Minute)
	run(homes[2])
	hear("it is whole again", limit, true)
	silence("it stays whole", 3*time.Minute)
	kept, err := do[api.Status](box, "status", struct{}{})
	if err != nil || !kept.Healthy || len(kept.Pods) != 3 || slices.ContainsFunc(kept.Pods, func(p api.Pod) bool { return p.State != "up" }) {
		t.Errorf("in the end: %+v, %v", kept, err)
	}
}

// join makes a pod in a home, and runs it.
func join(t *testing.T, home api.Home, e daemon.Engine, q api.JoinRequest, run func(api.Home) *running) *running {
	t.Helper()
	lock, err := daemon.TryLock(home)
	if err != nil {
		t.Fatal(err)
	}
	_, err = daemon.Join(context.Background(), home, e, q)
	if uerr := lock.Unlock(); err != nil || uerr != nil {
		t.Fatal(err, uerr)
	}
	return run(home)
}
