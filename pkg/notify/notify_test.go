package notify

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// handClock is turned by hand.
type handClock struct {
	clock.Real
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *handClock) turn(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

// fake is a sender that notes, and fails as long as it is told to.
type fake struct {
	got  []string
	fail error
}

func (f *fake) Send(_ context.Context, m Message) error {
	if f.fail != nil {
		f.got = append(f.got, "failed")
		return f.fail
	}
	f.got = append(f.got, fmt.Sprint(m.Code, " ", m.Subject, " ", m.Over))
	return nil
}

func item(code, subject, severity string) Item {
	return Item{Message: Message{Network: "home", Pod: "box", Code: code, Subject: subject, Severity: severity, Title: "T", Text: "t"}, Settle: time.Minute}
}

// world is a notifier with what it is given.
type world struct {
	t     *testing.T
	c     *handClock
	log   bytes.Buffer
	items []Item
	file  string
	n     *Notifier
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, c: &handClock{now: time.Unix(1700000000, 0)}, file: filepath.Join(t.TempDir(), "notified.json")}
	w.start()
	return w
}

func (w *world) start() {
	w.n = New(Options{
		File: w.file, Write: func(path string, b []byte) error { return os.WriteFile(path, b, 0o600) },
		Items: func() []Item { return w.items }, Clock: w.c, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
}

func (w *world) steps(n int) {
	for range n {
		w.n.Step(w.t.Context())
		w.c.turn(every)
	}
}

func all(string) bool { return true }

func (f *fake) is(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(f.got, want) {
		t.Errorf("got %q, want %q", f.got, want)
	}
	f.got = nil
}

// Each thing is told once when it begins and once when it is over, also over a restart.
func TestOnce(t *testing.T) {
	w := newWorld(t)
	f := &fake{}
	set := func() {
		w.n.Set([]Target{{Name: "me", Wants: func(s string) bool { return s != "notice" }, Sender: f}})
	}
	set()
	w.items = []Item{item("pod_down", "nas", "error"), item("few_pods", "", "notice")}
	w.steps(50)
	f.is(t, "pod_down nas false")

	w.start() // The pods need a while to find out again.
	set()
	w.items = nil
	w.steps(3)
	w.items = []Item{item("pod_down", "nas", "error")}
	w.steps(50)
	f.is(t)
	w.items = nil
	w.steps(50)
	f.is(t, "pod_down nas true")
	w.start()
	set()
	w.steps(50)
	f.is(t)
}

// What can't be sent is sent again, ever more seldom, and what is over by then is not told at all. Other targets don't wait.
func TestRetry(t *testing.T) {
	w := newWorld(t)
	f, good := &fake{fail: errors.New("down")}, &fake{}
	w.n.Set([]Target{{Name: "bad", Wants: all, Sender: f}, {Name: "good", Wants: all, Sender: good}})
	w.items = []Item{item("a", "", "error")}
	w.steps(1000)
	if n := len(f.got); n < 8 || n > 20 {
		t.Errorf("%d tries in 5000 s", n)
	}
	good.is(t, "a  false")
	w.items = []Item{item("b", "", "error")}
	f.fail, f.got = nil, nil
	w.c.turn(againMax)
	w.steps(1000)
	f.is(t, "b  false")
}

// A damaged file is no reason to be silent, and what can't be kept is told all the same.
func TestBadFile(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(w.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.n.o.Write = func(string, []byte) error { return errors.New("disk full") }
	f := &fake{}
	w.n.Set([]Target{{Name: "me", Wants: all, Sender: f}})
	w.items = []Item{item("a", "", "error")}
	w.steps(20)
	f.is(t, "a  false")
	if got := w.log.String(); !strings.Contains(got, "can't be read") || !strings.Contains(got, "disk full") {
		t.Error(got)
	}
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A webhook gets the message as JSON, signed; its URL and key are in no error.
func TestWebhook(t *testing.T) {
	status := http.StatusNoContent
	var body []byte
	var signature string
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		signature = r.Header.Get(SignatureHeader)
		rw.Header().Set("Location", "/elsewhere")
		rw.WriteHeader(status)
	}))
	defer s.Close()
	hook := Webhook{URL: s.URL + "/token-123", SecretFile: secretFile(t, "key\n"), Clock: &handClock{now: time.Unix(17, 0)}}
	m := item("a", "nas", "error").Message
	if err := hook.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var got Message
	if err := json.Unmarshal(body, &got); err != nil || got != m {
		t.Errorf("%+v, %v", got, err)
	}
	if want := Sign("key", 17, body); signature != want || !strings.HasPrefix(want, "t=17,v1=") || Sign("other", 17, body) == want || Sign("key", 18, body) == want {
		t.Errorf("signature %q, want %q", signature, want)
	}
	for _, status = range []int{http.StatusFound, http.StatusNotFound, http.StatusInternalServerError} {
		if err := hook.Send(t.Context(), m); err == nil || strings.Contains(err.Error(), "token") {
			t.Errorf("%d: %v", status, err)
		}
	}
	s.Close()
	for _, u := range []string{hook.URL, "http://token-123\x7f/"} {
		hook.URL = u
		if err := hook.Send(t.Context(), m); err == nil || strings.Contains(err.Error(), "token") {
			t.Errorf("%v", err)
		}
	}
	hook.SecretFile += ".none"
	if err := hook.Send(t.Context(), m); err == nil {
		t.Error("sent without its key")
	}
}

// A receiver can check a signature by other tools: this one is of printf 1.x | openssl dgst -sha256 -hmac k.
func TestSign(t *testing.T) {
	const want = "t=1,v1=976cb87e4f568d1c0f03f32859e90af8597cf00b978ba37c229c97d3a15b8449"
	if got := Sign("k", 1, []byte("x")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A command gets the message on its input and in its environment; its failure is one.
func TestCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no sh")
	}
	out := filepath.Join(t.TempDir(), "out")
	m := item("a", "nas", "error").Message
	m.Title, m.Over = "$(rm -rf /) \x00", true
	c := Command{Args: []string{"sh", "-c", `cat > "$0"; echo "$WH_CODE $WH_STATE $WH_TITLE" >> "$0"`, out}}
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil || !strings.HasSuffix(string(b), "}a over $(rm -rf /) \n") || !strings.Contains(string(b), `"code":"a"`) {
		t.Errorf("%s, %v", b, err)
	}
	for _, args := range [][]string{{"sh", "-c", "exit 3"}, {"/no/such/program"}, nil} {
		if err := (Command{Args: args}).Send(t.Context(), m); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

// smtpServer speaks as much of SMTP as is needed, for one letter, and returns it.
func smtpServer(t *testing.T) (addr string, letter chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	letter = make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		r := bufio.NewReader(c)
		say := func(s string) { _, _ = io.WriteString(c, s+"\r\n") }
		say("220 test")
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			switch word := strings.ToUpper(strings.Fields(line)[0]); word {
			case "EHLO":
				say("250-test\r\n250 AUTH PLAIN")
			case "AUTH":
				say("235 good")
			case "DATA":
				say("354 go on")
				var b strings.Builder
				for {
					line, err := r.ReadString('\n')
					if err != nil || line == ".\r\n" {
						break
					}
					b.WriteString(line)
				}
				letter <- b.String()
				say("250 taken")
			case "QUIT":
				say("221 bye")
				return
			default:
				say("250 ok")
			}
		}
	}()
	return l.Addr().String(), letter
}

// An e-mail arrives whole, and names from others don't get into its head.
func TestEmail(t *testing.T) {
	addr, letter := smtpServer(t)
	m := item("a", "nas", "error").Message
	m.Title, m.Text = "Bad\r\nBcc: all@example.org ü", "a line\n.\nanother ü"
	e := Email{Server: addr, From: "box@example.org", To: []string{"me@example.org"}, User: "u", PasswordFile: secretFile(t, "p"), Clock: &handClock{now: time.Unix(17, 0)}}
	if err := e.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got, err := mail.ReadMessage(strings.NewReader(<-letter))
	if err != nil {
		t.Fatal(err)
	}
	if got.Header.Get("Bcc") != "" || !strings.Contains(got.Header.Get("Subject"), "=?utf-8?q?") || got.Header.Get("To") != "me@example.org" {
		t.Errorf("%v", got.Header)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(got.Body))
	if err != nil || !strings.Contains(string(body), "another ü") {
		t.Errorf("%s, %v", body, err)
	}
	e.Server = "127.0.0.1:1"
	if err := e.Send(t.Context(), m); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}
