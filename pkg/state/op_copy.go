package state

import "slices"

// own is what stands under a number; a conflict copy is made an inode of its own first.
func (t *tx) own(id Ino) (shown, error) {
	s, err := t.byNumber(id)
	if err != nil || !s.isCopy() {
		return s, err
	}
	parent, name, err := t.where(s)
	if err != nil {
		return shown{}, err
	}
	if err := t.enter(parent); err != nil {
		return shown{}, err
	}
	return t.promote(s, parent, name)
}

// promote makes a conflict copy a file of its own at the name where it is shown, and takes it from where it was.
func (t *tx) promote(s shown, parent Ino, name string) (shown, error) {
	out, err := t.copyOut(s, parent, name)
	if err != nil {
		return shown{}, err
	}
	return out, t.dropCopy(s)
}

// copyOut makes a file with a copy's contents.
func (t *tx) copyOut(s shown, parent Ino, name string) (shown, error) {
	number, err := t.number()
	if err != nil {
		return shown{}, err
	}
	from := s.f.Inode
	content := from.Contents[s.content]
	content.Dot, content.K = Dot{}, 0
	n := &Inode{
		Kind: from.Kind, RDev: from.RDev, Btime: from.Btime, Mode: from.Mode, Owner: from.Owner,
		Xattrs: slices.Clone(from.Xattrs), Ext: slices.Clone(from.Ext),
		Links:    []Link{{Parent: parent, Name: name, TS: t.ts}},
		Contents: []Content{content},
	}
	c := &curInode{}
	if err := t.putInode(Ino(number), c, n); err != nil {
		return shown{}, err
	}
	t.renumber(CopyIno(s.ino, from.Contents[s.content].Name()), Ino(number))
	return shown{name: name, ino: Ino(number), f: c.f}, nil
}

// dropCopy takes a conflict copy's content out of its inode.
func (t *tx) dropCopy(s shown) error {
	c, err := t.inode(s.ino)
	if err != nil {
		return err
	}
	n := c.update()
	n.DropContent(s.f.Inode.Contents[s.content].Name(), bodyKey)
	return t.putInode(s.ino, c, n)
}

// clear makes what else claims a name, or is shown beside it, stand where it is shown, before s, which has the name, goes: nothing
// takes the name after it, and copies outlive it. Of a last link also those copies go on that stand beside a computed name.
func (t *tx) clear(parent Ino, s shown, last bool) error {
	all, err := t.contested(parent)
	if err != nil {
		return err
	}
	for _, o := range all {
		switch {
		case o.ino == s.ino && o.isCopy():
			if !last {
				continue
			}
			if _, err := t.copyOut(o, parent, o.name); err != nil {
				return err
			}
		case o.claimed != s.name || s.claimed != s.name && s.claimed != "":
		case o.isCopy(): // of another file, whose other names it would follow
			if _, err := t.promote(o, parent, o.name); err != nil {
				return err
			}
		case o.ino != s.ino || o.link != s.link:
			if err := t.relink(o, parent, o.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// relink gives a link a place; what it replaced is forgotten.
func (t *tx) relink(s shown, parent Ino, name string) error {
	return t.place(s, parent, name, nil)
}

// place moves a link to a place, and makes it live. Folders that a loop displaces stay where they are shown, also if the move opens the loop: else one
// that was undone long ago would come over them now.
func (t *tx) place(s shown, parent Ino, name string, over *Over) error {
	displaced, err := t.shownDisplaced(s)
	if err != nil {
		return err
	}
	if err := t.putPlace(s, parent, name, over); err != nil {
		return err
	}
	for range len(displaced) { // one that is put back may move another
		for _, ino := range sortedKeys(displaced) {
			rec, err := t.folder(ino)
			if err != nil {
				return err
			}
			was := displaced[ino]
			if rec.parent == was.Parent && rec.name == was.Name {
				continue
			}
			if err := t.putPlace(shown{ino: ino}, was.Parent, was.Name, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// shownDisplaced is where the folders are shown that a loop displaces, if s is a folder: but for s itself.
func (t *tx) shownDisplaced(s shown) (map[Ino]FolderPlace, error) {
	if !IsDerived(s.ino) {
		return nil, nil
	}
	all, err := t.displaced()
	if err != nil {
		return nil, err
	}
	out := map[Ino]FolderPlace{}
	for _, ino := range all {
		rec, err := t.folder(ino)
		if err != nil {
			return nil, err
		}
		if ino != s.ino && rec.shown() {
			out[ino] = FolderPlace{Parent: rec.parent, Name: rec.name}
		}
	}
	return out, nil
}

// putPlace is place for the one link alone.
func (t *tx) putPlace(s shown, parent Ino, name string, over *Over) error {
	c, err := t.inode(s.ino)
	if err != nil {
		return err
	}
	n := c.update()
	i := slices.IndexFunc(n.Links, func(l Link) bool { return l.ID == s.link })
	l := &n.Links[i]
	l.PrevParent, l.PrevName = l.Parent, l.Name
	if isFolder(c.f) {
		rec, err := t.folder(s.ino) // where it is shown, if a loop displaces it
		if err != nil {
			return err
		}
		l.PrevParent, l.PrevName = rec.parent, rec.name
	}
	l.Parent, l.Name, l.TS, l.Over = parent, name, t.ts, over
	l.revive(t.ts)
	return t.putInode(s.ino, c, n)
}
