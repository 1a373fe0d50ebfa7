package sim_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/sim"
)

// newFile is a disk with a file f, which is open, and the folder that it is in.
func newFile(t *testing.T) (d *sim.Disk, f, dir pebblevfs.File) {
	t.Helper()
	d = sim.NewDisk()
	f, err := d.FS().Create("f", pebblevfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = d.FS().OpenDir(""); err != nil {
		t.Fatal(err)
	}
	return d, f, dir
}

// leftOf is what a loss of power left of the file.
func leftOf(t *testing.T, d *sim.Disk) string {
	t.Helper()
	f, err := d.After().FS().Open("f")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDiskFails: what was synced survives a loss of power, of the rest the share that was named, the same each time, and what was done after it
// never happened.
func TestDiskFails(t *testing.T) {
	left := func(keep int) string {
		d, f, dir := newFile(t)
		write := func(s string) {
			if _, err := f.Write([]byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		write("synced")
		if err := errors.Join(f.Sync(), dir.Sync()); err != nil {
			t.Fatal(err)
		}
		write(" not synced")
		d.FailAt(2, keep, 1)
		if err := dir.Sync(); err != nil || d.Failed() {
			t.Fatalf("it fails too early: %v", err)
		}
		if err := f.Sync(); err != nil || !d.Failed() {
			t.Fatalf("it does not fail: %v", err)
		}
		write(" never")
		if err := errors.Join(f.Close(), dir.Close()); err != nil {
			t.Fatal(err)
		}
		return leftOf(t, d)
	}
	for keep, want := range map[int]string{0: "synced", 100: "synced not synced"} {
		if got := left(keep); got != want {
			t.Errorf("%d%% kept: %q is left, want %q", keep, got, want)
		}
	}
	if a, b := left(50), left(50); a != b {
		t.Errorf("%q is left, and then %q", a, b)
	}
}

// TestDiskKeepsSynced: bytes that were synced are there after a loss of power, also of a file whose folder was not synced.
func TestDiskKeepsSynced(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	for seed := range uint64(20) {
		d, f, dir := newFile(t)
		_, wrote := f.Write(data)
		synced := f.Sync()
		_, wroteMore := f.Write(data)
		d.FailAt(1, 50, seed)
		if err := errors.Join(wrote, synced, wroteMore, dir.Sync(), f.Close(), dir.Close()); err != nil {
			t.Fatal(err)
		}
		if got := leftOf(t, d); !strings.HasPrefix(got, string(data)) {
			t.Errorf("seed %d: %d bytes are there, without all that were synced", seed, len(got))
		}
	}
}

// TestMixKeepsSynced: what a sync that was under way added while the disk was cloned stays.
func TestMixKeepsSynced(t *testing.T) {
	for seed := range uint64(20) {
		if left, err := sim.Mix("before, and after", "before", seed); err != nil || left != "before, and after" {
			t.Errorf("seed %d: %q is left, %v", seed, left, err)
		}
	}
}
