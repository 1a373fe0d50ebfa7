// Package daemon runs one machine: it opens the pods of a WH_HOME, mounts them, and serves the local API, until it is
// told to stop.
//
// Run is all of it. Create and Join make pods where no daemon runs. What makes, opens and mounts pods is given as an
// Engine, so that tests run with pods in memory. WH_HOME holds
//
//	machine.toml, lock (flock, its holder's process id), api.sock or api.addr, daemon.log
//	pods/NAME/pod.toml, mount.json (folders mounted now), and what is the pod's own
//
// with modes 0700 and 0600. A pod is made in pods/.new-*, which gets its name when it is complete; one that isn't
// is removed by the next who holds the lock.
package daemon

import (
	"context"
	"log/slog"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/api/server"
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Pod is an open pod.
type Pod interface {
	server.Pod
	// Run serves other pods until ctx ends.
	Run(ctx context.Context) error
	// Close ends the use of the pod, after Run has ended.
	Close() error
	// Tune has other options in force from here on.
	Tune(ctx context.Context, t pod.Tuning)
	SetShare(ctx context.Context, s pod.Share) error
	// ListenPort is the TCP port that it listens on; 0 if on none.
	ListenPort() int
	// ConfigChanged tells users, as an event, what of the configuration has changed.
	ConfigChanged(text string)
	// Rest gives back memory that makes work faster, of a pod that has none just now.
	Rest()
	// Told are the warnings that people should know of.
	Told() []health.Warning
}

// Mounted is a mount.
type Mounted interface {
	// Dir is the folder, its full path.
	Dir() string
	// Unmount takes the mount away, lazily if it is in use or ctx has ended.
	Unmount(ctx context.Context) error
	// Wait returns when the mount is gone, whoever took it away.
	Wait() error
}

// CreateOptions are for Engine.Create.
type CreateOptions struct {
	NetworkName, PodName string
	Encrypt              bool
	Access               string
	Lock                 *pod.Locking
}

// JoinOptions are for Engine.Join.
type JoinOptions struct {
	Token, PodName string
	Ticket         *pod.Ticket // instead of both
	Discover       bool
	Lock           *pod.Locking
}

// OpenOptions are for Engine.Open.
type OpenOptions struct {
	Dir               string
	Disk              *diskcrypt.Key // of a locked disk
	Name              string
	Listen            []string
	Discover, Offline bool
	CapacityBytes     int64
	ReserveBytes      int64
	Tuning            pod.Tuning
	Share             pod.Share
	Log               *slog.Logger
	Version           string                // of the program
	Unmounted         func() []health.Mount // folders where the pod should be mounted, and is not
}

// Engine makes, opens and mounts pods.
type Engine struct {
	// Create makes a network and its first pod in dir, which is not there yet. It is complete or undone.
	Create func(ctx context.Context, dir string, o CreateOptions) (pod.Info, error)
	// Join makes a pod of a network that exists, in the same way.
	Join func(ctx context.Context, dir string, o JoinOptions) (pod.Info, error)
	// Open opens a pod.
	Open func(ctx context.Context, o OpenOptions) (Pod, error)
	// TokenNetwork is the network that a token is for.
	TokenNetwork func(token string) (ident.Network, error)

	// Mount shows fs as dir; see package mountfs.
	Mount func(ctx context.Context, dir string, fs vfs.FS, o mountfs.Options) (Mounted, error)
	// Stale, Detach and Abort are those of package mountfs.
	Stale  func(dir string) (bool, error)
	Detach func(dir string) error
	Abort  func(dir string) error
}
