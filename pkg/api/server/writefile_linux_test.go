package server

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// TestForgetsWritten: a very large file that is exported takes few pages of the kernel's memory while it is written, and any other stays there.
func TestForgetsWritten(t *testing.T) {
	const part = 1 << 20
	for _, forgets := range []bool{true, false} {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		w := writer{to: f, forgets: forgets}
		for off := int64(0); ; off += part {
			if err := w.writeAt(make([]byte, part), off); err != nil {
				t.Fatal(err)
			}
			in := testneed.CachedBytes(t, f.Fd())
			if forgets && off > 2*lateBytes && in < off/2 {
				break // as the disk is, sooner or later
			}
			if !forgets && in < off {
				t.Fatalf("of %d bytes %d are in memory, with nothing else that wants it", off+part, in)
			}
			if forgets && off > 32*lateBytes {
				t.Fatalf("of %d bytes %d are in memory", off, in)
			}
			if !forgets && off > 2*lateBytes {
				break
			}
		}
	}
	if from := forgetFrom(); from < onceFrom || from < memoryBytes()/forgetShare || memoryBytes() < 1<<20 {
		t.Errorf("files are forgotten from %d bytes on, with a memory of %d", from, memoryBytes())
	}
}
