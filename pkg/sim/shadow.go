package sim

import (
	"context"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// shadow is what users did, as they know it: what they wrote, and what they saw when they replaced or removed something.
type shadow struct {
	texts   map[string]*written
	removed []*removal
}

// written is a text that a user gave to a file or symlink; no two are equal.
type written struct {
	pod     int
	durable bool     // its write was acknowledged as durable
	by      [32]byte // the digest of the commit with which it was; zero: a sync
	dropped bool     // somebody who saw it replaced or removed it
}

// removal is the removal of a file's last name, or of a folder.
type removal struct {
	pod     int
	ino     state.Ino
	folder  bool
	who     int               // statePod.who of the pod
	saw     map[[32]byte]bool // the commits that its user had seen, by digest: a number may stand for two
	durable bool
	by      [32]byte
}

// everybody is all labels.
func everybody(ident.Actor) bool { return true }

func newShadow() *shadow { return &shadow{texts: map[string]*written{}} }

// drop notes that a user who saw a text replaced or removed it.
func (s *shadow) drop(text string) {
	if t := s.texts[text]; t != nil {
		t.dropped = true
	}
}

// wrote notes a text that a user wrote.
func (p *statePod) wrote(text string) {
	if text == sameText {
		return
	}
	t := &written{pod: p.n}
	p.w.shadow.texts[text] = t
	p.fresh = append(p.fresh, t)
}

// made notes that a number was given out. One of a time before a crash may come again if nobody ever heard of it, and then what was removed is another.
func (p *statePod) made(ino state.Ino) error {
	if p.w.history.inos[ino] {
		return fmt.Errorf("pod %d gives out the number %d, which is in use", p.n, ino)
	}
	p.w.shadow.removed = slices.DeleteFunc(p.w.shadow.removed, func(r *removal) bool { return r.ino == ino })
	return nil
}

// removed notes what a removal, or a rename, made of what it replaced.
func (p *statePod) removed(ctx context.Context, n state.Node, folder bool) error {
	if n.ID == 0 || !folder && n.NLink > 0 {
		return nil
	}
	if !folder {
		text, err := textOf(n)
		if err != nil {
			return err
		}
		p.w.shadow.drop(text)
		p.w.trace.say("%d: %q goes with it", p.n, text)
	}
	if n.Copy {
		return nil
	}
	delete(p.logged, n.Ino)
	saw, err := digestsOf(ctx, p.db, everybody)
	if err != nil {
		return err
	}
	r := &removal{pod: p.n, ino: n.Ino, folder: folder, who: p.who, saw: saw}
	p.w.shadow.removed = append(p.w.shadow.removed, r)
	p.gone = append(p.gone, r)
	return nil
}
