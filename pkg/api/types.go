// Package api is the vocabulary of the local API, by which the CLI and other programs of the same user speak with the
// daemon: JSON over HTTP on a unix socket in WH_HOME, and a transfer protocol (frame.go) for files.
//
// The types whose fields carry JSON names are what --json prints too, so their keys are a contract: snake_case, sizes
// end in _bytes, times are RFC 3339 UTC, lists are never null. Sub-packages: server, client. Values are plain;
// a Conn is for one reader and one writer at a time.
package api

import (
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Prefix begins every path of the API.
const Prefix = "/v1/"

// PodParam is the query parameter that chooses a pod of the machine by name; it may be left out where there is one.
const PodParam = "pod"

// Version is the version of the API: a client and a daemon of other versions don't speak.
const Version = 1

// Health answers "health": who the daemon is.
type Health struct {
	API     int    `json:"api"`
	Version string `json:"version"`
	PID     int    `json:"pid"`
}

// InitRequest asks for a new network and its first pod.
type InitRequest struct {
	Network string   `json:"network"`
	Name    string   `json:"name"`
	Listen  []string `json:"listen"`
	Mount   *Mount   `json:"mount,omitempty"`
	Encrypt bool     `json:"encrypt,omitempty"` // seal the contents of files
	Access  string   `json:"access,omitempty"`  // invite, ask or open; "" is invite
	Lock    *Lock    `json:"lock,omitempty"`    // of the pod's disk
}

// JoinRequest asks for a new pod in a network that exists, by a token or a ticket.
type JoinRequest struct {
	Ticket *Ticket  `json:"ticket,omitempty"`
	Token  string   `json:"token"`
	Name   string   `json:"name"`
	Listen []string `json:"listen"`
	Mount  *Mount   `json:"mount,omitempty"`
	Portal bool     `json:"portal,omitempty"` // it stores nothing for others
	Lock   *Lock    `json:"lock,omitempty"`   // of the pod's disk, where the network is encrypted and the pod may read
}

// Lock is how a new pod's disk is locked.
type Lock struct {
	Key      []byte `json:"key"`      // of the disk: a secret
	Lock     []byte `json:"lock"`     // the same, sealed for an identity (diskcrypt.Lock)
	Identity Text   `json:"identity"` // the identity's file, a full path
}

// Made tells of a pod that init or join made.
type Made struct {
	Network     string `json:"network"`
	NetworkName string `json:"network_name"`
	Pod         string `json:"pod"`
	Name        string `json:"name"`
	Locked      bool   `json:"locked"`            // its disk is locked
	Warning     string `json:"warning,omitempty"` // what could not be done after the pod was made
}

// Mount is a folder of the host where a pod is mounted.
type Mount struct {
	Dir     Text     `json:"dir"`
	Options []string `json:"options"`
	Pod     string   `json:"pod"`
	Save    bool     `json:"save"` // at every `wh up`
}

// Unmount asks for the end of a mount; an empty Dir means all of the pod's.
type Unmount struct {
	Dir  Text `json:"dir"`
	Save bool `json:"save"` // not at the next `wh up` either
}

// InviteRequest asks for a token.
type InviteRequest struct {
	Role  string `json:"role"`
	TTLMS int64  `json:"ttl_ms"`
	Uses  int    `json:"uses"`
}

// Token answers it.
type Token struct {
	Token string `json:"token"`
}

// Pod is what is known of a pod of the network.
type Pod struct {
	Name      Text       `json:"name"`
	ID        string     `json:"id"`
	State     string     `json:"state"`
	Role      string     `json:"role"`
	Zone      string     `json:"zone"`
	Class     string     `json:"class"`
	Weight    uint32     `json:"weight"`
	UsedBytes int64      `json:"used_bytes"`
	FreeBytes int64      `json:"free_bytes"`
	LastSeen  *time.Time `json:"last_seen"` // null: never since the daemon started
	Self      bool       `json:"self"`
}

// Stats are figures of what a pod does.
type Stats struct {
	DHT           DHTStats `json:"dht"`
	SentBytes     int64    `json:"sent_bytes"` // to the pods that are connected, since they are
	ReceivedBytes int64    `json:"received_bytes"`
}

// DHTStats are figures of the DHT since the pod started.
type DHTStats struct {
	On            bool  `json:"on"`
	Peers         int   `json:"peers"`          // in the routing table
	AnnouncedKeys int   `json:"announced_keys"` // groups, roots of pins, and one for the network
	Answered      int64 `json:"answered"`       // requests of others
	Asked         int64 `json:"asked"`          // streams that were opened to ask others
}

// Peer is a pod of the network, and the connection to it.
type Peer struct {
	Name              Text       `json:"name"`
	ID                string     `json:"id"`
	Connected         bool       `json:"connected"`
	Address           string     `json:"address"`   // of the connection: a multiaddr
	Transport         string     `json:"transport"` // tcp
	Direct            bool       `json:"direct"`    // not by way of a relay
	RTTMS             float64    `json:"rtt_ms"`    // 0: not known yet
	Since             *time.Time `json:"since"`     // connected since; else, when it was tried last; null: never
	SentBytes         int64      `json:"sent_bytes"`
	ReceivedBytes     int64      `json:"received_bytes"`
	SentBytesPerS     int64      `json:"sent_bytes_per_s"` // over the last few seconds
	ReceivedBytesPerS int64      `json:"received_bytes_per_s"`
	Addresses         []string   `json:"addresses"` // at which it is, or was, to be found
	Why               string     `json:"why"`       // it is not connected; "": it is
}

// Warning is a state that a user should know of.
type Warning struct {
	Code     string `json:"code"`
	Title    string `json:"title"`
	Text     Text   `json:"text"`
	Severity string `json:"severity"` // notice, warning, error
	Todo     string `json:"todo"`     // what can be done about it
	// Subject is the pod, or the folder of the host, that it is about; "" for this pod or the network.
	Subject Text      `json:"subject"`
	Since   time.Time `json:"since"`
	Because string    `json:"because"` // the code of a warning that explains it; "": none does
}

// Status is the pod's and the network's health.
type Status struct {
	Healthy     bool      `json:"healthy"`
	Reasons     []string  `json:"reasons"`
	Pods        []Pod     `json:"pods"`
	UnsafeBytes int64     `json:"unsafe_bytes"`
	DirtyBytes  int64     `json:"dirty_bytes"`
	Warnings    []Warning `json:"warnings"`
	Network     string    `json:"network"`
	NetworkName string    `json:"network_name"`
	Name        string    `json:"name"`
	ID          string    `json:"id"`
	Role        string    `json:"role"`
	Addrs       []string  `json:"addrs"`
	Encrypted   bool      `json:"encrypted"` // the contents of files are
	// States are the bytes of all contents by how safe they are, from the safest on; a block counts once.
	States []StateBytes `json:"states"`
}

// CanStop says whether a pod's machine can be switched off now.
type CanStop struct {
	CanStop bool     `json:"can_stop"`
	Reasons []string `json:"reasons"` // why not
	Notes   []string `json:"notes"`   // what will not be there meanwhile, although nothing was promised of it
}

// Notified is what became of a message to somebody who is to be told of warnings.
type Notified struct {
	Name  string `json:"name"`
	Error Text   `json:"error"` // "": it was sent
}

// StateBytes is how many bytes are how safe: safe, spreading, local, dirty, degraded, unavailable.
type StateBytes struct {
	State string `json:"state"`
	Bytes int64  `json:"bytes"`
}

// Usage is how the pod's disk is used.
type Usage struct {
	StoredBytes   int64 `json:"stored_bytes"`
	LiveBytes     int64 `json:"live_bytes"`
	PinnedBytes   int64 `json:"pinned_bytes"`
	CacheBytes    int64 `json:"cache_bytes"`
	TrashBytes    int64 `json:"trash_bytes"`
	SnapshotBytes int64 `json:"snapshot_bytes"` // only in snapshots
	GarbageBytes  int64 `json:"garbage_bytes"`  // dead, and not given back to the disk yet
	FreeBytes     int64 `json:"free_bytes"`
}

// GCRequest asks for a collection of garbage.
type GCRequest struct {
	DryRun bool `json:"dry_run"`
	Now    bool `json:"now"` // free what no member needs, however short it has been in the trash
}

// GC is what a collection found and did; with a dry run, what it would do.
type GC struct {
	TrashedBytes   int64  `json:"trashed_bytes"` // moved to the trash: nothing names it
	FreedBytes     int64  `json:"freed_bytes"`   // deleted from the trash, and nodes of old checkpoints
	RestoredBytes  int64  `json:"restored_bytes"`
	TrashBytes     int64  `json:"trash_bytes"`     // that stay in the trash
	CompactedBytes int64  `json:"compacted_bytes"` // dead space given back by rewriting
	Waiting        []Text `json:"waiting"`         // pods that must be met before the trash can go
}

// ScrubLine is a line of the answer to a scrub: a problem, or at the end the result.
type ScrubLine struct {
	Problem *Problem  `json:"problem,omitempty"`
	Result  *Scrubbed `json:"result,omitempty"`
}

// Scrubbed is what a scrub verified.
type Scrubbed struct {
	Bytes  int64 `json:"bytes"`
	Blocks int64 `json:"blocks"`
}

// Root is a tree root or a state root.
type Root struct {
	CID block.ID `json:"cid"`
}

// PodRoot is a pod's tree root, as it last said.
type PodRoot struct {
	Pod Text     `json:"pod"`
	CID block.ID `json:"cid"`
}

// RootRequest asks for roots.
type RootRequest struct {
	State bool `json:"state"`
}

// Holder is a pod that holds a block.
type Holder struct {
	Pod    Text   `json:"pod"`
	Kind   string `json:"kind"`
	Index  int    `json:"index"` // of a fragment, else -1
	Pinned bool   `json:"pinned"`
}

// Chunk is one block of a file and who holds it.
type Chunk struct {
	CID     block.ID `json:"cid"`
	Bytes   int64    `json:"bytes"`
	Holders []Holder `json:"holders"`
	Safety
}

// Safety is how safe bytes are, with the pods that hold a copy or fragment that counts, and how many the policy asks for.
type Safety struct {
	State string `json:"state"` // safe, spreading, local, dirty, degraded, unavailable
	Have  int    `json:"have"`
	Need  int    `json:"need"`
}

// Where tells who holds a file.
type Where struct {
	Path   Text     `json:"path"`
	CID    block.ID `json:"cid"`
	Policy string   `json:"policy"`
	Safe   bool     `json:"safe"`
	Chunks []Chunk  `json:"chunks"`
	Safety          // of the least safe chunk
}

// Policy tells which policy holds at a path.
type Policy struct {
	Path       Text   `json:"path"`
	Policy     string `json:"policy"`
	Durability string `json:"durability"`
	From       Text   `json:"from"` // the path where it is set; "" is the network's default

	Rules []PathRule `json:"rules"` // that hold at the path besides
}

// PathRule is a rule of a path.
type PathRule struct {
	Path  Text   `json:"path"` // where it is set; "": nowhere, it is the default
	Rule  string `json:"rule"` // policy, durability, home, or a key of pod.PathKeys
	Value Text   `json:"value"`
}

// PolicyRequest sets a policy: "" leaves a field, "unset" removes it.
type PolicyRequest struct {
	Path       Text   `json:"path"`
	Policy     string `json:"policy"`
	Durability string `json:"durability"`

	Rules map[string]string `json:"rules,omitempty"` // others, by their names; "unset" removes one
}

// Pin is a promise to keep whole copies of all at and below a path on a pod.
type Pin struct {
	Path Text `json:"path"`
	Pod  Text `json:"pod"`
	Home bool `json:"home"` // set by place, not by pin
}

// PinRequest makes or takes back a pin; Pod "" is the pod that is asked.
type PinRequest struct {
	Path Text   `json:"path"`
	Pod  string `json:"on"`
	Gone bool   `json:"gone,omitempty"`
}

// PlaceRequest sets the homes of a path; none: they are inherited again.
type PlaceRequest struct {
	Path  Text     `json:"path"`
	Homes []string `json:"homes"`
}

// Evicted is what an eviction gave up here.
type Evicted struct {
	Bytes      int64 `json:"bytes"`
	Blocks     int64 `json:"blocks"`
	KeptBlocks int64 `json:"kept_blocks"` // that this pod is to have
}

// DrainRequest has a pod emptied, used again, or taken out, or asks how far it is.
type DrainRequest struct {
	Pod    string `json:"name"`
	Undo   bool   `json:"undo,omitempty"`
	Look   bool   `json:"look,omitempty"`
	Remove bool   `json:"remove,omitempty"`
	Lost   bool   `json:"lost,omitempty"` // with Remove: it never answers again
}

// Drained tells how far a pod is with being emptied.
type Drained struct {
	Pod       Text  `json:"pod"`
	Draining  bool  `json:"draining"`
	Removed   bool  `json:"removed"`
	Counted   bool  `json:"counted"` // left_bytes are known
	LeftBytes int64 `json:"left_bytes"`
	Stuck     bool  `json:"stuck"` // no pod is there to take them
}

// PathRequest names a path of the network.
type PathRequest struct {
	Path      Text `json:"path"`
	Recursive bool `json:"recursive,omitempty"` // ls -R, rm -r
	Prefix    Text `json:"prefix,omitempty"`    // ls of a folder, not recursive: only names that begin so; as quick in a large folder as in a small one
	Parents   bool `json:"parents,omitempty"`   // mkdir -p
	Force     bool `json:"force,omitempty"`     // rm -f: what isn't there is no error
}

// MoveRequest moves or copies sources to a target, named as mv and cp -r do.
type MoveRequest struct {
	Sources []Text `json:"sources"`
	Target  Text   `json:"target"`
	Copy    bool   `json:"copy"`
}

// Entry is a file, folder, link or special file: a line of ls.
type Entry struct {
	Path      Text      `json:"path"`
	Name      Text      `json:"name"`
	Kind      string    `json:"kind"` // file, folder, symlink, fifo, socket, chardev, blockdev
	Mode      string    `json:"mode"` // four octal digits
	UID       uint32    `json:"uid"`
	GID       uint32    `json:"gid"`
	NLink     uint32    `json:"nlink"`
	SizeBytes uint64    `json:"size_bytes"`
	DiskBytes uint64    `json:"disk_bytes"` // what is not holes
	Mtime     time.Time `json:"mtime"`
	ID        uint64    `json:"id"` // inode number
	Target    Text      `json:"target"`
}

// Stat is an Entry with all that is known of it.
type Stat struct {
	Entry
	CID   *block.ID `json:"cid"` // null: not known yet, or of a kind that has none
	RDev  uint64    `json:"rdev"`
	Ctime time.Time `json:"ctime"`
	Btime time.Time `json:"btime"`
}

// SyncRequest waits until a path, or all with "/", is safe.
type SyncRequest struct {
	Path      Text  `json:"path"`
	Wait      bool  `json:"wait"`
	TimeoutMS int64 `json:"timeout_ms"` // 0: none
}

// EventsRequest asks for what happened to a pod.
type EventsRequest struct {
	Since  *time.Time `json:"since"`  // null: as far as it is kept
	Follow bool       `json:"follow"` // and what comes, until the client has enough
	Kinds  []string   `json:"kinds"`  // none: of all kinds; one that there is not: ErrUsage
}

// Event is something that happened: a line of events.
type Event struct {
	Time time.Time `json:"time"`
	Kind string    `json:"kind"` // started, pod_connected, pod_disconnected, asks_to_join, pod_joined, refused, read_failed, save_failed, block_damaged, block_mended, pod_lied, conflict, warning, warning_over
	Path Text      `json:"path"` // of a file; "": none
	Pod  Text      `json:"pod"`  // another pod; "": none
	Text Text      `json:"text"` // for people

	Code     string `json:"code,omitempty"`     // of kinds warning and warning_over
	Severity string `json:"severity,omitempty"` // of the same
}

// FsckRequest asks for a check.
type FsckRequest struct {
	Repair bool `json:"repair"`
}

// Problem is something that the check found.
type Problem struct {
	Where Text `json:"where"`
	What  Text `json:"what"`
	Fixed bool `json:"fixed"`
}

// Added is a top-level argument of add, done.
type Added struct {
	CID   block.ID `json:"cid"`
	Path  Text     `json:"path"`
	Bytes uint64   `json:"bytes"`
}
