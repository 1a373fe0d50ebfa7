package pod

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// OpenTree opens a folder's node, a file's body, or a chunk by its CID, as a file system that can't be changed: it needs no row
// of the state. Of a file the root is that file. Errors: block.ErrUnavailable, block.ErrCorrupt (what the CID names is none of these).
func (p *Pod) OpenTree(ctx context.Context, id block.ID) (vfs.FS, error) {
	if err := p.sees(); err != nil {
		return nil, err
	}
	if owned, isCached := p.store.Has(id); !owned && !isCached {
		// It may be a body or folder of the view as it is now, whose block the next checkpoint puts.
		if _, err := p.checkpoint(ctx); err != nil {
			p.log.WarnContext(ctx, "no checkpoint could be made", "err", err)
		}
	}
	data, err := p.getBlock(ctx, id)
	if err != nil {
		return nil, err
	}
	t := &treeFS{p: p, byPlace: make(map[treePlace]vfs.NodeID), byIno: make(map[uint64]vfs.NodeID)}
	root := treeNode{attr: vfs.Attr{ID: vfs.RootID, NLink: 1, Mode: 0o644}, child: id}
	if id.Codec() == block.Raw {
		root.attr.Kind, root.attr.Size = vfs.KindFile, uint64(len(data))
		root.body = &dag.Body{Size: uint64(len(data)), Entries: []dag.Entry{{Len: uint64(len(data)), ID: id}}}
	} else if own, err := dag.ReadFolder(ctx, blocks{p}, id); err == nil {
		root.attr.Kind, root.attr.Mode, root.attr.UID, root.attr.GID, root.attr.Mtime = vfs.KindFolder, own.Mode, own.UID, own.GID, own.Mtime
	} else {
		body, err := dag.DecodeBody(data)
		if err != nil {
			return nil, fmt.Errorf("pod: %s is neither a file nor a folder: %w: %w", id, err, block.ErrCorrupt)
		}
		root.attr.Kind, root.attr.Size, root.body = vfs.KindFile, body.Size, &body
	}
	root.attr.Atime, root.attr.Ctime, root.attr.Btime = root.attr.Mtime, root.attr.Mtime, root.attr.Mtime
	t.nodes = []treeNode{root}
	return t, nil
}

// treeFS is a tree of the DAG. Its numbers are given as nodes are met; they begin at 1.
type treeFS struct {
	p *Pod

	mu      sync.Mutex // guards the fields below
	nodes   []treeNode // number-1
	byPlace map[treePlace]vfs.NodeID
	byIno   map[uint64]vfs.NodeID // files by their numbers in the network: names of one are one node
}

type treePlace struct {
	parent vfs.NodeID
	name   string
}

type treeNode struct {
	attr   vfs.Attr
	parent vfs.NodeID
	child  block.ID
	xattrs []dag.Xattr
	body   *dag.Body // nil: child is to be read
}

func (t *treeFS) node(id vfs.NodeID) (treeNode, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == 0 || id > vfs.NodeID(len(t.nodes)) {
		return treeNode{}, fmt.Errorf("pod: node %d of a tree: %w", id, vfs.ErrNotExist)
	}
	return t.nodes[id-1], nil
}

func (t *treeFS) folder(id vfs.NodeID) (treeNode, error) {
	n, err := t.node(id)
	if err == nil && n.attr.Kind != vfs.KindFolder {
		err = fmt.Errorf("pod: node %d of a tree: %w", id, vfs.ErrNotDir)
	}
	return n, err
}

// meet gives an entry of a folder its number.
func (t *treeFS) meet(parent vfs.NodeID, d *dag.Dirent) vfs.Attr {
	t.mu.Lock()
	defer t.mu.Unlock()
	place := treePlace{parent, d.Name}
	if id, known := t.byPlace[place]; known {
		return t.nodes[id-1].attr
	}
	if id := t.byIno[d.Ino]; id != 0 && t.nodes[id-1].is(d) {
		t.byPlace[place] = id
		return t.nodes[id-1].attr
	}
	id := vfs.NodeID(len(t.nodes) + 1)
	a := vfs.Attr{
		ID: id, Kind: vfs.Kind(d.Kind), Mode: d.Mode, UID: d.UID, GID: d.GID, RDev: d.RDev, NLink: 1,
		Size: d.Size, Blocks: blocksOf(d.Size), Atime: d.Mtime, Mtime: d.Mtime, Ctime: d.Mtime, Btime: d.Mtime,
	}
	t.nodes = append(t.nodes, treeNode{attr: a, parent: parent, child: d.Child, xattrs: d.Xattrs})
	t.byPlace[place] = id
	if a.Kind != vfs.KindFolder && d.Ino != 0 {
		t.byIno[d.Ino] = id
	}
	return a
}

// is says whether an entry of the same number is another name of the node. A conflict copy has other contents, and what a
// faulty pod wrote may have anything.
func (n *treeNode) is(d *dag.Dirent) bool {
	a := &n.attr
	return a.Kind == vfs.Kind(d.Kind) && a.Kind != vfs.KindFolder && n.child == d.Child && a.Size == d.Size && a.Mtime == d.Mtime &&
		a.Mode == d.Mode && a.UID == d.UID && a.GID == d.GID && a.RDev == d.RDev
}

// Lookup is vfs.FS's.
func (t *treeFS) Lookup(ctx context.Context, parent vfs.NodeID, name string) (vfs.Attr, error) {
	n, err := t.folder(parent)
	if err != nil {
		return vfs.Attr{}, err
	}
	d, found, err := dag.LookupFolder(ctx, blocks{t.p}, n.child, name)
	if err != nil {
		return vfs.Attr{}, err
	}
	if !found {
		return vfs.Attr{}, fmt.Errorf("pod: %q in a tree: %w", name, vfs.ErrNotExist)
	}
	return t.meet(parent, &d), nil
}

// met is how many nodes have numbers.
func (t *treeFS) met() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.nodes)
}

// GetAttr is vfs.FS's.
func (t *treeFS) GetAttr(_ context.Context, id vfs.NodeID) (vfs.Attr, error) {
	n, err := t.node(id)
	return n.attr, err
}

// ReadDir is vfs.FS's.
func (t *treeFS) ReadDir(ctx context.Context, id vfs.NodeID, after string, limit int) ([]vfs.DirEntry, error) {
	n, err := t.folder(id)
	if err != nil {
		return nil, err
	}
	list, err := dag.ListFolder(ctx, blocks{t.p}, n.child, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]vfs.DirEntry, len(list))
	for i := range list {
		out[i] = vfs.DirEntry{Name: list[i].Name, Attr: t.meet(id, &list[i])}
	}
	return out, nil
}

// Parent is vfs.FS's.
func (t *treeFS) Parent(_ context.Context, id vfs.NodeID) (vfs.NodeID, error) {
	n, err := t.folder(id)
	if err != nil || id == vfs.RootID {
		return vfs.RootID, err
	}
	return n.parent, nil
}

// bodyOf is what a file or symlink holds.
func (t *treeFS) bodyOf(ctx context.Context, n treeNode) (dag.Body, error) {
	if n.body != nil {
		return *n.body, nil
	}
	if n.child.IsZero() {
		return dag.Body{}, nil
	}
	data, err := t.p.getBlock(ctx, n.child)
	if err != nil {
		return dag.Body{}, t.p.givenUp(ctx, err)
	}
	body, err := dag.DecodeBody(data)
	if err == nil && body.Size != n.attr.Size {
		err = fmt.Errorf("pod: body %s has %d bytes, its folder says %d: %w", n.child, body.Size, n.attr.Size, block.ErrCorrupt)
	}
	return body, err
}

// ReadLink is vfs.FS's.
func (t *treeFS) ReadLink(ctx context.Context, id vfs.NodeID) (string, error) {
	n, err := t.node(id)
	if err != nil {
		return "", err
	}
	if n.attr.Kind != vfs.KindSymlink {
		return "", fmt.Errorf("pod: node %d of a tree is no symlink: %w", id, vfs.ErrInvalid)
	}
	if n.attr.Size > vfs.TargetMax {
		return "", fmt.Errorf("pod: symlink with a target of %d bytes: %w", n.attr.Size, block.ErrCorrupt)
	}
	body, err := t.bodyOf(ctx, n)
	if err != nil {
		return "", err
	}
	target := make([]byte, body.Size)
	if err := t.p.readBody(ctx, body, target, 0); err != nil {
		return "", err
	}
	return string(target), nil
}

// GetXattr is vfs.FS's.
func (t *treeFS) GetXattr(_ context.Context, id vfs.NodeID, name string) ([]byte, error) {
	n, err := t.node(id)
	if err != nil {
		return nil, err
	}
	for _, x := range n.xattrs {
		if x.Name == name {
			return x.Value, nil
		}
	}
	return nil, fmt.Errorf("pod: %q of node %d of a tree: %w", name, id, vfs.ErrNoXattr)
}

// ListXattr is vfs.FS's.
func (t *treeFS) ListXattr(_ context.Context, id vfs.NodeID) ([]string, error) {
	n, err := t.node(id)
	var names []string
	for _, x := range n.xattrs {
		names = append(names, x.Name)
	}
	return names, err
}

// Open is vfs.FS's.
func (t *treeFS) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	n, err := t.node(id)
	if err != nil {
		return nil, err
	}
	switch n.attr.Kind {
	case vfs.KindFile:
	case vfs.KindFolder:
		return nil, fmt.Errorf("pod: open node %d of a tree: %w", id, vfs.ErrIsDir)
	default:
		return nil, fmt.Errorf("pod: open node %d of a tree: %w", id, vfs.ErrInvalid)
	}
	body, err := t.bodyOf(ctx, n)
	if err != nil {
		return nil, err
	}
	return treeFile{p: t.p, body: body}, nil
}

// StatFS is vfs.FS's.
func (t *treeFS) StatFS(ctx context.Context) (vfs.StatFS, error) { return t.p.statFS(ctx) }

// SyncFS is vfs.FS's.
func (t *treeFS) SyncFS(context.Context) error { return nil }

var errFixedTree = fmt.Errorf("pod: a tree that is named by its CID never changes: %w", vfs.ErrReadOnly)

// SetAttr is vfs.FS's.
func (t *treeFS) SetAttr(context.Context, vfs.NodeID, vfs.SetAttr) (vfs.Attr, error) {
	return vfs.Attr{}, errFixedTree
}

// Create is vfs.FS's.
func (t *treeFS) Create(context.Context, vfs.NodeID, string, vfs.NewNode) (vfs.Attr, error) {
	return vfs.Attr{}, errFixedTree
}

// Link is vfs.FS's.
func (t *treeFS) Link(context.Context, vfs.NodeID, vfs.NodeID, string) (vfs.Attr, error) {
	return vfs.Attr{}, errFixedTree
}

// Rename is vfs.FS's.
func (t *treeFS) Rename(context.Context, vfs.NodeID, string, vfs.NodeID, string, vfs.RenameFlag) error {
	return errFixedTree
}

// Remove is vfs.FS's.
func (t *treeFS) Remove(context.Context, vfs.NodeID, string, bool) error { return errFixedTree }

// SetXattr is vfs.FS's.
func (t *treeFS) SetXattr(context.Context, vfs.NodeID, string, []byte, vfs.XattrFlag) error {
	return errFixedTree
}

// RemoveXattr is vfs.FS's.
func (t *treeFS) RemoveXattr(context.Context, vfs.NodeID, string) error { return errFixedTree }

// treeFile is an open file of a tree.
type treeFile struct {
	p    *Pod
	body dag.Body
}

// ReadAt is vfs.File's.
func (f treeFile) ReadAt(ctx context.Context, data []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("pod: read at %d: %w", off, vfs.ErrInvalid)
	}
	if uint64(off) >= f.body.Size {
		return 0, io.EOF
	}
	n := int(min(uint64(len(data)), f.body.Size-uint64(off)))
	if err := f.p.readBody(ctx, f.body, data[:n], uint64(off)); err != nil {
		return 0, err
	}
	if n < len(data) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt is vfs.File's.
func (f treeFile) WriteAt(context.Context, []byte, int64) (int, error) { return 0, errFixedTree }

// Sync is vfs.File's.
func (f treeFile) Sync(context.Context) error { return nil }

// Flush is vfs.File's.
func (f treeFile) Flush(context.Context) error { return nil }

// Close is vfs.File's.
func (f treeFile) Close(context.Context) error { return nil }

var _ vfs.FS = (*treeFS)(nil)
