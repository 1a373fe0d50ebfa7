package vfstest

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// The operations of the model test: each does the same on both sides.

func (m *model) create() {
	kinds := []vfs.Kind{vfs.KindFile, vfs.KindFile, vfs.KindFile, vfs.KindFolder, vfs.KindFolder, vfs.KindFolder, vfs.KindSymlink, vfs.KindFIFO}
	n := vfs.NewNode{Kind: kinds[m.rng.IntN(len(kinds))], Mode: m.rng.Uint32N(0o1000), UID: m.rng.Uint32N(3), GID: m.rng.Uint32N(3)}
	if n.Kind == vfs.KindSymlink {
		n.Target, n.Mode = fmt.Sprintf("../%d", m.rng.IntN(1000)), 0o777
	}
	if len(m.spots()) >= nodesMax {
		m.remove()
		return
	}
	s := m.free()
	ref, err := m.ref.Create(m.ctx, s.parent, s.name, n)
	got, gotErr := m.got.Create(m.ctx, m.ids[s.parent], s.name, n)
	if m.did(err, gotErr, "create %v %+v", s, n) {
		m.sameAttr(s.String(), ref, got)
	}
}

func (m *model) link() {
	from, to := m.pick(), m.free()
	a, err := m.ref.Lookup(m.ctx, from.parent, from.name)
	if err != nil {
		return
	}
	ref, err := m.ref.Link(m.ctx, a.ID, to.parent, to.name)
	got, gotErr := m.got.Link(m.ctx, m.ids[a.ID], m.ids[to.parent], to.name)
	if m.did(err, gotErr, "link %v to %v", from, to) {
		m.sameAttr(to.String(), ref, got)
	}
}

func (m *model) rename() {
	from, to := m.pick(), m.pick()
	var flags vfs.RenameFlag
	if m.limit&NoRenameFlags == 0 {
		flags = vfs.RenameFlag(max(0, m.rng.IntN(6)-3)) // 0, mostly
	}
	ref := m.ref.Rename(m.ctx, from.parent, from.name, to.parent, to.name, flags)
	got := m.got.Rename(m.ctx, m.ids[from.parent], from.name, m.ids[to.parent], to.name, flags)
	isOne := func(err error) bool {
		return slices.ContainsFunc(renameErrors, func(e error) bool { return errors.Is(err, e) })
	}
	if isOne(ref) && isOne(got) {
		got = ref
	}
	m.did(ref, got, "rename %v to %v, flags %d", from, to, flags)
}

func (m *model) remove() {
	s, folder := m.pick(), m.rng.IntN(2) == 0
	ref := m.ref.Remove(m.ctx, s.parent, s.name, folder)
	got := m.got.Remove(m.ctx, m.ids[s.parent], s.name, folder)
	m.did(ref, got, "remove %v, folder %v", s, folder)
}

// openWrite opens a file, and writes, reads or leaves it open.
func (m *model) openWrite() {
	s := m.pick()
	a, err := m.ref.Lookup(m.ctx, s.parent, s.name)
	if err != nil {
		return
	}
	ref, err := m.ref.Open(m.ctx, a.ID)
	got, gotErr := m.got.Open(m.ctx, m.ids[a.ID])
	if !m.did(err, gotErr, "open %v (node %d)", s, a.ID) {
		return
	}
	m.opened = append(m.opened, openPair{a.ID, ref, got})
	i := len(m.opened) - 1
	m.write(m.opened[i])
	if len(m.opened) > openMax || m.rng.IntN(2) == 0 {
		m.closeFile(i)
	}
}

// useOpen does something with a file that is open.
func (m *model) useOpen() {
	if len(m.opened) == 0 {
		return
	}
	i := m.rng.IntN(len(m.opened))
	o := m.opened[i]
	switch m.rng.IntN(6) {
	case 0:
		m.closeFile(i)
	case 3:
		m.allocate(o)
	case 1:
		m.did(o.ref.Sync(m.ctx), o.got.Sync(m.ctx), "sync node %d", o.id)
	case 2:
		m.read(o)
	default:
		m.write(o)
	}
}

func (m *model) write(o openPair) {
	p, off := make([]byte, 1+m.rng.IntN(sizeMax/4)), m.rng.Int64N(sizeMax*3/4)
	if m.rng.IntN(2) == 0 {
		p = p[:1+len(p)/100]
	}
	if a, err := m.ref.GetAttr(m.ctx, o.id); err == nil && m.rng.IntN(2) == 0 && a.Size < sizeMax {
		off = int64(a.Size) // append
	}
	for i := range p {
		p[i] = byte(m.rng.Uint32())
	}
	n, err := o.ref.WriteAt(m.ctx, p, off)
	gotN, gotErr := o.got.WriteAt(m.ctx, p, off)
	m.did(err, gotErr, "write node %d, %d bytes at %d", o.id, len(p), off)
	if n != gotN {
		m.Fatalf("write: %d bytes, want %d", gotN, n)
	}
}

// allocate gives room, punches a hole or writes zeros.
func (m *model) allocate(o openPair) {
	ref, ok := o.ref.(vfs.Allocator)
	got, can := o.got.(vfs.Allocator)
	if !ok || !can {
		m.Fatalf("%T or %T allocates nothing", o.ref, o.got)
	}
	all := []vfs.AllocFlag{0, vfs.AllocKeepSize, vfs.AllocPunch | vfs.AllocKeepSize, vfs.AllocPunch | vfs.AllocKeepSize, vfs.AllocZero, vfs.AllocZero | vfs.AllocKeepSize}
	off, n, flags := m.rng.Int64N(sizeMax), 1+m.rng.Int64N(sizeMax/4), all[m.rng.IntN(len(all))]
	m.did(ref.Allocate(m.ctx, off, n, flags), got.Allocate(m.ctx, off, n, flags), "allocate %d bytes at %d of node %d, flags %d", n, off, o.id, flags)
}

func (m *model) read(o openPair) {
	want, got, off := make([]byte, m.rng.IntN(sizeMax)), []byte(nil), m.rng.Int64N(sizeMax)
	got = append(got, want...)
	n, err := o.ref.ReadAt(m.ctx, want, off)
	gotN, gotErr := o.got.ReadAt(m.ctx, got, off)
	if n != gotN || string(want[:n]) != string(got[:gotN]) {
		m.Fatalf("read node %d, %d bytes at %d: got %d, want %d bytes, or others", o.id, len(want), off, gotN, n)
	}
	if err == nil != (gotErr == nil) && (n != len(want) || !errors.Is(gotErr, io.EOF)) {
		m.Fatalf("read node %d, %d bytes at %d: got error %v, want %v", o.id, len(want), off, gotErr, err)
	}
	m.trace = append(m.trace, fmt.Sprintf("read node %d, %d bytes at %d", o.id, len(want), off))
}

// closeFile compares all that an open file holds, and closes it.
func (m *model) closeFile(i int) {
	o := m.opened[i]
	m.opened = slices.Delete(m.opened, i, i+1)
	m.sameContent(fmt.Sprintf("node %d", o.id), o)
	m.did(o.ref.Close(m.ctx), o.got.Close(m.ctx), "close node %d", o.id)
}

func (m *model) truncate() {
	s := m.pick()
	a, err := m.ref.Lookup(m.ctx, s.parent, s.name)
	if err != nil {
		return
	}
	size := m.rng.Uint64N(sizeMax)
	m.set(a.ID, vfs.SetAttr{Size: &size}, fmt.Sprintf("truncate %v to %d", s, size))
}

func (m *model) setAttr() {
	s := m.pick()
	a, err := m.ref.Lookup(m.ctx, s.parent, s.name)
	if err != nil || a.Kind == vfs.KindSymlink {
		return // chmod of a symlink is refused by Linux
	}
	var set vfs.SetAttr
	mode, uid, gid, atime, mtime := m.rng.Uint32N(0o1000), m.rng.Uint32N(5), m.rng.Uint32N(5), m.someMtime(), m.someMtime()
	if m.rng.IntN(2) == 0 {
		set.Mode = &mode
	}
	if m.rng.IntN(2) == 0 {
		set.UID, set.GID = &uid, &gid
	}
	if m.rng.IntN(2) == 0 {
		set.Mtime = &mtime
	}
	if m.rng.IntN(2) == 0 {
		set.Atime = &atime
	}
	if !m.set(a.ID, set, fmt.Sprintf("set %v: mode %o, owner %d:%d, atime %d, mtime %d", s, mode, uid, gid, atime, mtime)) {
		return
	}
	if set.Mtime != nil {
		m.mtimes[a.ID] = mtime
	}
	if set.Atime != nil {
		m.atimes[a.ID] = atime
	}
}

func (m *model) set(id vfs.NodeID, set vfs.SetAttr, what string) bool {
	ref, err := m.ref.SetAttr(m.ctx, id, set)
	got, gotErr := m.got.SetAttr(m.ctx, m.ids[id], set)
	if !m.did(err, gotErr, "%s (node %d)", what, id) {
		return false
	}
	m.sameAttr(what, ref, got)
	return true
}

func (m *model) xattr() {
	s := m.pick()
	a, err := m.ref.Lookup(m.ctx, s.parent, s.name)
	if err != nil || a.Kind != vfs.KindFile && a.Kind != vfs.KindFolder {
		return // Linux has user attributes on these only
	}
	name, value := fmt.Sprint("user.", m.rng.IntN(3)), fmt.Appendf(nil, "value %d", m.rng.IntN(100))
	if m.rng.IntN(3) == 0 {
		m.did(m.ref.RemoveXattr(m.ctx, a.ID, name), m.got.RemoveXattr(m.ctx, m.ids[a.ID], name), "remove attribute %s of %v", name, s)
		return
	}
	flags := vfs.XattrFlag(m.rng.IntN(3))
	m.did(m.ref.SetXattr(m.ctx, a.ID, name, value, flags), m.got.SetXattr(m.ctx, m.ids[a.ID], name, value, flags), "set attribute %s of %v to %q, flags %d", name, s, value, flags)
}

func (m *model) lookup() {
	s := m.pick()
	ref, err := m.ref.Lookup(m.ctx, s.parent, s.name)
	got, gotErr := m.got.Lookup(m.ctx, m.ids[s.parent], s.name)
	if m.did(err, gotErr, "lookup %v", s) {
		m.sameAttr(s.String(), ref, got)
	}
}

func (m *model) getAttr() {
	id := m.anyID()
	ref, err := m.ref.GetAttr(m.ctx, id)
	got, gotErr := m.got.GetAttr(m.ctx, m.ids[id])
	if m.did(err, gotErr, "attributes of node %d", id) {
		m.sameAttr(fmt.Sprint("node ", id), ref, got)
	}
}

func (m *model) list() {
	id, after, limit := m.free().parent, "", 1+m.rng.IntN(5)
	if m.rng.IntN(2) == 0 {
		after = modelNames[m.rng.IntN(len(modelNames))]
	}
	ref, err := m.ref.ReadDir(m.ctx, id, after, limit)
	got, gotErr := m.got.ReadDir(m.ctx, m.ids[id], after, limit)
	if !m.did(err, gotErr, "list node %d after %q, limit %d", id, after, limit) {
		return
	}
	names := func(list []vfs.DirEntry) (names []string) {
		for _, e := range list {
			names = append(names, e.Name)
		}
		return names
	}
	if g, w := names(got), names(ref); !slices.Equal(g, w) {
		m.Fatalf("list node %d after %q, limit %d: got %q, want %q", id, after, limit, g, w)
	}
	if r, ok := m.got.(vfs.NameReader); ok {
		g, err := r.ReadNames(m.ctx, m.ids[id], after, limit)
		if w := names(ref); err != nil || !slices.Equal(g, w) {
			m.Fatalf("names of node %d after %q, limit %d: got %q, %v, want %q", id, after, limit, g, err, w)
		}
	}
	for i := range ref {
		m.sameAttr(ref[i].Name, ref[i].Attr, got[i].Attr)
	}
}
