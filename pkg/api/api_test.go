package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Any bytes survive JSON, and valid UTF-8 is plain JSON.
func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain": `"plain"`, "ä\u2028": `"ä\u2028"`, "\xff": `"\udcff"`, "a\xffb\n": `"a\udcffb\n"`,
		"\xed\xb2\x80": `"\udced\udcb2\udc80"`, `\udc80`: `"\\udc80"`, "\xf0\x9f\x92": `"\udcf0\udc9f\udc92"`, "💩\xfe": "\"💩\\udcfe\"",
		"": `""`, "\"\\\xff": `"\"\\\udcff"`,
	} {
		b, err := json.Marshal(Text(in))
		if err != nil || string(b) != want {
			t.Errorf("%q: %s, %v, want %s", in, b, err, want)
		}
		var back Text
		if err := json.Unmarshal(b, &back); err != nil || string(back) != in {
			t.Errorf("%q came back as %q, %v", in, back, err)
		}
	}
	for in, want := range map[string]string{`"\ud83d\ude00\udcff"`: "😀\xff", `"\ud83d"`: "\ufffd", `"\uDCFFx"`: "\xffx", `null`: "", `"\ud83d\udcff"`: "\U0001f4ff"} {
		var got Text
		if err := json.Unmarshal([]byte(in), &got); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
	var x Text
	if json.Unmarshal([]byte(`3`), &x) == nil {
		t.Error("a number is no text")
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("a\xff\\u"))
	f.Add([]byte("\xed\xb2\x80 💩"))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := json.Marshal(Text(in))
		if err != nil {
			t.Fatal(err)
		}
		var back Text
		if err := json.Unmarshal(b, &back); err != nil || string(back) != string(in) {
			t.Errorf("%q -> %s -> %q, %v", in, b, back, err)
		}
		var other Text
		_ = json.Unmarshal(in, &other) // Must not panic.
		_ = other.UnmarshalJSON(in)
	})
}

// Every sentinel crosses the API: it is found again in what the client gets.
func TestErrorsCross(t *testing.T) {
	seen := map[Code]bool{}
	for _, c := range codes {
		if seen[c.Code] {
			t.Errorf("code %s is there twice", c.Code)
		}
		seen[c.Code] = true
		err := fmt.Errorf("pod: get x: %w", c.Err)
		b, merr := json.Marshal(NewError(err))
		if merr != nil {
			t.Fatal(merr)
		}
		var got Error
		if uerr := json.Unmarshal(b, &got); uerr != nil {
			t.Fatal(uerr)
		}
		if !errors.Is(&got, c.Err) || got.Error() != err.Error() {
			t.Errorf("%v came over as %+v", err, got)
		}
	}
	if c := CodeOf(errors.New("any")); c != CodeFailed {
		t.Errorf("any: %s", c)
	}
	if c := CodeOf(member.ErrUsed); c != "used" { // It is an ErrDenied as well.
		t.Errorf("used: %s", c)
	}
	e := NewError(fmt.Errorf("x: %w", WithHint(vfs.ErrExist, "do that")))
	if e.Code != "exist" || HintOf(e) != "do that" || HintOf(fmt.Errorf("y: %w", e)) != "do that" {
		t.Errorf("%+v", e)
	}
	if again := NewError(fmt.Errorf("z: %w", e)); again.Code != "exist" || again.Hint != "do that" || again.Message != "z: x: file exists" {
		t.Errorf("%+v", again)
	}
	if errors.Is(e, block.ErrCorrupt) || WithHint(nil, "x") != nil {
		t.Error("too much")
	}
	if c := CodeOf(fmt.Errorf("x: %w", &fs.PathError{Err: context.Canceled})); c != "canceled" {
		t.Error(c)
	}
}

func pipe(t *testing.T) (a, b net.Conn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "frame-") //nolint:usetesting // t.TempDir's paths can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// Frames and their descriptors arrive together and in order.
func TestFrames(t *testing.T) {
	if !CanPassFiles {
		t.Skip("no descriptors here")
	}
	a, b := pipe(t)
	from, to := NewConn(a, nil), NewConn(b, nil)
	const rounds = 20
	var files []*os.File
	for i := range rounds {
		f, err := os.Create(filepath.Join(t.TempDir(), fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintf(f, "%d", i)
		files = append(files, f)
	}
	sent := make(chan error, 1)
	go func() {
		for i := range rounds {
			big := strings.Repeat("x", i*30_000)
			if err := from.Send(FrameBatch, Batch{First: i, Items: []Item{{Name: Text(big), FD: true}, {FD: true}}}, []*os.File{files[i], files[0]}); err != nil {
				sent <- err
				return
			}
			if err := from.SendBytes(FrameData, []byte(big)); err != nil {
				sent <- err
				return
			}
		}
		sent <- from.Close()
	}()
	for i := range rounds {
		kind, p, err := to.Receive()
		if err != nil || kind != FrameBatch {
			t.Fatalf("round %d: kind %d, %v", i, kind, err)
		}
		m, err := DecodeBatch(p)
		if err != nil || m.First != i || len(m.Items[0].Name) != i*30_000 {
			t.Fatalf("round %d: %d, %v", i, m.First, err)
		}
		got, err := to.TakeFiles(2)
		if err != nil {
			t.Fatal(err)
		}
		content := make([]byte, 10)
		n, err := got[0].ReadAt(content, 0)
		if !errors.Is(err, io.EOF) || string(content[:n]) != fmt.Sprint(i) {
			t.Errorf("round %d: file holds %q, %v", i, content[:n], err)
		}
		for _, f := range got {
			_ = f.Close()
		}
		if kind, p, err = to.Receive(); err != nil || kind != FrameData || len(p) != i*30_000 {
			t.Fatalf("round %d: kind %d, %d bytes, %v", i, kind, len(p), err)
		}
	}
	if _, _, err := to.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if _, err := to.TakeFiles(1); !errors.Is(err, ErrProtocol) {
		t.Errorf("a descriptor that never came: %v", err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// Hostile frames are errors: too long, cut off.
func FuzzReceive(f *testing.F) {
	batch := Batch{First: 3, Items: []Item{{Parent: -1, Name: "n", Mtime: -1, Keep: true, Xattrs: map[string][]byte{"user.a": {1}}}}}.encode()
	f.Add(append([]byte{byte(FrameBatch), 0, 0, 0, byte(len(batch))}, batch...))
	f.Add([]byte{byte(FrameData), 255, 255, 255, 255})
	f.Add([]byte{byte(FrameOpened), 0, 0, 0, 9, '{'})
	f.Fuzz(func(t *testing.T, in []byte) {
		c := NewConn(stream{Reader: bytes.NewReader(in)}, nil)
		for range 100 {
			kind, b, err := c.Receive()
			if err != nil {
				return
			}
			if len(b) > FrameMax {
				t.Fatalf("kind %d: %d bytes", kind, len(b))
			}
			_, _ = DecodeBatch(b)
			_, _ = Decode[Opened](b)
		}
	})
}

// stream is a connection that only gives.
type stream struct {
	io.Reader
	net.Conn
}

func (s stream) Read(b []byte) (int, error) { return s.Reader.Read(b) }

// Where the path is too long for a socket, it lies elsewhere and is found there.
func TestHomeSocket(t *testing.T) {
	short := Home(t.TempDir())
	if len(short) < 90 {
		path, remove, err := short.NewSocket()
		if err != nil || path != short.File("api.sock") {
			t.Errorf("%s, %v", path, err)
		}
		remove()
	}
	long := Home(filepath.Join(t.TempDir(), strings.Repeat("long", 30)))
	if err := os.Mkdir(string(long), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := long.Socket(); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("before: %v", err)
	}
	first, _, err := long.NewSocket() // Its daemon is killed.
	if err != nil {
		t.Fatal(err)
	}
	path, remove, err := long.NewSocket()
	if err != nil || len(path) > socketMax || path == first {
		t.Fatalf("%s, %v", path, err)
	}
	if _, err := os.Stat(filepath.Dir(first)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first one's folder: %v", err)
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
	if got, err := long.Socket(); err != nil || got != path {
		t.Errorf("%s, %v", got, err)
	}
	remove()
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}
