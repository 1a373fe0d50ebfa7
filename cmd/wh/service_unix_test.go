//go:build unix

package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// A unit of the user is written, started, stopped and removed by systemctl.
func TestService(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	script := "#!/bin/sh\necho \"$@\" >> '" + log + "'\n"
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CONFIG_HOME", dir)
	s := newSession(t)
	if _, _, code := s.wh("", "service", "remove", "--user"); code != exitNotFound {
		t.Errorf("remove what is not there: exit %d", code)
	}
	s.must("", "service", "install", "--user")
	b, err := os.ReadFile(filepath.Join(dir, "systemd", "user", unitName))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Type=notify", `"up`, "--home \"" + string(s.home) + "\"", "WantedBy=default.target", "WatchdogSec=120"} {
		if !strings.Contains(string(b), strings.TrimPrefix(line, `"`)) {
			t.Errorf("%s is not in %s", line, b)
		}
	}
	s.must("", "service", "remove", "--user")
	if _, err := os.Stat(filepath.Join(dir, "systemd", "user", unitName)); err == nil {
		t.Error("the unit is there")
	}
	b, err = os.ReadFile(log)
	const want = "--user daemon-reload\n--user enable --now wormhole.service\n--user disable --now wormhole.service\n--user daemon-reload\n"
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	if got, want := quoteUnit(`a "b" 5% $HOME \`), `"a \"b\" 5%% $$HOME \\"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The service manager hears that the daemon is ready, that it lives while it answers, and that it stops.
func TestSystemd(t *testing.T) {
	s := newSession(t)
	dir, err := os.MkdirTemp("", "wh-") //nolint:usetesting // t.TempDir's paths can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	hear := func(want string) {
		t.Helper()
		b := make([]byte, 4096)
		_ = l.SetReadDeadline(time.Now().Add(20 * time.Second))
		for {
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("%s: %v", want, err)
			}
			if string(b[:n]) == want {
				return
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", "")
	sys := newSystemd()
	if os.Getenv("NOTIFY_SOCKET") != "" {
		t.Error("children inherit the socket")
	}
	e := &env{home: s.home, clock: clock.Real{}, stdout: &bytes.Buffer{}}
	ctx, cancel := context.WithCancel(t.Context())
	end := sys.watch(ctx, e)
	sys.say("READY=1\nSTATUS=x")
	hear("READY=1\nSTATUS=x")
	hear("WATCHDOG=1")
	cancel()
	hear("STOPPING=1")
	end()
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", "1")
	if sys := newSystemd(); sys.socket != "" || sys.watchdog != 0 {
		t.Errorf("%+v", sys)
	}
	systemd{}.watch(t.Context(), e)()
}

// Each command that is not hidden has a man page, with its flags and exit codes.
func TestMan(t *testing.T) {
	s := newSession(t)
	dir := t.TempDir()
	s.must("", "man", dir)
	pages, err := filepath.Glob(filepath.Join(dir, "wh*.1"))
	if err != nil || len(pages) < 60 {
		t.Errorf("%d pages, %v", len(pages), err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "wh-status.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".SH NAME\nwh\\-status \\- ", ".B \\-w, \\-\\-watch", ".SH EXIT STATUS", ".B 7\n", ".BR wh (1)"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is not in %s", want, b)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got, _, code := s.wh("", "completion", shell); code != 0 || len(got) < 1000 {
			t.Errorf("completion %s: exit %d", shell, code)
		}
	}
}
