package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// sameText is one that many write, so that contents made apart are equal.
const sameText = "same"

// names are what users choose from: few, so that they meet. Some make computed names hard: long ones, ones that look computed, odd ones.
var names = []string{
	"a", "a", "a", "b", "b", "c", "d.txt", "e.tar.gz", ".f",
	strings.Repeat("long-", 50) + "name",
	strings.Repeat("é", 120) + ".txt",
	"a.conflict-pod1-20261126-120000-1234",
	"\xff\xfe odd",
}

// refusals are the errors with which an operation may refuse.
var refusals = []error{
	vfs.ErrNotExist, vfs.ErrExist, vfs.ErrNotDir, vfs.ErrIsDir, vfs.ErrNotEmpty, vfs.ErrInvalid, vfs.ErrNotPermitted, vfs.ErrNoXattr,
	vfs.ErrNameTooLong, vfs.ErrBadName,
}

// stateOp is a kind of operation, chosen as often as its weight says among all.
type stateOp struct {
	name   string
	weight int
	run    func(p *statePod, ctx context.Context) error
}

// stateOps is every kind of operation that changes the state. A new one is a line here.
var stateOps = []stateOp{
	{"create", 6, (*statePod).opCreate},
	{"import", 1, (*statePod).opImport},
	{"mkdir", 5, (*statePod).opMkdir},
	{"symlink", 1, (*statePod).opSymlink},
	{"write", 6, (*statePod).opWrite},
	{"open", 2, (*statePod).opOpen},
	{"write what was opened", 3, (*statePod).opWriteOpen},
	{"journal", 1, (*statePod).opJournal},
	{"fold", 2, (*statePod).opFold},
	{"rename", 7, (*statePod).opRename},
	{"rename into", 3, (*statePod).opRenameInto},
	{"save by rename", 3, (*statePod).opSave},
	{"remove", 4, (*statePod).opRemove},
	{"remove a tree", 1, (*statePod).opRemoveAll},
	{"link", 3, (*statePod).opLink},
	{"chmod", 2, (*statePod).opSetAttr},
	{"xattr", 2, (*statePod).opXattr},
	{"wish", 1, (*statePod).opWish},
	{"snapshot", 1, (*statePod).opSnapshot},
}

// step runs one random operation.
func (p *statePod) step(ctx context.Context) error {
	total := 0
	for _, weight := range p.w.weights {
		total += weight
	}
	k := p.rng.IntN(total)
	for i, o := range stateOps {
		if k -= p.w.weights[i]; k >= 0 {
			continue
		}
		err := o.run(p, ctx)
		for _, r := range refusals {
			if errors.Is(err, r) {
				p.w.trace.say("%d: %s: %v", p.n, o.name, err)
				return nil
			}
		}
		if err != nil && !p.disk.Failed() {
			return fmt.Errorf("pod %d: %s: %w", p.n, o.name, err)
		}
		return nil
	}
	return nil
}

// place is a name in the view, and what it shows; of the root the name is empty.
type place struct {
	parent state.Ino
	name   string
	node   state.Node
}

// opWeights are how often the operations of one seed are: some are rare and some are many, each time others, so that what is rare meets.
func opWeights(rng *rand.Rand) []int {
	out := make([]int, len(stateOps))
	for i, o := range stateOps {
		out[i] = o.weight * []int{0, 1, 1, 1, 4}[rng.IntN(5)]
		if i < 5 {
			out[i] += o.weight // what makes things
		}
	}
	return out
}

// file is a random place that is no folder, if one is found soon.
func (p *statePod) file() (at place, err error) {
	for range 6 {
		if at, err = p.pick(); err != nil || at.node.Kind != vfs.KindFolder {
			break
		}
	}
	return at, err
}

// pick is a random place.
func (p *statePod) pick() (place, error) {
	n, err := p.db.Get(state.RootIno)
	at := place{parent: state.RootIno, node: n}
	for range 1 + p.rng.IntN(4) {
		if err != nil || at.node.Kind != vfs.KindFolder {
			break
		}
		var all []state.Entry
		if all, err = p.db.List(at.node.ID, "", 0); err != nil || len(all) == 0 {
			break
		}
		e := all[p.rng.IntN(len(all))]
		at = place{parent: at.node.ID, name: e.Name, node: e.Node}
	}
	return at, err
}

// folder is a random folder.
func (p *statePod) folder() (state.Ino, error) {
	for range 4 {
		at, err := p.pick()
		if err != nil {
			return 0, err
		}
		if at.node.Kind == vfs.KindFolder {
			return at.node.ID, nil
		}
	}
	return state.RootIno, nil
}

func (p *statePod) name() string { return names[p.rng.IntN(len(names))] }

// text is a new text, or now and then the one that all write.
func (p *statePod) text() string {
	if p.rng.IntN(12) == 0 {
		return sameText
	}
	p.w.count++
	return fmt.Sprintf("text %d of pod %d", p.w.count, p.n)
}

// content is a text as a file's content.
func content(text string) state.NewContent {
	return state.NewContent{Size: uint64(len(text)), Body: dag.InlineBody([]byte(text)).Encode()}
}

// textOf is what a node of a simulation holds.
func textOf(n state.Node) (string, error) {
	if len(n.Body) == 0 {
		return "", nil
	}
	b, err := dag.DecodeBody(n.Body)
	return string(b.Inline), err
}

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

// rename renames, and notes what it replaced.
func (p *statePod) rename(from place, parent state.Ino, name string, flags vfs.RenameFlag) error {
	dst, err := p.db.Lookup(parent, name)
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	replaced, err := p.db.Rename(from.parent, from.name, parent, name, flags)
	if err != nil {
		return err
	}
	p.w.trace.say("%d: rename %d/%q (%d) to %d/%q, flags %d, over %d, which had %d links", p.n, from.parent, from.name, from.node.ID, parent, name, flags, replaced.ID, dst.NLink)
	return p.removed(replaced, dst.Kind == vfs.KindFolder)
}

func (p *statePod) opRename(context.Context) error {
	at, err := p.pick()
	if err != nil || at.name == "" {
		return err
	}
	parent, err := p.folder()
	if err != nil {
		return err
	}
	flags := vfs.RenameFlag(0)
	if p.rng.IntN(8) == 0 {
		flags = vfs.RenameNoReplace
	}
	return p.rename(at, parent, p.name(), flags)
}

// opRenameInto moves one thing to where another is: over it, or in exchange.
func (p *statePod) opRenameInto(context.Context) error {
	at, err := p.pick()
	if err != nil || at.name == "" {
		return err
	}
	to, err := p.pick()
	if err != nil || to.name == "" {
		return err
	}
	switch p.rng.IntN(3) {
	case 0:
		return p.rename(at, to.parent, to.name, vfs.RenameExchange)
	case 1:
		if to.node.Kind == vfs.KindFolder { // folders into each other, mostly
			return p.rename(at, to.node.ID, p.name(), 0)
		}
	}
	return p.rename(at, to.parent, to.name, 0)
}

// opSave saves as editors do: a new file beside, renamed over the old one.
func (p *statePod) opSave(context.Context) error {
	at, err := p.file()
	if err != nil || at.node.Kind != vfs.KindFile {
		return err
	}
	text := p.text()
	c := content(text)
	tmp := fmt.Sprintf(".tmp%d", p.w.count)
	n, err := p.db.Create(at.parent, tmp, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}, state.CreateOptions{Content: &c}) //nolint:contextcheck // operations of the state take no context
	if err != nil {
		return err
	}
	p.wrote(text)
	p.w.trace.say("%d: create %d/%q = %d %q", p.n, at.parent, tmp, n.ID, text)
	if err := p.made(n.ID); err != nil {
		return err
	}
	return p.rename(place{parent: at.parent, name: tmp, node: n}, at.parent, at.name, 0)
}

func (p *statePod) opRemove(context.Context) error {
	at, err := p.pick()
	if err != nil || at.name == "" {
		return err
	}
	return p.remove(at)
}

func (p *statePod) remove(at place) error {
	folder := at.node.Kind == vfs.KindFolder
	n, err := p.db.Remove(at.parent, at.name, folder)
	if err != nil {
		return err
	}
	p.w.trace.say("%d: remove %d/%q (%d), %d links are left", p.n, at.parent, at.name, n.ID, n.NLink)
	return p.removed(n, folder)
}

// opRemoveAll removes a folder and all in it.
func (p *statePod) opRemoveAll(context.Context) error {
	at, err := p.pick()
	if err != nil || at.name == "" {
		return err
	}
	return p.removeAll(at, 0)
}

func (p *statePod) removeAll(at place, depth int) error {
	if at.node.Kind == vfs.KindFolder {
		if depth > depthMax {
			return fmt.Errorf("folder %d is %d deep: %w", at.node.ID, depth, block.ErrCorrupt)
		}
		all, err := p.db.List(at.node.ID, "", 0)
		if err != nil {
			return err
		}
		for _, e := range all {
			// A name may have gone with another: two contents of one file.
			err := p.removeAll(place{parent: at.node.ID, name: e.Name, node: e.Node}, depth+1)
			if err != nil && !errors.Is(err, vfs.ErrNotExist) {
				return err
			}
		}
	}
	return p.remove(at)
}

func (p *statePod) opLink(context.Context) error {
	at, err := p.file()
	if err != nil {
		return err
	}
	parent, err := p.folder()
	if err != nil {
		return err
	}
	name := p.name()
	n, err := p.db.Link(at.node.ID, parent, name)
	if err != nil {
		return err
	}
	p.w.trace.say("%d: link %d as %d/%q = %d", p.n, at.node.ID, parent, name, n.ID)
	return nil
}

func (p *statePod) opSetAttr(context.Context) error {
	at, err := p.pick()
	if err != nil {
		return err
	}
	mode, mtime, uid := p.rng.Uint32N(0o10000), p.rng.Int64N(1<<40), p.rng.Uint32N(100)
	set := vfs.SetAttr{}
	if p.rng.IntN(2) == 0 {
		set.Mode = &mode
	}
	if p.rng.IntN(2) == 0 {
		set.Mtime = &mtime
	}
	if p.rng.IntN(2) == 0 {
		set.UID = &uid
	}
	n, err := p.db.SetAttr(at.node.ID, set)
	if err != nil {
		return err
	}
	p.w.trace.say("%d: attributes of %d = %d", p.n, at.node.ID, n.ID)
	return nil
}

func (p *statePod) opXattr(context.Context) error {
	at, err := p.pick()
	if err != nil {
		return err
	}
	name := "user." + string(rune('a'+p.rng.IntN(3)))
	var n state.Node
	if p.rng.IntN(4) == 0 {
		n, err = p.db.RemoveXattr(at.node.ID, name)
	} else {
		p.w.count++
		n, err = p.db.SetXattr(at.node.ID, name, fmt.Appendf(nil, "%d", p.w.count), 0)
	}
	if err != nil {
		return err
	}
	p.w.trace.say("%d: xattr %s of %d = %d", p.n, name, at.node.ID, n.ID)
	return nil
}

func (p *statePod) opWish(context.Context) error {
	at, err := p.pick()
	if err != nil {
		return err
	}
	policy := []string{"none", "replica:2", "replica:3"}[p.rng.IntN(3)]
	e := state.WishEdit{Policy: &policy}
	if p.rng.IntN(2) == 0 {
		pod := ident.Pod{byte(p.rng.IntN(4))}
		e = state.WishEdit{Pin: []ident.Pod{pod}}
		if p.rng.IntN(2) == 0 {
			e = state.WishEdit{Unpin: []ident.Pod{pod}}
		}
	}
	if err := p.db.SetWish(at.node.ID, e); err != nil {
		return err
	}
	p.w.trace.say("%d: wish of %d", p.n, at.node.ID)
	return nil
}

func (p *statePod) opSnapshot(context.Context) error {
	root := p.db.LastCheckpoint().Tree
	name := names[p.rng.IntN(6)]
	if p.rng.IntN(4) == 0 {
		root = block.ID{}
	}
	if err := p.db.SetSnapshot(name, root); err != nil {
		return err
	}
	p.w.trace.say("%d: snapshot %q", p.n, name)
	return nil
}
