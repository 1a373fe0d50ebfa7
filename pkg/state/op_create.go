package state

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Create makes a node. Errors: vfs.ErrExist, ErrNotDir, ErrNotExist, ErrBadName, ErrNameTooLong, ErrInvalid, ErrReadOnly.
func (d *DB) Create(parent vfs.NodeID, name string, n vfs.NewNode, o CreateOptions) (Node, error) {
	return d.opNode(func(t *tx) (shown, error) {
		if err := t.free(parent, name); err != nil {
			return shown{}, err
		}
		if err := t.enter(parent); err != nil {
			return shown{}, err
		}
		if n.Kind == vfs.KindFolder {
			return t.mkdir(parent, name, n, o)
		}
		return t.mknod(parent, name, n, o)
	})
}

// opNode runs an operation and returns the node that it leaves.
func (d *DB) opNode(f func(t *tx) (shown, error)) (out Node, err error) {
	err = d.op(func(t *tx) error {
		s, err := f(t)
		if err != nil {
			return err
		}
		out, err = t.node(s)
		return err
	})
	return out, err
}

// free says whether a name may be taken. Errors: vfs.ErrExist and lookup's.
func (t *tx) free(parent Ino, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	rec, err := t.shownFolder(parent)
	if err == nil {
		err = t.notLost(parent)
	}
	if err != nil {
		return err
	}
	slots, err := t.slots(parent, name)
	if err != nil {
		return err
	}
	taken := len(slots) > 0
	if !taken && rec.irregular > 0 { // computed names
		switch _, err = t.lookup(parent, name); {
		case err == nil:
			taken = true
		case !errors.Is(err, vfs.ErrNotExist):
			return err
		}
	}
	if taken {
		return fmt.Errorf("%q in folder %d: %w", name, parent, vfs.ErrExist)
	}
	t.bare = place{parent, name}
	return nil
}

// enter prepares a folder for a change of its entries: one that was removed elsewhere, and is shown for what is
// in it, is made to live again, with those above it.
func (t *tx) enter(ino Ino) error {
	for {
		rec, err := t.shownFolder(ino)
		if err != nil || !rec.dead {
			return err
		}
		c, err := t.inode(ino)
		if err != nil {
			return err
		}
		n := c.update()
		n.Links[0].revive(t.ts)
		if err := t.putInode(ino, c, n); err != nil {
			return err
		}
		if ino = rec.parent; ino == RootIno {
			return nil
		}
		if above, err := t.folder(ino); err != nil || !above.shown() {
			return err
		}
	}
}

// revive makes a dead link live.
func (l *Link) revive(ts TS) {
	if l.Dead {
		l.Dead, l.DeadTS = false, ts
	}
}

// mknod makes anything but a folder.
func (t *tx) mknod(parent Ino, name string, nn vfs.NewNode, o CreateOptions) (shown, error) {
	n, err := t.newInode(parent, name, nn, o)
	if err != nil {
		return shown{}, err
	}
	ino, err := t.number()
	if err != nil {
		return shown{}, err
	}
	cur := &curInode{}
	if err := t.putInode(Ino(ino), cur, n); err != nil {
		return shown{}, err
	}
	return shown{name: name, ino: Ino(ino), f: cur.f}, t.originOf(Ino(ino), n, o)
}

// originOf notes where the contents of a new file came from.
func (t *tx) originOf(ino Ino, n *Inode, o CreateOptions) error {
	if o.Content == nil {
		return nil
	}
	return t.putOrigin(ino, o.Content.Origin, &n.Contents[0], n)
}

// newInode is an inode of anything but a folder, with one link, before it is written.
func (t *tx) newInode(parent Ino, name string, nn vfs.NewNode, o CreateOptions) (*Inode, error) {
	n := &Inode{
		Kind: nn.Kind, RDev: nn.RDev, Btime: t.now(),
		Mode:  Reg[uint32]{Value: nn.Mode & 0o7777, TS: t.ts},
		Owner: Reg[Owner]{Value: Owner{UID: nn.UID, GID: nn.GID}, TS: t.ts},
		Links: []Link{{Parent: parent, Name: name, TS: t.ts}},
	}
	c := Content{TS: t.ts, Mtime: n.Btime, MtimeTS: t.ts}
	switch nn.Kind {
	case vfs.KindFile:
		if o.Content != nil {
			if err := o.Content.check(); err != nil {
				return nil, err
			}
			t.gives = true
			c.Size, c.Body = o.Content.Size, slices.Clone(o.Content.Body)
			if o.Content.Mtime != 0 {
				c.Mtime = o.Content.Mtime
			}
			if err := t.dropJournal(o.Content.Folded); err != nil {
				return nil, err
			}
		}
	case vfs.KindSymlink:
		body, err := t.d.symlinkBody(nn.Target)
		if err != nil {
			return nil, err
		}
		c.Size, c.Body = uint64(len(nn.Target)), body
	case vfs.KindFIFO, vfs.KindSocket, vfs.KindCharDev, vfs.KindBlockDev:
	default:
		return nil, fmt.Errorf("kind %d: %w", nn.Kind, vfs.ErrInvalid)
	}
	if o.Content != nil && nn.Kind != vfs.KindFile {
		return nil, fmt.Errorf("contents of kind %d: %w", nn.Kind, vfs.ErrInvalid)
	}
	if o.Mtime != nil {
		c.Mtime = *o.Mtime
	}
	n.Contents = []Content{c}
	return n, t.setXattrs(n, o.Xattrs)
}

func (t *tx) now() int64 { return t.d.o.Clock.Now().UnixNano() }

func (t *tx) setXattrs(n *Inode, xattrs map[string][]byte) error {
	for name, value := range xattrs {
		if err := checkXattr(name, value); err != nil {
			return err
		}
		n.SetXattr(Xattr{Name: name, Value: slices.Clone(value), TS: t.ts})
	}
	return nil
}

// check says whether a body fits its size. Error: vfs.ErrInvalid.
func (c *NewContent) check() error {
	if len(c.Body) == 0 {
		if c.Size != 0 {
			return fmt.Errorf("%d bytes without a body: %w", c.Size, vfs.ErrInvalid)
		}
		return nil
	}
	b, err := dag.DecodeBody(c.Body)
	if err != nil || b.Size != c.Size || len(c.Body) > BodyMax {
		return fmt.Errorf("body of %d bytes in %d: %w", c.Size, len(c.Body), errors.Join(vfs.ErrInvalid, err))
	}
	return nil
}

// symlinkBody is the encoded body with a symlink's target. One that is too long for the body itself becomes a
// chunk, which BeforeCommit makes durable. opMu must be held.
func (d *DB) symlinkBody(target string) ([]byte, error) {
	switch {
	case target == "":
		return nil, fmt.Errorf("symlink to nothing: %w", vfs.ErrInvalid)
	case len(target) > vfs.TargetMax:
		return nil, fmt.Errorf("target of %d bytes: %w", len(target), vfs.ErrNameTooLong)
	case len(target) <= dag.InlineMax:
		return dag.InlineBody([]byte(target)).Encode(), nil
	}
	ctx := context.Background() // the store's memory takes it; nothing waits
	d.chunked = true
	id, err := d.o.PutChunk(ctx, []byte(target))
	if err != nil {
		return nil, fmt.Errorf("state: symlink's target: %w", err)
	}
	b, err := dag.BuildBody(ctx, d.o.Blocks, []dag.Entry{{Len: uint64(len(target)), ID: id}}, [32]byte{}, nil)
	if err != nil {
		return nil, fmt.Errorf("state: symlink's target: %w", err)
	}
	return b.Encode(), nil
}

// mkdir makes a folder under the number that its place gives, or makes a dead one of this very place live again.
func (t *tx) mkdir(parent Ino, name string, nn vfs.NewNode, o CreateOptions) (shown, error) {
	if o.Content != nil {
		return shown{}, fmt.Errorf("contents of a folder: %w", vfs.ErrIsDir)
	}
	for i := uint64(0); ; i++ {
		ino := DeriveFolderIno(t.d.o.Network, parent, name, i)
		c, err := t.inode(ino)
		if err != nil {
			return shown{}, err
		}
		var n *Inode
		if c.f == nil {
			// Not after the change itself: see removeFolder.
			n = &Inode{Kind: vfs.KindFolder, Btime: min(t.now(), t.ts.HLC.Time().UnixNano()), Links: []Link{{Parent: parent, Name: name}}}
		} else if n, err = t.deadHere(ino, c, parent, name); err != nil {
			return shown{}, err
		}
		if n == nil {
			continue
		}
		n.Mode = Reg[uint32]{Value: nn.Mode & 0o7777, TS: t.ts}
		n.Owner = Reg[Owner]{Value: Owner{UID: nn.UID, GID: nn.GID}, TS: t.ts}
		if o.Mtime != nil {
			n.SetFolderMtime(*o.Mtime, t.ts)
		}
		if err := t.setXattrs(n, o.Xattrs); err != nil {
			return shown{}, err
		}
		if err := t.putInode(ino, c, n); err != nil {
			return shown{}, err
		}
		return shown{name: name, ino: ino, f: c.f}, nil
	}
}

// deadHere is the live inode of a folder that died at this place, without what was set on it; nil if it is another or lives.
func (t *tx) deadHere(ino Ino, c *curInode, parent Ino, name string) (*Inode, error) {
	rec, err := t.folder(ino)
	if err != nil || !isFolder(c.f) || rec.shown() {
		return nil, err
	}
	if p, ok := placeOf(c.f); !ok || p.Parent != parent || p.Name != name {
		return nil, nil
	}
	n := c.update()
	n.Links[0].revive(t.ts)
	for i := range n.Xattrs {
		if !n.Xattrs[i].Gone {
			n.Xattrs[i] = Xattr{Name: n.Xattrs[i].Name, Gone: true, TS: t.ts}
		}
	}
	n.SetFolderMtime(t.now(), t.ts)
	n.SetAtime(t.now(), t.ts) // it is newer than the folder's number
	return n, t.removeWish(ino)
}
