package state

import (
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestPromoted breaks if the number under which a conflict copy was found is of no use any more once its contents are
// committed, or once it is a file of its own.
func TestPromoted(t *testing.T) {
	p := newApart(t)
	p.write(p.a, "f.txt", "A") // not committed: its contents have no name yet
	p.write(p.b, "f.txt", "B")
	must[int](t)(p.b.Commit(t.Context()))
	pull(t, p.a, p.b)
	var id Ino
	for _, e := range must[[]Entry](t)(p.a.List(RootIno, "", 0)) {
		if e.Node.Copy {
			id = e.Node.ID
		}
	}
	is := func(when string, text string, isCopy bool) {
		t.Helper()
		n := must[Node](t)(p.a.Get(id))
		if textOf(t, n) != text || n.Copy != isCopy || n.ID != p.a.Number(id) {
			t.Errorf("%s: number %d is %+v", when, id, n)
		}
	}
	is("not committed", "A", true)
	must[int](t)(p.a.Commit(t.Context()))
	is("committed", "A", true)
	mode := uint32(0o600)
	must[Node](t)(p.a.SetAttr(id, vfs.SetAttr{Mode: &mode}))
	is("after chmod", "A", false)
	must[Node](t)(p.a.SetContent(id, inline("C")))
	is("after an edit", "C", false)
	p.remove(p.a, must[string](t)(p.a.Path(id))[1:])
	if n, err := p.a.Get(id); err == nil {
		t.Errorf("removed, and still there: %+v", n)
	}
	p.want(with(map[string]string{"/f.txt": "B"}))
}

// TestPromotedLimit breaks if promotions take more and more memory, or the newest are forgotten.
func TestPromotedLimit(t *testing.T) {
	var p promoted
	for i := range Ino(10 * promotedMax) {
		p.add(map[Ino]Ino{derivedBit | i: i + 2})
		if to, ok := p.of(derivedBit | i); !ok || to != i+2 {
			t.Fatalf("promotion %d: %d, %t", i, to, ok)
		}
	}
	if n := len(p.newer) + len(p.old); n > 2*promotedMax {
		t.Errorf("%d are remembered", n)
	}
}
