package placement

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

var update = flag.Bool("update", false, "write testdata/format anew")

// golden compares text with a file of testdata/format, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "format", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// If one of these lines changes, pods of two versions look for blocks on different pods.
func TestGoldenWalk(t *testing.T) {
	entries := make([]Entry, 7)
	for i := range entries {
		entries[i] = Entry{Pod: ident.Pod{byte(i + 1)}, Weight: uint32(50 * (i + 1)), Zone: string("abc"[i%3]), Drain: i == 4}
	}
	entries[0].Zone = ""
	l := NewLayout(entries)
	var b strings.Builder
	line := func(name string, pods []ident.Pod) {
		fmt.Fprintf(&b, " %s", name)
		for _, p := range pods {
			fmt.Fprintf(&b, " %d", p[0])
		}
	}
	for i := range 24 {
		id := block.Sum(block.Raw, []byte{byte(i)})
		g := GroupOf(id)
		fmt.Fprintf(&b, "%s group %d distance %d", id, g, distance(g, entries[0].Pod))
		line("walk", l.Walk(g))
		line("set", l.Set(g, 7))
		b.WriteByte('\n')
	}
	golden(t, "walk.txt", b.String())
}

func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{4}, ed25519.SeedSize))
}

func sign(m []byte) []byte { return ed25519.Sign(testKey(), m) }

func testEntry() Entry {
	return Entry{
		Network: ident.Network{1, 2}, Pod: ident.PodOf(testKey().Public().(ed25519.PublicKey)), Version: 77 << 16, Weight: 250,
		Zone: "attic", Class: "ssd", Drain: true, CapacityBytes: 1 << 40, Ext: []Field{{ID: 9, Value: []byte("later")}},
	}
}

func TestEntry(t *testing.T) {
	want := testEntry()
	b := want.Encode(sign)
	golden(t, "entry.hex", hex.EncodeToString(b)+"\n")
	got, err := DecodeEntry(b)
	if err != nil {
		t.Fatal(err)
	}
	want.Sig = got.Sig
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Verify(want.Network); err != nil {
		t.Error(err)
	}
	if err := got.Verify(ident.Network{}); !errors.Is(err, ErrBadEntry) {
		t.Errorf("another network: %v", err)
	}
}

// Nobody can change a pod's weight, drain it or move it to another zone but the pod itself.
func TestHostileEntries(t *testing.T) {
	good := testEntry()
	b := good.Encode(sign)
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if e, err := DecodeEntry(bad); err == nil && e.Verify(good.Network) == nil {
			t.Errorf("byte %d may be changed", i)
		}
		if _, err := DecodeEntry(b[:i]); !errors.Is(err, ErrBadEntry) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	other := good
	other.Pod = ident.Pod{3}
	if e, err := DecodeEntry(other.Encode(sign)); err != nil || !errors.Is(e.Verify(good.Network), ErrBadEntry) {
		t.Errorf("signed by another pod: %v", err)
	}
	for name, change := range map[string]func(*Entry){
		"weight":        func(e *Entry) { e.Weight = WeightMax + 1 },
		"zone":          func(e *Entry) { e.Zone = "a\x1b[2J" },
		"class":         func(e *Entry) { e.Class = strings.Repeat("x", ident.LabelMax+1) },
		"ext unsorted":  func(e *Entry) { e.Ext = []Field{{ID: 2}, {ID: 1}} },
		"ext twice":     func(e *Entry) { e.Ext = []Field{{ID: 2}, {ID: 2}} },
		"ext too long":  func(e *Entry) { e.Ext = []Field{{ID: 2, Value: make([]byte, extBytesMax+1)}} },
		"ext too many":  func(e *Entry) { e.Ext = make([]Field, extFieldsMax+1) },
		"far too large": func(e *Entry) { e.Zone = strings.Repeat("x", EntryMax) },
	} {
		e := good
		change(&e)
		if _, err := DecodeEntry(e.Encode(sign)); !errors.Is(err, ErrBadEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzEntry(f *testing.F) {
	good := testEntry()
	f.Add(good.Encode(sign))
	f.Add(Entry{}.Encode(sign))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEntry(b)
		if err != nil {
			return
		}
		if again := e.bytes(); !bytes.Equal(again, b) {
			t.Errorf("%x is read, and written again as %x", b, again)
		}
		made := time.UnixMilli(int64(e.Version >> 16))
		if e.Frozen().After(made.Add(FreezeMax)) || e.Priority() > PriorityMax || e.Answer(e.Answered()).Answered() != e.Answered() {
			t.Errorf("made %s, silent until %s, priority %d, answered %d", made, e.Frozen(), e.Priority(), e.Answered())
		}
		if e.Verify(good.Network) == nil && e.Pod == good.Pod && !cmp.Equal(e.body(), good.body()) {
			t.Errorf("forged: %+v", e)
		}
	})
}
