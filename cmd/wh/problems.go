package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// problems tells of what went wrong with single files while the rest goes on, and remembers the exit code. It is safe for
// concurrent use.
type problems struct {
	e *env

	mu    sync.Mutex
	first error
	worst error // of those that end with 7 or 8
	count int
}

func newProblems(e *env) *problems { return &problems{e: e} }

func (p *problems) add(path string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := err.Error()
	if !strings.Contains(text, path) {
		text = path + ": " + text
	}
	_, _ = fmt.Fprintf(p.e.stderr, "wh: error: %s\n", escape(text, "")) // Talk only.
	if hint := hintOf(err); hint != "" && p.count == 0 {
		_, _ = fmt.Fprintf(p.e.stderr, "wh: hint: %s\n", escape(hint, ""))
	}
	if p.first == nil {
		p.first = err
	}
	if code := exitCode(err); p.worst == nil && (code == exitNotEnough || code == exitCorrupt) {
		p.worst = err
	}
	p.count++
}

// err is what decides on the exit code: the first problem with what could not be had, else the first.
func (p *problems) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.worst != nil:
		return said(p.worst)
	case p.first != nil:
		return said(p.first)
	}
	return nil
}

// progressEvery is how often progress is shown.
const progressEvery = 200 * time.Millisecond

// progress shows how far a transfer is, on a terminal.
type progress struct {
	e     *env
	on    bool
	shown bool
	last  time.Time
}

func newProgress(e *env) *progress {
	return &progress{e: e, on: !e.quiet && isTerminal(e.stderr), last: e.clock.Now()}
}

func (p *progress) update(files int, bytes uint64) {
	if !p.on || clock.Since(p.e.clock, p.last) < progressEvery {
		return
	}
	p.last, p.shown = p.e.clock.Now(), true
	_, _ = fmt.Fprintf(p.e.stderr, "\r\x1b[K%d files, %s", files, size(int64(bytes))) // Talk only.
}

// end clears the line.
func (p *progress) end() {
	if p.shown {
		_, _ = fmt.Fprint(p.e.stderr, "\r\x1b[K") // Talk only.
	}
}
