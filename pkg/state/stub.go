package state

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// DB is the state of one network on one pod.
type DB struct{ o Options }

// Open opens or makes a DB.
func Open(ctx context.Context, o Options) (*DB, error) { return nil, vfs.ErrNotSupported }

// Close ends the use.
func (d *DB) Close() error { return nil }

// Get is the node with a number.
func (d *DB) Get(id vfs.NodeID) (Node, error) { return Node{}, vfs.ErrNotSupported }

// Lookup is the node at a name of a folder.
func (d *DB) Lookup(parent vfs.NodeID, name string) (Node, error) { return Node{}, vfs.ErrNotSupported }

// List is at most limit entries of a folder after a name.
func (d *DB) List(parent vfs.NodeID, after string, limit int) ([]Entry, error) { return nil, nil }

// Parent is the folder that a folder is in.
func (d *DB) Parent(folder vfs.NodeID) (vfs.NodeID, error) { return 0, nil }

// Path is the path of a node from the root, "/a/b".
func (d *DB) Path(id vfs.NodeID) (string, error) { return "", nil }

// Xattr is the value of an extended attribute.
func (d *DB) Xattr(id vfs.NodeID, name string) ([]byte, error) { return nil, nil }

// Xattrs are the names, sorted.
func (d *DB) Xattrs(id vfs.NodeID) ([]string, error) { return nil, nil }

// Create makes a node.
func (d *DB) Create(parent vfs.NodeID, name string, n vfs.NewNode, o CreateOptions) (Node, error) { return Node{}, nil }

// Link gives a file one more name.
func (d *DB) Link(id, parent vfs.NodeID, name string) (Node, error) { return Node{}, nil }

// Rename moves an entry; what was replaced is returned (zero Ino: nothing).
func (d *DB) Rename(parent vfs.NodeID, name string, newParent vfs.NodeID, newName string, f vfs.RenameFlag) (replaced Node, err error) {
	return Node{}, nil
}

// Remove removes a name and returns what stood there; NLink 0: that was its last name.
func (d *DB) Remove(parent vfs.NodeID, name string, folder bool) (Node, error) { return Node{}, nil }

// SetAttr sets attributes (not Size).
func (d *DB) SetAttr(id vfs.NodeID, set vfs.SetAttr) (Node, error) { return Node{}, nil }

// SetContent sets what a file holds.
func (d *DB) SetContent(id vfs.NodeID, c NewContent) (Node, error) { return Node{}, nil }

// SetXattr sets an extended attribute.
func (d *DB) SetXattr(id vfs.NodeID, name string, value []byte, f vfs.XattrFlag) error { return nil }

// RemoveXattr removes one.
func (d *DB) RemoveXattr(id vfs.NodeID, name string) error { return nil }

// SetWish changes a node's own wish.
func (d *DB) SetWish(id vfs.NodeID, e WishEdit) error { return nil }

// Wish is a node's own wish.
func (d *DB) Wish(id vfs.NodeID) (Wish, bool, error) { return Wish{}, false, nil }

// EffectiveWish is a node's wish with what it inherits; from is where the policy is set (0: nowhere).
func (d *DB) EffectiveWish(id vfs.NodeID) (w Wish, from Ino, err error) { return Wish{}, 0, nil }

// Dirty says whether there are uncommitted rows.
func (d *DB) Dirty() bool { return false }

// OnDirty sets the function called when the first uncommitted row appears.
func (d *DB) OnDirty(f func()) {}

// Watch adds a function called with what changed in the view.
func (d *DB) Watch(f func([]vfs.Change)) {}

// Commit commits all dirty rows; n is their number.
func (d *DB) Commit(ctx context.Context) (n int, err error) { return 0, nil }

// Log is commits that somebody with have lacks.
func (d *DB) Log(ctx context.Context, have VV, maxBytes int) ([][]byte, error) { return nil, nil }

// Apply applies commits of others.
func (d *DB) Apply(ctx context.Context, commits [][]byte) (applied int, err error) { return 0, nil }

// VV is what has been applied and is durable here.
func (d *DB) VV() VV { return nil }

// Head is the signed head.
func (d *DB) Head(ctx context.Context) ([]byte, error) { return nil, nil }

// Checkpoint writes a checkpoint.
func (d *DB) Checkpoint(ctx context.Context) (CheckpointInfo, error) { return CheckpointInfo{}, nil }

// LastCheckpoint is the newest checkpoint; zero: none.
func (d *DB) LastCheckpoint() CheckpointInfo { return CheckpointInfo{} }

// NodeCID is the CID of a file's body or of a folder as of the newest checkpoint.
func (d *DB) NodeCID(id vfs.NodeID) (block.ID, error) { return block.ID{}, nil }

// EachContent calls f with every live content, conflict copies included.
func (d *DB) EachContent(ctx context.Context, f func(n Node) error) error { return nil }

// Contents are contents that became known after a cursor.
func (d *DB) Contents(after uint64, limit int) (nodes []Node, next uint64, err error) { return nil, 0, nil }

// AddStatement keeps a statement, durably; fresh: it was not there.
func (d *DB) AddStatement(ctx context.Context, b []byte) (fresh bool, err error) { return false, nil }

// Statements are all statements.
func (d *DB) Statements() ([][]byte, error) { return nil, nil }

// Local is a local value.
func (d *DB) Local(key string) (value []byte, ok bool, err error) { return nil, false, nil }

// SetLocal sets a local value, durably; nil removes it.
func (d *DB) SetLocal(ctx context.Context, key string, value []byte) error { return nil }

// Check calls f with everything that is wrong.
func (d *DB) Check(ctx context.Context, f func(problem string)) error { return nil }
