package p2p

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p-kad-dht/provider"
	"github.com/libp2p/go-libp2p-kad-dht/provider/keystore"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	kbucket "github.com/libp2p/go-libp2p-kbucket"
	record "github.com/libp2p/go-libp2p-record"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/routing"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// How long the DHT keeps what it was told, and when it is told anew. They are Kademlia's own times, on the machine's clock.
const (
	recordLife    = 48 * time.Hour
	announceEvery = 22 * time.Hour
)

// headSpace is the name space of heads among values: /wh-head/POD.
const headSpace = "wh-head"

const readyPoll = 10 * time.Millisecond

// kademlia is the DHT by go-libp2p-kad-dht. No other file but the kad_… ones knows that library.
type kademlia struct {
	h     *Host
	c     DHTConfig
	store *datastoreOf
	view  *members
	dht   *dht.IpfsDHT

	kicked chan struct{} // capacity 1: a member was admitted
	asked  atomic.Uint64
	served atomic.Uint64

	mu        sync.Mutex // guards the fields below
	sweeper   *provider.SweepingProvider
	keys      keystore.Keystore
	announced int
	closed    bool
}

var _ DHT = (*kademlia)(nil)

// newKademlia starts the DHT on a host that does not listen yet.
func newKademlia(h *Host, c DHTConfig) (*kademlia, error) {
	if c.CheckHead == nil || c.NewerHead == nil {
		return nil, errors.New("p2p: dht: CheckHead and NewerHead must be set")
	}
	k := &kademlia{h: h, c: c, store: newDatastore(c.Records), kicked: make(chan struct{}, 1)}
	var err error
	if k.view, err = newMembers(k); err != nil {
		return nil, err
	}
	var quiet []dht.Option
	if c.still {
		quiet = append(quiet, dht.DisableAutoRefresh())
	}
	k.dht, err = dht.New(k.view, append(quiet, kadOptions(h.cfg.Network, k.view, k.store, k, func(*pb.Message) { k.served.Add(1) })...)...)
	if err != nil {
		return nil, fmt.Errorf("p2p: dht: %w", err)
	}
	return k, nil
}

// kadOptions are the library's options for the DHT of a network on a host: served is called for each request that is answered.
func kadOptions(n ident.Network, h libp2phost.Host, store *datastoreOf, heads record.Validator, served func(*pb.Message)) []dht.Option {
	return []dht.Option{
		dht.ProtocolPrefix(protocol.ID("/wormhole/" + n.String())),
		dht.Mode(dht.ModeServer),
		dht.Datastore(namespace.Wrap(store, datastore.NewKey("dht"))),
		dht.Validator(record.NamespacedValidator{headSpace: heads}),
		dht.MaxRecordAge(recordLife),
		dht.ProviderManagerOpts(records.ProvideValidity(recordLife), records.ProviderAddrTTL(recordLife)),
		dht.RoutingTableFilter(func(_ any, id peer.ID) bool { return h.Network().Connectedness(id) == network.Connected }),
		dht.QueryFilter(func(_ any, info peer.AddrInfo) bool { _, err := podOf(info.ID); return err == nil }),
		dht.OnRequestHook(func(_ context.Context, _ network.Stream, m *pb.Message) { served(m) }),
	}
}

// close ends what runs; the host is closed after it, and the records then.
func (k *kademlia) close() error {
	k.mu.Lock()
	sweeper, keys := k.sweeper, k.keys
	k.closed = true
	k.mu.Unlock()
	var errs []error
	if sweeper != nil {
		errs = append(errs, sweeper.Close(), keys.Close())
	}
	if err := errors.Join(append(errs, k.dht.Close())...); err != nil {
		return fmt.Errorf("p2p: dht: close: %w", err)
	}
	return nil
}

// ready waits until the routing table has a peer, as it does soon after the first hello.
func (k *kademlia) ready(ctx context.Context) error {
	for k.dht.RoutingTable().Size() == 0 {
		if len(k.h.links()) == 0 {
			return fmt.Errorf("p2p: dht: no pod is connected: %w", ErrUnreachable)
		}
		if err := clock.Sleep(ctx, clock.Real{}, readyPoll); err != nil {
			return err
		}
	}
	return nil
}

// wrap makes an error of a lookup one of ours.
func wrap(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, routing.ErrNotFound):
		return fmt.Errorf("p2p: dht: %s: %w", what, block.ErrNotFound)
	case errors.Is(err, kbucket.ErrLookupFailure):
		return fmt.Errorf("p2p: dht: %s: %w: %w", what, ErrUnreachable, err)
	}
	return fmt.Errorf("p2p: dht: %s: %w", what, err)
}

func headKey(pod ident.Pod) string { return "/" + headSpace + "/" + pod.String() }

// Validate says whether a value may be kept under a key: the library's record.Validator.
func (k *kademlia) Validate(key string, value []byte) error {
	pod, err := ident.ParsePod(strings.TrimPrefix(key, "/"+headSpace+"/"))
	switch {
	case err != nil:
		return fmt.Errorf("p2p: dht: key: %w", err)
	case headKey(pod) != key:
		return fmt.Errorf("p2p: dht: key of %s in another form: %w", pod, ErrProtocol)
	case len(value) > DHTHeadMax:
		return fmt.Errorf("p2p: dht: head of %d bytes: %w", len(value), ErrTooLarge)
	}
	return k.h.guard("check head", func() error { return k.c.CheckHead(pod, value) })
}

// Select is the place of the newest value, the first of equal ones: the library's record.Validator.
func (k *kademlia) Select(_ string, values [][]byte) (int, error) {
	best := 0
	err := k.h.guard("compare heads", func() error {
		for i := range values {
			if k.c.NewerHead(values[i], values[best]) {
				best = i
			}
		}
		return nil
	})
	return best, err
}

// PutHead is DHT's.
func (k *kademlia) PutHead(ctx context.Context, head []byte) error {
	if err := k.ready(ctx); err != nil {
		return err
	}
	return wrap(ctx, "put head", k.dht.PutValue(ctx, headKey(k.h.pod), head))
}

// FindHead is DHT's.
func (k *kademlia) FindHead(ctx context.Context, pod ident.Pod) ([]byte, error) {
	if err := k.ready(ctx); err != nil {
		return nil, err
	}
	head, err := k.dht.GetValue(ctx, headKey(pod))
	return head, wrap(ctx, "find head of "+pod.String(), err)
}

// FindHolders is DHT's. It looks on while the caller tries those that were found.
func (k *kademlia) FindHolders(ctx context.Context, key Key) iter.Seq2[ident.Pod, error] {
	return func(yield func(ident.Pod, error) bool) {
		if err := k.ready(ctx); err != nil {
			yield(ident.Pod{}, err)
			return
		}
		search, cancel := context.WithCancel(ctx)
		defer cancel()
		found := make(chan ident.Pod, HoldersMax) // has room for all
		k.h.start(func() {
			defer close(found)
			seen := make(map[ident.Pod]bool)                                               // one may come again when its addresses are told
			for info := range k.dht.FindProvidersAsync(search, cidOf(key), HoldersMax+1) { // this pod may be one
				if pod, err := podOf(info.ID); err == nil && pod != k.h.pod && !seen[pod] && len(seen) < HoldersMax {
					seen[pod] = true
					found <- pod
				}
			}
		}, func() { close(found) })
		for pod := range found {
			if !yield(pod, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(ident.Pod{}, err)
		}
	}
}

// hashOf is a key as the library wants it.
func hashOf(key Key) multihash.Multihash {
	return append(multihash.Multihash{multihash.BLAKE3, byte(len(key))}, key[:]...)
}

// cidOf is a key as the library wants it to look for its holders.
func cidOf(key Key) cid.Cid { return cid.NewCidV1(cid.Raw, hashOf(key)) }

// Reach is DHT's.
func (k *kademlia) Reach(ctx context.Context, pod ident.Pod) error {
	id, err := peerID(pod)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if err := k.view.Connect(ctx, peer.AddrInfo{ID: id}); err == nil || ctx.Err() != nil || errors.Is(err, ErrRefused) {
		return err
	}
	if err := k.ready(ctx); err != nil {
		return err
	}
	info, err := k.dht.FindPeer(ctx, id)
	if err != nil {
		if errors.Is(err, routing.ErrNotFound) {
			err = ErrUnreachable
		}
		return wrap(ctx, "find "+pod.String(), err)
	}
	return k.view.Connect(ctx, info)
}

// Announce is DHT's. What is announced, and when it was, is kept in the records, so that a pod that starts tells only what is due.
func (k *kademlia) Announce(ctx context.Context, keys []Key) error {
	if len(keys) >= AnnounceMax {
		return fmt.Errorf("p2p: dht: announce %d keys: %w", len(keys), ErrTooLarge)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return ErrClosed
	}
	if k.sweeper == nil {
		if err := k.startSweeper(); err != nil {
			return err
		}
	}
	want := []multihash.Multihash{hashOf(networkKey(k.h.cfg.Network))}
	for _, key := range keys {
		want = append(want, hashOf(key))
	}
	have, err := k.keys.Get(ctx, "")
	if err != nil {
		return fmt.Errorf("p2p: dht: announce: %w", err)
	}
	wanted := make(map[string]bool, len(want))
	for _, m := range want {
		wanted[string(m)] = true
	}
	old := slices.DeleteFunc(have, func(m multihash.Multihash) bool { return wanted[string(m)] })
	if len(old) > 0 {
		if err := k.sweeper.StopProviding(old...); err != nil {
			return fmt.Errorf("p2p: dht: announce: %w", err)
		}
	}
	k.announced = len(want)
	if err := k.sweeper.StartProviding(false, want...); err != nil {
		return fmt.Errorf("p2p: dht: announce: %w", err)
	}
	return nil
}

// startSweeper starts what announces keys region by region, and again in time.
func (k *kademlia) startSweeper() error {
	sweeper, keys, err := newSweeper(k.view, k.dht, k.store, k.h.listening)
	if err != nil {
		return fmt.Errorf("p2p: dht: %w", err)
	}
	k.sweeper, k.keys = sweeper, keys
	return nil
}

// newSweeper is a sweeper on a host, and where it keeps its keys; the sweeper is closed first.
func newSweeper(h libp2phost.Host, d *dht.IpfsDHT, store *datastoreOf, addrs func() []ma.Multiaddr) (*provider.SweepingProvider, keystore.Keystore, error) {
	keys, err := keystore.NewKeystore(namespace.Wrap(store, datastore.NewKey("keys")))
	if err != nil {
		return nil, nil, fmt.Errorf("keys that are announced: %w", err)
	}
	sweeper, err := provider.New(
		provider.WithHost(h),
		provider.WithRouter(d),
		provider.WithMessageSender(d.MessageSender()),
		provider.WithSelfAddrs(addrs),
		provider.WithAddLocalRecord(func(ctx context.Context, m multihash.Multihash) error {
			return d.Provide(ctx, cid.NewCidV1(cid.Raw, m), false)
		}),
		provider.WithKeystore(keys),
		provider.WithDatastore(namespace.Wrap(store, datastore.NewKey("sweep"))),
		provider.WithReprovideInterval(announceEvery),
		provider.WithMaxWorkers(2), provider.WithDedicatedPeriodicWorkers(1), provider.WithDedicatedBurstWorkers(1),
	)
	if err != nil {
		return nil, nil, errors.Join(err, keys.Close())
	}
	return sweeper, keys, nil
}

// Stats is DHT's.
func (k *kademlia) Stats() DHTStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return DHTStats{Peers: k.dht.RoutingTable().Size(), Announced: k.announced, Served: k.served.Load(), Asked: k.asked.Load()}
}
