// Package memfs is a vfs.FS in memory: small, plain and strict. It is the model that every other FS is
// compared with (package vfstest), and a file system for tests.
//
// All surfaces of one tree share it: New makes the first, View one more. A Watch on a surface tells of
// what was done through the others. One lock covers a tree, so each operation is atomic. Times never
// repeat: each change is at least a nanosecond later than the one before, so that a test sees an mtime
// move without waiting.
//
// An operation that returns the context's error has done nothing.
package memfs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Options of New; the zero value is good.
type Options struct {
	Clock         clock.Clock // nil: the machine's
	CapacityBytes uint64      // 0: 1 TiB. Contents that pass it are vfs.ErrNoSpace; counted in pages of 4 KiB
}

// FS is one surface of a tree. It is safe for concurrent use.
type FS struct {
	t    *tree
	view int // the number of this surface
}

var (
	_ vfs.FS      = (*FS)(nil)
	_ vfs.Watcher = (*FS)(nil)
)

// tree is what all surfaces share.
type tree struct {
	clock    clock.Clock
	capacity uint64

	// mu guards the fields below and all nodes.
	mu       sync.RWMutex
	nodes    map[vfs.NodeID]*node // named, or open
	lastID   vfs.NodeID
	lastTime int64
	pages    uint64 // in use by contents
	views    int
	watchers map[*watcher]struct{}
	closed   bool
}

// node is a file, folder, link or special file.
type node struct {
	attr    vfs.Attr
	parent  *node             // of a folder
	entries []entry           // of a folder, sorted by name
	target  string            // of a symlink
	pages   map[uint64][]byte // of a file, by offset / pageSize; what is not there is a hole
	xattrs  map[string][]byte
	open    int // Files that are open on it
}

type entry struct {
	name string
	node *node
}

// New makes an empty tree: a root folder of mode 0755, user and group 0.
func New(o Options) *FS {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.CapacityBytes == 0 {
		o.CapacityBytes = 1 << 40
	}
	t := &tree{clock: o.Clock, capacity: o.CapacityBytes, nodes: make(map[vfs.NodeID]*node), watchers: make(map[*watcher]struct{})}
	root := t.newNode(vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
	root.parent = root
	return &FS{t: t}
}

// View is another surface of the same tree.
func (f *FS) View() *FS {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	f.t.views++
	return &FS{t: f.t, view: f.t.views}
}

// Close ends the tree on all surfaces: everything afterwards is vfs.ErrClosed.
func (f *FS) Close() {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	f.t.closed = true
}

// Nodes is how many nodes there are, unlinked ones that are open included.
func (f *FS) Nodes() int {
	f.t.mu.RLock()
	defer f.t.mu.RUnlock()
	return len(f.t.nodes)
}

// lock begins an operation that changes the tree; the caller unlocks if there is no error.
func (f *FS) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.t.mu.Lock()
	if f.t.closed {
		f.t.mu.Unlock()
		return vfs.ErrClosed
	}
	return nil
}

// rlock begins an operation that reads; the caller runlocks if there is no error.
func (f *FS) rlock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.t.mu.RLock()
	if f.t.closed {
		f.t.mu.RUnlock()
		return vfs.ErrClosed
	}
	return nil
}

// now is the time of a change. mu held for writing.
func (t *tree) now() int64 {
	t.lastTime = max(t.lastTime+1, t.clock.Now().UnixNano())
	return t.lastTime
}

// newNode makes a node that has no name yet. mu held for writing, or nobody else knows the tree.
func (t *tree) newNode(n vfs.NewNode) *node {
	t.lastID++
	now := t.now()
	made := &node{attr: vfs.Attr{ID: t.lastID, Kind: n.Kind, Mode: n.Mode, UID: n.UID, GID: n.GID, NLink: 1, Atime: now, Mtime: now, Ctime: now, Btime: now}}
	switch n.Kind {
	case vfs.KindFolder:
		made.attr.NLink = 2
	case vfs.KindSymlink:
		made.target = n.Target
		made.attr.Size = uint64(len(n.Target))
	case vfs.KindCharDev, vfs.KindBlockDev:
		made.attr.RDev = n.RDev
	case vfs.KindFile:
		made.pages = make(map[uint64][]byte)
	}
	t.nodes[made.attr.ID] = made
	return made
}

// get finds a node. mu held.
func (t *tree) get(id vfs.NodeID) (*node, error) {
	n := t.nodes[id]
	if n == nil {
		return nil, fmt.Errorf("memfs: node %d: %w", id, vfs.ErrNotExist)
	}
	return n, nil
}

// folder finds a folder. mu held.
func (t *tree) folder(id vfs.NodeID) (*node, error) {
	n, err := t.get(id)
	if err == nil && n.attr.Kind != vfs.KindFolder {
		err = fmt.Errorf("memfs: node %d: %w", id, vfs.ErrNotDir)
	}
	return n, err
}

// place finds a folder and what it has under a name that may be new: nil if nothing. mu held.
func (t *tree) place(id vfs.NodeID, name string) (parent, child *node, err error) {
	if err := vfs.CheckName(name); err != nil {
		return nil, nil, err
	}
	if parent, err = t.folder(id); err != nil {
		return nil, nil, err
	}
	return parent, parent.child(name), nil
}

// find tells where a name is among the entries, or would be.
func (n *node) find(name string) (int, bool) {
	return slices.BinarySearchFunc(n.entries, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
}

func (n *node) child(name string) *node {
	if i, ok := n.find(name); ok {
		return n.entries[i].node
	}
	return nil
}

// isOrHas tells whether a folder is n or, at any depth, in it.
func (n *node) isOrHas(folder *node) bool {
	for ; folder != n; folder = folder.parent {
		if folder.parent == folder {
			return false
		}
	}
	return true
}

// forget drops a node that has neither a name nor a user. mu held for writing.
func (t *tree) forget(n *node) {
	if n.attr.NLink == 0 && n.open == 0 {
		t.pages -= uint64(len(n.pages))
		delete(t.nodes, n.attr.ID)
	}
}
