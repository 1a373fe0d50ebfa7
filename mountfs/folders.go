//go:build linux || darwin

package mountfs

import (
	"context"
	"sort"
	"sync"

	"github.com/jacobsa/fuse/fuseops"
	"github.com/jacobsa/fuse/fuseutil"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Offsets in an open folder count entries: 0 is the start, 1 behind ".", 2 behind "..", and so on. Which
// name an offset stands behind is remembered, so that names made or removed meanwhile shift nothing: each
// name that stays is listed once. Nothing is read ahead, since attributes that are told must be of now: the
// kernel takes them for newer than a write that was between.

// Sizes in bytes of an entry in a listing, by fuseutil.WriteDirent and WriteDirentPlus: the least that one takes.
const (
	direntMin     = 32
	direntPlusMin = 160
)

// countMax is how many entries are read at once to count them.
const countMax = 1024

// mark says that an offset is behind a name.
type mark struct {
	offset uint64
	name   string
}

// folder is an open folder.
type folder struct {
	mu    sync.Mutex // held while it is read; the kernel reads one folder handle one call at a time anyway
	marks []mark     // the start of each answer, in order of offsets
	last  []mark     // all of the last answer: the kernel may have used a part of it
}

// openFolder opens a folder. The kernel may keep the list of its names, until one of them is made or removed.
func (s *server) openFolder(op *fuseops.OpenDirOp) {
	op.Handle = s.handles.add(&folder{})
	op.CacheDir = !s.expiration(s.told.Load(), vfs.NodeID(op.Inode)).IsZero()
	op.KeepCache = op.CacheDir
}

// readDir lists entries from an offset, with or without attributes, as many as there is room for.
func (s *server) readDir(ctx context.Context, op *fuseops.ReadDirOp, plus bool) error {
	f, ok := s.handles.get(op.Handle).(*folder)
	if !ok {
		return vfs.ErrInvalid
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id, out := vfs.NodeID(op.Inode), lister{s: s, op: op, plus: plus, asked: s.told.Load()}
	offset := uint64(op.Offset)
	if offset == 0 {
		f.marks, f.last = nil, nil // rewound: a new listing
	}
	for ; offset < 2; offset++ {
		a, name, err := s.dot(ctx, id, offset)
		if err != nil {
			return err
		}
		if !out.add(vfs.DirEntry{Name: name, Attr: a}, offset+1) {
			return nil
		}
	}
	after, err := s.behind(ctx, id, f, offset)
	if err != nil {
		return err
	}
	entries, err := s.fs.ReadDir(ctx, id, after, out.room())
	if err != nil {
		return err
	}
	f.start(mark{offset, after})
	for _, e := range entries {
		offset++
		if !out.add(e, offset) {
			break
		}
		f.last = append(f.last, mark{offset, e.Name})
	}
	return nil
}

// dot is the entry "." or "..".
func (s *server) dot(ctx context.Context, id vfs.NodeID, offset uint64) (vfs.Attr, string, error) {
	if offset == 0 {
		return vfs.Attr{ID: id, Kind: vfs.KindFolder}, ".", nil
	}
	parent, err := s.fs.Parent(ctx, id)
	return vfs.Attr{ID: parent, Kind: vfs.KindFolder}, "..", err
}

// behind is the name that an offset stands behind; "" for the start.
func (s *server) behind(ctx context.Context, id vfs.NodeID, f *folder, offset uint64) (string, error) {
	for _, list := range [][]mark{f.last, f.marks} {
		i := sort.Search(len(list), func(i int) bool { return list[i].offset >= offset })
		if i < len(list) && list[i].offset == offset {
			return list[i].name, nil
		}
	}
	// Sought back (seekdir), into the middle of an old answer: count from its start.
	from := mark{offset: 2}
	if i := sort.Search(len(f.marks), func(i int) bool { return f.marks[i].offset > offset }); i > 0 {
		from = f.marks[i-1]
	}
	for from.offset < offset {
		entries, err := s.fs.ReadDir(ctx, id, from.name, int(min(offset-from.offset, countMax)))
		if err != nil {
			return "", err
		}
		if len(entries) == 0 {
			break // the folder has become shorter
		}
		from = mark{from.offset + uint64(len(entries)), entries[len(entries)-1].Name}
	}
	return from.name, nil
}

// start notes where an answer starts.
func (f *folder) start(m mark) {
	f.last = f.last[:0]
	i := sort.Search(len(f.marks), func(i int) bool { return f.marks[i].offset >= m.offset })
	if i == len(f.marks) {
		f.marks = append(f.marks, m)
	}
}

// lister writes entries into the answer to one operation.
type lister struct {
	s    *server
	op   *fuseops.ReadDirOp
	plus bool

	asked uint64 // server.told before the entries were read
}

// room is how many entries may fit; one at least.
func (l lister) room() int {
	least := direntMin
	if l.plus {
		least = direntPlusMin
	}
	return (len(l.op.Dst)-l.op.BytesRead)/least + 1
}

// add tells whether an entry had room. The kernel counts it as a lookup, "." and ".." excepted.
func (l lister) add(e vfs.DirEntry, offset uint64) bool {
	d := fuseutil.Dirent{Offset: fuseops.DirOffset(offset), Inode: fuseops.InodeID(e.Attr.ID), Name: e.Name, Type: kinds[e.Attr.Kind].dirent}
	rest := l.op.Dst[l.op.BytesRead:]
	var n int
	switch {
	case !l.plus:
		n = fuseutil.WriteDirent(rest, d)
	case offset <= 2:
		n = fuseutil.WriteDirentPlus(rest, fuseutil.DirentPlus{Dirent: d})
	default:
		p := fuseutil.DirentPlus{Dirent: d}
		p.Entry.Child, p.Entry.Attributes = d.Inode, attributes(e.Attr)
		p.Entry.EntryExpiration = l.s.expiration(l.asked, vfs.NodeID(l.op.Inode))
		p.Entry.AttributesExpiration = p.Entry.EntryExpiration
		if n = fuseutil.WriteDirentPlus(rest, p); n > 0 {
			l.s.known.told(e.Attr)
			l.s.named(e.Attr.ID, vfs.NodeID(l.op.Inode), e.Name)
		}
	}
	l.op.BytesRead += n
	return n > 0
}
