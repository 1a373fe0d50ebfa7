package state

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// ConflictKind says what was done apart that a person should look at.
type ConflictKind uint8

// The kinds of conflicts. Their numbers are stored.
const (
	ConflictContents ConflictKind = 1 // several contents, or several files, claim one name
	ConflictDeleted  ConflictKind = 2 // changed on one side, deleted on the other: it stayed
	ConflictRenamed  ConflictKind = 3 // renamed on both sides: the later place counts
)

// Conflict is what pods did apart at one name, and what stands there now.
type Conflict struct {
	Kind     ConflictKind
	Parent   Ino
	Name     string            // what is shown there is the first version
	Versions []ConflictVersion // two at least
}

// ConflictVersion is one side of a conflict.
type ConflictVersion struct {
	ID     string // 8 hexadecimal digits, the same on every pod; a computed name has the first four
	Author ident.Actor
	HLC    HLC // when
	// Parent and Name are where it is shown; of a place that lost (ConflictRenamed), that place.
	Parent Ino
	Name   string
	Node   Node // what is kept with this version; zero if Gone
	Gone   bool // this version is that the file is deleted (ConflictDeleted)
}

// versionID names what an entry of the view shows, as hash16 does.
func versionID(ino Ino, link uint64, c ContentName) string {
	sum := hashVersion(ino, link, c)
	return hex.EncodeToString(sum[:4])
}

// Conflicts are all conflicts that the view has, sorted by folder and name within each kind. It costs what they are, not what the tree is.
func (d *DB) Conflicts(ctx context.Context) ([]Conflict, error) {
	var stale []apartMark
	out, err := readAs(d, func(v view) ([]Conflict, error) {
		out, err := v.contentConflicts(ctx)
		if err != nil {
			return nil, err
		}
		marks, err := v.apartMarks()
		if err != nil {
			return nil, err
		}
		for _, m := range marks {
			c, ok, err := v.apartConflict(m)
			switch {
			case err != nil:
				return nil, err
			case ok:
				out = append(out, c)
			default:
				stale = append(stale, m)
			}
		}
		return out, ctx.Err()
	})
	if err == nil {
		err = d.forgetApart(stale)
	}
	return out, err
}

// contentConflicts are those of ConflictContents.
func (v view) contentConflicts(ctx context.Context) ([]Conflict, error) {
	var parents []Ino
	err := scanPrefix(v.r, []byte{keyIrregular}, func(key, _ []byte) error {
		ino, _, err := splitNameKey(key)
		if n := len(parents); n == 0 || parents[n-1] != ino {
			parents = append(parents, ino)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []Conflict
	for _, parent := range parents {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if rec, err := v.folder(parent); err != nil || !rec.shown() {
			if err != nil {
				return nil, err
			}
			continue
		}
		all, err := v.contested(parent)
		if err != nil {
			return nil, err
		}
		names := map[string]bool{}
		for i := range all {
			if name := all[i].claimed; !names[name] {
				names[name] = true
				c, ok, err := v.contentConflict(parent, name, all)
				if err != nil {
					return nil, err
				}
				if ok {
					out = append(out, c)
				}
			}
		}
	}
	return out, nil
}

// contentConflict is the conflict at a name, of all that is contested in the folder.
func (v view) contentConflict(parent Ino, name string, all []shown) (Conflict, bool, error) {
	c := Conflict{Kind: ConflictContents, Parent: parent, Name: name}
	for _, s := range claimants(name, all) {
		one, err := v.conflictVersion(parent, s)
		if err != nil {
			return c, false, err
		}
		c.Versions = append(c.Versions, one)
	}
	return c, len(c.Versions) > 1, nil
}

// claimants are what claims a name, and the copies beside it: what has the name first, then by the shown name.
func claimants(name string, all []shown) []shown {
	var out []shown
	for _, s := range all {
		switch {
		case s.claimed != name:
		case s.name == name:
			out = slices.Insert(out, 0, s)
		default:
			out = append(out, s)
		}
	}
	return out
}

func (v view) conflictVersion(parent Ino, s shown) (ConflictVersion, error) {
	n, err := v.node(s)
	if err != nil {
		return ConflictVersion{}, err
	}
	at := s.since()
	return ConflictVersion{ID: s.versionID(), Author: at.Actor, HLC: at.HLC, Parent: parent, Name: s.name, Node: n}, nil
}

// versionID names the version that s shows.
func (s *shown) versionID() string {
	var content ContentName
	if s.isCopy() {
		content = s.f.Inode.Contents[s.content].Name()
	}
	return versionID(s.ino, s.link, content)
}

// since is the stamp of what s shows: of its content; of a folder or what has none, of its link, or its mode.
func (s *shown) since() TS {
	n := s.f.Inode
	if s.content < len(n.Contents) {
		return n.Contents[s.content].TS
	}
	for i := range n.Links {
		if l := &n.Links[i]; l.ID == s.link && !l.TS.IsZero() {
			return l.TS
		}
	}
	return n.Mode.TS
}

// ConflictsAt are the conflicts at a name of a folder. Error: vfs.ErrNotExist if nothing is shown there.
func (d *DB) ConflictsAt(parent vfs.NodeID, name string) ([]Conflict, error) {
	return readAs(d, func(v view) ([]Conflict, error) {
		s, err := v.lookup(parent, name)
		if err != nil {
			return nil, err
		}
		return v.conflictsOf(parent, s)
	})
}

// conflictsOf are the conflicts in which s, shown in a folder, takes part.
func (v view) conflictsOf(parent Ino, s shown) ([]Conflict, error) {
	var out []Conflict
	if s.claimed != "" || v.irregularName(parent, s.name) {
		all, err := v.contested(parent)
		if err != nil {
			return nil, err
		}
		i, found := slices.BinarySearchFunc(all, s.name, byShownName)
		if found {
			c, ok, err := v.contentConflict(parent, all[i].claimed, all)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, c)
			}
		}
	}
	for _, kind := range []ConflictKind{ConflictDeleted, ConflictRenamed} {
		m, ok, err := v.apartMark(s.ino, kind)
		if err != nil || !ok {
			if err != nil {
				return nil, err
			}
			continue
		}
		c, ok, err := v.apartConflict(m)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, c)
		}
	}
	return out, nil
}

func (v view) irregularName(parent Ino, name string) bool {
	b, err := get(v.r, nameKey(keyIrregular, parent, name))
	return err == nil && b != nil
}

// InConflict says in which ways what is shown under a number is in conflict; nil: in none. Error: vfs.ErrNotExist.
func (d *DB) InConflict(id vfs.NodeID) ([]Conflict, error) {
	return readAs(d, func(v view) ([]Conflict, error) {
		s, err := v.byNumber(id)
		if err != nil || s.ino == RootIno {
			return nil, err
		}
		parent, name, err := v.where(s)
		if err != nil {
			return nil, err
		}
		if s, err = v.lookup(parent, name); err != nil {
			return nil, err
		}
		return v.conflictsOf(parent, s)
	})
}

// Find is the version with an ID, or the only one whose ID begins so. Errors: vfs.ErrNotExist, vfs.ErrInvalid (several begin so).
func (c *Conflict) Find(id string) (*ConflictVersion, error) {
	var found *ConflictVersion
	for i := range c.Versions {
		if id != "" && strings.HasPrefix(c.Versions[i].ID, strings.ToLower(id)) {
			if found != nil {
				return nil, fmt.Errorf("version %s of %q: there are several: %w", id, c.Name, vfs.ErrInvalid)
			}
			found = &c.Versions[i]
		}
	}
	if found == nil {
		return nil, fmt.Errorf("version %s of %q: %w", id, c.Name, vfs.ErrNotExist)
	}
	return found, nil
}

// apartConflict is the conflict that a mark tells of, unless it is over.
func (v view) apartConflict(m apartMark) (c Conflict, ok bool, err error) {
	cur, err := v.inode(m.ino)
	if err != nil || cur.f == nil {
		return c, false, err
	}
	if over, err := v.apartOver(m, cur); over || err != nil {
		return c, false, err
	}
	s := shown{ino: m.ino, f: cur.f}
	if links := cur.f.Shown(); len(links) > 0 && !isFolder(cur.f) {
		if s.link = links[0].ID; m.kind == ConflictRenamed {
			s.link = m.link
		}
	}
	parent, name, err := v.where(s)
	if errors.Is(err, vfs.ErrNotExist) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	n, err := v.node(s)
	if err != nil {
		return c, false, err
	}
	c = Conflict{Kind: m.kind, Parent: parent, Name: name}
	here := ConflictVersion{ID: versionID(m.ino, s.link, ContentName{}), Parent: parent, Name: name, Node: n}
	other := ConflictVersion{ID: versionID(m.ino, s.link, ContentName{K: uint32(m.kind)}), Author: m.ts.Actor, HLC: m.ts.HLC}
	switch m.kind {
	case ConflictDeleted:
		newest := cur.f.Inode.Newest()
		here.Author, here.HLC = newest.Actor, newest.HLC
		other.Gone, other.Parent, other.Name = true, parent, name
	case ConflictRenamed:
		i := slices.IndexFunc(cur.f.Inode.Links, func(l Link) bool { return l.ID == m.link })
		if i < 0 || cur.f.Inode.Links[i].Dead || m.parent == parent && m.name == name {
			return c, false, nil
		}
		at := cur.f.Inode.Links[i].TS
		here.Author, here.HLC = at.Actor, at.HLC
		other.Parent, other.Name, other.Node = m.parent, m.name, n
	default:
		return c, false, fmt.Errorf("state: conflict of kind %d: %w", m.kind, block.ErrCorrupt)
	}
	c.Versions = []ConflictVersion{here, other}
	return c, true, nil
}
