package state

import (
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// KeepAll is what Resolve is given to keep all versions, each under the name where it is shown.
const KeepAll = "both"

// Resolve ends the conflict of a kind at a name: the version with the ID keep stays, the others go; with KeepAll all stay, and are
// files of their own. It returns files that have no name any more, with NLink 0.
//
// Of ConflictDeleted the versions are that the file is there or not, of ConflictRenamed its places: one that lost is taken if the name is free there.
// Errors: vfs.ErrNotExist (no such conflict or version), ErrNotEmpty (a folder that is not empty would go), ErrExist, ErrReadOnly.
func (d *DB) Resolve(parent vfs.NodeID, name string, kind ConflictKind, keep string) (gone []Node, err error) {
	err = d.op(func(t *tx) error {
		s, err := t.lookup(parent, name)
		if err != nil {
			return err
		}
		all, err := t.conflictsOf(parent, s)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(c Conflict) bool { return c.Kind == kind })
		if i < 0 {
			return fmt.Errorf("conflict at %q in folder %d: %w", name, parent, vfs.ErrNotExist)
		}
		c := &all[i]
		var kept *ConflictVersion
		if keep != KeepAll {
			if kept, err = c.Find(keep); err != nil {
				return err
			}
		}
		at, atName := parent, name
		if kind == ConflictRenamed { // of one of its names, which may be another
			at, atName = c.Parent, c.Name
			if s, err = t.lookup(at, atName); err != nil {
				return err
			}
		}
		if err := t.enter(at); err != nil {
			return err
		}
		if kind != ConflictContents {
			gone, err = t.resolveApart(at, atName, s, kept)
			return err
		}
		if kept == nil {
			return t.keepAll(parent, c.Name)
		}
		gone, err = t.keepOne(parent, c.Name, kept.ID)
		return err
	})
	return gone, err
}

// keepAll makes each version that has a computed name a file of its own there.
func (t *tx) keepAll(parent Ino, name string) error {
	all, err := t.contested(parent)
	if err != nil {
		return err
	}
	for _, s := range claimants(name, all)[1:] {
		if s.isCopy() {
			_, err = t.promote(s, parent, s.name)
		} else {
			err = t.relink(s, parent, s.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keepOne takes all versions but one from a name.
func (t *tx) keepOne(parent Ino, name, id string) (gone []Node, err error) {
	all, err := t.contested(parent)
	if err != nil {
		return nil, err
	}
	versions := claimants(name, all)
	kept := versions[slices.IndexFunc(versions, func(s shown) bool { return s.versionID() == id })]
	// Contents first: which of them an inode has must not change what is removed after.
	for _, s := range versions {
		if s.ino != kept.ino && s.isCopy() {
			if err := t.dropCopy(s); err != nil {
				return nil, err
			}
		}
	}
	if slices.ContainsFunc(versions, func(s shown) bool { return s.ino == kept.ino && s.isCopy() }) {
		if err := t.keepContent(kept); err != nil {
			return nil, err
		}
	} // else its copies stand beside another name of it, and nobody was asked about those
	for _, s := range versions {
		if s.isCopy() || s.ino == kept.ino && s.link == kept.link {
			continue
		}
		if s.f.Inode.Kind == vfs.KindFolder {
			n, err := t.node(s)
			if err != nil {
				return nil, err
			}
			if err := t.removeEmpty(s); err != nil {
				return nil, err
			}
			n.NLink = 0
			gone = append(gone, n)
			continue
		}
		n, err := t.unlink(s)
		if err != nil {
			return nil, err
		}
		gone = append(gone, n)
	}
	return gone, nil
}

// keepContent makes what s shows the only content of its inode.
func (t *tx) keepContent(s shown) error {
	if len(s.f.Inode.Contents) < 2 {
		return nil
	}
	c, err := t.inode(s.ino)
	if err != nil {
		return err
	}
	n := c.update()
	n.Contents = []Content{s.f.Inode.Contents[s.content]}
	return t.putInode(s.ino, c, n)
}

// resolveApart keeps one of the two versions of a conflict that a mark told of; nil: what is shown.
func (t *tx) resolveApart(parent Ino, name string, s shown, kept *ConflictVersion) ([]Node, error) {
	switch {
	case kept == nil || !kept.Gone && kept.Parent == parent && kept.Name == name:
		return nil, t.touch(s)
	case kept.Gone:
		n, err := t.remove(parent, s)
		return []Node{n}, err
	}
	if err := t.free(kept.Parent, kept.Name); err != nil {
		return nil, err
	}
	if err := t.enter(kept.Parent); err != nil {
		return nil, err
	}
	r := renaming{tx: t, parent: parent, newParent: kept.Parent, newName: kept.Name, src: s}
	if err := r.notInto(s, kept.Parent); err != nil {
		return nil, err
	}
	_, err := r.move()
	return nil, err
}

// touch writes an inode as it is, by one who has seen all of its history; names that are shown though they were removed live again.
func (t *tx) touch(s shown) error {
	c, err := t.inode(s.ino)
	if err != nil {
		return err
	}
	n := c.update()
	for _, l := range c.f.Shown() {
		i := slices.IndexFunc(n.Links, func(o Link) bool { return o.ID == l.ID })
		n.Links[i].revive(t.ts)
	}
	return t.putInode(s.ino, c, n)
}
