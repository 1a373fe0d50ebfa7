package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// stackNames are what users choose from.
var stackNames = []string{"a", "a", "b", "b", "c.txt", "d", "e.tar.gz"}

// stackOps is every kind of operation. A new one is a line here.
var stackOps = []struct {
	name   string
	weight int
	run    func(p *stackPod, ctx context.Context) error
}{
	{"create", 6, (*stackPod).opCreate},
	{"mkdir", 3, (*stackPod).opMkdir},
	{"overwrite", 4, (*stackPod).opOverwrite},
	{"append", 2, (*stackPod).opAppend},
	{"truncate", 1, (*stackPod).opTruncate},
	{"save by rename", 4, (*stackPod).opSave},
	{"rename", 4, (*stackPod).opRename},
	{"remove", 3, (*stackPod).opRemove},
	{"link", 1, (*stackPod).opLink},
	{"symlink", 1, (*stackPod).opSymlink},
	{"chmod", 1, (*stackPod).opChmod},
	{"read", 2, (*stackPod).opRead},
	{"sync all", 1, (*stackPod).opSync},
}

// step runs one random operation.
func (p *stackPod) step(ctx context.Context) error {
	total := 0
	for _, o := range stackOps {
		total += o.weight
	}
	k := p.w.rng.IntN(total)
	for _, o := range stackOps {
		if k -= o.weight; k >= 0 {
			continue
		}
		err := o.run(p, ctx)
		for _, r := range refusals {
			if errors.Is(err, r) {
				p.w.trace.say("%d: %s: %v", p.n, o.name, err)
				return nil
			}
		}
		if p.noRoom(err) {
			p.w.trace.say("%d: %s: %v", p.n, o.name, err)
			return nil
		}
		if errors.Is(err, block.ErrUnavailable) { // no pod that has the bytes can be reached
			p.w.trace.say("%d: %s: %v", p.n, o.name, err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		return nil
	}
	return nil
}

// stackPlace is a name in the tree and what is there.
type stackPlace struct {
	parent vfs.NodeID
	name   string
	attr   vfs.Attr
}

// pick is a random place; of the root the name is empty.
func (p *stackPod) pick(ctx context.Context) (stackPlace, error) {
	a, err := p.fs.GetAttr(ctx, vfs.RootID)
	at := stackPlace{parent: vfs.RootID, attr: a}
	for range 1 + p.w.rng.IntN(4) {
		if err != nil || at.attr.Kind != vfs.KindFolder {
			break
		}
		var all []vfs.DirEntry
		if all, err = p.fs.ReadDir(ctx, at.attr.ID, "", 0); err != nil || len(all) == 0 {
			break
		}
		name := all[p.w.rng.IntN(len(all))].Name
		at = stackPlace{parent: at.attr.ID, name: name}
		at.attr, err = p.fs.Lookup(ctx, at.parent, name)
	}
	return at, err
}

// pickFile is a random file, if one is found soon.
func (p *stackPod) pickFile(ctx context.Context) (stackPlace, error) {
	for range 6 {
		at, err := p.pick(ctx)
		if err != nil || at.attr.Kind == vfs.KindFile {
			return at, err
		}
	}
	return stackPlace{}, fmt.Errorf("a file: %w", vfs.ErrNotExist)
}

func (p *stackPod) folder(ctx context.Context) (vfs.NodeID, error) {
	for range 4 {
		at, err := p.pick(ctx)
		if err != nil {
			return 0, err
		}
		if at.attr.Kind == vfs.KindFolder {
			return at.attr.ID, nil
		}
	}
	return vfs.RootID, nil
}

func (p *stackPod) name() string { return stackNames[p.w.rng.IntN(len(stackNames))] }

// read is what a file holds.
func (p *stackPod) read(ctx context.Context, id vfs.NodeID) (text string, err error) {
	f, err := p.fs.Open(ctx, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close(ctx)) }()
	a, err := p.fs.GetAttr(ctx, id)
	if err != nil {
		return "", err
	}
	b := make([]byte, a.Size)
	if n, err := f.ReadAt(ctx, b, 0); err != nil && !errors.Is(err, io.EOF) || n != len(b) {
		return "", fmt.Errorf("%d of %d bytes: %w", n, len(b), errors.Join(err, io.ErrUnexpectedEOF))
	}
	return string(b), nil
}

// same says whether a file is as it was before its text was read: that takes time, in which another pod's text may come.
func (p *stackPod) same(ctx context.Context, was vfs.Attr) (bool, error) {
	now, err := p.fs.GetAttr(ctx, was.ID)
	return now.Size == was.Size && now.Mtime == was.Mtime, err
}

// put writes a new text into a file, which is at a name, from the beginning, and makes it durable, or not.
func (p *stackPod) put(ctx context.Context, id vfs.NodeID, at spot) error {
	tag, size := p.text()
	f, err := p.fs.Open(ctx, id)
	if err != nil {
		return err
	}
	t := p.wrote(id, at, tag, size)
	_, err = f.WriteAt(ctx, stream(tag, size), 0)
	t.dropped = t.dropped || err != nil
	synced := p.w.rng.IntN(2) == 0
	if err == nil && synced {
		err = f.Sync(ctx)
	}
	ok := err == nil && synced && !p.disk.Failed()
	if err = errors.Join(err, f.Close(ctx)); err != nil {
		return err
	}
	t.durable = t.durable || ok
	p.w.trace.say("%d: %d holds %d bytes of %q, synced: %t", p.n, id, size, tag, ok)
	return nil
}

func (p *stackPod) create(ctx context.Context, parent vfs.NodeID, name string) (vfs.Attr, error) {
	a, err := p.fs.Create(ctx, parent, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		return a, err
	}
	p.w.trace.say("%d: create %d/%q = %d", p.n, parent, name, a.ID)
	return a, p.put(ctx, a.ID, spot{parent, name})
}

func (p *stackPod) opCreate(ctx context.Context) error {
	parent, err := p.folder(ctx)
	if err != nil {
		return err
	}
	_, err = p.create(ctx, parent, p.name())
	return err
}

func (p *stackPod) opMkdir(ctx context.Context) error {
	parent, err := p.folder(ctx)
	if err != nil {
		return err
	}
	name := p.name()
	_, err = p.fs.Create(ctx, parent, name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
	p.w.trace.say("%d: mkdir %d/%q", p.n, parent, name)
	return err
}

func (p *stackPod) opOverwrite(ctx context.Context) error {
	at, err := p.pickFile(ctx)
	if err != nil {
		return err
	}
	if err := p.changed(ctx, at.attr, false); err != nil {
		return err
	}
	size := uint64(0)
	if _, err := p.fs.SetAttr(ctx, at.attr.ID, vfs.SetAttr{Size: &size}); err != nil {
		return err
	}
	a, err := p.fs.Lookup(ctx, at.parent, at.name) // a conflict copy has become a file of its own
	if err != nil {
		return err
	}
	return p.put(ctx, a.ID, spot{at.parent, at.name})
}

// opAppend writes more of the stream of which the file has the beginning.
func (p *stackPod) opAppend(ctx context.Context) error {
	at, err := p.pickFile(ctx)
	if err != nil || at.attr.Size == 0 || at.attr.Size > streamMax {
		return err
	}
	text, err := p.read(ctx, at.attr.ID)
	if err != nil {
		return err
	}
	tag, size := tagOf(text), len(text)+1+p.w.rng.IntN(10_000)
	f, err := p.fs.Open(ctx, at.attr.ID)
	if err != nil {
		return err
	}
	if same, err := p.same(ctx, at.attr); err != nil || !same {
		return errors.Join(err, f.Close(ctx))
	}
	_, err = f.WriteAt(ctx, stream(tag, size)[len(text):], int64(len(text)))
	p.w.trace.say("%d: %d is grown to %d bytes of %q", p.n, at.attr.ID, size, tag)
	return errors.Join(err, f.Close(ctx))
}

func (p *stackPod) opTruncate(ctx context.Context) error {
	at, err := p.pickFile(ctx)
	if err != nil {
		return err
	}
	text, err := p.read(ctx, at.attr.ID)
	if err != nil || text == "" {
		return err
	}
	tag := tagOf(text)
	size := uint64(len(tag) + 1 + p.w.rng.IntN(len(text)-len(tag)))
	if same, err := p.same(ctx, at.attr); err != nil || !same {
		return err
	}
	if t := p.w.texts[tag]; t != nil {
		t.size = 0
	}
	_, err = p.fs.SetAttr(ctx, at.attr.ID, vfs.SetAttr{Size: &size})
	p.w.trace.say("%d: %d is cut to %d bytes of %q", p.n, at.attr.ID, size, tag)
	return err
}

func (p *stackPod) opSave(ctx context.Context) error {
	at, err := p.pickFile(ctx)
	if err != nil {
		return err
	}
	tmp := fmt.Sprintf(".tmp%d", p.w.count)
	a, err := p.create(ctx, at.parent, tmp)
	if err != nil {
		return err
	}
	return p.rename(ctx, stackPlace{parent: at.parent, name: tmp, attr: a}, at.parent, at.name)
}

func (p *stackPod) opRename(ctx context.Context) error {
	at, err := p.pick(ctx)
	if err != nil || at.name == "" {
		return err
	}
	parent, err := p.folder(ctx)
	if err != nil {
		return err
	}
	return p.rename(ctx, at, parent, p.name())
}

func (p *stackPod) rename(ctx context.Context, at stackPlace, parent vfs.NodeID, name string) error {
	dst, err := p.fs.Lookup(ctx, parent, name)
	if err == nil && dst.ID != at.attr.ID {
		err = p.changed(ctx, dst, true)
	}
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	p.taken(spot{parent, name})
	p.moved(at.attr.ID, spot{parent, name})
	p.w.trace.say("%d: rename %d/%q (%d) to %d/%q, over %d", p.n, at.parent, at.name, at.attr.ID, parent, name, dst.ID)
	return p.fs.Rename(ctx, at.parent, at.name, parent, name, 0)
}

func (p *stackPod) opRemove(ctx context.Context) error {
	at, err := p.pick(ctx)
	if err != nil || at.name == "" {
		return err
	}
	if err := p.changed(ctx, at.attr, true); err != nil {
		return err
	}
	p.taken(spot{at.parent, at.name})
	p.w.trace.say("%d: remove %d/%q (%d)", p.n, at.parent, at.name, at.attr.ID)
	return p.fs.Remove(ctx, at.parent, at.name, at.attr.Kind == vfs.KindFolder)
}

func (p *stackPod) opLink(ctx context.Context) error {
	at, err := p.pickFile(ctx)
	if err != nil {
		return err
	}
	parent, err := p.folder(ctx)
	if err != nil {
		return err
	}
	name := p.name()
	_, err = p.fs.Link(ctx, at.attr.ID, parent, name)
	p.w.trace.say("%d: link %d as %d/%q", p.n, at.attr.ID, parent, name)
	return err
}

func (p *stackPod) opSymlink(ctx context.Context) error {
	parent, err := p.folder(ctx)
	if err != nil {
		return err
	}
	name := p.name()
	_, err = p.fs.Create(ctx, parent, name, vfs.NewNode{Kind: vfs.KindSymlink, Target: strings.Repeat("target/", 1+p.w.rng.IntN(400))})
	p.w.trace.say("%d: symlink %d/%q", p.n, parent, name)
	return err
}

func (p *stackPod) opChmod(ctx context.Context) error {
	at, err := p.pick(ctx)
	if err != nil {
		return err
	}
	mode := p.w.rng.Uint32N(0o1000) | 0o700
	_, err = p.fs.SetAttr(ctx, at.attr.ID, vfs.SetAttr{Mode: &mode})
	p.w.trace.say("%d: chmod %d", p.n, at.attr.ID)
	return err
}

// opRead reads a file. Its bytes may be out of reach, but never wrong.
func (p *stackPod) opRead(ctx context.Context) error {
	at, err := p.pickFile(ctx)
	if err != nil {
		return err
	}
	text, err := p.read(ctx, at.attr.ID)
	if err == nil && text != "" && !isText(tagOf(text), text) {
		err = fmt.Errorf("file %d holds %d bytes that nobody wrote: %.60q", at.attr.ID, len(text), text)
	}
	return err
}

func (p *stackPod) opSync(ctx context.Context) error {
	if err := p.fs.SyncFS(ctx); err != nil || p.disk.Failed() {
		return err
	}
	p.acknowledged()
	p.w.trace.say("%d: sync", p.n)
	return nil
}

// walk is all that the pod shows: paths with what files hold and where symlinks point; of folders the path ends with a slash.
func (p *stackPod) walk(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	var folder func(id vfs.NodeID, at string, depth int) error
	folder = func(id vfs.NodeID, at string, depth int) error {
		if depth > depthMax {
			return fmt.Errorf("%q is too deep", at)
		}
		all, err := p.fs.ReadDir(ctx, id, "", 0)
		if err != nil {
			return err
		}
		for _, e := range all {
			a, err := p.fs.Lookup(ctx, id, e.Name)
			full := path.Join(at, e.Name)
			switch {
			case err != nil:
			case a.Kind == vfs.KindFolder:
				out[full+"/"] = ""
				err = folder(a.ID, full, depth+1)
			case a.Kind == vfs.KindFile:
				out[full], err = p.read(ctx, a.ID)
			}
			if err != nil {
				return fmt.Errorf("%q: %w", full, err)
			}
		}
		return nil
	}
	return out, folder(vfs.RootID, "/", 0)
}
