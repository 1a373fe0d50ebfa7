package sim

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

func (p *statePod) opCreate(context.Context) error {
	parent, err := p.folder()
	if err != nil {
		return err
	}
	name, text := p.name(), p.text()
	c := content(text)
	n, err := p.db.Create(parent, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}, state.CreateOptions{Content: &c}) //nolint:contextcheck // operations of the state take no context
	if err != nil {
		return err
	}
	p.wrote(text)
	p.w.trace.say("%d: create %d/%q = %d %q", p.n, parent, name, n.ID, text)
	return p.made(n.ID)
}

func (p *statePod) opImport(ctx context.Context) error {
	if p.committing {
		return nil // it waits for the commit
	}
	parent, err := p.folder()
	if err != nil {
		return err
	}
	var files []state.NewFile
	for range 1 + p.rng.IntN(4) {
		c := content(p.text())
		files = append(files, state.NewFile{
			Parent: parent, Name: p.name(), Node: vfs.NewNode{Kind: vfs.KindFile, Mode: 0o600},
			CreateOptions: state.CreateOptions{Content: &c, Xattrs: map[string][]byte{"user.import": []byte("x")}},
		})
	}
	p.imported = true
	out, err := p.db.Import(ctx, files)
	if err != nil {
		return err
	}
	for i, f := range out {
		if f.Err != nil {
			continue
		}
		text, err := textOf(f.Node)
		if err != nil {
			return err
		}
		p.wrote(text)
		p.w.trace.say("%d: import %d/%q = %d %q", p.n, parent, files[i].Name, f.Node.ID, text)
		if err := p.made(f.Node.ID); err != nil {
			return err
		}
	}
	return nil
}

func (p *statePod) opMkdir(context.Context) error {
	parent, err := p.folder()
	if err != nil {
		return err
	}
	name := p.name()
	n, err := p.db.Create(parent, name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}, state.CreateOptions{}) //nolint:contextcheck // operations of the state take no context
	if err != nil {
		return err
	}
	p.w.trace.say("%d: mkdir %d/%q = %d", p.n, parent, name, n.ID)
	return nil
}

func (p *statePod) opSymlink(context.Context) error {
	parent, err := p.folder()
	if err != nil {
		return err
	}
	name, text := p.name(), p.text()
	n, err := p.db.Create(parent, name, vfs.NewNode{Kind: vfs.KindSymlink, Mode: 0o777, Target: text}, state.CreateOptions{}) //nolint:contextcheck // operations of the state take no context
	if err != nil {
		return err
	}
	p.wrote(text)
	p.w.trace.say("%d: symlink %d/%q = %d %q", p.n, parent, name, n.ID, text)
	return p.made(n.ID)
}

func (p *statePod) opWrite(context.Context) error {
	at, err := p.file()
	if err != nil {
		return err
	}
	return p.write(at.node, nil)
}

// write replaces what a node shows, or, with over, what it showed when it was opened.
func (p *statePod) write(n state.Node, over *openFile) error {
	text := p.text()
	c := content(text)
	if over != nil {
		c.Over = &over.over
	}
	if gen := p.logged[n.ID]; gen > 0 { // what is synced into the file goes in with it
		c.Folded = state.JournalMark{Ino: n.ID, Gen: gen}
	}
	was, err := textOf(n)
	if err != nil {
		return err
	}
	if over != nil {
		was = over.text
	}
	out, err := p.db.SetContent(n.ID, c)
	if err != nil {
		return err
	}
	delete(p.logged, n.ID)
	if text != was {
		p.w.shadow.drop(was)
	}
	p.wrote(text)
	p.w.trace.say("%d: write %d = %d, over %q: %q", p.n, n.ID, out.ID, was, text)
	return nil
}

// opOpen has a program open a file, which it writes later, without a look at what came meanwhile.
func (p *statePod) opOpen(context.Context) error {
	at, err := p.file()
	if err != nil || at.node.Kind != vfs.KindFile || at.node.Copy || at.node.Content.Dot.IsZero() {
		return err
	}
	text, err := textOf(at.node)
	p.open = append(p.open, openFile{ino: at.node.ID, over: at.node.Content, text: text})
	p.w.trace.say("%d: open %d, which holds %q", p.n, at.node.ID, text)
	return err
}

func (p *statePod) opWriteOpen(context.Context) error {
	if len(p.open) == 0 {
		return nil
	}
	o := p.open[0]
	p.open = p.open[1:]
	n, err := p.db.Get(o.ino)
	if err != nil {
		return err
	}
	return p.write(n, &o)
}

// opSpecial makes a FIFO, a socket or a device.
func (p *statePod) opSpecial(context.Context) error {
	parent, err := p.folder()
	if err != nil {
		return err
	}
	node := vfs.NewNode{Kind: []vfs.Kind{vfs.KindFIFO, vfs.KindSocket, vfs.KindCharDev}[p.rng.IntN(3)], Mode: 0o600}
	if node.Kind == vfs.KindCharDev {
		node.RDev = p.rng.Uint64N(1000)
	}
	name := p.name()
	n, err := p.db.Create(parent, name, node, state.CreateOptions{}) //nolint:contextcheck // operations of the state take no context
	if err != nil {
		return err
	}
	p.w.trace.say("%d: special %d/%q = %d, kind %d", p.n, parent, name, n.ID, node.Kind)
	return p.made(n.ID)
}
