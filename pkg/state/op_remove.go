package state

import (
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Remove removes a name: of an empty folder, or of anything else. It returns what stood there, with the links that are left: NLink 0
// says that it is gone, but for those who have it open. Errors: vfs.ErrNotExist, ErrNotDir, ErrIsDir, ErrNotEmpty, ErrReadOnly.
func (d *DB) Remove(parent vfs.NodeID, name string, folder bool) (out Node, err error) {
	err = d.op(func(t *tx) error {
		s, err := t.lookup(parent, name)
		if err != nil {
			return err
		}
		is := s.f.Inode.Kind == vfs.KindFolder
		switch {
		case folder && !is:
			return fmt.Errorf("%q in folder %d: %w", name, parent, vfs.ErrNotDir)
		case !folder && is:
			return fmt.Errorf("%q in folder %d: %w", name, parent, vfs.ErrIsDir)
		}
		if err := t.enter(parent); err != nil {
			return err
		}
		out, err = t.remove(parent, s)
		return err
	})
	return out, err
}

// remove removes what a name shows. Error: vfs.ErrNotEmpty.
func (t *tx) remove(parent Ino, s shown) (Node, error) {
	out, err := t.node(s)
	if err != nil {
		return Node{}, err
	}
	if s.isCopy() {
		out.NLink = 0
		return out, t.dropCopy(s)
	}
	if out.Kind == vfs.KindFolder {
		out.NLink = 0
		return out, t.removeFolder(parent, s)
	}
	if err := t.clear(parent, s, s.f.shownCount() == 1); err != nil {
		return Node{}, err
	}
	return t.unlink(s)
}

// unlink takes a link from its place, and its inode with the last one. What else claims the name is not looked at.
func (t *tx) unlink(s shown) (Node, error) {
	c, err := t.inode(s.ino)
	if err != nil {
		return Node{}, err
	}
	out, err := t.node(shown{ino: s.ino, link: s.link, f: c.f})
	if err != nil {
		return Node{}, err
	}
	out.NLink--
	if c.f.shownCount() == 1 {
		if err := t.removeWish(s.ino); err != nil {
			return Node{}, err
		}
		return out, t.putInode(s.ino, c, nil)
	}
	n := c.update()
	i := slices.IndexFunc(n.Links, func(l Link) bool { return l.ID == s.link })
	n.Links[i].Dead, n.Links[i].DeadTS = true, t.ts
	return out, t.putInode(s.ino, c, n)
}

// removeFolder marks an empty folder dead; its row stays. One that nobody heard of leaves nothing behind if nothing was ever in it: else there
// may be rows that name it, dead ones or such as a loop takes back to it, and what they show would be nowhere.
func (t *tx) removeFolder(parent Ino, s shown) error {
	if err := t.clear(parent, s, false); err != nil {
		return err
	}
	return t.removeEmpty(s)
}

// removeEmpty is removeFolder without a look at what else claims the name.
func (t *tx) removeEmpty(s shown) error {
	rec, err := t.folder(s.ino)
	if err != nil {
		return err
	}
	if rec.entries > 0 {
		return fmt.Errorf("folder %d: %w", s.ino, vfs.ErrNotEmpty)
	}
	c, err := t.inode(s.ino)
	if err != nil {
		return err
	}
	used := rec.changed > HLCOf(unixNano(c.f.Inode.Btime)) // an entry came or went
	if len(c.observed()) == 0 && !used {
		if err := t.removeWish(s.ino); err != nil {
			return err
		}
		return t.putInode(s.ino, c, nil)
	}
	n := c.update()
	n.Links[0].Dead, n.Links[0].DeadTS = true, t.ts
	return t.putInode(s.ino, c, n)
}
