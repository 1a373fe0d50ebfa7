package state

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// edit changes the inode of a node. A conflict copy is first made an inode of its own at its shown name: the node that comes back has another number then.
func (d *DB) edit(id Ino, change func(t *tx, s *shown, n *Inode) error) (Node, error) {
	return d.opNode(func(t *tx) (shown, error) {
		s, err := t.own(id)
		if err != nil {
			return shown{}, err
		}
		c, err := t.inode(s.ino)
		if err != nil {
			return shown{}, err
		}
		if err := t.notLost(s.ino); err != nil {
			return shown{}, err
		}
		if c.f == nil {
			c.f = rootFolded() // own found it: it can only be the root
		}
		n := c.update()
		if err := change(t, &s, n); err != nil {
			return shown{}, err
		}
		if err := t.putInode(s.ino, c, n); err != nil {
			return shown{}, err
		}
		s.f = c.f
		return s, nil
	})
}

// SetAttr sets attributes, all but the size, and returns the node with them. A conflict copy becomes a file of its
// own at its shown name, with another number. Errors: vfs.ErrNotExist, ErrInvalid, ErrReadOnly.
func (d *DB) SetAttr(id vfs.NodeID, set vfs.SetAttr) (Node, error) {
	if set.Size != nil {
		return Node{}, fmt.Errorf("state: size is set by contents: %w", vfs.ErrInvalid)
	}
	return d.edit(id, func(t *tx, _ *shown, n *Inode) error {
		if set.Mode != nil {
			n.Mode = Reg[uint32]{Value: *set.Mode & 0o7777, TS: t.ts}
		}
		if set.UID != nil || set.GID != nil {
			o := n.Owner.Value
			if set.UID != nil {
				o.UID = *set.UID
			}
			if set.GID != nil {
				o.GID = *set.GID
			}
			n.Owner = Reg[Owner]{Value: o, TS: t.ts}
		}
		if set.Atime != nil {
			n.SetAtime(*set.Atime, t.ts)
		}
		switch {
		case set.Mtime == nil:
		case n.Kind == vfs.KindFolder:
			n.SetFolderMtime(*set.Mtime, t.ts)
		case len(n.Contents) > 0:
			n.Contents[0].Mtime, n.Contents[0].MtimeTS = *set.Mtime, t.ts
		}
		return nil
	})
}

// SetContent sets what a file holds; its conflict copies stay, and so does what NewContent.Over does not name. Errors: vfs.ErrNotExist, ErrIsDir, ErrInvalid, ErrReadOnly.
func (d *DB) SetContent(id vfs.NodeID, c NewContent) (Node, error) {
	if err := c.check(); err != nil {
		return Node{}, err
	}
	return d.edit(id, func(t *tx, s *shown, n *Inode) error {
		switch n.Kind {
		case vfs.KindFile:
		case vfs.KindFolder:
			return fmt.Errorf("contents of folder %d: %w", id, vfs.ErrIsDir)
		default:
			return fmt.Errorf("contents of node %d: %w", id, vfs.ErrInvalid)
		}
		t.gives = true
		mtime := c.Mtime
		if mtime == 0 {
			mtime = t.now()
		}
		next := Content{TS: t.ts, Size: c.Size, Mtime: mtime, MtimeTS: t.ts, Body: slices.Clone(c.Body)}
		if c.Over == nil || s.ino != id { // a copy that became a file of its own has one content
			n.SetShown(next, bodyKey)
		} else {
			n.SetOver(next, d.forks.listed(*c.Over, n.Contents), d.self, bodyKey)
		}
		if err := t.dropJournal(c.Folded); err != nil {
			return err
		}
		return t.putOrigin(s.ino, c.Origin, &next, n)
	})
}

func checkXattr(name string, value []byte) error {
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return fmt.Errorf("extended attribute %q: %w", name, vfs.ErrInvalid)
	case len(name) > vfs.XattrNameMax:
		return fmt.Errorf("extended attribute's name of %d bytes: %w", len(name), vfs.ErrNameTooLong)
	case len(value) > vfs.XattrMax:
		return fmt.Errorf("extended attribute of %d bytes: %w", len(value), vfs.ErrTooLarge)
	}
	return nil
}

// SetXattr sets an extended attribute. Errors: vfs.ErrExist, ErrNoXattr, ErrInvalid, ErrNoSpace (all of them are too large), ErrNotExist, ErrReadOnly.
func (d *DB) SetXattr(id vfs.NodeID, name string, value []byte, f vfs.XattrFlag) (Node, error) {
	if err := checkXattr(name, value); err != nil {
		return Node{}, err
	}
	return d.edit(id, func(t *tx, _ *shown, n *Inode) error {
		switch there := n.xattr(name) != nil; {
		case there && f&vfs.XattrCreate != 0:
			return fmt.Errorf("%q of node %d: %w", name, id, vfs.ErrExist)
		case !there && f&vfs.XattrReplace != 0:
			return fmt.Errorf("%q of node %d: %w", name, id, vfs.ErrNoXattr)
		}
		n.SetXattr(Xattr{Name: name, Value: slices.Clone(value), TS: t.ts})
		return nil
	})
}

// RemoveXattr removes an extended attribute. Errors: vfs.ErrNoXattr, ErrNotExist, ErrReadOnly.
func (d *DB) RemoveXattr(id vfs.NodeID, name string) (Node, error) {
	return d.edit(id, func(t *tx, _ *shown, n *Inode) error {
		if n.xattr(name) == nil {
			return fmt.Errorf("%q of node %d: %w", name, id, vfs.ErrNoXattr)
		}
		n.SetXattr(Xattr{Name: name, Gone: true, TS: t.ts})
		return nil
	})
}
