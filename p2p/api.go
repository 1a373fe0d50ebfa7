package p2p

import (
	"context"
	"crypto/ed25519"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Host is this pod's end of the network.
type Host struct{}

// New makes the host and listens.
func New(c Config) (*Host, error) { return nil, ErrClosed }

// Run serves, discovers and keeps connections to known pods until ctx ends; then the host is closed.
func (h *Host) Run(ctx context.Context) error { return ErrClosed }

// Close ends a host whose Run was not called; after Run it does nothing.
func (h *Host) Close() error { return nil }

// Addrs are the multiaddrs, with /p2p/ID, on which this host listens.
func (h *Host) Addrs() []string { return nil }

// ListenPort is the TCP port of the first listener; 0: none.
func (h *Host) ListenPort() int { return 0 }

// Know remembers addresses of a pod: multiaddrs (with or without /p2p/ID) or HOST:PORT. It is dialled with backoff while it is not connected.
func (h *Host) Know(pod ident.Pod, addrs []string) {}

// Forget undoes Know.
func (h *Host) Forget(pod ident.Pod) {}

// Connect connects to a pod now, at these addresses and those that are known.
func (h *Host) Connect(ctx context.Context, pod ident.Pod, addrs []string) error { return ErrClosed }

// Peers are the connected pods, by id.
func (h *Host) Peers() []Peer { return nil }

// Connected says whether a pod is connected.
func (h *Host) Connected(pod ident.Pod) bool { return false }

// Disconnect closes all connections to a pod.
func (h *Host) Disconnect(pod ident.Pod) {}

// Ask sends a question and waits for its answer.
func (h *Host) Ask(ctx context.Context, pod ident.Pod, kind Kind, body []byte) ([]byte, error) {
	return nil, ErrClosed
}

// Tell queues a message. It never blocks.
func (h *Host) Tell(pod ident.Pod, kind Kind, body []byte) {}

// Get asks a pod for blocks. f is called once for each id, in order, never at the same time; wire is valid until f returns ONLY.
func (h *Host) Get(ctx context.Context, pod ident.Pod, ids []block.ID, f func(id block.ID, wire []byte, err error) error) error {
	return ErrClosed
}

// Put sends n blocks that the pod doesn't have; returns when all are synced there, with an error for each.
func (h *Host) Put(ctx context.Context, pod ident.Pod, n int, id func(i int) block.ID, wire func(i int) ([]byte, error)) ([]error, error) {
	return nil, ErrClosed
}

// Enrol sends a stranger's request to the pod issuer at addrs.
func Enrol(ctx context.Context, key ed25519.PrivateKey, issuer ident.Pod, addrs []string, request []byte) ([]byte, error) {
	return nil, ErrClosed
}
