package pod

import (
	"errors"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestKeptFile: a file that was opened as it is reads the same after it was written, cut, replaced and removed, and after everything that nothing names was
// collected; then its bytes go.
func TestKeptFile(t *testing.T) {
	p := lonePod(t, Options{})
	ctx := quickly(t)
	text := string(randomBytes(4, 3<<20))
	p.write("/f", text)
	w, id := p.open("/f")
	if _, err := w.WriteAt(ctx, []byte("not cut yet"), 1<<20); err != nil {
		t.Fatal(err)
	}
	want := text[:1<<20] + "not cut yet" + text[1<<20+len("not cut yet"):]
	k, err := p.fs.(vfs.Keeper).OpenAsIs(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	same := func(when string) {
		t.Helper()
		p.forget()
		got := make([]byte, len(want)+10)
		if n, _ := k.ReadAt(ctx, got, 0); string(got[:n]) != want {
			t.Errorf("%s: %d bytes, not as it was", when, n)
		}
		if n, err := k.ReadAt(ctx, got[:100], 1<<20-50); n != 100 || err != nil || string(got[:100]) != want[1<<20-50:][:100] {
			t.Errorf("%s: a piece is not as it was: %d, %v", when, n, err)
		}
	}
	same("at once")
	if _, err := w.WriteAt(ctx, []byte("other"), 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	same("written")
	p.write("/f", "short")
	same("cut")
	p.remove("/f")
	p.settle()
	p.collect(CollectOptions{Now: true, atOnce: true})
	p.collect(CollectOptions{Now: true, atOnce: true})
	same("removed and collected")
	if _, err := k.WriteAt(ctx, []byte("x"), 0); !errors.Is(err, vfs.ErrReadOnly) {
		t.Errorf("write: %v", err)
	}
	if err := k.Close(ctx); err != nil {
		t.Error(err)
	}
	p.collect(CollectOptions{Now: true, atOnce: true})
	p.collect(CollectOptions{Now: true, atOnce: true})
	if u := p.usage(); u.Live+u.Trash > 1<<20 {
		t.Errorf("its bytes are kept after the close: %+v", u)
	}
}
