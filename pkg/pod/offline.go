package pod

import (
	"context"
	"fmt"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// offline is the network of a pod that was opened without one.
type offline struct{}

var errOffline = fmt.Errorf("pod: opened offline: %w", p2p.ErrUnreachable)

func (offline) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (offline) Close() error                  { return nil }
func (offline) Addrs() []string               { return nil }
func (offline) ListenPort() int               { return 0 }
func (offline) Know(ident.Pod, []string)      {}
func (offline) Announce([]string)             {}
func (offline) Connected(ident.Pod) bool      { return false }
func (offline) Peers() []p2p.Peer             { return nil }
func (offline) Absent() []p2p.Absent          { return nil }

func (offline) Connect(context.Context, ident.Pod, []string) error { return errOffline }

func (offline) Ask(context.Context, ident.Pod, p2p.Kind, []byte) ([]byte, error) {
	return nil, errOffline
}

func (offline) Tell(ident.Pod, p2p.Kind, []byte) {}

func (offline) Get(context.Context, ident.Pod, []block.ID, func(block.ID, []byte, error) error) error {
	return errOffline
}

func (offline) Put(context.Context, ident.Pod, int, func(int) block.ID, func(int) ([]byte, error)) ([]error, error) {
	return nil, errOffline
}

func (offline) GetFragments(context.Context, ident.Pod, []block.Fragment, func(block.Fragment, []byte, error) error) error {
	return errOffline
}

func (offline) PutFragments(context.Context, ident.Pod, int, func(int) block.Fragment, func(int) ([]byte, error)) ([]error, error) {
	return nil, errOffline
}
