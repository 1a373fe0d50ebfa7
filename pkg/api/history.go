package api

import (
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// LogRequest asks for the changes at and below a path, newest first.
type LogRequest struct {
	Path  Text `json:"path"`
	Limit int  `json:"limit"` // 0: all
}

// LogEntry is a change: a line of log.
type LogEntry struct {
	Time time.Time `json:"time"`
	Pod  Text      `json:"pod"`  // that made it; "": not known any more
	What string    `json:"what"` // created, edited, renamed, linked, removed, attributes, policy, snapshot; of compared trees added, removed, changed, attributes
	Path Text      `json:"path"` // "": not known any more
	From Text      `json:"from"` // before a rename
	Kind string    `json:"kind"`
	Size uint64    `json:"size_bytes"`
	CID  block.ID  `json:"cid"`  // of a file, after; of a snapshot its root
	Tree Text      `json:"tree"` // "": the log has it; else the kept tree since which it was done
}

// DiffRequest asks what differs between two trees, each named by a time, snapshot, pod or CID; "" is now.
type DiffRequest struct {
	A    Text `json:"a"`
	B    Text `json:"b"`
	Path Text `json:"path"` // and below; "" is "/"
}

// Difference is a path that is not the same in two trees.
type Difference struct {
	Path   Text     `json:"path"`
	What   string   `json:"what"` // added, removed, changed, attributes
	Kind   string   `json:"kind"`
	Before uint64   `json:"before_bytes"`
	After  uint64   `json:"after_bytes"`
	CID    block.ID `json:"cid"` // of a file, after
}

// SnapshotRequest names a snapshot to make or remove.
type SnapshotRequest struct {
	Name Text `json:"name"`
}

// Snapshot is a tree that is kept under a name, or, without one, between snapshots.
type Snapshot struct {
	Name Text       `json:"name"`
	CID  block.ID   `json:"cid"`
	Time *time.Time `json:"time"` // null: not known any more
	Pod  Text       `json:"pod"`
	Auto bool       `json:"auto"` // made, and to be removed, by rule
}

// SnapshotsRequest asks for snapshots.
type SnapshotsRequest struct {
	All bool `json:"all"` // and what this pod keeps between them
}

// RestoreRequest asks that a path be as it was. At "" means the newest kept tree that has it, and that it must not be there now.
type RestoreRequest struct {
	Path Text `json:"path"`
	At   Text `json:"at"`
	To   Text `json:"to"` // another path of the network; "": Path
}

// Restored says what was restored, and from where.
type Restored struct {
	Path     Text       `json:"path"`
	CID      block.ID   `json:"cid"` // the tree's root
	Snapshot Text       `json:"snapshot"`
	Time     *time.Time `json:"time"` // of the tree; null: not known
	Files    int        `json:"files"`
	Bytes    uint64     `json:"bytes"`
}

// Conflict is what pods did apart at one path.
type Conflict struct {
	Path     Text              `json:"path"`
	Kind     string            `json:"kind"`     // contents, deleted, renamed
	Versions []ConflictVersion `json:"versions"` // the first is what is shown at the path
}

// ConflictVersion is one side of a conflict.
type ConflictVersion struct {
	ID      string     `json:"id"`
	Path    Text       `json:"path"`
	Pod     Text       `json:"pod"` // that made it; "": not known
	Ours    bool       `json:"ours"`
	Time    *time.Time `json:"time"` // null: not known
	Deleted bool       `json:"deleted"`
	Kind    string     `json:"kind"`
	Size    uint64     `json:"size_bytes"`
}

// ResolveRequest ends a conflict: Keep is ours, theirs, both, or a version's ID.
type ResolveRequest struct {
	Path Text   `json:"path"`
	Keep string `json:"keep"`
}
