package p2p

import (
	"context"
	"encoding/binary"
	"iter"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Limits of what the pods keep for each other in the DHT.
const (
	DHTHeadMax = 64 << 10 // bytes of a head
	// AnnounceMax is how many keys one pod may announce: 4096 groups, its network, and pins.
	AnnounceMax = 8192
	// HoldersMax is how many holders of a key are looked for: as many as announce one.
	HoldersMax = 16
)

// DHT is what the pods of a network keep together for those who know little: a private Kademlia. In a network of 20 pods or fewer
// every pod keeps everything. It is for hints and for signed heads: nothing that it says of holders is proven, and all that it keeps is
// forgotten 48 h after it was told last. Methods wait for other pods, some of which may not answer: give a deadline. They are safe for
// concurrent use. Errors: ErrUnreachable (no member is connected), the context's.
type DHT interface {
	// PutHead keeps this pod's head at the pods nearest to it, which refuse it if DHTConfig.CheckHead does, or if they have a newer one.
	PutHead(ctx context.Context, head []byte) error
	// FindHead is the newest head of a pod that is kept anywhere, this pod itself included. Error: block.ErrNotFound.
	FindHead(ctx context.Context, pod ident.Pod) ([]byte, error)
	// Announce has this pod found as a holder of these keys, at most AnnounceMax, and of none that it announced before, and keeps
	// telling so until the host closes. It is done in the background, some time after the return.
	Announce(ctx context.Context, keys []Key) error
	// FindHolders are up to HoldersMax pods that announce a key, but for this one, each once, as they are found; and behind them the error, if there is one.
	FindHolders(ctx context.Context, key Key) iter.Seq2[ident.Pod, error]
	// Reach connects to a pod, at addresses that others know if need be. Errors: those of Host.Connect.
	Reach(ctx context.Context, pod ident.Pod) error
	// Stats tells what the DHT does.
	Stats() DHTStats
}

// DHTStats is what the DHT does since the host was made.
type DHTStats struct {
	Peers     int    // in the routing table
	Announced int    // keys of the last Announce, and the network's
	Served    uint64 // requests of others that were answered
	Asked     uint64 // streams that were opened to ask others
}

// Key is what holders announce.
type Key [32]byte

// GroupKey is held by the first pods of a placement group's walk.
func GroupKey(n ident.Network, group uint16) Key {
	return dhtKey("wormhole/dht/group/1", n, binary.BigEndian.AppendUint16(nil, group))
}

// GroupsKey is held by the pods that hold all groups, where no more than HoldersMax pods store data.
func GroupsKey(n ident.Network) Key { return dhtKey("wormhole/dht/groups/1", n, nil) }

// RootKey is held by pods that keep all of a file or tree.
func RootKey(n ident.Network, root block.ID) Key {
	return dhtKey("wormhole/dht/root/1", n, root.Bytes())
}

// networkKey is held by every pod that can be dialled.
func networkKey(n ident.Network) Key { return dhtKey("wormhole/dht/network/1", n, nil) }

// dhtKey is BLAKE3-256 of the domain, a zero byte, the network and the rest.
func dhtKey(domain string, n ident.Network, rest []byte) Key {
	b := append([]byte(domain), 0)
	return blake3.Sum256(append(append(b, n[:]...), rest...))
}

// DHTConfig is what the DHT needs.
type DHTConfig struct {
	// CheckHead says whether bytes are a head of this pod, signed, and the pod a member that may have one. NewerHead says whether a is newer than b, both
	// heads of one pod that passed CheckHead. Both must not block.
	CheckHead func(pod ident.Pod, head []byte) error
	NewerHead func(a, b []byte) bool
	Records   Records // nil: in memory

	still bool // for tests: it does not look for pods to be connected with
}

// Records is where the DHT keeps what it was told. What was written last may be lost in a crash. It must be safe for concurrent use, and
// live until the host is closed. Slices given are not kept, and those returned are the caller's.
type Records interface {
	// Get is a key's value, nil if there is none.
	Get(key []byte) ([]byte, error)
	// Write sets values, and removes where the value is nil, all or nothing.
	Write(keys, values [][]byte) error
	// Page is up to most keys, in order, that start with prefix and come after a key; nil: from the first.
	Page(prefix, after []byte, most int) (keys, values [][]byte, err error)
}

// DHT is what the pods keep together; nil without Config.DHT.
func (h *Host) DHT() DHT {
	if h.kad == nil {
		return nil
	}
	return h.kad
}
