// Package server answers the local API: it turns requests on the unix socket into calls of the pods of this machine.
//
// Its main types are Server, which serves; Pod, what it needs of a pod; and Machine, what it needs of the daemon. Every
// connection is checked by its peer credentials: only the daemon's user and root are answered. A Server is safe for
// concurrent use; a request ends with its client's connection.
package server

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Pod is what the API needs of a pod. Errors are those of packages vfs and block, and what pkg/api lists beside them.
type Pod interface {
	History
	Keeping
	Caring
	Membership
	Info() pod.Info
	FS() vfs.FS
	// Invite makes a token; uses is at least 1.
	Invite(ctx context.Context, role string, ttl time.Duration, uses int) (token string, err error)
	Pods(ctx context.Context) ([]pod.PodInfo, error)
	Peers() []pod.PeerInfo
	DHT() (s p2p.DHTStats, ok bool)
	Status(ctx context.Context) (pod.Status, error)
	// CanStop says whether a stop of the pod breaks a promise.
	CanStop(ctx context.Context) (pod.StopAnswer, error)
	Usage(ctx context.Context) (pod.Usage, error)
	Root(ctx context.Context) (block.ID, error)
	StateRoot(ctx context.Context) (block.ID, error)
	// CID is a file's body's, or a folder's in the tree root.
	CID(ctx context.Context, id vfs.NodeID) (block.ID, error)
	// OpenTree is a read-only FS over a folder, body or tree root; a body is an FS whose root is a file.
	OpenTree(ctx context.Context, id block.ID) (vfs.FS, error)
	Where(ctx context.Context, id vfs.NodeID) (pod.Where, error)
	Policy(ctx context.Context, id vfs.NodeID) (pod.Policy, error)
	// SetPolicy sets both; "" leaves one as it is, "unset" removes it.
	SetPolicy(ctx context.Context, id vfs.NodeID, policy, durability string) error
	// SetPathRules sets rules of a node; "unset" takes one away.
	SetPathRules(ctx context.Context, id vfs.NodeID, rules map[string]string) error
	// PathRules are the rules that are set at and below a path, by path.
	PathRules(ctx context.Context, at string) ([]pod.PathRule, error)
	// SyncWait returns when all below a node is safe under its policy.
	SyncWait(ctx context.Context, id vfs.NodeID) error
	// PutFile makes or edits a file; visible now, durable after Settle. It is safe for concurrent use.
	PutFile(ctx context.Context, parent vfs.NodeID, name string, m pod.FileMeta, size int64, r io.Reader) (vfs.Attr, error)
	// PutFiles is PutFile for each of some small files.
	PutFiles(ctx context.Context, files []pod.SmallFile) ([]pod.PutResult, error)
	// KeepFile says whether a file holds what PutFile gave it for the same m.Origin, and if so sets what else m says.
	KeepFile(ctx context.Context, parent vfs.NodeID, name string, m pod.FileMeta) (vfs.Attr, bool, error)
	// CopyFile makes a file with the contents of another; no data is copied.
	CopyFile(ctx context.Context, src, parent vfs.NodeID, name string, m pod.FileMeta) (vfs.Attr, error)
	// Settle makes everything put before durable, committed, and offered to peers.
	Settle(ctx context.Context) error
	// Durable returns when what was settled at and below a node is on as many pods as its durability says.
	Durable(ctx context.Context, id vfs.NodeID) error
	Fsck(ctx context.Context, repair bool, f func(pod.Problem)) error
	Scrub(ctx context.Context, f func(pod.Problem)) (pod.Scrubbed, error)
	Collect(ctx context.Context, o pod.CollectOptions) (pod.Collected, error)
	// Rules are those of the network, by key; SetRule sets one for all pods.
	Rules() map[string]pod.Rule
	SetRule(ctx context.Context, key, value string) error
	// Events calls f with what happened since a time; follow: and with what comes, until ctx ends.
	Events(ctx context.Context, since time.Time, follow bool, f func(pod.Event) error) error
}

// Machine is what the API needs of the daemon.
type Machine interface {
	// Pod is the pod of this name on this machine, or the only one if name is "". Errors: api.ErrNoPod, api.ErrUsage.
	Pod(name string) (Pod, error)
	Init(ctx context.Context, r api.InitRequest) (api.Made, error)
	Join(ctx context.Context, r api.JoinRequest) (api.Made, error)
	Mount(ctx context.Context, podName string, m api.Mount) error
	Unmount(ctx context.Context, podName string, u api.Unmount) error
	Mounts() []api.Mount
	// Config is every key of the machine, of a pod and of its network; SetConfig sets one.
	Config(ctx context.Context, podName string) ([]api.ConfigKey, error)
	SetConfig(ctx context.Context, podName string, q api.ConfigSet) (api.ConfigDone, error)
	// TestNotify sends a message to all who are to be told of warnings.
	TestNotify(ctx context.Context) ([]api.Notified, error)
	// Metrics serves the metrics of all pods.
	Metrics() http.Handler
	// Stop makes the daemon stop; it returns at once.
	Stop()
}
