package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/apitest"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/daemon/daemontest"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

var update = flag.Bool("update", false, "write golden files anew")

// still is a clock that stands still.
type still struct{ clock.Real }

func (still) Now() time.Time { return time.Unix(1700000000, 5) }

// session runs commands against a daemon with one pod in memory.
type session struct {
	t    *testing.T
	pod  *apitest.Pod
	home api.Home
}

func newSession(t *testing.T) *session {
	t.Helper()
	t.Setenv("WH_POD", "")
	p := apitest.New(apitest.Info())
	return &session{t: t, pod: p, home: apitest.Serve(t, apitest.Machine{Pods: map[string]*apitest.Pod{"box": p}})}
}

// wh runs a command and returns what it printed and its exit code.
func (s *session) wh(stdin string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out, talk bytes.Buffer
	e := &env{stdin: strings.NewReader(stdin), stdout: &out, stderr: &talk, engine: daemontest.Engine(), clock: still{}}
	code = execute(ctx, e, append([]string{"--home", string(s.home)}, args...))
	return out.String(), talk.String(), code
}

func (s *session) must(stdin string, args ...string) {
	s.t.Helper()
	if _, stderr, code := s.wh(stdin, args...); code != 0 {
		s.t.Fatalf("wh %q: exit %d: %s", args, code, stderr)
	}
}

// What --json prints is a contract: a key that changes fails here.
func TestJSON(t *testing.T) {
	s := newSession(t)
	s.pod.Problem = []pod.Problem{{Where: "/bad\xff", What: "rotten"}}
	s.must("hello", "add", "-", "--name", "f")
	s.must("", "mkdir", "-p", "/d/e")
	s.must("x", "add", "-", "--name", "bad\xffname\n", "--to", "/d")
	for _, c := range []struct {
		name  string
		stdin string
		code  int
		args  []string
	}{
		{"status", "", 0, []string{"status"}},
		{"notify-test", "", exitFailed, []string{"notify", "test"}},
		{"can-stop", "", 0, []string{"status", "--can-stop"}},
		{"health", "", 0, []string{"health"}},
		{"pods", "", 0, []string{"pods"}},
		{"member-ls", "", 0, []string{"member", "ls"}},
		{"member-log", "", 0, []string{"member", "log"}},
		{"member-pending", "", 0, []string{"member", "pending"}},
		{"invite-ls", "", 0, []string{"invite", "ls"}},
		{"peers", "", 0, []string{"peers"}},
		{"stats", "", 0, []string{"stats"}},
		{"stats-hot", "", 0, []string{"stats", "hot"}},
		{"pod-freeze", "", 0, []string{"pod", "freeze", "--for", "10m"}},
		{"pod-unfreeze", "", 0, []string{"pod", "unfreeze"}},
		{"cache", "", 0, []string{"cache", "ls"}},
		{"cache-clean", "", 0, []string{"cache", "clean"}},
		{"repair", "", 0, []string{"repair"}},
		{"repair-watch", "", 0, []string{"repair", "--watch"}},
		{"df", "", 0, []string{"df"}},
		{"root", "", 0, []string{"root"}},
		{"root-state", "", 0, []string{"root", "--state"}},
		{"root-all", "", 0, []string{"root", "--all"}},
		{"where", "", 0, []string{"where", "/f"}},
		{"policy", "", 0, []string{"policy", "get", "/f"}},
		{"policy-set", "", 0, []string{"policy", "set", "/d", "replica:3"}},
		{"policy-ls", "", 0, []string{"policy", "ls"}},
		{"pin-add", "", 0, []string{"pin", "add", "/f"}},
		{"pin-ls", "", 0, []string{"pin", "ls", "/"}},
		{"evict", "", 0, []string{"evict", "/f"}},
		{"place", "", 0, []string{"place", "/f", "--home", "box"}},
		{"pod-drain", "", 0, []string{"pod", "drain", "box", "--watch"}},
		{"pod-remove", "", 0, []string{"pod", "remove", "box"}},
		{"add", "again", 0, []string{"add", "-", "--name", "g"}},
		{"ls", "", 0, []string{"ls", "-R"}},
		{"tree", "", 0, []string{"tree"}},
		{"du", "", 0, []string{"du"}},
		{"stat", "", 0, []string{"stat", "/f"}},
		{"invite", "", 0, []string{"invite"}},
		{"mounts", "", 0, []string{"mount"}},
		{"fsck", "", exitCorrupt, []string{"fsck"}},
		{"fsck-repair", "", 0, []string{"fsck", "--repair"}},
		{"scrub", "", exitCorrupt, []string{"scrub"}},
		{"events", "", 0, []string{"events"}},
		{"events-kind", "", 0, []string{"events", "--kind", "read_failed,conflict"}},
		{"events-no-kind", "", exitUsage, []string{"events", "--kind", "nothing"}},
		{"gc", "", 0, []string{"gc"}},
		{"log", "", 0, []string{"log", "/"}},
		{"diff", "", 0, []string{"diff", "snap"}},
		{"snapshots", "", 0, []string{"snapshot", "ls", "--all"}},
		{"snapshot", "", 0, []string{"snapshot", "create", "mine"}},
		{"restore", "", 0, []string{"restore", "/f", "--at", "snap", "-o", "/restored"}},
		{"conflicts", "", 0, []string{"conflicts"}},
		{"config", "", 0, []string{"config", "show"}},
		{"config-get", "", 0, []string{"config", "get", "trash"}},
		{"config-set", "", 0, []string{"config", "set", "listen", ":4001"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, stderr, code := s.wh(c.stdin, append(c.args, "--json")...)
			if code != c.code {
				t.Errorf("exit %d, want %d: %s", code, c.code, stderr)
			}
			for line := range strings.Lines(got) {
				if !json.Valid([]byte(line)) || strings.Contains(line, ":null,\"") && c.name != "pods" && c.name != "peers" && c.name != "member-ls" && c.name != "member-log" {
					t.Errorf("line %s", line)
				}
			}
			got = strings.NewReplacer(
				fmt.Sprintf(`"uid":%d,`, os.Geteuid()), `"uid":0,`, fmt.Sprintf(`"gid":%d,`, os.Getegid()), `"gid":0,`).Replace(got)
			golden(t, filepath.Join("testdata", "json", c.name+".json"), got)
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: %s", path, d)
	}
}

// Exit codes of what the daemon answers.
func TestExitCodes(t *testing.T) {
	s := newSession(t)
	s.must("hello", "add", "-", "--name", "lost")
	a, err := s.pod.FS().Lookup(t.Context(), 1, "lost")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.pod.FS().SetXattr(t.Context(), a.ID, apitest.LostXattr, nil, 0); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	check := func(want int, args ...string) string {
		t.Helper()
		_, stderr, code := s.wh("", args...)
		if code != want {
			t.Errorf("wh %q: exit %d, want %d: %s", args, code, want, stderr)
		}
		return stderr
	}
	check(exitNotEnough, "cat", "/lost")
	check(exitNotEnough, "get", "/lost", "-o", "-")
	if got := check(exitNotEnough, "get", "/", "-o", dir); !strings.Contains(got, "lost: ") {
		t.Errorf("not listed: %s", got)
	}
	check(exitNotFound, "ls", "/none")
	check(exitNotFound, "get", "/none", "-o", dir)
	check(exitNotFound, "get", "/lost", "-o", filepath.Join(dir, "no", "where"))
	check(exitNotFound, "ls", "--pod", "other")
	check(exitUsage, "policy", "set", "/", "what")

	s.pod.Unsafe = errors.Join(pod.ErrNotSafe, errors.New("1 of 2"))
	if got := check(exitNotEnough, "sync", "--wait"); !strings.Contains(got, "1 of 2") {
		t.Errorf("says %s", got)
	}
	check(exitNotEnough, "status")
	check(exitNotEnough, "evict", "/lost")
	check(exitNotEnough, "pod", "remove", "box")
	check(exitNotEnough, "pod", "remove", "box", "--lost")
	check(exitNotFound, "pod", "remove", "other", "--lost")
	check(exitNotFound, "pod", "drain", "other")
	check(exitNotFound, "pin", "add", "/lost", "--pod", "other")
	check(exitNotFound, "pin", "add", "/none")
	check(exitUsage, "pin")
	check(exitUsage, "place", "/lost")
	check(exitNotFound, "place", "/lost", "--home", "other")
	check(exitDone, "sync")
	s.pod.Unsafe = context.DeadlineExceeded
	check(exitNotEnough, "sync", "--wait", "--timeout", "10ms")
	check(exitConflict, "mkdir", "/lost")

	check(exitNotFound, "undelete", "/gone")
	check(exitConflict, "undelete", "/lost")
	check(exitNotFound, "restore", "/lost", "--at", "2h")
	check(exitUsage, "restore", "/lost")
	check(exitUsage, "diff")
	check(exitNotFound, "snapshot", "rm", "none")
	check(exitDone, "snapshot", "rm", "snap")
	check(exitUsage, "snapshot")
	check(exitUsage, "conflicts", "resolve", "/f")
	check(exitNotFound, "conflicts", "resolve", "/lost", "--keep", "both")
	check(exitDone, "conflicts", "resolve", "/f", "--keep", "ours")
	if got := check(exitConflict, "conflicts", "resolve", "/f", "--keep", "none"); !strings.Contains(got, "wh conflicts") {
		t.Errorf("says %s", got)
	}
}

// An interrupted command exits with 130.
func TestInterrupted(t *testing.T) {
	s := newSession(t)
	s.pod.Unsafe = context.DeadlineExceeded // SyncWait waits for the end of its context.
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	e := &env{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, clock: still{}}
	if code := execute(ctx, e, []string{"--home", string(s.home), "sync", "--wait"}); code != exitInterrupted {
		t.Errorf("exit %d", code)
	}
}

// A folder is listed in full, with headings.
func TestLsText(t *testing.T) {
	s := newSession(t)
	s.must("", "mkdir", "-p", "/d/e")
	s.must("x", "add", "-", "--name", "f", "--to", "/d")
	got, _, _ := s.wh("", "ls", "-R")
	if want := "/:\nd\n\n/d:\ne\nf\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got, _, _ = s.wh("", "ls", "/d/f")
	if got != "f\n" {
		t.Errorf("got %q", got)
	}
	got, _, _ = s.wh("", "ls", "-l", "/d")
	if !strings.HasPrefix(got, "drwxr-xr-x ") || !strings.Contains(got, "\n-rw-r--r-- ") {
		t.Errorf("got %q", got)
	}
}
