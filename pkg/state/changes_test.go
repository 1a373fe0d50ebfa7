package state

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestChanges breaks if the log is not told newest first, with authors, and the paths of what was moved and removed since.
func TestChanges(t *testing.T) {
	p := newApart(t)
	p.write(p.a, "f.txt", "new")
	exchange(t, p.a, p.b)
	p.rename(p.b, "d", "moved")
	exchange(t, p.a, p.b)
	p.rename(p.a, "f.txt", "moved/g.txt")
	exchange(t, p.a, p.b)
	p.remove(p.b, "moved/g.txt")
	exchange(t, p.a, p.b)
	mode := uint32(0o600)
	must[Node](t)(p.a.SetAttr(p.ino(p.a, "moved/x").ID, vfs.SetAttr{Mode: &mode}))
	must[int](t)(p.a.Commit(t.Context()))
	if err := p.a.SetSnapshot("s", testRoot("s")); err != nil {
		t.Fatal(err)
	}
	policy := "none"
	if err := p.a.SetWish(p.ino(p.a, "e").ID, WishEdit{Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	must[int](t)(p.a.Commit(t.Context()))
	exchange(t, p.a, p.b)
	want := []string{
		"1 policy /e", "1 snapshot s", "1 attributes /moved/x 1", "2 removed /moved/g.txt 3", "1 renamed /f.txt -> /moved/g.txt 3",
		"2 renamed /d -> /moved 0", "1 edited /f.txt 3", "1 created /e 0", "1 created /d 0", "1 created /f.txt 3", "1 created /moved/x 1",
	}
	for _, d := range []*DB{p.a, p.b} {
		var got []string
		whole, err := d.Changes(t.Context(), func(e Logged) error {
			line := fmt.Sprintf("%d %s ", e.Dot.Actor.Member, e.What)
			if e.From != "" {
				line += e.From + " -> "
			}
			if line += e.Path; e.Kind != 0 {
				line += fmt.Sprintf(" %d", e.Size)
			}
			got = append(got, line)
			return nil
		})
		if err != nil || !whole {
			t.Errorf("whole %v, %v", whole, err)
		}
		sortRuns(got, want)
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("got - want +\n%s", diff)
		}
	}
	stop := errors.New("enough")
	if _, err := p.a.Changes(t.Context(), func(Logged) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// sortRuns puts lines that are in want, too, into its order: the changes of one commit have none.
func sortRuns(got, want []string) {
	const first, last = 7, 11 // those of newApart
	if len(got) < last {
		return
	}
	for i := first; i < last; i++ {
		for k := i; k < last; k++ {
			if got[k] == want[i] {
				got[i], got[k] = got[k], got[i]
			}
		}
	}
}
