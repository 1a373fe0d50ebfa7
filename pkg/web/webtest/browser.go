// Package webtest drives a real browser, Chromium without a window, in tests of the dashboard.
package webtest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// testLimit is for all that a test does with a browser, on a busy machine, too.
const testLimit = 4 * time.Minute

// pause is between two looks at what is waited for.
const pause = 20 * time.Millisecond

// programs are what Chromium is called.
var programs = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// Browser is a browser with one page. Make one with Open.
type Browser struct {
	t   testing.TB
	ctx context.Context //nolint:containedctx // chromedp keeps its browser in it

	mu   sync.Mutex
	said []string // what the page threw, and what the browser held against it
}

// Open starts a browser, which ends with the test. Where there is none, the test is skipped, loudly: no test of anything else may need it.
func Open(t testing.TB) *Browser {
	t.Helper()
	var program string
	for _, name := range programs {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("SKIPPED: there is no Chromium here (apt-get install chromium): the dashboard is not tried in a browser")
	}
	o := []chromedp.ExecAllocatorOption{chromedp.ExecPath(program), chromedp.Headless, chromedp.DisableGPU, chromedp.WindowSize(1280, 900)}
	if os.Geteuid() == 0 {
		o = append(o, chromedp.NoSandbox) // Chromium refuses to start as root otherwise.
	}
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, o...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &Browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatalf("browser: %v", err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatalf("browser: %v", err)
	}
	return b
}

func (b *Browser) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.said = append(b.said, fmt.Sprintf("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			b.said = append(b.said, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// Said is what went wrong in the page up to now: exceptions, refusals by its Content-Security-Policy, files and answers that did not come.
func (b *Browser) Said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.said...)
}

// Do does what chromedp can do.
func (b *Browser) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatalf("browser: %v; the page said %v", err, b.Said())
	}
}

// Go opens an address.
func (b *Browser) Go(url string) {
	b.t.Helper()
	b.Do(chromedp.Navigate(url))
}

// Keys presses keys, one after the other; those of package kb among them.
func (b *Browser) Keys(keys string) {
	b.t.Helper()
	b.Do(chromedp.KeyEvent(keys))
}

// Window is how large the page is drawn.
func (b *Browser) Window(width, height int64) {
	b.t.Helper()
	b.Do(chromedp.EmulateViewport(width, height))
}

// Value is a JavaScript expression's, or what it promises.
func Value[T any](b *Browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("browser: %s: %v; the page said %v", expression, err, b.Said())
	}
	return v
}

// Until waits until an expression is true, and returns how long that took; the test fails if it takes longer than limit.
func (b *Browser) Until(limit time.Duration, expression string) time.Duration {
	b.t.Helper()
	c := clock.Real{}
	began := c.Now()
	for !Value[bool](b, "Boolean("+expression+")") {
		if clock.Since(c, began) > limit {
			b.t.Fatalf("after %s not yet: %s; the page said %v; it shows:\n%s", limit, expression, b.Said(), Value[string](b, "document.body.innerText.slice(0, 2000)"))
		}
		_ = clock.Sleep(b.ctx, c, pause) // Run says if the browser has gone.
	}
	return clock.Since(c, began)
}

// Scheme has the page drawn "light" or "dark".
func (b *Browser) Scheme(name string) {
	b.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
		b.t.Fatalf("browser: %v", err)
	}
}

// Screenshot writes what the window shows to a PNG file.
func (b *Browser) Screenshot(file string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatalf("browser: %v", err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil { //nolint:gosec // a picture for everybody
		b.t.Fatal(err)
	}
}

// Text is a JavaScript string literal.
func Text(s string) string {
	q, err := json.Marshal(s)
	if err != nil {
		panic(err) // A string always can.
	}
	return string(q)
}
