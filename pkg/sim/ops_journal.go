package sim

import (
	"context"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// opJournal syncs bytes into a file without a content: its row waits until they are folded (I4).
func (p *statePod) opJournal(ctx context.Context) error {
	at, err := p.file()
	if err != nil || at.node.Kind != vfs.KindFile || at.node.Copy || p.logged[at.node.ID] > 0 {
		return err
	}
	r := state.JournalRecord{
		Base: &state.JournalBase{Content: at.node.Content, Body: at.node.Body, Mode: 0o644},
		Keep: 0, Size: 1, Writes: []state.JournalWrite{{Off: 0, Data: []byte("x")}},
	}
	gen, err := p.db.Journal(at.node.ID, &r)
	if err != nil {
		return err
	}
	p.logged[at.node.ID] = gen
	p.w.trace.say("%d: journal of %d", p.n, at.node.ID)
	return p.sync(ctx)
}

// opFold folds what is journaled of one file.
func (p *statePod) opFold(context.Context) error {
	for _, ino := range sortedKeys(p.logged) {
		return p.fold(ino) //nolint:contextcheck // operations of the state take no context
	}
	return nil
}

// fold writes a file that is in the journal. One that another pod removed has no row: its records go, as users of the state do it.
func (p *statePod) fold(ino state.Ino) error {
	n, err := p.db.Get(ino)
	if errors.Is(err, vfs.ErrNotExist) {
		c := content(p.text())
		c.Folded = state.JournalMark{Ino: ino, Gen: p.logged[ino]}
		p.w.count++ // the text may be the one that all write
		name := fmt.Sprintf("recovered-%d", p.w.count)
		if _, err := p.db.Create(state.RootIno, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}, state.CreateOptions{Content: &c}); err != nil {
			return err
		}
		delete(p.logged, ino)
		p.w.trace.say("%d: fold %d, which is gone, as %q", p.n, ino, name)
		return nil
	}
	if err != nil {
		return err
	}
	return p.write(n, nil)
}
