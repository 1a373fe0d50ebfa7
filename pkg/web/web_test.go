package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// pageMax is how large the page may be, all its files together.
const pageMax = 300 << 10

// ask asks as the page does; change may change the request.
func ask(t *testing.T, url, name, body string, change func(*http.Request)) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/"+name, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", url)
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if cors := resp.Header.Get("Access-Control-Allow-Origin"); cors != "" {
		t.Errorf("%s allows other origins: %s", name, cors)
	}
	return resp.StatusCode, string(b)
}

// Only the page itself gets answers: else any page in the user's browser, or any program that guesses the port, reads names and ends conflicts.
func TestStrangersAreRefused(t *testing.T) {
	f := newFake(3, 3)
	url := serve(t, f, clock.Real{})
	for _, row := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"the page", func(*http.Request) {}, http.StatusOK},
		{"no origin, as a program", func(r *http.Request) { r.Header.Del("Origin") }, http.StatusOK},
		{"no token", func(r *http.Request) { r.Header.Del("Authorization") }, http.StatusUnauthorized},
		{"another token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token[1:]+"x") }, http.StatusUnauthorized},
		{"an empty token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, http.StatusUnauthorized},
		{"the token without its word", func(r *http.Request) { r.Header.Set("Authorization", token) }, http.StatusUnauthorized},
		{"a foreign host (DNS rebinding)", func(r *http.Request) { r.Host = "evil.example" }, http.StatusMisdirectedRequest},
		{"a foreign port", func(r *http.Request) { r.Host = "127.0.0.1:1" }, http.StatusMisdirectedRequest},
		{"a foreign origin", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, http.StatusForbidden},
		{"a null origin", func(r *http.Request) { r.Header.Set("Origin", "null") }, http.StatusForbidden},
		{"a form", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, http.StatusUnsupportedMediaType},
		{"another method", func(r *http.Request) { r.Method = http.MethodGet }, http.StatusNotFound},
		{"too long", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{"path":"`+strings.Repeat("x", 70<<10)+`"}`)), -1
		}, http.StatusBadRequest},
		{"no JSON", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1 }, http.StatusBadRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, text := ask(t, url, "now", `{}`, row.change); got != row.want {
				t.Errorf("status %d, want %d: %s", got, row.want, text)
			}
		})
	}
	if len(f.did) != 0 {
		t.Error("something was resolved")
	}
}

// The page brings all that it needs, in little space, may load nothing else, and never makes HTML of what it is told.
func TestPage(t *testing.T) {
	url := serve(t, newFake(3, 3), clock.Real{})
	size := 0
	danger := regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|javascript:|style=|\son[a-z]+=`)
	foreign := regexp.MustCompile(`(https?:)?//[a-z0-9-]+\.[a-z][^"]*`)
	err := filepath.WalkDir("page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		size += len(b)
		if found := danger.Find(b); found != nil {
			t.Errorf("%s has %q", name, found)
		}
		for _, found := range foreign.FindAllString(string(b), -1) {
			if found != "http://www.w3.org/2000/svg" { // a name, not an address
				t.Errorf("%s names %s", name, found)
			}
		}
		resp, err := http.Get(url + "/" + filepath.Base(name))
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'; ") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s has the policy %q", name, csp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if size == 0 || size > pageMax {
		t.Errorf("the page has %d bytes", size)
	}
	t.Logf("the page has %d bytes", size)
}

// turned is a clock that tests turn.
type turned struct {
	clock.Real

	mu  sync.Mutex
	now time.Time
}

func (c *turned) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *turned) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type answer struct {
	Sums     map[string]string
	Sections map[string]json.RawMessage
	Errors   map[string]api.Error
}

func look(t *testing.T, url, name string, have map[string]string) answer {
	t.Helper()
	q, err := json.Marshal(map[string]any{"have": have})
	if err != nil {
		t.Fatal(err)
	}
	status, text := ask(t, url, name, string(q), nil)
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, text)
	}
	var a answer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// Many pages cost as much as one, and what has not changed is not sent.
func TestSectionsAreKept(t *testing.T) {
	f, c := newFake(3, 3), &turned{now: at}
	url := serve(t, f, c)
	first := look(t, url, "now", nil)
	if len(first.Sections) != 4 || len(first.Errors) != 0 {
		t.Fatalf("the first look has %d sections, errors %v", len(first.Sections), first.Errors)
	}
	second := look(t, url, "now", first.Sums)
	if len(second.Sections) != 0 {
		t.Errorf("sections were sent again: %v", second.Sections)
	}
	if n := f.count("status"); n != 1 {
		t.Errorf("the status was asked for %d times within a second", n)
	}
	c.turn(time.Second)
	st := f.answers["status"].(api.Status)
	st.Healthy = true
	f.set("status", st)
	third := look(t, url, "now", first.Sums)
	if len(third.Sections) != 1 || third.Sections["status"] == nil {
		t.Errorf("after a change of the status these were sent: %v", third.Sections)
	}
}

// What takes the daemon long is asked for rarely, whatever the pages want.
func TestDearSectionsAreRare(t *testing.T) {
	f, c := newFake(3, 3), &turned{now: at}
	f.answers["conflicts"] = dear{c}
	url := serve(t, f, c)
	have := look(t, url, "more", nil).Sums
	for range 20 {
		c.turn(5 * time.Second)
		have = look(t, url, "more", have).Sums
	}
	// 2 s each, a twentieth of the time: one in 40 s at most, in 100 s and what the questions themselves took.
	if n := f.count("conflicts"); n < 2 || n > 4 {
		t.Errorf("conflicts were asked for %d times in 100 s", n)
	}
	if n := f.count("usage"); n < 20 {
		t.Errorf("the usage was asked for %d times in 100 s", n)
	}
}

// dear is an answer that takes two seconds.
type dear struct{ c *turned }

// MarshalJSON takes them.
func (d dear) MarshalJSON() ([]byte, error) {
	d.c.turn(2 * time.Second)
	return []byte("[]"), nil
}

// An error of one section hides no other, says its hint, and goes when its cause is gone.
func TestSectionErrors(t *testing.T) {
	f, c := newFake(3, 3), &turned{now: at}
	url := serve(t, f, c)
	first := look(t, url, "now", nil)
	f.fail(api.WithHint(fmt.Errorf("h: %w", api.ErrNoDaemon), "start it"))
	c.turn(time.Second)
	second := look(t, url, "now", first.Sums)
	if e := second.Errors["status"]; e.Code != "no_daemon" || e.Hint != "start it" {
		t.Errorf("got %+v", e)
	}
	f.fail(nil)
	c.turn(time.Second)
	third := look(t, url, "now", second.Sums)
	if len(third.Errors) != 0 || len(third.Sections) != 4 {
		t.Errorf("after the daemon came back: %d sections, errors %v", len(third.Sections), third.Errors)
	}
	f.fail(errors.New("odd"))
	if status, text := ask(t, url, "where", `{"path":"/f"}`, nil); status != http.StatusUnprocessableEntity || !strings.Contains(text, "odd") {
		t.Errorf("status %d: %s", status, text)
	}
}

// However much there is, a page is sent a bounded part of it.
func TestLimits(t *testing.T) {
	f, c := newFake(3, 1_000_000), &turned{now: at}
	f.lists["events"] = eventsOf(1000)
	url := serve(t, f, c)
	for range 2 { // the second question asks for the newest alone
		a := look(t, url, "now", nil)
		var events []api.Event
		if err := json.Unmarshal(a.Sections["events"], &events); err != nil {
			t.Fatal(err)
		}
		if len(events) != 100 || events[0].Text != "event 999" || events[99].Text != "event 900" {
			t.Errorf("%d events, from %q to %q", len(events), events[0].Text, events[len(events)-1].Text)
		}
		c.turn(time.Second)
	}
	for _, row := range []struct {
		prefix string
		want   int
		more   bool
	}{{"", 200, true}, {"file-09999", 100, false}, {"nothing", 0, false}} {
		_, text := ask(t, url, "ls", fmt.Sprintf(`{"path":"/big","prefix":%q}`, row.prefix), nil)
		var got struct {
			Entries []api.Entry
			More    bool
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Entries) != row.want || got.More != row.more {
			t.Errorf("prefix %q: %d entries, more %v", row.prefix, len(got.Entries), got.More)
		}
	}
	for _, row := range []struct{ from, want, first int }{{0, 256, 0}, {4990, 10, 4990}, {1 << 40, 1, 4999}, {-5, 256, 0}} {
		_, text := ask(t, url, "where", fmt.Sprintf(`{"path":"/big/film.mkv","from":%d}`, row.from), nil)
		var got struct {
			Chunks      []api.Chunk
			From, Count int
			Bytes       int64
			States      map[string]int64
			Pods        []struct {
				Pod    string
				Chunks int
			}
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Chunks) != row.want || got.From != row.first || got.Count != 5000 || got.Bytes != 5000<<20 || got.States["degraded"] != 500<<20 || len(got.Pods) != 9 {
			t.Errorf("from %d: %d chunks from %d of %d, %v, %v", row.from, len(got.Chunks), got.From, got.Count, got.States, got.Pods)
		}
	}
	f.set("where", api.Where{Path: "/empty", Chunks: []api.Chunk{}})
	if status, text := ask(t, url, "where", `{"path":"/empty"}`, nil); status != http.StatusOK || !strings.Contains(text, `"chunks":[]`) {
		t.Errorf("an empty file: %d %s", status, text)
	}
}
