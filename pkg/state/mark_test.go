package state

import (
	"errors"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestMarkFormat breaks if the file of syncs is written otherwise than before, or a torn slot counts.
func TestMarkFormat(t *testing.T) {
	golden(t, "synced-mark", encodeMark(0x0102030405060708))
	slots := make([]byte, markSlot+markLen)
	copy(slots, encodeMark(6))
	copy(slots[markSlot:], encodeMark(7))
	if got := decodeMark(slots); got != 7 {
		t.Errorf("%d, want 7", got)
	}
	slots[markSlot+10]++
	if got := decodeMark(slots); got != 6 {
		t.Errorf("with a torn slot %d, want 6", got)
	}
	if got := decodeMark(nil); got != 0 {
		t.Errorf("of an empty file %d, want 0", got)
	}
}

// TestMarkTells breaks if a write-ahead log that lost its end, which Pebble takes for torn, is opened as if nothing were missing.
func TestMarkTells(t *testing.T) {
	n := newPods()
	mem := pebblevfs.NewCrashableMem()
	o := n.options(1, mem)
	d, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.sync(); err != nil {
		t.Fatal(err)
	}
	before := mem.CrashClone(pebblevfs.CrashCloneCfg{})
	if err := d.sync(); err != nil {
		t.Fatal(err)
	}
	path := mem.PathJoin(o.Dir, markFile)
	if _, err := pebblevfs.Clone(mem, before, path, path); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	o.FS = before
	if _, err := Open(t.Context(), o); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("open: %v, want %v", err, block.ErrCorrupt)
	}
}

// FuzzDecodeMark breaks if a mark is read that was not written as such.
func FuzzDecodeMark(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeMark(1))
	f.Add(append(append(encodeMark(4), make([]byte, markSlot-markLen)...), encodeMark(5)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := decodeMark(b)
		if n == 0 {
			return
		}
		first := len(b) >= markLen && string(b[:markLen]) == string(encodeMark(n))
		second := len(b) >= markSlot+markLen && string(b[markSlot:markSlot+markLen]) == string(encodeMark(n))
		if !first && !second {
			t.Errorf("%x is read as %d", b, n)
		}
	})
}
