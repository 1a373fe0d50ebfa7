package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The doctor works with and without a daemon, and its report says neither who nor where one is.
func TestDoctor(t *testing.T) {
	s := newSession(t)
	report := filepath.Join(t.TempDir(), "report")
	got, stderr, code := s.wh("", "doctor", "--json", "--report", report)
	var list []finding
	if err := json.Unmarshal([]byte(got), &list); err != nil || code != exitDone && code != exitFailed {
		t.Fatalf("exit %d, %v: %s", code, err, stderr)
	}
	found := make(map[string]bool)
	for _, f := range list {
		found[f.Check] = true
		if f.State != foundGood && f.State != foundOdd && f.State != foundBad || f.Text == "" {
			t.Errorf("%+v", f)
		}
	}
	for _, check := range []string{"daemon", "config", "disk", "names", "multicast", "warning"} {
		if !found[check] {
			t.Errorf("%s is not checked", check)
		}
	}
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"127.0.0.1", "10.0.0.2", "12D3Koo", "abcd0000", `"box"`, "nas", "laptop", string(s.home)} {
		if strings.Contains(string(b), secret) {
			t.Errorf("the report has %q: %s", secret, b)
		}
	}
	if !strings.Contains(string(b), "few_pods") {
		t.Errorf("%s", b)
	}

	if err := os.WriteFile(s.home.File("machine.toml"), []byte("kind = \"machine\"\nversion = 1\nlog_lev = \"info\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, _, code = s.wh("", "doctor")
	if code != exitFailed || !strings.Contains(got, "machine.toml:3") {
		t.Errorf("exit %d: %s", code, got)
	}
}

// Ids, addresses, names and paths go; times stay.
func TestRedact(t *testing.T) {
	var d examination
	e := &env{home: "/x/h"}
	const in = "at 2026-01-02T03:04:05Z fe80::1 and ::1, 10.1.2.3:4001 /home/me/f me@example.org /dns4/my.host/tcp/1 /x/h"
	const want = "at 2026-01-02T03:04:05Z IP6 and IP6, IP:4001 PATH MAIL /dns/HOST/tcp/1 WH_HOME"
	if got := d.redact(e, in); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
