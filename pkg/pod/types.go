package pod

import (
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// Info is what a pod is.
type Info struct {
	Pod         ident.Pod
	Name        string
	Network     ident.Network
	NetworkName string
	Role        string   // admin, writer, reader, storage
	Encrypted   bool     // the network's chunks are sealed
	Locked      bool     // the pod's disk is encrypted (Locking)
	Addrs       []string // where it can be reached now, as multiaddrs
}

// PodInfo is what is known of a pod of the network.
type PodInfo struct { //nolint:revive // Info is what this pod is; this one is of any
	Pod       ident.Pod
	Name      string
	Self      bool
	State     string // up, suspect, down, out, draining
	Role      string
	Zone      string
	Class     string
	Weight    uint32
	UsedBytes int64
	FreeBytes int64
	LastSeen  time.Time // zero: never since this daemon started
	Root      block.ID  // its tree root, as it last said; zero: unknown
}

// Holder is a pod that holds a block.
type Holder struct {
	Pod    ident.Pod
	Name   string
	Kind   string // "whole", "cached", "fragment"
	Index  int    // of a fragment, else -1
	Pinned bool
}

// ChunkWhere tells who holds one block of a file.
type ChunkWhere struct {
	ID      block.ID
	Bytes   int64
	Holders []Holder
	Safety  placement.Safety
}

// Where tells who holds a file.
type Where struct {
	ID     block.ID // the file's
	Policy string
	Safe   bool             // every block is held as the policy promises
	Safety placement.Safety // that of the least safe
	Chunks []ChunkWhere
}

// Policy tells which policy holds at a node.
type Policy struct {
	Policy     string // effective
	Durability string // effective
	From       string // the path where the policy is set; "" is the network's default
	Rules      []PathRule
}

// Status is the pod's and the network's health on one screen.
type Status struct {
	Healthy     bool
	Reasons     []string // why not healthy
	Pods        []PodInfo
	UnsafeBytes int64        // acknowledged here or elsewhere and below its policy although there are pods enough, as known here
	States      []StateBytes // of all contents, each once, as the last round over all found them, and of what is dirty; in the order of placement.State
	DirtyBytes  int64        // not yet committed here
	Warnings    []health.Warning
}

// StateBytes is how many bytes are how safe.
type StateBytes struct {
	State string // placement.State's word
	Bytes int64
}

// Usage is how the pod's disk is used, in bytes.
type Usage struct {
	Stored    int64 // all blocks
	Live      int64 // the pod's own blocks, but for the trash; what died since the last collection is among them
	Pinned    int64
	Cache     int64
	Trash     int64 // deleted, and kept for a while
	Snapshots int64 // only in snapshots
	Garbage   int64 // dead, and not given back to the disk yet
	Free      int64
}

// FileMeta is what an import says of a file besides its bytes.
type FileMeta struct {
	Mode   uint32 // 07777
	UID    uint32
	GID    uint32
	Mtime  int64 // ns since 1970
	Xattrs map[string][]byte
	Origin *Origin // nil: it is not to be known again
}

// Problem is something that Fsck found.
type Problem struct {
	Where string // a path, a block, a file of the pod
	What  string
	Fixed bool
}
