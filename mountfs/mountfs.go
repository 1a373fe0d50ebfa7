// Package mountfs shows a vfs.FS as a folder of the machine, by FUSE. Mount makes the mount and serves
// it; Stale, Detach and Abort deal with mounts whose daemon is dead or stuck.
//
// Caches: the kernel keeps names, attributes and names that don't exist for cacheTime, and pages, also those that are written through it, until
// a file is opened that has changed elsewhere. Where the FS is a vfs.Watcher, what is changed elsewhere is taken out
// of these caches as soon as it is told, by a goroutine of its own; where it is none, nothing but pages is
// cached. What is answered while a change comes is not cached. When the FS says that anything may have changed, all names are taken out at
// once, where the kernel can do that (Linux 6.16, and a mount made by root); elsewhere names are kept for cacheTimeShort only. Write-back caching is off, but by Options.Writeback: a
// write(2) has reached the FS when it returns.
//
// Deadlines: an operation ends after Options.Timeout at the latest, one that waits for the disk after syncFactor times that; then the
// caller sees ETIMEDOUT. While it lasts others are read and done, so one that waits holds up no other.
//
// Interrupts: a process that waits in the mount can be killed at once. The context of its operation ends
// when it is dying or, in a read, is asked to end (SIGINT, SIGTERM, SIGHUP, SIGQUIT); other signals wait, as on
// a disk. An FS that returns the context's error has done nothing; the process sees EINTR.
//
// Limits, of the FUSE library that is used (jacobsa/fuse), not of the FS: renameat2(2) with flags is
// refused (EINVAL), copy_file_range(2) copies by the kernel's pages, st_blocks counts holes, SEEK_HOLE finds none, locks hold
// within the mount, and times before 1970 are shown in whole seconds. docs/guarantees-and-limits.md tells what that means to programs.
//
// Linux and macOS only; elsewhere Mount is ErrUnsupported.
package mountfs

import (
	"errors"
	"log/slog"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// Errors of mounting.
var (
	ErrMounted      = errors.New("something is mounted there already") // a live mount of ours, or one of others
	ErrNoAnswer     = errors.New("the mount does not answer")          // its daemon is stuck; Abort frees it
	ErrUnsupported  = errors.New("mounting is not supported on this system")
	ErrNoConnection = errors.New("not a mount of ours")
)

const (
	// cacheTime is how long the kernel may use a name or attributes without asking. It bounds how old they
	// can be when an invalidation is missed; else that is faster.
	cacheTime = 10 * time.Minute
	// cacheTimeShort is for kernels that can't be told to forget all names.
	cacheTimeShort = 5 * time.Second
	// lateTime is when a node that a change was told of, and that the kernel did not know, is looked for once more: the answer that
	// makes it known may have been on its way.
	lateTime = time.Second
	// lateMax is how many of those are remembered. Beyond it all is taken out.
	lateMax = 4096
	// DefaultTimeout is how long an operation may wait for bytes of other pods: more than a chunk takes at 1 Mbit/s, and than a dead pod
	// takes to be noticed.
	DefaultTimeout = time.Minute
	// syncFactor is how much longer operations may take that wait for the disk, which can't be hurried: to time out an fsync that is only slow
	// would make programs give up.
	syncFactor = 5
	// answerTime is how long statfs(2) on a live mount may take.
	answerTime = 3 * time.Second
	// graceTime is how long an Unmount waits for those who use the mount, openTime for those who have files open on it.
	graceTime = 2 * time.Second
	openTime  = 10 * time.Second
	// retryTime is how long it waits between two attempts.
	retryTime = 50 * time.Millisecond
	// copyTime is how long the connection may outlive its mount before it is taken for held by a copy.
	copyTime = time.Second
	// endTime is how long, after that, operations in flight and closing files may take.
	endTime = 5 * time.Second
	// subtype is the part after "fuse." of the mount's type: it marks mounts of ours.
	subtype = "wormhole"
)

// Options of Mount. The zero value is good. Permissions are always checked by the kernel
// (default_permissions).
type Options struct {
	AllowOther bool // other users may enter; always so for root, and where /etc/fuse.conf permits it
	ReadOnly   bool // the mount refuses writes
	Dev        bool // device files work; else they are only shown (nodev)
	SUID       bool // set-id bits work; else they are only shown (nosuid)
	NoExec     bool // programs can't be run
	// Writeback lets the kernel gather writes in its pages and write them later, at a close or fsync at the latest: small writes are much faster, and what a
	// program wrote is not seen elsewhere, nor its mtime, before that. Of a file that is open here, the size that others give it is not seen.
	Writeback bool
	// Keep has a file that is opened for reading keep what it holds, if the FS is a vfs.Keeper; without pages in the kernel, and without shared mappings.
	Keep       bool
	UIDs, GIDs IDs           // how owners are shown; UIDs' zero value, of a mount that root did not make: all as who made it
	Timeout    time.Duration // of an operation that waits for other pods; 0: DefaultTimeout
	FSName     string        // what mount(8) shows as the source; "" is "wormhole"
	Log        *slog.Logger
	Clock      clock.Clock
}

// IDs says how the numbers of users, or of groups, of an FS are shown on this machine. The zero value shows them as they are.
type IDs struct {
	All   *uint32           // everything is shown as this one's, and belongs, if it is made here, to who makes it; no owner can be set
	Pairs map[uint32]uint32 // by numbers of this machine, those of the FS
}

// withDefaults fills in what is not set.
func (o Options) withDefaults() Options {
	if o.FSName == "" {
		o.FSName = subtype
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	return o
}
