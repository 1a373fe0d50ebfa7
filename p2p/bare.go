package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const (
	protoBare protocol.ID = "/wh/bare"

	bareBuffer = 1 << 20 // bytes
)

// BareStream copies from to to over one stream between two hosts in this process, over loopback, which are made as a Host's is: TCP, TLS 1.3, yamux, and nothing above. It is what a transfer of blocks is
// compared with. n is how many bytes came.
func BareStream(ctx context.Context, to io.Writer, from io.Reader) (n int64, err error) {
	var hosts [2]libp2phost.Host
	for i := range hosts {
		_, key, keyErr := ed25519.GenerateKey(nil)
		if keyErr != nil {
			return 0, fmt.Errorf("p2p: key: %w", keyErr)
		}
		if hosts[i], _, err = newLibp2p(key, "bare"); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, hosts[i].Close()) }()
	}
	sender, receiver := hosts[0], hosts[1]
	sent := make(chan error, 1)
	sender.SetStreamHandler(protoBare, func(s network.Stream) {
		_, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{from}, make([]byte, bareBuffer))
		sent <- errors.Join(err, s.CloseWrite())
	})
	at, err := parseAddr("127.0.0.1:0")
	if err == nil {
		err = sender.Network().Listen(at)
	}
	if err == nil {
		err = receiver.Connect(ctx, peer.AddrInfo{ID: sender.ID(), Addrs: sender.Network().ListenAddresses()})
	}
	if err != nil {
		return 0, fmt.Errorf("p2p: bare stream: %w", err)
	}
	s, err := receiver.NewStream(ctx, sender.ID(), protoBare)
	if err != nil {
		return 0, fmt.Errorf("p2p: bare stream: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	if err := s.CloseWrite(); err != nil { // which sends what the stream is for, too
		return 0, fmt.Errorf("p2p: bare stream: %w", err)
	}
	if n, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{s}, make([]byte, bareBuffer)); err != nil {
		return n, fmt.Errorf("p2p: bare stream: %w", err)
	}
	return n, <-sent
}
