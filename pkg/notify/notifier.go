package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

const (
	every       = 5 * time.Second
	sendTimeout = 15 * time.Second
	againFirst  = 5 * time.Second // after the first failure; doubled from one to the next
	againMax    = 10 * time.Minute
	stateMax    = 1 << 20 // bytes of the file that are read
	perStep     = 20      // messages to one target at a time
)

// Options are for New.
type Options struct {
	File  string                            // what the targets were told of
	Write func(path string, b []byte) error // durable when it returns nil
	Items func() []Item                     // what people are to know now
	Clock clock.Clock
	Log   *slog.Logger
}

// Notifier tells targets. Make one with New.
type Notifier struct {
	o     Options
	began time.Time
	kick  chan struct{} // capacity 1: the targets are others

	mu      sync.Mutex // guards the fields below
	targets []Target
	told    map[string]map[string]Item // by the target's name and the item's id
	again   map[string]*waiting        // targets that failed
}

// waiting is when a target is tried again.
type waiting struct {
	at    time.Time
	pause time.Duration
}

// New reads what was told before. A file that can't be read counts as empty: then things are told twice rather than never.
func New(o Options) *Notifier {
	n := &Notifier{o: o, began: o.Clock.Now(), kick: make(chan struct{}, 1), told: make(map[string]map[string]Item), again: make(map[string]*waiting)}
	err := n.load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Log.Warn("what was notified before can't be read", "err", err)
	}
	return n
}

func (n *Notifier) load() error {
	f, err := os.Open(n.o.File)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(f, stateMax))
	_ = f.Close() // It was only read.
	if err != nil {
		return err
	}
	told := make(map[string]map[string]Item)
	if err := json.Unmarshal(b, &told); err != nil {
		return fmt.Errorf("notify: %s: %w", n.o.File, err)
	}
	n.told = told
	return nil
}

// Set replaces the targets.
func (n *Notifier) Set(targets []Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.targets = slices.Clone(targets)
	clear(n.again)
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// Run tells until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	for {
		n.Step(ctx)
		timer := n.o.Clock.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-n.kick:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Step tells what is due now.
func (n *Notifier) Step(ctx context.Context) {
	n.mu.Lock()
	targets := slices.Clone(n.targets)
	n.mu.Unlock()
	if len(targets) == 0 {
		return
	}
	items := n.o.Items()
	var wg sync.WaitGroup
	for _, t := range targets {
		wg.Go(func() { n.tell(ctx, t, items) })
	}
	wg.Wait()
}

// tell sends one target the difference between what holds and what it knows.
func (n *Notifier) tell(ctx context.Context, t Target, items []Item) {
	for _, i := range n.due(t, items) {
		limit, cancel := context.WithTimeout(ctx, sendTimeout)
		err := t.Sender.Send(limit, i.Message)
		cancel()
		n.sent(ctx, t.Name, i, err)
		if err != nil {
			return
		}
	}
}

// due is what a target is to be told now.
func (n *Notifier) due(t Target, items []Item) []Item {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.o.Clock.Now()
	if w := n.again[t.Name]; w != nil && now.Before(w.at) {
		return nil
	}
	told := n.told[t.Name]
	var out []Item
	holds := make(map[string]bool)
	for _, i := range items {
		holds[i.id()] = true
		if _, known := told[i.id()]; !known && t.Wants(i.Severity) {
			out = append(out, i)
		}
	}
	for id, i := range told {
		if !holds[id] && now.Sub(n.began) >= i.Settle {
			i.Over = true
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b Item) int { return a.Since.Compare(b.Since) })
	return out[:min(len(out), perStep)]
}

// sent notes what became of a message.
func (n *Notifier) sent(ctx context.Context, name string, i Item, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		w := n.again[name]
		if w == nil {
			w = &waiting{pause: againFirst / 2}
			n.again[name] = w
		}
		w.pause = min(2*w.pause, againMax)
		w.at = n.o.Clock.Now().Add(w.pause)
		n.o.Log.WarnContext(ctx, "a notification could not be sent; it is tried again", "target", name, "code", i.Code, "err", err, "after", w.pause)
		return
	}
	delete(n.again, name)
	if n.told[name] == nil {
		n.told[name] = make(map[string]Item)
	}
	if n.told[name][i.id()] = i; i.Over {
		delete(n.told[name], i.id())
	}
	b, err := json.Marshal(n.told)
	if err == nil {
		err = n.o.Write(n.o.File, b)
	}
	if err != nil {
		n.o.Log.WarnContext(ctx, "what was notified can't be kept; after a restart it is told again", "err", err)
	}
}

// Test sends a message to all targets, and says of each what became of it, by its name.
func (n *Notifier) Test(ctx context.Context, m Message) map[string]error {
	n.mu.Lock()
	targets := slices.Clone(n.targets)
	n.mu.Unlock()
	out := make(map[string]error)
	for _, t := range targets {
		limit, cancel := context.WithTimeout(ctx, sendTimeout)
		out[t.Name] = t.Sender.Send(limit, m)
		cancel()
	}
	return out
}
