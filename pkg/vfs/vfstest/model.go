package vfstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
)

// What the model test works with. Few names and small files make operations meet.
const (
	modelOps      = 2000
	modelOpsShort = 400
	checkEach     = 100 // operations between two comparisons of everything
	openMax       = 5   // files open at once
	nodesMax      = 60  // names in the tree, about
	sizeMax       = 64 << 10
	traceMax      = 60 // operations shown when something differs
)

var modelNames = []string{"a", "b", "c", "d", "ee", "ff"}

// model does each operation on two file systems and compares what comes back.
type model struct {
	*testing.T
	ctx    context.Context //nolint:containedctx // it lives as long as the test
	rng    *rand.Rand
	limit  Limit
	ref    *memfs.FS
	got    vfs.FS
	ids    map[vfs.NodeID]vfs.NodeID // the number in got of each node in ref, removed ones included
	refs   map[vfs.NodeID]vfs.NodeID // the other way
	all    []vfs.NodeID              // the keys of ids, in the order of making
	mtimes map[vfs.NodeID]int64      // that were set, not clocked: equal on both sides
	atimes map[vfs.NodeID]int64      // the same
	opened []openPair
	trace  []string
}

// openPair is one file, open on both sides.
type openPair struct {
	id       vfs.NodeID // in ref
	ref, got vfs.File
}

// spot is a name in a folder; there need not be anything.
type spot struct {
	parent vfs.NodeID // in ref
	name   string
}

func (s spot) String() string { return fmt.Sprintf("%d/%s", s.parent, s.name) }

func runModel(t *testing.T, fs vfs.FS, limit Limit) {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	ops := *opsFlag
	if ops == 0 {
		ops = modelOps
		if testing.Short() {
			ops = modelOpsShort
		}
	}
	t.Logf("replay with -vfstest.seed=%d -vfstest.ops=%d", seed, ops)
	ctx, cancel := context.WithTimeout(t.Context(), 10*caseMax)
	defer cancel()
	m := &model{
		T: t, ctx: ctx, rng: rand.New(rand.NewPCG(seed, 0)), limit: limit, //nolint:gosec // a seed must replay
		ref: memfs.New(memfs.Options{}), got: fs,
		ids: map[vfs.NodeID]vfs.NodeID{root: root}, refs: map[vfs.NodeID]vfs.NodeID{root: root}, all: []vfs.NodeID{root}, mtimes: make(map[vfs.NodeID]int64), atimes: make(map[vfs.NodeID]int64),
	}
	defer m.showTrace()
	for i := range ops {
		m.step()
		if i%checkEach == checkEach-1 {
			m.compareFolder(root, root)
		}
	}
	for len(m.opened) > 0 {
		m.closeFile(0)
	}
	m.compareFolder(root, root)
	if n, want := len(m.spots())+1, m.ref.Nodes(); n < want {
		m.Fatalf("the model itself leaks nodes: %d, of which %d are named", want, n)
	}
}

// showTrace prints the last operations if the test has failed.
func (m *model) showTrace() {
	if m.Failed() {
		m.Logf("the last operations:\n%s", strings.Join(m.trace[max(0, len(m.trace)-traceMax):], "\n"))
	}
}

// step does one random operation.
func (m *model) step() {
	steps := []struct {
		weight int
		run    func()
	}{
		{10, m.create},
		{4, m.link},
		{10, m.rename},
		{10, m.remove},
		{12, m.openWrite},
		{6, m.truncate},
		{6, m.setAttr},
		{4, m.xattr},
		{6, m.lookup},
		{4, m.list},
		{5, m.getAttr},
		{8, m.useOpen},
	}
	sum := 0
	for _, s := range steps {
		sum += s.weight
	}
	n := m.rng.IntN(sum)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			s.run()
			return
		}
	}
}

// did notes an operation for the trace and checks that both sides answered alike. It tells whether both did it.
func (m *model) did(ref, got error, format string, args ...any) bool {
	m.Helper()
	what := fmt.Sprintf(format, args...)
	m.trace = append(m.trace, fmt.Sprintf("%s: %v", what, ref))
	if !sameError(ref, got) {
		m.Fatalf("%s: got error %v, want %v", what, got, ref)
	}
	return ref == nil
}

// renameErrors are answers of which any may come first when several things are wrong with a rename.
var renameErrors = []error{vfs.ErrNotEmpty, vfs.ErrIsDir, vfs.ErrNotDir, vfs.ErrInvalid}

var sentinels = []error{
	vfs.ErrNotExist, vfs.ErrExist, vfs.ErrNotDir, vfs.ErrIsDir, vfs.ErrNotEmpty, vfs.ErrInvalid, vfs.ErrNameTooLong,
	vfs.ErrBadName, vfs.ErrNotPermitted, vfs.ErrNoXattr, vfs.ErrReadOnly, vfs.ErrNoSpace, vfs.ErrTooLarge, vfs.ErrNotSupported,
	vfs.ErrTooManyLinks, vfs.ErrClosed,
}

func sameError(a, b error) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return slices.ContainsFunc(sentinels, func(s error) bool { return errors.Is(a, s) && errors.Is(b, s) })
}

// spots is all names there are in the model.
func (m *model) spots() []spot {
	var list []spot
	var walk func(id vfs.NodeID)
	walk = func(id vfs.NodeID) {
		entries, err := m.ref.ReadDir(m.ctx, id, "", nodesMax*2)
		if err != nil {
			m.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, spot{id, e.Name})
			if e.Attr.Kind == vfs.KindFolder {
				walk(e.Attr.ID)
			}
		}
	}
	walk(root)
	return list
}

// pick is an existing name four times in five, else any, mostly in a folder.
func (m *model) pick() spot {
	list := m.spots()
	if len(list) > 0 && m.rng.IntN(5) > 0 {
		return list[m.rng.IntN(len(list))]
	}
	return m.free()
}

// free is a random name in a random folder, or, now and then, in what is none or is gone.
func (m *model) free() spot {
	parent := root
	if m.rng.IntN(20) == 0 {
		parent = m.anyID()
	} else if list := m.spots(); len(list) > 0 {
		s := list[m.rng.IntN(len(list))]
		if a, err := m.ref.Lookup(m.ctx, s.parent, s.name); err == nil && a.Kind == vfs.KindFolder {
			parent = a.ID
		} else {
			parent = s.parent
		}
	}
	return spot{parent, modelNames[m.rng.IntN(len(modelNames))]}
}

func (m *model) anyID() vfs.NodeID { return m.all[m.rng.IntN(len(m.all))] }

// sameAttr checks attributes of one node. Times are compared when they were set.
func (m *model) sameAttr(what string, ref, got vfs.Attr) {
	m.Helper()
	if id, known := m.ids[ref.ID]; !known {
		m.pair(ref.ID, got.ID)
	} else if id != got.ID {
		m.Fatalf("%s: number %d, want %d", what, got.ID, id)
	}
	want := ref
	want.ID, want.Ctime, want.Btime, want.Blocks = got.ID, got.Ctime, got.Btime, got.Blocks
	if set, ok := m.mtimes[ref.ID]; !ok || set != ref.Mtime {
		want.Mtime = got.Mtime
	}
	if set, ok := m.atimes[ref.ID]; !ok || set != ref.Atime {
		want.Atime = got.Atime
	}
	if ref.Kind == vfs.KindFolder {
		want.Size = got.Size
		if got.NLink == 1 {
			want.NLink = 1
		}
	}
	if got != want {
		m.Fatalf("%s: attributes\ngot  %+v\nwant %+v", what, got, want)
	}
}

// pair notes that two new nodes are the same. A number may be given again when its node is gone: a folder
// that is made anew at its place may come back under its number.
func (m *model) pair(ref, got vfs.NodeID) {
	m.Helper()
	if old, taken := m.refs[got]; taken {
		if _, err := m.ref.GetAttr(m.ctx, old); err == nil {
			m.Fatalf("number %d is given to a second node while the first lives", got)
		}
		delete(m.ids, old)
		m.all = slices.DeleteFunc(m.all, func(id vfs.NodeID) bool { return id == old })
	}
	m.ids[ref], m.refs[got] = got, ref
	m.all = append(m.all, ref)
}

// compareFolder compares everything below a folder.
func (m *model) compareFolder(ref, got vfs.NodeID) {
	m.Helper()
	refList, err := m.ref.ReadDir(m.ctx, ref, "", nodesMax*2)
	if err != nil {
		m.Fatal(err)
	}
	gotList, err := m.got.ReadDir(m.ctx, got, "", nodesMax*2)
	if err != nil || len(gotList) != len(refList) {
		m.Fatalf("folder %d: got %v, %v, want %v", ref, gotList, err, refList)
	}
	for i, e := range refList {
		g := gotList[i]
		what := spot{ref, e.Name}.String()
		if g.Name != e.Name {
			m.Fatalf("folder %d: got name %q, want %q", ref, g.Name, e.Name)
		}
		m.sameAttr(what, e.Attr, g.Attr)
		m.compareXattrs(what, e.Attr.ID, g.Attr.ID)
		switch e.Attr.Kind {
		case vfs.KindFolder:
			if parent, err := m.got.Parent(m.ctx, g.Attr.ID); err != nil || parent != got {
				m.Fatalf("%s: parent %d, %v, want %d", what, parent, err, got)
			}
			m.compareFolder(e.Attr.ID, g.Attr.ID)
		case vfs.KindSymlink:
			want, _ := m.ref.ReadLink(m.ctx, e.Attr.ID)
			if target, err := m.got.ReadLink(m.ctx, g.Attr.ID); err != nil || target != want {
				m.Fatalf("%s: target %q, %v, want %q", what, target, err, want)
			}
		case vfs.KindFile:
			m.compareContent(what, e.Attr.ID, g.Attr.ID)
		}
	}
}

func (m *model) compareContent(what string, ref, got vfs.NodeID) {
	m.Helper()
	r, err := m.ref.Open(m.ctx, ref)
	if err != nil {
		m.Fatal(err)
	}
	g, err := m.got.Open(m.ctx, got)
	if err != nil {
		m.Fatalf("%s: open: %v", what, err)
	}
	m.sameContent(what, openPair{ref, r, g})
	if err := errors.Join(r.Close(m.ctx), g.Close(m.ctx)); err != nil {
		m.Fatalf("%s: close: %v", what, err)
	}
}

func (m *model) sameContent(what string, o openPair) {
	m.Helper()
	want, got := readAll(m.ctx, m, o.ref), readAll(m.ctx, m, o.got)
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	m.Fatalf("%s: content differs at byte %d (sizes: got %d, want %d)", what, at, len(got), len(want))
}

func (m *model) compareXattrs(what string, ref, got vfs.NodeID) {
	m.Helper()
	want, err := m.ref.ListXattr(m.ctx, ref)
	if err != nil {
		m.Fatal(err)
	}
	list, err := m.got.ListXattr(m.ctx, got)
	if err != nil || !slices.Equal(userXattrs(list), want) {
		m.Fatalf("%s: attributes %q, %v, want %q", what, list, err, want)
	}
	for _, name := range want {
		value, _ := m.ref.GetXattr(m.ctx, ref, name)
		if v, err := m.got.GetXattr(m.ctx, got, name); err != nil || !bytes.Equal(v, value) {
			m.Fatalf("%s: attribute %s is %q, %v, want %q", what, name, v, err, value)
		}
	}
}

// someMtime is a time in whole nanoseconds of the last fifty years.
func (m *model) someMtime() int64 { return m.rng.Int64N(int64(50 * 365 * 24 * time.Hour)) }
