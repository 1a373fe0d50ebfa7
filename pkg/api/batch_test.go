package api

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBatch: a batch comes as it was sent, whatever bytes its names have, and nothing but a batch is one.
func TestBatch(t *testing.T) {
	full := Item{
		Parent: 7, Name: "n\xff\x00", Kind: 255, Mode: 0o7777, UID: math.MaxUint32, GID: 1, RDev: math.MaxUint64, Mtime: math.MinInt64,
		Size: math.MaxUint64, Target: "t\xfe", Link: 9, Many: true, FD: true, Stream: true, Keep: true, Dev: 1, Ino: 2, Ctime: math.MaxInt64,
		Xattrs: map[string][]byte{"user.a": {}, "user.b": {0, 255}},
	}
	want := Batch{First: 512, Items: []Item{{Parent: -1}, full, {FD: true}, {Stream: true}, {Keep: true}, {Many: true}, {Inline: true}, {Inline: true, Data: []byte{0, 255}}}}
	b := want.encode()
	got, err := DecodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sent, and as it came (+):\n%s", diff)
	}
	for n := range b {
		if _, err := DecodeBatch(b[:n]); !errors.Is(err, ErrProtocol) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	if _, err := DecodeBatch(Batch{Items: []Item{{Data: []byte("x")}}}.encode()); !errors.Is(err, ErrProtocol) {
		t.Errorf("data that is not said to be there: %v", err)
	}
	if _, err := DecodeBatch(Batch{Items: []Item{{Inline: true, Data: make([]byte, InlineMax+1)}}}.encode()); !errors.Is(err, ErrProtocol) {
		t.Errorf("too much data: %v", err)
	}
	many := Batch{Items: make([]Item, BatchMax+1)}.encode()
	if _, err := DecodeBatch(many); !errors.Is(err, ErrProtocol) {
		t.Errorf("too many items: %v", err)
	}
}
