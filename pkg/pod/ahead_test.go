package pod

import (
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestAheadWide: one reader at a time has the wide window: one that read so much in order and doesn't come back, until it ends or reads elsewhere.
func TestAheadWide(t *testing.T) {
	var p Pod
	once := vfs.WithReuse(t.Context(), vfs.ReadOnce)
	began, first, second := &ahead{run: aheadWide - 1}, &ahead{run: aheadWide}, &ahead{run: aheadWide}
	want := func(what string, a *ahead, window int64) {
		t.Helper()
		if got := p.window(once, a); got != window {
			t.Errorf("%s: %d bytes ahead, want %d", what, got, window)
		}
	}
	want("one that has read less", began, aheadWindow)
	if got := p.window(t.Context(), first); got != aheadWindow {
		t.Errorf("one that may come back: %d bytes ahead, want %d", got, aheadWindow)
	}
	want("the first", first, aheadWide)
	want("the second", second, aheadWindow)
	want("the first, again", first, aheadWide)
	p.endAhead(second)
	want("the second, when itself has ended", second, aheadWindow)
	p.endAhead(first)
	want("the second, when the first has ended", second, aheadWide)
	p.closeAhead(second)
	want("the second, closed, by a read that was under way", second, aheadWindow)
	want("the first, when the second is closed", first, aheadWide)
}
