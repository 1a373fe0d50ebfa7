package pod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Kinds of events.
const (
	EventStarted      = "started"          // the pod was opened
	EventConnected    = "pod_connected"    // Pod is there
	EventDisconnected = "pod_disconnected" // Pod is gone
	EventReadFailed   = "read_failed"      // bytes of Path could not be had
	EventSaveFailed   = "save_failed"      // what was written to Path could not be stored at its close; it is tried again
	EventDamaged      = "block_damaged"    // a stored block was not what its name says
	EventMended       = "block_mended"     // another pod's copy took its place
	EventLied         = "pod_lied"         // Pod sent bytes that are not what was asked for
	EventConflict     = "conflict"         // Path was changed on several pods apart
	EventMoved        = "moved_home"       // Path is at home where it is read most now
	EventAsks         = "asks_to_join"     // a stranger that calls itself Pod waits for an admin to let it in
	EventJoined       = "pod_joined"       // Pod was let in here
	EventRefused      = "refused"          // somebody was not let in, or not connected with; Pod is its id or name
	EventEnded        = "member_revoked"   // Pod, a pod, user or admin, was shut out
	EventRole         = "role_changed"     // Pod, a pod or user, was given another role
	EventRekeyed      = "key_changed"      // what is new is sealed under another data key
	EventDropped      = "changes_dropped"  // what was done here last was dropped, since this pod may not write any more
	EventRebuilt      = "rebuilt"          // changes that don't count were taken back here
	EventForked       = "pod_forked"       // copies of Pod went on apart: one identity was used twice
	EventRepairBegan  = "repair_began"     // copies are made again that were lost
	EventRepairEnded  = "repair_ended"     // they are there, as far as can be
	EventConfig       = "config_changed"   // a key of the machine's or the pod's file, or a rule of the network, has another value, or a file is wrong
	EventWarning      = "warning"          // a warning of Code that people should know of holds
	EventWarningOver  = "warning_over"     // it holds no more
)

// EventKinds are all kinds.
func EventKinds() []string {
	return []string{
		EventStarted, EventConnected, EventDisconnected, EventReadFailed, EventSaveFailed, EventDamaged, EventMended, EventLied, EventConflict, EventMoved,
		EventAsks, EventJoined, EventRefused, EventEnded, EventRole, EventRekeyed, EventDropped, EventRebuilt, EventForked, EventRepairBegan, EventRepairEnded, EventConfig,
		EventWarning, EventWarningOver,
	}
}

// Event is something that happened to the pod, and that a user may want to know of later.
type Event struct {
	At   time.Time // UTC
	Kind string    // one of the kinds above, or of a later version
	Path string    // "": of no file
	Pod  string    // the name of another pod; "": none
	Text string    // for people: why

	Code     health.Code     // of a warning
	Severity health.Severity // of a warning
}

// Limits of the events that are kept. They are told apart from the log: they are few, and made for users.
const (
	eventsMax      = 1000
	eventTextMax   = 2 << 10   // bytes; what is longer is cut
	eventsFileMax  = 512 << 10 // bytes of the file; then it is written anew with what is kept
	eventsReadMax  = 8 << 20   // bytes of a file that is read at the start
	eventSameAfter = 10 * time.Second
	eventsName     = "events"
)

// events keeps the newest events in memory and in a file, a line of JSON each. The file is a help, not a promise: it is not
// synced, and what of it can't be read is left out. Note never waits for the disk; run writes.
type events struct {
	fs  pebblevfs.FS
	dir string
	log *slog.Logger

	mu      sync.Mutex // guards the fields below
	list    []Event    // the newest eventsMax, in order
	first   uint64     // the number of list[0]; they are counted from 0
	written uint64     // the number of the first that is not in the file
	more    chan struct{}
	kick    chan struct{} // capacity 1
}

func newEvents(fs pebblevfs.FS, dir string, log *slog.Logger) *events {
	e := &events{fs: fs, dir: dir, log: log, more: make(chan struct{}), kick: make(chan struct{}, 1)}
	for _, ev := range readEvents(fs, e.name()) {
		e.addLocked(ev)
	}
	return e
}

func (e *events) name() string { return filepath.Join(e.dir, eventsName) }

// readEvents reads what of a file of events can be read.
func readEvents(fs pebblevfs.FS, name string) []Event {
	f, err := fs.Open(name)
	if err != nil {
		return nil // there is none yet
	}
	data, _ := io.ReadAll(io.LimitReader(f, eventsReadMax)) // what was read is better than nothing
	_ = f.Close()                                           // it was only read
	return decodeEvents(data)
}

// decodeEvents reads lines; those that are no events, a torn one at the end for example, are left out.
func decodeEvents(data []byte) []Event {
	var out []Event
	for line := range strings.Lines(string(data)) {
		var l eventLine
		if json.Unmarshal([]byte(line), &l) != nil || l.Kind == "" || l.At.IsZero() {
			continue
		}
		out = append(out, l.event())
	}
	return out[max(0, len(out)-eventsMax):]
}

// eventLine is an event in the file.
type eventLine struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	Path []byte    `json:"path,omitempty"` // any bytes, as names are
	Pod  string    `json:"pod,omitempty"`
	Text string    `json:"text,omitempty"`

	Code     health.Code     `json:"code,omitempty"`
	Severity health.Severity `json:"severity,omitempty"`
}

func (l eventLine) event() Event {
	return Event{At: l.At.UTC(), Kind: l.Kind, Path: string(l.Path), Pod: l.Pod, Text: l.Text, Code: l.Code, Severity: l.Severity}
}

func encodeEvent(ev Event) []byte {
	b, err := json.Marshal(eventLine{At: ev.At, Kind: ev.Kind, Path: []byte(ev.Path), Pod: ev.Pod, Text: ev.Text, Code: ev.Code, Severity: ev.Severity})
	if err != nil {
		return nil // a year beyond 9999
	}
	return append(b, '\n')
}

func (e *events) addLocked(ev Event) {
	e.list = append(e.list, ev)
	if over := len(e.list) - eventsMax; over > 0 {
		e.list = slices.Delete(e.list, 0, over)
		e.first += uint64(over)
	}
}

// note keeps an event, unless the same happened a moment ago. It waits for nothing.
func (e *events) note(ev Event) {
	ev.Text = strings.ReplaceAll(ev.Text, "\n", "; ") // as errors.Join has them
	ev.Text = strings.ToValidUTF8(ev.Text[:min(len(ev.Text), eventTextMax)], "")
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := len(e.list) - 1; i >= 0 && ev.At.Sub(e.list[i].At) < eventSameAfter; i-- {
		if old := e.list[i]; old.Kind == ev.Kind && old.Path == ev.Path && old.Pod == ev.Pod && old.Text == ev.Text {
			return
		}
	}
	e.addLocked(ev)
	close(e.more)
	e.more = make(chan struct{})
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// after are the events from a number on, the number that comes next, and what is closed when there are more.
func (e *events) after(n uint64) ([]Event, uint64, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n = max(n, e.first)
	return slices.Clone(e.list[n-e.first:]), e.first + uint64(len(e.list)), e.more
}

// run writes events to the file until ctx ends.
func (e *events) run(ctx context.Context) error {
	var f pebblevfs.File
	size := int64(eventsFileMax)
	for {
		var err error
		if size >= eventsFileMax {
			f, size, err = e.anew(f)
		} else {
			size, err = e.write(f, size)
		}
		if err != nil {
			e.log.WarnContext(ctx, "events can't be written; they are in memory only", "err", err)
			size = eventsFileMax
		}
		select {
		case <-ctx.Done():
			if f != nil {
				_, _ = e.write(f, size) // the last ones; nobody waits for them
				_ = f.Close()
			}
			return ctx.Err()
		case <-e.kick:
		}
	}
}

// write appends what is new.
func (e *events) write(f pebblevfs.File, size int64) (int64, error) {
	e.mu.Lock()
	from := e.written
	e.mu.Unlock()
	list, next, _ := e.after(from)
	var lines []byte
	for _, ev := range list {
		lines = append(lines, encodeEvent(ev)...)
	}
	if len(lines) > 0 {
		if _, err := f.Write(lines); err != nil {
			return size, fmt.Errorf("pod: write events: %w", err)
		}
	}
	e.mu.Lock()
	e.written = next
	e.mu.Unlock()
	return size + int64(len(lines)), nil
}

// anew writes a file with all that is kept, in the place of the one that was.
func (e *events) anew(old pebblevfs.File) (pebblevfs.File, int64, error) {
	if old != nil {
		_ = old.Close() // what was not written of it is written now
	}
	temporary := e.name() + ".new"
	f, err := e.fs.Create(temporary, pebblevfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, 0, fmt.Errorf("pod: write events: %w", err)
	}
	e.mu.Lock()
	e.written = 0
	e.mu.Unlock()
	size, err := e.write(f, 0)
	if err == nil {
		err = e.fs.Rename(temporary, e.name())
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// Events calls f with the events that are kept and are not older than since, the oldest first; with follow set it goes on with those
// that come, until ctx ends, whose error it returns then. f may wait: it may miss events then.
func (p *Pod) Events(ctx context.Context, since time.Time, follow bool, f func(Event) error) error {
	for n := uint64(0); ; {
		list, next, more := p.events.after(n)
		n = next
		for _, ev := range list {
			if ev.At.Before(since) {
				continue
			}
			if err := f(ev); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}

// event notes something that happened now.
func (p *Pod) event(ev Event) {
	ev.At = p.clock.Now().UTC()
	p.events.note(ev)
}

// ConfigChanged tells users what of the machine's or the pod's file has changed.
func (p *Pod) ConfigChanged(text string) { p.event(Event{Kind: EventConfig, Text: text}) }

// rulesChanged tells users which rules of the network have changed.
func (p *Pod) rulesChanged(before map[string]Rule) {
	now := p.Rules()
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if was, is := before[key].Value, now[key].Value; was != is {
			p.event(Event{Kind: EventConfig, Text: fmt.Sprintf("network: %s is %q, was %q", key, is, was)})
		}
	}
}

// failed notes why a file could not be read or saved. That somebody gave up is no event.
func (p *Pod) failed(kind string, id vfs.NodeID, err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, vfs.ErrClosed) {
		return
	}
	where, pathErr := p.db.Path(id)
	if pathErr != nil {
		where = ""
	}
	p.event(Event{Kind: kind, Path: where, Text: err.Error()})
}

// damagedBlock notes that a stored block can't be used, or that it was replaced.
func (p *Pod) damagedBlock(kind string, id block.ID, why string) {
	p.event(Event{Kind: kind, Text: fmt.Sprintf("block %s: %s", id, why)})
}
