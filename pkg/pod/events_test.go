package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
)

// goldenEvents is a file of events as this version writes it.
const goldenEvents = "testdata/format/events"

func someEvents() []Event {
	at := time.Date(2026, 11, 26, 12, 0, 0, 5, time.UTC)
	return []Event{
		{At: at, Kind: EventStarted},
		{At: at.Add(time.Second), Kind: EventConnected, Pod: "second"},
		{At: at.Add(time.Minute), Kind: EventReadFailed, Path: "/a/\xff b", Text: "asked 0 connected pods"},
	}
}

// TestEventsFile: the file is written as it always was, and read back as it was written, whatever stands in it besides.
func TestEventsFile(t *testing.T) {
	var enc []byte
	for _, ev := range someEvents() {
		enc = append(enc, encodeEvent(ev)...)
	}
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(goldenEvents), 0o750), os.WriteFile(goldenEvents, enc, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenEvents)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(enc)); diff != "" {
		t.Error(diff)
	}
	torn := "no event\n{}\n" + string(enc) + `{"at":"2026-11-26T12:0`
	if diff := cmp.Diff(someEvents(), decodeEvents([]byte(torn))); diff != "" {
		t.Error(diff)
	}
}

// FuzzEvents: whatever the file holds, what is read of it can be written and read again.
func FuzzEvents(f *testing.F) {
	for _, ev := range someEvents() {
		f.Add(encodeEvent(ev))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list := decodeEvents(data)
		if len(list) > eventsMax {
			t.Fatalf("%d events", len(list))
		}
		var enc []byte
		for _, ev := range list {
			enc = append(enc, encodeEvent(ev)...)
		}
		if diff := cmp.Diff(list, decodeEvents(enc)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestEventsRing: only the newest are kept, in memory and in the file, and numbers go on; the same in a moment is kept once.
func TestEventsRing(t *testing.T) {
	fs := pebblevfs.NewMem()
	if err := fs.MkdirAll("pod", 0o755); err != nil {
		t.Fatal(err)
	}
	e := newEvents(fs, "pod", testLog(t))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const n = eventsMax + 500
	for i := range n {
		for range 2 {
			e.note(Event{At: at.Add(time.Duration(i) * time.Second), Kind: EventReadFailed, Path: fmt.Sprint("/", i), Text: strings.Repeat("x", 400)})
		}
		if i == n/2 {
			go func() { ended <- e.run(ctx) }()
		}
	}
	list, next, _ := e.after(0)
	if len(list) != eventsMax || next != n || list[eventsMax-1].Path != fmt.Sprint("/", n-1) {
		t.Errorf("%d events, next %d, last %+v", len(list), next, list[len(list)-1])
	}
	if more, _, _ := e.after(next); len(more) != 0 {
		t.Errorf("%d events after the last", len(more))
	}
	cancel()
	<-ended
	again, _, _ := newEvents(fs, "pod", testLog(t)).after(0)
	if diff := cmp.Diff(list, again); diff != "" {
		t.Error(diff)
	}
	f, err := fs.Open("pod/" + eventsName)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil || len(data) > eventsFileMax+(1<<20) {
		t.Errorf("%d bytes in the file, %v", len(data), err)
	}
}

// TestEventsFollow: who follows hears what comes, and what was since the time that was asked for.
func TestEventsFollow(t *testing.T) {
	p := firstPod(t)
	ctx, cancel := context.WithCancel(quickly(t))
	defer cancel()
	since := p.clock.Now()
	p.event(Event{Kind: EventReadFailed, Path: "/1"})
	got := make(chan Event, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- p.Events(ctx, since, true, func(ev Event) error { got <- ev; return nil })
	}()
	for _, want := range []string{"/1", "/2", "/3"} {
		if want != "/1" {
			p.event(Event{Kind: EventReadFailed, Path: want})
		}
		if ev := <-got; ev.Path != want {
			t.Errorf("%+v, want %s", ev, want)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
