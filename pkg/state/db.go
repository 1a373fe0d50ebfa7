package state

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Errors of Apply; a commit that one of them refuses, and what comes after it, is not applied.
var (
	// ErrGap says that a commit rests on one that was not applied yet.
	ErrGap = errors.New("an earlier commit is missing")
	// ErrFork says that an actor signed two commits with one number.
	ErrFork = errors.New("two commits of one actor have one number")
	// ErrFuture says that a commit is stamped more than FutureMax ahead of the clock here.
	ErrFuture = errors.New("commit from the future")
	// ErrForeign says that data belongs to another network.
	ErrForeign = errors.New("of another network")
)

// ErrUnfolded says that rows can't be committed before the journals of their files are folded: see Uncommitted.
var ErrUnfolded = errors.New("rows wait for what was written to their files")

// Options say what a DB is opened with.
type Options struct {
	FS      pebblevfs.FS
	Dir     string
	Network ident.Network
	Actor   ident.Actor // the member that writes here, in its first incarnation; who it writes as is DB.Actor
	// Copy names this copy of the directory, by the machine and the disk it is on: opened with another than the last time, it is a copy or was
	// brought back, and goes on under a new incarnation. nil: it is not known.
	Copy []byte
	// Rand is what numbers and incarnations are drawn from; nil: crypto/rand. Two copies of a pod must not have the same.
	Rand io.Reader
	// Sign signs with the pod's key; nil: every operation is refused with vfs.ErrReadOnly.
	Sign func(msg []byte) []byte
	// WhyReadOnly says, by an error that wraps vfs.ErrReadOnly, why operations are refused where there is nobody to sign, or MayWrite has ended that; nil: that error says it alone.
	WhyReadOnly func() error
	// SignHead signs heads, by which others learn what this pod has; nil: Sign does. A pod that only reads has heads too, which prove nothing to join.
	SignHead func(msg []byte) []byte
	// Author is the key of an actor that may write; an error: it may not, or is not known yet.
	Author func(ident.Actor) (ed25519.PublicKey, error)
	// PodName is the name of an actor's pod, for conflict names. It must not block; nil or "": the actor's number.
	PodName func(ident.Actor) string
	// BeforeCommit makes every block durable that rows name. It is called before rows are committed, while
	// operations may wait: it must not call operations, nor wait for somebody who does.
	BeforeCommit func(context.Context) error
	// ContentsDurable says that what a content names is durable before the operation that names it, so that BeforeCommit is for what goes through PutChunk
	// alone. A checkpoint need not call it then while operations wait.
	ContentsDurable bool
	// Blocks takes the nodes of checkpoints.
	Blocks block.Store
	// PutChunk takes a chunk of a long symlink's target, and names it as bodies do; nil: Blocks takes it as it is.
	PutChunk func(ctx context.Context, plain []byte) (block.ID, error)
	Clock    clock.Clock
	Log      *slog.Logger
	// JoinRows is how many rows of a join are written at once; 0: some 1000. For simulations.
	JoinRows int
	// Quiet leaves out what the database does by itself in the background: the calls alone decide which writes and syncs there are. It
	// is for simulations, since the database grows slow in time.
	Quiet bool
}

// Node is what the view shows under a number: a file, folder or link, or a conflict copy, which has a number of its own.
type Node struct {
	vfs.Attr
	Body    []byte      // an encoded dag.Body; empty: a file of no bytes, or no file. Not to be changed
	Ino     Ino         // of the row; for a copy another than Attr.ID
	Copy    bool        // a conflict copy
	Content ContentName // names what the file holds; zero while it is not committed
	Deleted bool        // shown although it was deleted elsewhere (unlinks made apart, or an entry made in a removed folder)
}

// Entry is a name in a folder and what it shows.
type Entry struct {
	Name string
	Node Node
}

// NewContent is what a file is to hold.
type NewContent struct {
	Size  uint64 // bytes
	Mtime int64  // ns since 1970; 0: now
	Body  []byte // an encoded dag.Body; empty: no bytes
	// Over names the content that this is an edit of: what else the file holds, which its author did not see, stays beside
	// it. The zero name is this pod's own newest content. nil: whatever is shown.
	Over *ContentName
	// Folded are the journal records whose writes the content has in it: they are deleted with the change that sets it.
	Folded JournalMark
	// Origin says what the bytes were imported from, so that FromOrigin knows it again: at most OriginMax bytes; empty: nothing is
	// noted. It stays with the inode, on this pod.
	Origin []byte
}

// JournalMark names a file's journal records up to one; the zero value names none.
type JournalMark struct {
	Ino Ino
	Gen uint64 // as Journal returned it
}

// CreateOptions say what Create sets besides; the zero value sets nothing.
type CreateOptions struct {
	Content *NewContent       // of a file
	Mtime   *int64            // ns since 1970
	Xattrs  map[string][]byte // values of at most vfs.XattrMax bytes
}

// WishEdit changes a wish; nil leaves a field as it is, an empty value clears it.
type WishEdit struct {
	Policy     *string
	Durability *string
	Homes      *[]ident.Pod
	Moved      bool // Homes are where the node is read most, and not a user's choice
	Pin, Unpin []ident.Pod
	Rules      map[uint64]string // by their Ext fields, such as WishQuota
}

// CheckpointInfo names a checkpoint.
type CheckpointInfo struct {
	State block.ID // the node {network, rows, vv}
	Tree  block.ID // the root folder of the view
	VV    VV
	Seq   uint64 // this pod's last commit in it
}
