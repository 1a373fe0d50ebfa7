package state

import (
	"bytes"
	"errors"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Records are read as they were written, page by page, also after a start, and neither a checkpoint nor a check sees them.
func TestRecords(t *testing.T) {
	o := newPods().options(1, pebblevfs.NewMem())
	db, ctx := openWith(t, o), t.Context()
	before, err := db.Checkpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r := db.Records()
	key := func(s ...string) (out [][]byte) {
		for _, s := range s {
			out = append(out, []byte(s))
		}
		return out
	}
	if err := r.Write(key("a/1", "a/2", "a/3", "b", "a"), [][]byte{{1}, {2}, {}, {4}, {5}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(key("a/2", "never"), [][]byte{nil, nil}); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string][]byte{"a/1": {1}, "a/2": nil, "a/3": {}, "b": {4}, "c": nil} {
		got, err := r.Get([]byte(k))
		if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("get %s: %v, %v", k, got, err)
		}
	}
	for _, tt := range []struct {
		prefix, after string
		most          int
		want          string
	}{
		{"a/", "", 9, "a/1 a/3"}, {"a/", "", 1, "a/1"}, {"a/", "a/1", 9, "a/3"}, {"a/", "a/3", 9, ""}, {"", "", 9, "a a/1 a/3 b"}, {"b", "a", 9, "b"}, {"x", "", 9, ""},
	} {
		var after []byte
		if tt.after != "" {
			after = []byte(tt.after)
		}
		keys, values, err := r.Page([]byte(tt.prefix), after, tt.most)
		if err != nil || len(keys) != len(values) || string(bytes.Join(keys, []byte(" "))) != tt.want {
			t.Errorf("page %q after %q: %q, %v", tt.prefix, tt.after, keys, err)
		}
	}
	after, err := db.Checkpoint(ctx)
	if err != nil || after.State != before.State || after.Tree != before.Tree {
		t.Errorf("the roots changed: %v", err)
	}
	if err := db.Check(ctx, func(problem string) { t.Error(problem) }); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = must[*DB](t)(Open(ctx, o))
	if got, err := db.Records().Get([]byte("b")); err != nil || !bytes.Equal(got, []byte{4}) {
		t.Errorf("after a start: %v, %v", got, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Records().Write(key("a"), [][]byte{{1}}); !errors.Is(err, vfs.ErrClosed) {
		t.Errorf("write when closed: %v", err)
	}
	if _, err := db.Records().Get([]byte("a")); !errors.Is(err, vfs.ErrClosed) {
		t.Errorf("get when closed: %v", err)
	}
}
