package p2p

import (
	"context"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Class is what blocks and fragments go for. It stands in the requests, so that the pod which serves them keeps to its limits of that class, and users' reads first.
type Class uint8

// The classes, most urgent first.
const (
	ClassRead    Class = iota // a user waits for them; also what older pods ask for, which don't say
	ClassSpread               // new bytes go where the policy wants them
	ClassRepair               // what was lost is made again
	ClassBalance              // all else; classes of later versions, too
)

// protoClass is what pods name among what they speak that understand a class in requests. No stream of it is served: an older pod ends a connection on which
// a request has one, so it is told to those alone that name it.
const protoClass protocol.ID = "/wormhole/x/1/class"

// classKey is the context key of a class.
type classKey struct{}

// WithClass says what is got and put under a context is for. Handlers find there what the peer said.
func WithClass(ctx context.Context, c Class) context.Context {
	return context.WithValue(ctx, classKey{}, c)
}

// ClassOf is what WithClass said last, or ClassRead.
func ClassOf(ctx context.Context) Class {
	c, _ := ctx.Value(classKey{}).(Class)
	return c
}

// behind says whether users' reads go first.
func (c Class) behind() bool { return c >= ClassRepair }

// class is what a request says that it is for.
func (f frameHeader) class() Class { return min(Class(f.kind), ClassBalance) }

// hasClass says whether the kind in a frame's header is a class.
func (t frameType) hasClass() bool {
	return t == frameGet || t == frameGetFragments || t == frameOffer || t == frameOfferFragments
}

// tellsClass is a context's class as the peer may be told.
func (l *link) tellsClass(ctx context.Context) Class {
	c := ClassOf(ctx)
	if c == ClassRead {
		return c
	}
	known, err := l.h.net.Peerstore().SupportsProtocols(l.conn.net.RemotePeer(), protoClass)
	if err != nil || len(known) == 0 {
		return ClassRead
	}
	return c
}

func noStream(s network.Stream) { _ = s.Reset() }
