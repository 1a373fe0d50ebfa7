package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// The status has one screen of 80 columns, with the verdict first and what to do about each warning.
func TestStatusScreen(t *testing.T) {
	s := newSession(t)
	got, stderr, code := s.wh("", "status")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	golden(t, filepath.Join("testdata", "status.txt"), got)
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > screenWidth {
			t.Errorf("%d characters: %s", n, line)
		}
	}
	if n := strings.Count(got, "\n"); n > 24 {
		t.Errorf("%d lines", n)
	}
	got, _, _ = s.wh("", "health")
	if !strings.HasPrefix(got, "notice   Too few pods for the policy: 1 of 2 copies\n         -> add a pod: wh invite (few_pods)\n") {
		t.Errorf("health: %s", got)
	}
}

// The question whether the machine can be switched off is answered by the exit code, too.
func TestCanStop(t *testing.T) {
	s := newSession(t)
	if got, _, code := s.wh("", "status", "--can-stop"); code != 0 || !strings.HasPrefix(got, "yes") || !strings.Contains(got, "note: ") {
		t.Errorf("exit %d: %s", code, got)
	}
	s.pod.Unsafe = errors.New("unsafe")
	if got, _, code := s.wh("", "status", "--can-stop"); code != exitNotEnough || !strings.HasPrefix(got, "no\nbecause: 17 bytes") {
		t.Errorf("exit %d: %s", code, got)
	}
	if _, _, code := s.wh("", "status", "--can-stop", "--watch"); code != exitUsage {
		t.Errorf("both: exit %d", code)
	}
}

// --watch goes on until it is interrupted.
func TestStatusWatch(t *testing.T) {
	s := newSession(t)
	ctx, cancel := context.WithCancel(t.Context())
	var out stopping
	out.stop = cancel
	e := &env{stdout: &out, stderr: &bytes.Buffer{}, clock: still{}}
	if code := execute(ctx, e, []string{"--home", string(s.home), "status", "--watch"}); code != exitInterrupted {
		t.Errorf("exit %d", code)
	}
	if !strings.Contains(out.String(), ": healthy\n") {
		t.Errorf("%s", out.String())
	}
}

// stopping is told to stop by the first that is written.
type stopping struct {
	bytes.Buffer
	stop func()
}

func (s *stopping) Write(p []byte) (int, error) { s.stop(); return s.Buffer.Write(p) }

// Long warnings are broken between words, and what a peer sends can do nothing to a terminal's lines.
func TestWarningLines(t *testing.T) {
	e := &env{stdout: &bytes.Buffer{}}
	long := strings.Repeat("word ", 40)
	lines := warningLines(e, []api.Warning{{Code: "x", Title: "T", Text: api.Text(long), Severity: "error", Todo: long, Because: "y"}})
	for _, l := range lines {
		if utf8.RuneCountInString(l) > screenWidth {
			t.Errorf("%d: %s", len(l), l)
		}
	}
	if got := strings.Join(wrap("aaaa bb cccccccc d", 5), "|"); got != "aaaa|bb|cccccccc|d" {
		t.Errorf("wrapped %s", got)
	}
}
