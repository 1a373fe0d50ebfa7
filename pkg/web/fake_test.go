package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/web"
)

// token is any.
const token = "fakeTokenfakeTokenfakeTokenfakeTokenfakeTok"

// hostile is a name that is HTML, turns the direction of text, and is no UTF-8.
const hostile = "<img src=x onerror=\"window.taken=1\">\u202egnp\xff<script>window.taken=1</script>"

// fake is a local API with answers that tests set.
type fake struct {
	mu      sync.Mutex
	answers map[string]any
	lists   map[string]func(q any, f func(any) error) error
	asked   map[string]int
	did     []api.ResolveRequest
	err     error // of every question
}

// Call answers.
func (f *fake) Call(_ context.Context, name string, q any) (json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[name]++
	if f.err != nil {
		return nil, f.err
	}
	if r, ok := q.(api.ResolveRequest); ok {
		f.did = append(f.did, r)
		f.answers["conflicts"] = slices.DeleteFunc(slices.Clone(f.answers["conflicts"].([]api.Conflict)), func(c api.Conflict) bool { return c.Path == r.Path })
		return json.RawMessage("{}"), nil
	}
	v, ok := f.answers[name]
	if !ok {
		return nil, fmt.Errorf("no request %s: %w", name, api.ErrProtocol)
	}
	return json.Marshal(v)
}

// List answers.
func (f *fake) List(_ context.Context, name string, q any, each func(json.RawMessage) error) error {
	f.mu.Lock()
	f.asked[name]++
	list, err := f.lists[name], f.err
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return list(q, func(v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return each(b)
	})
}

func (f *fake) count(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[name]
}

func (f *fake) set(name string, v any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[name] = v
}

func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// at is when what is made up was.
var at = time.Date(2026, 11, 27, 9, 30, 0, 0, time.UTC)

// newFake is a network of so many pods, of which each 97th is down, with so many files in /big.
func newFake(pods, files int) *fake {
	st := api.Status{
		Healthy: false, Reasons: []string{"a pod is down"}, Network: "abcd", NetworkName: strings.ReplaceAll("lab "+hostile, "\xff", ""), Name: "pod-0000", ID: "id0", Role: "admin", Addrs: []string{},
		States:   []api.StateBytes{{State: "safe", Bytes: 1 << 40}, {State: "spreading", Bytes: 1 << 30}, {State: "degraded", Bytes: 1 << 20}},
		Warnings: []api.Warning{{Code: "pod_down", Title: "A pod is lost", Text: "pod " + hostile + " is down", Severity: "error", Todo: "start that machine", Since: at}},
	}
	peers := []api.Peer{}
	for i := range pods {
		p := api.Pod{
			Name: api.Text(fmt.Sprintf("pod-%04d", i)), ID: fmt.Sprintf("id%d", i), State: "up", Role: "writer", Zone: fmt.Sprintf("zone-%d", i%7), Class: "hdd", Weight: 100,
			UsedBytes: int64(i) << 30, FreeBytes: int64(pods-i) << 30, Self: i == 0,
		}
		if i%97 == 96 {
			p.State = "down"
		}
		st.Pods = append(st.Pods, p)
		if i > 0 {
			peers = append(peers, api.Peer{
				Name: p.Name, ID: p.ID, Connected: p.State == "up", Direct: i%5 != 0, Transport: "tcp", RTTMS: 0.3 + float64(i%20), SentBytesPerS: int64(i) << 10,
				ReceivedBytesPerS: int64(i) << 12, Addresses: []string{"/ip4/10.0.0.2/tcp/4001"}, Since: &at,
			})
		}
	}
	conflicts := []api.Conflict{}
	for i := range 150 {
		path := fmt.Sprintf("/docs/plan-%03d.txt", i)
		if i == 0 {
			path = "/docs/" + hostile
		}
		conflicts = append(conflicts, api.Conflict{Path: api.Text(path), Kind: "contents", Versions: []api.ConflictVersion{
			{ID: "v1", Path: api.Text(path), Pod: "pod-0000", Ours: true, Time: &at, Kind: "file", Size: 1000},
			{ID: "v2", Path: api.Text(path + ".conflict"), Pod: "pod-0001", Time: &at, Kind: "file", Size: 1100},
		}})
	}
	f := &fake{asked: map[string]int{}, answers: map[string]any{
		"status": st, "peers": peers, "conflicts": conflicts,
		"repair":    api.Repair{Active: true, DueBytes: 4 << 30, DoneBytes: 1 << 30, LeftMS: 90_000},
		"usage":     api.Usage{StoredBytes: 7 << 30, LiveBytes: 4 << 30, CacheBytes: 2 << 30, TrashBytes: 1 << 29, SnapshotBytes: 1 << 28, GarbageBytes: 1 << 27, FreeBytes: 9 << 30},
		"stats/hot": []api.Hot{{Path: "/big/" + hostile, SizeBytes: 5, ReadBytes: 50, Pods: []api.PodReads{{Pod: "pod-0001", ReadBytes: 50 << 20}}, Homes: []api.Text{}, MoveTo: "pod-0001"}},
		"can-stop":  api.CanStop{Reasons: []string{"17 bytes are here alone"}, Notes: []string{}},
		"where":     whereOf(5000),
	}}
	f.lists = map[string]func(any, func(any) error) error{
		"ls":     func(q any, each func(any) error) error { return lsOf(files, q.(api.PathRequest), each) },
		"events": eventsOf(3),
	}
	return f
}

// whereOf is a file of so many chunks, cut into 4+2 fragments, of which pod-0096 holds none that counts.
func whereOf(chunks int) api.Where {
	w := api.Where{Path: "/big/film.mkv", CID: block.ID{}, Policy: "rs:4+2", Safety: api.Safety{State: "degraded", Have: 5, Need: 6}}
	for i := range chunks {
		c := api.Chunk{Bytes: 1 << 20, Safety: api.Safety{State: "safe", Have: 6, Need: 6}}
		for n := range 6 {
			c.Holders = append(c.Holders, api.Holder{Pod: api.Text(fmt.Sprintf("pod-%04d", (i+n)%9)), Kind: "fragment", Index: n})
		}
		if i%10 == 3 {
			c.Holders, c.Safety = c.Holders[:5], api.Safety{State: "degraded", Have: 5, Need: 6}
		}
		w.Chunks = append(w.Chunks, c)
	}
	return w
}

// lsOf lists made-up folders.
func lsOf(files int, q api.PathRequest, each func(any) error) error {
	if q.Path == "/" {
		for _, e := range []api.Entry{{Path: "/big", Name: "big", Kind: "folder"}, {Path: "/" + hostile, Name: hostile, Kind: "file", SizeBytes: 7}} {
			if err := each(e); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range files {
		name := fmt.Sprintf("file-%07d", i)
		if !strings.HasPrefix(name, string(q.Prefix)) {
			continue
		}
		if err := each(api.Entry{Path: api.Text("/big/" + name), Name: api.Text(name), Kind: "file", SizeBytes: uint64(i)}); err != nil {
			return err
		}
	}
	return nil
}

// eventsOf are so many, a second apart, the oldest first.
func eventsOf(n int) func(any, func(any) error) error {
	return func(q any, each func(any) error) error {
		for i := range n {
			e := api.Event{Time: at.Add(time.Duration(i) * time.Second), Kind: "pod_connected", Pod: "pod-0001", Text: api.Text(fmt.Sprintf("event %d", i))}
			if since := q.(api.EventsRequest).Since; since != nil && e.Time.Before(*since) {
				continue
			}
			if err := each(e); err != nil {
				return err
			}
		}
		return nil
	}
}

// serve serves the dashboard of an API; the address has no token.
func serve(t *testing.T, f *fake, c clock.Clock) string {
	t.Helper()
	var h http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	host := strings.TrimPrefix(srv.URL, "http://")
	h = web.New(web.Options{API: f, Token: token, Hosts: []string{host}, Clock: c})
	return srv.URL
}
