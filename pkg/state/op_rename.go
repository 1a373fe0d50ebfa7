package state

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Link gives anything but a folder one more name. Errors: vfs.ErrExist, ErrNotPermitted (a folder), ErrNotExist, ErrNotDir,
// ErrTooManyLinks, ErrBadName, ErrNameTooLong, ErrReadOnly.
func (d *DB) Link(id, parent vfs.NodeID, name string) (Node, error) {
	return d.opNode(func(t *tx) (shown, error) {
		if err := t.free(parent, name); err != nil {
			return shown{}, err
		}
		s, err := t.byNumber(id)
		if err != nil {
			return shown{}, err
		}
		if s.f.Inode.Kind == vfs.KindFolder {
			return shown{}, fmt.Errorf("link to folder %d: %w", id, vfs.ErrNotPermitted)
		}
		if s, err = t.own(id); err != nil {
			return shown{}, err
		}
		if err := t.enter(parent); err != nil {
			return shown{}, err
		}
		c, err := t.inode(s.ino)
		if err != nil {
			return shown{}, err
		}
		number, err := t.number()
		if err != nil {
			return shown{}, err
		}
		n := c.update()
		for _, l := range c.f.Shown() { // a dead link that is shown would no longer be
			i := slices.IndexFunc(n.Links, func(o Link) bool { return o.ID == l.ID })
			n.Links[i].revive(t.ts)
		}
		n.Links = put(n.Links, Link{ID: number, Parent: parent, Name: name, TS: t.ts}, byLinkID)
		err = t.putInode(s.ino, c, n)
		return shown{name: name, ino: s.ino, link: number, f: c.f}, err
	})
}

// Rename moves an entry; what it replaces is returned as by Remove, with Ino 0 if there was nothing.
// Errors: as rename(2): vfs.ErrNotExist, ErrExist, ErrNotEmpty, ErrIsDir, ErrNotDir, ErrInvalid, ErrBadName, ErrNameTooLong, ErrReadOnly.
func (d *DB) Rename(parent vfs.NodeID, name string, newParent vfs.NodeID, newName string, f vfs.RenameFlag) (replaced Node, err error) {
	if f&^(vfs.RenameNoReplace|vfs.RenameExchange) != 0 || f == vfs.RenameNoReplace|vfs.RenameExchange {
		return Node{}, fmt.Errorf("state: rename with flags %d: %w", f, vfs.ErrInvalid)
	}
	err = d.op(func(t *tx) error {
		r := renaming{tx: t, parent: parent, newParent: newParent, newName: newName}
		if err := r.find(name, f); err != nil {
			return err
		}
		if r.src.ino == r.dst.ino && r.src.content == r.dst.content && r.dst.f != nil {
			return nil // the same file under both names: rename(2) does nothing
		}
		if err := errors.Join(t.enter(parent), t.enter(newParent)); err != nil {
			return err
		}
		if f&vfs.RenameExchange != 0 {
			return r.exchange()
		}
		replaced, err = r.move()
		return err
	})
	return replaced, err
}

// renaming is one rename.
type renaming struct {
	*tx

	parent    Ino
	newParent Ino
	newName   string
	src, dst  shown // dst.f is nil if the new name is free
}

// find looks both names up and checks what rename(2) checks.
func (r *renaming) find(name string, f vfs.RenameFlag) (err error) {
	if err := CheckName(r.newName); err != nil {
		return err
	}
	if r.src, err = r.lookup(r.parent, name); err != nil {
		return err
	}
	if err := errors.Join(r.notLost(r.src.ino), r.notLost(r.newParent)); err != nil {
		return err
	}
	r.dst, err = r.lookup(r.newParent, r.newName)
	if err == nil {
		err = r.notLost(r.dst.ino)
	}
	if errors.Is(err, vfs.ErrNotExist) {
		if _, err := r.shownFolder(r.newParent); err != nil || f&vfs.RenameExchange != 0 {
			return errors.Join(err, orNotExist(nil, r.newParent))
		}
		r.dst = shown{}
		return r.notInto(r.src, r.newParent)
	}
	switch {
	case err != nil:
		return err
	case f&vfs.RenameNoReplace != 0:
		return fmt.Errorf("%q in folder %d: %w", r.newName, r.newParent, vfs.ErrExist)
	case f&vfs.RenameExchange != 0:
		return errors.Join(r.notInto(r.src, r.newParent), r.notInto(r.dst, r.parent))
	}
	if err := r.notInto(r.src, r.newParent); err != nil {
		return err
	}
	switch src, dst := r.src.f.Inode.Kind == vfs.KindFolder, r.dst.f.Inode.Kind == vfs.KindFolder; {
	case src && !dst:
		return fmt.Errorf("%q in folder %d: %w", r.newName, r.newParent, vfs.ErrNotDir)
	case !src && dst:
		return fmt.Errorf("%q in folder %d: %w", r.newName, r.newParent, vfs.ErrIsDir)
	}
	return nil
}

// notInto refuses to move a folder into itself. Error: vfs.ErrInvalid.
func (r *renaming) notInto(s shown, folder Ino) error {
	if s.f.Inode.Kind != vfs.KindFolder {
		return nil
	}
	var up climb
	for folder != RootIno {
		if err := up.step(folder); err != nil {
			return err
		}
		if folder == s.ino {
			return fmt.Errorf("folder %d into itself: %w", s.ino, vfs.ErrInvalid)
		}
		rec, err := r.shownFolder(folder)
		if err != nil {
			return err
		}
		folder = rec.parent
	}
	return nil
}

// move moves to a free name, or over what is there.
func (r *renaming) move() (replaced Node, err error) {
	if err := r.promoteBoth(false); err != nil {
		return Node{}, err
	}
	var over *Over
	if r.dst.f != nil {
		if !r.dst.isCopy() && r.dst.f.Inode.Kind != vfs.KindFolder {
			over = r.over()
		}
		if replaced, err = r.remove(r.newParent, r.dst); err != nil {
			return Node{}, err
		}
		// What was removed may have had to do with the source: two links at one name.
		if r.src, err = r.lookup(r.parent, r.src.name); err != nil {
			return Node{}, err
		}
	}
	if err := r.clear(r.parent, r.src, false); err != nil { // what claims the old name too stays where it is shown
		return Node{}, err
	}
	if err := r.unloop(r.src, r.newParent); err != nil {
		return Node{}, err
	}
	return replaced, r.place(r.src, r.newParent, r.newName, over)
}

// over is what a link has to say of the one that it replaces.
func (r *renaming) over() *Over {
	i := slices.IndexFunc(r.dst.f.Inode.Links, func(l Link) bool { return l.ID == r.dst.link })
	l := &r.dst.f.Inode.Links[i]
	over := &Over{Ino: r.dst.ino, Since: l.TS, TS: r.ts}
	if l.Over != nil {
		over.Ino, over.Since = l.Over.Ino, l.Over.Since
	}
	return over
}

// promoteBoth makes a conflict copy that is moved a file of its own at its old name, before what it stands beside is looked at; dst: one at the new name, too.
func (r *renaming) promoteBoth(dst bool) (err error) {
	if r.src.isCopy() {
		if r.src, err = r.promote(r.src, r.parent, r.src.name); err != nil || r.dst.f == nil {
			return err
		}
		if r.dst, err = r.lookup(r.newParent, r.newName); err != nil {
			return err
		}
	}
	if dst && r.dst.isCopy() {
		r.dst, err = r.promote(r.dst, r.newParent, r.newName)
	}
	return err
}

// exchange swaps two entries.
func (r *renaming) exchange() (err error) {
	if err := r.promoteBoth(true); err != nil {
		return err
	}
	// What else claims one of the names stays where it is shown: it came before what comes there now, and would take the name.
	if err := errors.Join(r.clear(r.parent, r.src, false), r.clear(r.newParent, r.dst, false)); err != nil {
		return err
	}
	if err := errors.Join(r.unloop(r.src, r.newParent), r.unloop(r.dst, r.parent)); err != nil {
		return err
	}
	if err := r.place(r.src, r.newParent, r.newName, nil); err != nil {
		return err
	}
	return r.place(r.dst, r.parent, r.src.name, nil)
}

// unloop makes the place real of every folder above the destination that a loop displaces: else the move could
// close another loop in the rows, and be undone as the latest in it.
func (r *renaming) unloop(s shown, folder Ino) error {
	if s.f.Inode.Kind != vfs.KindFolder {
		return nil
	}
	displaced, err := r.displaced()
	if err != nil {
		return err
	}
	var up climb
	for len(displaced) > 0 && folder != RootIno {
		if err := up.step(folder); err != nil {
			return err
		}
		rec, err := r.shownFolder(folder)
		if err != nil {
			return err
		}
		if slices.Contains(displaced, folder) {
			if err := r.relink(shown{ino: folder}, rec.parent, rec.name); err != nil {
				return err
			}
		}
		folder = rec.parent
	}
	return nil
}
