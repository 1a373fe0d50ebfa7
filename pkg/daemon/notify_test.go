//go:build unix

package daemon_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/notify"
)

// lockedBuffer is a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// A target that is written into machine.toml while the daemon runs hears of what holds, once, also over a restart; its secrets are nowhere.
func TestNotify(t *testing.T) {
	got := make(chan notify.Message, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m notify.Message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		got <- m
	}))
	defer hook.Close()
	home, e := newHome(t), (&mounts{}).engine()
	if _, err := create(t, home, e, api.InitRequest{Network: "home", Name: "box"}); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	o := options(home, e)
	o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := start(t, o)
	if _, err := do[[]api.Notified](r, "notify/test", struct{}{}); err == nil {
		t.Error("a test with nobody to tell")
	}
	text := fmt.Sprintf("kind = \"machine\"\nversion = 1\n[[notify]]\nname = \"hook\"\nkind = \"webhook\"\nseverity = \"notice\"\nurl = %q\n", hook.URL+"/token-123")
	if err := os.WriteFile(home.File(config.MachineFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// A test is by what was written a moment ago, not by what was in force before.
	done, err := do[[]api.Notified](r, "notify/test", struct{}{})
	if err != nil || len(done) != 1 || done[0].Name != "hook" || done[0].Error != "" {
		t.Errorf("%+v, %v", done, err)
	}
	told := map[string]notify.Message{}
	for len(told) < 2 {
		select {
		case m := <-got:
			told[m.Code] = m
		case <-time.After(limit):
			t.Fatalf("only %v is told", told)
		}
	}
	if m, test := told["few_pods"], told["test"]; m.Network != "home" || m.Pod != "box" || m.Over || test.Title == "" {
		t.Errorf("%+v", told)
	}
	if err := os.WriteFile(home.File(config.MachineFile), []byte(strings.Replace(text, "kind = \"webhook\"", "kind = \"hook\"", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := do[[]api.Notified](r, "notify/test", struct{}{}); api.CodeOf(err) != "bad_config" || !strings.Contains(err.Error(), ":5") {
		t.Errorf("of a file with a mistake: %v", err)
	}
	if err := os.WriteFile(home.File(config.MachineFile), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := do[[]api.ConfigKey](r, "config", struct{}{})
	if err != nil || strings.Contains(fmt.Sprint(all), "token") {
		t.Errorf("%v, %v", all, err)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	r = start(t, o)
	if _, err := do[[]api.Notified](r, "notify/test", struct{}{}); err != nil {
		t.Error(err)
	}
	if m := <-got; m.Code != "test" {
		t.Errorf("told again: %+v", m)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "token") {
		t.Error(log.String())
	}
}
