package pod

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Every surface shows the trees that are kept under /.wh/at/TIME, read-only: TIME is a snapshot's name, or a time as Moment knows it. Neither .wh nor the times are listed
// anywhere; .wh/at lists the snapshots. Where the root has an entry .wh of its own, made by an import, that is shown.
const (
	pastName = ".wh"
	atName   = "at"
)

// Numbers of nodes under .wh have the member number 0 and an incarnation, which no inode's have: slot<<26 | node. The first slot is .wh itself,
// each other a tree; they come round only after half a million trees.
const (
	pastBits  = 26
	slotFirst = 1 << 10
	slotEnd   = 1 << 19
	pastID    = vfs.NodeID(slotFirst)<<pastBits | 1
	atID      = vfs.NodeID(slotFirst)<<pastBits | 2
)

// Trees that are open: those used least recently are closed beyond these. Who still has a number of one then is told that the node is gone.
const (
	pastTreesMax = 32
	pastNodesMax = 1 << 18 // in all of them: some 80 MB
)

// Watched is vfs.Watcher's: nobody is told of a snapshot that is made or removed. What is in a tree that is kept never changes.
func (v pastView) Watched(id vfs.NodeID) bool { return id != pastID && id != atID }

func isPast(id vfs.NodeID) bool { return id >= slotFirst<<pastBits && id < slotEnd<<pastBits }

// past is the trees that are open under .wh.
type past struct {
	mu    sync.Mutex // guards the fields below
	trees map[uint64]*pastTree
	last  uint64 // slot given last
}

// pastTree is an open tree.
type pastTree struct {
	slot   uint64
	moment Moment
	fs     *treeFS
	used   time.Time
}

func (t *pastTree) outer(id vfs.NodeID) vfs.NodeID { return vfs.NodeID(t.slot)<<pastBits | id }

func (t *pastTree) attr(a vfs.Attr) vfs.Attr {
	a.ID = t.outer(a.ID)
	return a
}

// tree is the tree that a node is in, and the node's number there.
func (p *past) tree(id vfs.NodeID, now time.Time) (*pastTree, vfs.NodeID, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.trees[uint64(id>>pastBits)]
	if t == nil {
		return nil, 0, fmt.Errorf("pod: node %d of a past tree: %w", id, vfs.ErrNotExist)
	}
	t.used = now
	return t, id & (1<<pastBits - 1), nil
}

// open finds or opens the tree of a moment.
func (p *past) open(m Moment, now time.Time, open func() (*treeFS, error)) (*pastTree, error) {
	p.mu.Lock()
	for _, t := range p.trees {
		if t.moment.Root == m.Root {
			t.used = now
			p.mu.Unlock()
			return t, nil
		}
	}
	p.mu.Unlock()
	fs, err := open()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trees == nil {
		p.trees = make(map[uint64]*pastTree)
	}
	for next := true; next; next = p.trees[p.last] != nil {
		if p.last = max(p.last, slotFirst) + 1; p.last >= slotEnd {
			p.last = slotFirst + 1
		}
	}
	t := &pastTree{slot: p.last, moment: m, fs: fs, used: now}
	p.trees[t.slot] = t
	p.closeOldLocked(t)
	return t, nil
}

// closeOldLocked closes trees until they are within the limits; but for one.
func (p *past) closeOldLocked(keep *pastTree) {
	for {
		nodes := 0
		var oldest *pastTree
		for _, t := range p.trees {
			nodes += t.fs.met()
			if t != keep && (oldest == nil || t.used.Before(oldest.used)) {
				oldest = t
			}
		}
		if oldest == nil || len(p.trees) <= pastTreesMax && nodes <= pastNodesMax {
			return
		}
		delete(p.trees, oldest.slot)
	}
}

// pastView is a view with .wh.
type pastView struct{ *view }

var (
	_ vfs.FS         = pastView{}
	_ vfs.NameReader = pastView{}
	_ vfs.Watcher    = pastView{}
)

func (v pastView) folder(id vfs.NodeID) vfs.Attr {
	at := v.p.started.UnixNano()
	return vfs.Attr{ID: id, Kind: vfs.KindFolder, Mode: 0o555, NLink: 1, Atime: at, Mtime: at, Ctime: at, Btime: at}
}

// tree is what serves a node under .wh but for the two folders at its top.
func (v pastView) tree(id vfs.NodeID) (*pastTree, vfs.NodeID, error) {
	return v.p.past.tree(id, v.p.clock.Now())
}

// moment opens the tree that a name in .wh/at means. Errors: vfs.ErrNotExist.
func (v pastView) moment(ctx context.Context, name string) (vfs.Attr, error) {
	p := v.p
	m, err := p.pastMoment(name)
	if err != nil {
		return vfs.Attr{}, err
	}
	t, err := p.past.open(m, p.clock.Now(), func() (*treeFS, error) {
		fs, err := p.OpenMoment(ctx, m)
		if err != nil {
			return nil, err
		}
		t, ok := fs.(*treeFS)
		if !ok {
			return nil, fmt.Errorf("pod: tree %s: %w", m.Root, vfs.ErrNotSupported)
		}
		return t, nil
	})
	if err != nil {
		return vfs.Attr{}, err
	}
	a, err := t.fs.GetAttr(ctx, vfs.RootID)
	return t.attr(a), err
}

// pastMoment is the moment that a name in .wh/at means: a snapshot or a time. Error: vfs.ErrNotExist.
func (p *Pod) pastMoment(name string) (Moment, error) {
	all, err := p.Moments()
	if err != nil {
		return Moment{}, err
	}
	at, isTime := parseWhen(name, p.clock.Now())
	var found *Moment
	for i := range all {
		m := &all[i]
		if m.Snapshot == name {
			return *m, nil
		}
		if found == nil && isTime && !m.At.IsZero() && !m.At.After(at) {
			found = m
		}
	}
	if found == nil {
		return Moment{}, fmt.Errorf("pod: tree at %q: %w", name, ErrNoHistory)
	}
	return *found, nil
}

// Lookup is vfs.FS's.
func (v pastView) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Attr, error) {
	switch {
	case parent == vfs.RootID && name == pastName:
		if a, err := v.view.Lookup(ctx, parent, name); err == nil {
			return a, nil
		}
		return v.folder(pastID), nil
	case parent == pastID && name == atName:
		return v.folder(atID), nil
	case parent == pastID:
		return vfs.Attr{}, fmt.Errorf("pod: %q in %s: %w", name, pastName, vfs.ErrNotExist)
	case parent == atID:
		return v.moment(ctx, name)
	case !isPast(parent):
		return v.view.Lookup(ctx, parent, name)
	}
	t, id, err := v.tree(parent)
	if err != nil {
		return vfs.Attr{}, err
	}
	a, err := t.fs.Lookup(ctx, id, name)
	return t.attr(a), err
}

// GetAttr is vfs.FS's.
func (v pastView) GetAttr(ctx context.Context, id vfs.NodeID) (vfs.Attr, error) {
	switch {
	case id == pastID || id == atID:
		return v.folder(id), nil
	case !isPast(id):
		return v.view.GetAttr(ctx, id)
	}
	t, inner, err := v.tree(id)
	if err != nil {
		return vfs.Attr{}, err
	}
	a, err := t.fs.GetAttr(ctx, inner)
	return t.attr(a), err
}

// ReadDir is vfs.FS's.
func (v pastView) ReadDir(ctx context.Context, id vfs.NodeID, after string, limit int) ([]vfs.DirEntry, error) {
	switch {
	case id == pastID:
		if strings.Compare(after, atName) >= 0 || limit < 1 {
			return nil, nil
		}
		return []vfs.DirEntry{{Name: atName, Attr: v.folder(atID)}}, nil
	case id == atID:
		return v.readSnapshots(ctx, after, limit)
	case !isPast(id):
		return v.view.ReadDir(ctx, id, after, limit)
	}
	t, inner, err := v.tree(id)
	if err != nil {
		return nil, err
	}
	list, err := t.fs.ReadDir(ctx, inner, after, limit)
	for i := range list {
		list[i].Attr = t.attr(list[i].Attr)
	}
	return list, err
}

// ReadNames is vfs.NameReader's.
func (v pastView) ReadNames(ctx context.Context, id vfs.NodeID, after string, limit int) ([]string, error) {
	if !isPast(id) {
		return v.view.ReadNames(ctx, id, after, limit)
	}
	list, err := v.ReadDir(ctx, id, after, limit)
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	return names, err
}

// readSnapshots lists the snapshots in .wh/at.
func (v pastView) readSnapshots(ctx context.Context, after string, limit int) ([]vfs.DirEntry, error) {
	all, err := v.p.db.Snapshots() // sorted by name
	if err != nil {
		return nil, err
	}
	var out []vfs.DirEntry
	for _, s := range all {
		if s.Name <= after || len(out) >= limit {
			continue
		}
		a, err := v.moment(ctx, s.Name)
		if err != nil {
			v.p.log.WarnContext(ctx, "a snapshot's tree can't be read", "snapshot", s.Name, "err", err)
			continue
		}
		out = append(out, vfs.DirEntry{Name: s.Name, Attr: a})
	}
	return out, nil
}

// Parent is vfs.FS's.
func (v pastView) Parent(ctx context.Context, id vfs.NodeID) (vfs.NodeID, error) {
	switch {
	case id == pastID:
		return vfs.RootID, nil
	case id == atID:
		return pastID, nil
	case !isPast(id):
		return v.view.Parent(ctx, id)
	}
	t, inner, err := v.tree(id)
	if err != nil {
		return 0, err
	}
	if inner == vfs.RootID {
		return atID, nil
	}
	above, err := t.fs.Parent(ctx, inner)
	return t.outer(above), err
}

// ReadLink is vfs.FS's.
func (v pastView) ReadLink(ctx context.Context, id vfs.NodeID) (string, error) {
	if !isPast(id) {
		return v.view.ReadLink(ctx, id)
	}
	t, inner, err := v.inTree(id)
	if err != nil {
		return "", err
	}
	return t.fs.ReadLink(ctx, inner)
}

// inTree is tree for what only nodes below a tree's root have; the two folders at the top are none. Error: vfs.ErrInvalid.
func (v pastView) inTree(id vfs.NodeID) (*pastTree, vfs.NodeID, error) {
	if id == pastID || id == atID {
		return nil, 0, fmt.Errorf("pod: node %d: %w", id, vfs.ErrInvalid)
	}
	return v.tree(id)
}

// GetXattr is vfs.FS's.
func (v pastView) GetXattr(ctx context.Context, id vfs.NodeID, name string) ([]byte, error) {
	switch {
	case id == pastID || id == atID:
		return nil, fmt.Errorf("pod: %q of node %d: %w", name, id, vfs.ErrNoXattr)
	case !isPast(id):
		return v.view.GetXattr(ctx, id, name)
	}
	t, inner, err := v.tree(id)
	if err != nil {
		return nil, err
	}
	return t.fs.GetXattr(ctx, inner, name)
}

// ListXattr is vfs.FS's.
func (v pastView) ListXattr(ctx context.Context, id vfs.NodeID) ([]string, error) {
	switch {
	case id == pastID || id == atID:
		return nil, nil
	case !isPast(id):
		return v.view.ListXattr(ctx, id)
	}
	t, inner, err := v.tree(id)
	if err != nil {
		return nil, err
	}
	return t.fs.ListXattr(ctx, inner)
}

// Open is vfs.FS's.
func (v pastView) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	switch {
	case id == pastID || id == atID:
		return nil, fmt.Errorf("pod: open node %d: %w", id, vfs.ErrIsDir)
	case !isPast(id):
		return v.view.Open(ctx, id)
	}
	t, inner, err := v.tree(id)
	if err != nil {
		return nil, err
	}
	return t.fs.Open(ctx, inner)
}

// fixed says that a node can't be changed. Errors: vfs.ErrReadOnly, ErrNotExist.
func (v pastView) fixed(ctx context.Context, id vfs.NodeID) error {
	if !isPast(id) {
		return nil
	}
	if _, err := v.GetAttr(ctx, id); err != nil {
		return err
	}
	return errFixedTree
}

// fixedName is fixed for an entry of a folder; .wh in the root can't be made either.
func (v pastView) fixedName(ctx context.Context, parent vfs.NodeID, name string) error {
	if parent == vfs.RootID && name == pastName {
		if _, err := v.view.Lookup(ctx, parent, name); err != nil {
			return errFixedTree
		}
	}
	return v.fixed(ctx, parent)
}

// SetAttr is vfs.FS's.
func (v pastView) SetAttr(ctx context.Context, id vfs.NodeID, set vfs.SetAttr) (vfs.Attr, error) {
	if err := v.fixed(ctx, id); err != nil {
		return vfs.Attr{}, err
	}
	return v.view.SetAttr(ctx, id, set)
}

// Create is vfs.FS's.
func (v pastView) Create(ctx context.Context, parent vfs.NodeID, name string, n vfs.NewNode) (vfs.Attr, error) {
	if err := v.fixedName(ctx, parent, name); err != nil {
		return vfs.Attr{}, err
	}
	return v.view.Create(ctx, parent, name, n)
}

// Link is vfs.FS's.
func (v pastView) Link(ctx context.Context, id, parent vfs.NodeID, name string) (vfs.Attr, error) {
	if err := v.fixed(ctx, id); err != nil {
		return vfs.Attr{}, err
	}
	if err := v.fixedName(ctx, parent, name); err != nil {
		return vfs.Attr{}, err
	}
	return v.view.Link(ctx, id, parent, name)
}

// Rename is vfs.FS's.
func (v pastView) Rename(ctx context.Context, parent vfs.NodeID, name string, newParent vfs.NodeID, newName string, f vfs.RenameFlag) error {
	if err := v.fixedName(ctx, parent, name); err != nil {
		return err
	}
	if err := v.fixedName(ctx, newParent, newName); err != nil {
		return err
	}
	return v.view.Rename(ctx, parent, name, newParent, newName, f)
}

// Remove is vfs.FS's.
func (v pastView) Remove(ctx context.Context, parent vfs.NodeID, name string, folder bool) error {
	if err := v.fixedName(ctx, parent, name); err != nil {
		return err
	}
	return v.view.Remove(ctx, parent, name, folder)
}

// SetXattr is vfs.FS's.
func (v pastView) SetXattr(ctx context.Context, id vfs.NodeID, name string, value []byte, f vfs.XattrFlag) error {
	if err := v.fixed(ctx, id); err != nil {
		return err
	}
	return v.view.SetXattr(ctx, id, name, value, f)
}

// RemoveXattr is vfs.FS's.
func (v pastView) RemoveXattr(ctx context.Context, id vfs.NodeID, name string) error {
	if err := v.fixed(ctx, id); err != nil {
		return err
	}
	return v.view.RemoveXattr(ctx, id, name)
}
