package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// shown is what the view shows at a name of a folder.
type shown struct {
	name    string
	ino     Ino
	link    uint64
	content int    // index in the inode's contents; 0 is what its links show, others are conflict copies
	claimed string // of contested names: the name that the link has, or that the copy stands beside
	f       *Folded
}

func (s *shown) isCopy() bool { return s.content > 0 }

// contested are the names of a folder that are claimed more than once or have conflict copies, and all the computed names, sorted.
func (v view) contested(parent Ino) ([]shown, error) {
	rec, err := v.folder(parent)
	if err != nil || rec.irregular == 0 {
		return nil, err
	}
	var names []string
	err = scanPrefix(v.r, inoKey(keyIrregular, parent), func(key, _ []byte) error {
		_, name, err := splitNameKey(key)
		names = append(names, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	var entries []ViewEntry
	var folded []*Folded
	for _, name := range names {
		slots, err := v.slots(parent, name)
		if err != nil {
			return nil, err
		}
		for _, s := range slots {
			f, err := v.foldedOf(s.ino)
			if err != nil {
				return nil, err
			}
			e, err := viewEntry(name, s, f)
			if err != nil {
				return nil, err
			}
			entries, folded = append(entries, e), append(folded, f)
		}
	}
	var failed error
	named := ViewNames(entries, v.d.podName, func(name string) bool {
		slots, err := v.slots(parent, name)
		if err != nil {
			failed = err
		}
		return len(slots) > 0
	})
	out := make([]shown, len(named))
	for i, n := range named {
		e := &entries[n.Entry]
		out[i] = shown{name: n.Name, ino: e.Ino, link: e.Link, claimed: e.Name, f: folded[n.Entry]}
		if n.Copy >= 0 {
			out[i].content = contentIndex(out[i].f, e.Copies[n.Copy].Content)
		}
	}
	return out, failed
}

func contentIndex(f *Folded, name ContentName) int {
	return slices.IndexFunc(f.Inode.Contents, func(c Content) bool { return c.Name() == name })
}

// viewEntry is the claim of a slot on the name where it stands.
func viewEntry(name string, s slot, f *Folded) (ViewEntry, error) {
	if f != nil && s.dir && len(f.Inode.Links) == 1 {
		l := &f.Inode.Links[0]
		return ViewEntry{Ino: s.ino, Name: name, Folder: true, TS: l.TS, Over: l.Over}, nil
	}
	if f != nil && !s.dir {
		for _, e := range ViewEntries(s.ino, f, bodyKey) {
			if e.Link == s.link {
				return e, nil
			}
		}
	}
	return ViewEntry{}, fmt.Errorf("state: the index has link %d of inode %d at %q, its row has not: %w", s.link, s.ino, name, block.ErrCorrupt)
}

// podName is the name of an actor's pod, for computed names.
func (d *DB) podName(a ident.Actor) string {
	if d.o.PodName != nil {
		if name := d.o.PodName(a); name != "" {
			return name
		}
	}
	return a.String()
}

// shownFolder is the record of a folder that the view shows. Errors: vfs.ErrNotDir, vfs.ErrNotExist.
func (v view) shownFolder(ino Ino) (*folderRec, error) {
	rec, err := v.folder(ino)
	if err != nil || rec.shown() {
		return rec, err
	}
	if !rec.exists {
		if _, err := v.byNumber(ino); err == nil {
			return nil, fmt.Errorf("node %d: %w", ino, vfs.ErrNotDir)
		}
	}
	return nil, fmt.Errorf("folder %d: %w", ino, vfs.ErrNotExist)
}

// lookup finds a name in a folder. Errors: vfs.ErrNotExist, vfs.ErrNotDir.
func (v view) lookup(parent Ino, name string) (shown, error) {
	rec, err := v.shownFolder(parent)
	if err != nil {
		return shown{}, err
	}
	slots, err := v.slots(parent, name)
	if err != nil {
		return shown{}, err
	}
	if len(slots) == 1 && !irregularSlots(slots) {
		return v.regular(name, slots[0])
	}
	if rec.irregular > 0 {
		all, err := v.contested(parent)
		if err != nil {
			return shown{}, err
		}
		if i, ok := slices.BinarySearchFunc(all, name, byShownName); ok {
			return all[i], nil
		}
	}
	return shown{}, fmt.Errorf("%q in folder %d: %w", name, parent, vfs.ErrNotExist)
}

func byShownName(s shown, name string) int { return strings.Compare(s.name, name) }

// regular is what a name with one link shows.
func (v view) regular(name string, s slot) (shown, error) {
	f, err := v.foldedOf(s.ino)
	if err != nil {
		return shown{}, err
	}
	if f == nil {
		return shown{}, fmt.Errorf("state: the index has inode %d at %q, there is no such row: %w", s.ino, name, block.ErrCorrupt)
	}
	return shown{name: name, ino: s.ino, link: s.link, f: f}, nil
}

// list is at most limit entries of a folder after a name, in order; limit 0: all.
func (v view) list(parent Ino, after string, limit int) ([]shown, error) {
	rows, done, err := v.inOrder()
	if err != nil {
		return nil, err
	}
	defer done()
	var out []shown
	err = v.eachName(parent, after, limit, func(name []byte, at slot, contested *shown) error {
		if contested != nil {
			out = append(out, *contested)
			return nil
		}
		s, err := rows.regular(string(name), at)
		out = append(out, s)
		return err
	})
	return out, err
}

// names is list of the names alone: it reads the rows of contested ones, no others.
func (v view) names(parent Ino, after string, limit int) ([]string, error) {
	var out []string
	err := v.eachName(parent, after, limit, func(name []byte, _ slot, contested *shown) error {
		if contested != nil {
			out = append(out, contested.name)
		} else {
			out = append(out, string(name))
		}
		return nil
	})
	return out, err
}

// eachName calls f for at most limit names of a folder after a name, in order, until it returns errStop; limit 0: all. A name that one link alone claims is that
// of its slot, and valid until f returns; any other comes with what it shows.
func (v view) eachName(parent Ino, after string, limit int, f func(name []byte, at slot, contested *shown) error) error {
	if _, err := v.shownFolder(parent); err != nil {
		return err
	}
	special, err := v.contested(parent)
	if err != nil {
		return err
	}
	i, found := slices.BinarySearchFunc(special, after, byShownName)
	if found {
		i++
	}
	special = special[i:]
	told, stopped := 0, false
	tell := func(name []byte, at slot, contested *shown) error {
		err := errStop
		if told++; limit == 0 || told <= limit {
			err = f(name, at, contested)
		}
		stopped = errors.Is(err, errStop)
		return err
	}
	// before tells of the contested names that come before one; nil: of all that are left.
	before := func(name []byte) error {
		for ; len(special) > 0 && (name == nil || special[0].name < string(name)); special = special[1:] {
			if err := tell(nil, slot{}, &special[0]); err != nil {
				return err
			}
		}
		return nil
	}
	lower := nameKey(keyIndex, parent, after)
	if after != "" {
		lower = append(lower, 0)
	}
	err = scan(v.r, lower, prefixEnd(inoKey(keyIndex, parent)), func(key, value []byte) error {
		at, regular, err := decodeRegular(value)
		if err != nil {
			return err
		}
		name := key[9:]
		if err := before(name); err != nil || !regular {
			return err
		}
		return tell(name, at, nil)
	})
	if err == nil && !stopped {
		err = before(nil)
	}
	if stopped {
		return nil
	}
	return err
}

// byNumber is what is shown under a number, with no name. Error: vfs.ErrNotExist.
func (v view) byNumber(id Ino) (shown, error) {
	f, err := v.foldedOf(id)
	if err != nil {
		return shown{}, err
	}
	if f == nil && id == RootIno {
		f = rootFolded()
	}
	if f != nil {
		if f.Inode.Kind == vfs.KindFolder {
			if rec, err := v.folder(id); err != nil || !rec.shown() {
				return shown{}, orNotExist(err, id)
			}
		}
		return shown{ino: id, f: f}, nil
	}
	b, err := get(v.r, inoKey(keyCopy, id))
	if err != nil || len(b) != 8 || !IsDerived(id) {
		if now, ok := v.d.promoted.of(id); ok && err == nil {
			return v.byNumber(now)
		}
		return shown{}, orNotExist(err, id)
	}
	ino, _, _ := splitNameKey(append([]byte{0}, b...)) // 9 bytes
	c, err := v.inode(ino)
	if err != nil || c.f == nil {
		return shown{}, orNotExist(err, id)
	}
	for i := range c.f.Inode.Contents {
		if CopyIno(ino, c.f.Inode.Contents[i].Name()) == id {
			return shown{ino: ino, content: i, f: c.f}, nil
		}
	}
	return shown{}, orNotExist(nil, id)
}

func orNotExist(err error, id Ino) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("node %d: %w", id, vfs.ErrNotExist)
}

// rootFolded is the root as long as nobody has changed its attributes: it has no row.
func rootFolded() *Folded {
	return &Folded{Inode: &Inode{Kind: vfs.KindFolder, Mode: Reg[uint32]{Value: 0o755}}}
}

// node is what stat tells, and more.
func (v view) node(s shown) (Node, error) {
	n := s.f.Inode
	ctime := n.Newest().HLC
	if ctime == lostTS.HLC {
		ctime = 0 // a lost folder's: what is in it says
	}
	out := Node{
		Attr: vfs.Attr{
			ID: s.ino, Kind: n.Kind, Mode: n.Mode.Value, UID: n.Owner.Value.UID, GID: n.Owner.Value.GID,
			RDev: n.RDev, Atime: n.Atime(), Btime: n.Btime,
		},
		Ino: s.ino, Deleted: s.f.Dead,
	}
	if n.Kind == vfs.KindFolder {
		rec, err := v.folder(s.ino)
		if err != nil {
			return Node{}, err
		}
		out.NLink = uint32(min(2+rec.subs, 1<<31))
		out.Mtime, ctime = folderMtime(n, rec.changed), max(ctime, rec.changed)
	} else {
		out.NLink = uint32(s.f.shownCount())
		if s.content < len(n.Contents) {
			c := &n.Contents[s.content]
			out.Size, out.Blocks, out.Mtime = c.Size, (c.Size+511)/512, c.Mtime
			out.Body, out.Content = c.Body, c.Name()
		}
		if s.isCopy() {
			out.ID, out.Copy, out.NLink = CopyIno(s.ino, out.Content), true, 1
		}
	}
	out.Ctime = ctime.Time().UnixNano()
	return out, nil
}

// folderMtime is what utimes set, unless an entry came or went since.
func folderMtime(n *Inode, changed HLC) int64 {
	if mtime, at, ok := n.FolderMtime(); ok && at.HLC >= changed {
		return mtime
	}
	return max(changed, HLCOf(unixNano(n.Btime))).Time().UnixNano()
}
