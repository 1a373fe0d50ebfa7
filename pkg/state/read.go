package state

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// read runs f on the state of one moment.
func (d *DB) read(f func(v view) error) error {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return vfs.ErrClosed
	}
	version, dirty := d.version.Load(), d.isDirty.Load()
	s := d.db.NewSnapshot()
	defer func() { _ = s.Close() }() // it only reads
	// No change became visible since it was asked whether there are uncommitted rows: there are none in the snapshot.
	clean := !dirty && version%2 == 0 && d.version.Load() == version
	return f(view{d: d, r: s, version: version, clean: clean})
}

// readAs is read with a result.
func readAs[T any](d *DB, f func(v view) (T, error)) (out T, err error) {
	err = d.read(func(v view) error {
		out, err = f(v)
		return err
	})
	return out, err
}

// Get is the node with a number. Error: vfs.ErrNotExist.
func (d *DB) Get(id vfs.NodeID) (Node, error) {
	k, err := d.known(id)
	return k.node, err
}

// Lookup is the node at a name of a folder. Errors: vfs.ErrNotExist, vfs.ErrNotDir.
func (d *DB) Lookup(parent vfs.NodeID, name string) (Node, error) {
	return readAs(d, func(v view) (Node, error) {
		s, err := v.lookup(parent, name)
		if err != nil {
			return Node{}, err
		}
		return v.node(s)
	})
}

// List is at most limit entries of a folder whose names come after a name, sorted; limit 0: all.
// Errors: vfs.ErrNotExist, vfs.ErrNotDir.
func (d *DB) List(parent vfs.NodeID, after string, limit int) ([]Entry, error) {
	return readAs(d, func(v view) ([]Entry, error) {
		all, err := v.list(parent, after, limit)
		if err != nil {
			return nil, err
		}
		out, nodes := make([]Entry, len(all)), make([]known, len(all))
		for i, s := range all {
			if nodes[i], err = v.known(s); err != nil {
				return nil, err
			}
			out[i] = Entry{Name: s.name, Node: nodes[i].node}
		}
		d.recent.put(v.version, nodes...)
		return out, nil
	})
}

// Names is List of the names alone, which costs a part of it: the rows of the entries are not read.
func (d *DB) Names(parent vfs.NodeID, after string, limit int) ([]string, error) {
	return readAs(d, func(v view) ([]string, error) { return v.names(parent, after, limit) })
}

// Parent is the folder that a folder is in; the root's is the root. Errors: vfs.ErrNotExist, vfs.ErrNotDir.
func (d *DB) Parent(folder vfs.NodeID) (vfs.NodeID, error) {
	if folder == RootIno {
		return RootIno, nil
	}
	return readAs(d, func(v view) (vfs.NodeID, error) {
		rec, err := v.shownFolder(folder)
		if err != nil {
			return 0, err
		}
		return rec.parent, nil
	})
}

// Path is the path of a node from the root, "/" for it; of a file with several links, one of them. Error: vfs.ErrNotExist.
func (d *DB) Path(id vfs.NodeID) (string, error) {
	return readAs(d, func(v view) (string, error) {
		s, err := v.byNumber(id)
		if err != nil {
			return "", err
		}
		var names []string
		var up climb
		for s.ino != RootIno {
			if err := up.step(s.ino); err != nil {
				return "", err
			}
			parent, name, err := v.where(s)
			if err != nil {
				return "", err
			}
			names = append(names, name)
			s = shown{ino: parent, f: rootFolded()} // of a folder only the number counts
		}
		slices.Reverse(names)
		return "/" + strings.Join(names, "/"), nil
	})
}

// where is a folder and a name that show s: those of its link, or of the first one if that is not shown.
func (v view) where(s shown) (parent Ino, name string, err error) {
	if s.f.Inode.Kind == vfs.KindFolder {
		rec, err := v.shownFolder(s.ino)
		if err != nil {
			return 0, "", err
		}
		parent, name = rec.parent, rec.name
	} else {
		links := s.f.Shown()
		if len(links) == 0 {
			return 0, "", orNotExist(nil, s.ino)
		}
		l := &links[0] // copies stand beside the first one alone
		if i := slices.IndexFunc(links, func(o Link) bool { return o.ID == s.link }); i > 0 && !s.isCopy() {
			l = &links[i]
		}
		parent, name, s.link = l.Parent, l.Name, l.ID
	}
	if rec, err := v.folder(parent); err != nil || !rec.exists && !rec.lost() {
		return 0, "", orNotExist(err, parent)
	}
	slots, err := v.slots(parent, name)
	if err != nil || !irregularSlots(slots) {
		return parent, name, err
	}
	all, err := v.contested(parent)
	if err != nil {
		return 0, "", err
	}
	for _, c := range all {
		if c.ino == s.ino && c.link == s.link && c.content == s.content {
			return parent, c.name, nil
		}
	}
	return 0, "", fmt.Errorf("node %d has no name: %w", s.ino, vfs.ErrNotExist)
}

// Xattr is the value of an extended attribute; the caller owns it. Errors: vfs.ErrNoXattr, vfs.ErrNotExist.
func (d *DB) Xattr(id vfs.NodeID, name string) ([]byte, error) {
	k, err := d.known(id)
	if err != nil {
		return nil, err
	}
	if x := findXattr(k.xattrs, name); x != nil {
		return append([]byte{}, x.Value...), nil
	}
	return nil, fmt.Errorf("%q of node %d: %w", name, id, vfs.ErrNoXattr)
}

// Xattrs are the names of the extended attributes, sorted. Error: vfs.ErrNotExist.
func (d *DB) Xattrs(id vfs.NodeID) ([]string, error) {
	k, err := d.known(id)
	var names []string
	for i := range k.xattrs {
		if x := &k.xattrs[i]; !x.Gone {
			names = append(names, x.Name)
		}
	}
	return names, err
}

// xattr is an extended attribute that is there, or nil.
func (n *Inode) xattr(name string) *Xattr { return findXattr(n.Xattrs, name) }

func findXattr(list []Xattr, name string) *Xattr {
	i, ok := slices.BinarySearchFunc(list, name, func(x Xattr, name string) int { return strings.Compare(x.Name, name) })
	if !ok || list[i].Gone {
		return nil
	}
	return &list[i]
}
