package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// The page is not encrypted: other machines must not reach it. Without a daemon there is nothing to show.
func TestDashboardListens(t *testing.T) {
	for _, at := range []string{"0.0.0.0:0", ":8080", "192.168.1.1:80", "example.org:80", "[::]:0", "127.0.0.1"} {
		if err := loopback(at); api.CodeOf(err) != "usage" {
			t.Errorf("%s: %v", at, err)
		}
	}
	for _, at := range []string{"127.0.0.1:0", "127.1.2.3:80", "localhost:0", "[::1]:8080"} {
		if err := loopback(at); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
	e := &env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, clock: clock.Real{}}
	if code := execute(t.Context(), e, []string{"--home", t.TempDir(), "dashboard"}); code != exitNoDaemon {
		t.Errorf("without a daemon: exit %d", code)
	}
}

// The command prints the address, serves the API of its pod with the token in it, and ends well when it is interrupted.
func TestDashboardServes(t *testing.T) {
	s := newSession(t)
	s.must("hello", "add", "-", "--name", "file-1")
	s.must("hello", "add", "-", "--name", "file-12")
	s.must("hello", "add", "-", "--name", "other")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &lines{got: make(chan string, 1)}
	e := &env{stdin: strings.NewReader(""), stdout: out, stderr: io.Discard, clock: clock.Real{}}
	code := make(chan int, 1)
	go func() { code <- execute(ctx, e, []string{"--home", string(s.home), "--json", "dashboard"}) }()
	var printed struct{ URL string }
	if err := json.Unmarshal([]byte(<-out.got), &printed); err != nil {
		t.Fatal(err)
	}
	url, token, ok := strings.Cut(printed.URL, "/#")
	if !ok || len(token) < 40 {
		t.Fatalf("the address is %s", printed.URL)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/ls", strings.NewReader(`{"path":"/","prefix":"file-1"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var got struct{ Entries []api.Entry }
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if len(got.Entries) != 2 || got.Entries[0].Name != "file-1" || got.Entries[1].Name != "file-12" {
		t.Errorf("got %+v", got.Entries)
	}
	stop()
	if n := <-code; n != exitDone {
		t.Errorf("exit %d after it was interrupted", n)
	}
}

// lines sends the first line that is written.
type lines struct {
	buf bytes.Buffer
	got chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.buf.Write(p)
	if s, _, ok := strings.Cut(l.buf.String(), "\n"); ok {
		select {
		case l.got <- s:
		default:
		}
	}
	return len(p), nil
}

// Names that begin in some way are found by seeking: the same names as by looking through all.
func TestListPrefix(t *testing.T) {
	s := newSession(t)
	names := []string{"a", "ab", "abc", "ab\xff", "ab\xff\xff", "ac", "b", "ab ", "aB", ".git", "..x"}
	for _, name := range names {
		s.must("x", "add", "-", "--name", name)
	}
	for _, prefix := range []string{"a", "ab", "ab\xff", "abcd", "b", "c", "x/y", ".", "..", "\x00", strings.Repeat("a", 300)} {
		var got, want []string
		err := client.List(t.Context(), client.New(s.home, ""), "ls", api.PathRequest{Path: "/", Prefix: api.Text(prefix)}, func(e api.Entry) error {
			got = append(got, string(e.Name))
			return nil
		})
		if err != nil {
			t.Errorf("%q: %v", prefix, err)
		}
		err = client.List(t.Context(), client.New(s.home, ""), "ls", api.PathRequest{Path: "/"}, func(e api.Entry) error {
			if strings.HasPrefix(string(e.Name), prefix) {
				want = append(want, string(e.Name))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%q: got %q, want %q", prefix, got, want)
		}
	}
}
