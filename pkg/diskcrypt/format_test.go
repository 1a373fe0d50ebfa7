package diskcrypt

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var update = flag.Bool("update", false, "write the golden files that are not there")

// golden is what a file of testdata/format has; with -update it is made of what is given, where it is not there yet.
func golden(t *testing.T, name string, now func() []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "format", name+".hex")
	if _, err := os.Stat(path); err != nil && *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(hex.EncodeToString(now())+"\n"), 0o644)) //nolint:gosec // a golden file
	}
	text, err := os.ReadFile(path)
	must(t, err)
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	must(t, err)
	return b
}

// TestFormat breaks if a disk of an earlier version can't be read.
func TestFormat(t *testing.T) {
	key := KeyOf([KeyBytes]byte(bytes.Repeat([]byte{1}, KeyBytes)))
	text := []byte("0123456789abcdef, and so on")
	below := vfs.NewMem()
	create(t, below, "file", golden(t, "file", func() []byte {
		create(t, New(below, key), "made", text)
		return whole(t, below, "made")
	}))
	if got := whole(t, New(below, key), "file"); !bytes.Equal(got, text) {
		t.Errorf("an encrypted file: %q", got)
	}
	got, err := key.Open("key", golden(t, "small", func() []byte { return key.Seal("key", text) }))
	if err != nil || !bytes.Equal(got, text) {
		t.Errorf("a small file: %q, %v", got, err)
	}
	l, err := DecodeLock(golden(t, "lock", func() []byte {
		l, err := NewLock(key, bytes.Repeat([]byte{7}, 32), secretOf("ann"))
		must(t, err)
		return l.Encode()
	}))
	must(t, err)
	opened, err := l.Open(secretOf("ann"))
	must(t, err)
	if opened.Secret() != key.Secret() || l.Identity[0] != 7 {
		t.Error("a lock: another key")
	}
}
