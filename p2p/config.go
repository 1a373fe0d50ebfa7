package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Limits of what peers send each other, in bytes unless it says otherwise. What passes one is not sent;
// a peer that sends it is disconnected.
const (
	HelloMax       = 64 << 10              // what Config.Hello returns
	QuestionMax    = 16 << 20              // the body of a question, and of its answer
	TellMax        = 1 << 20               // the body of a message
	WireMax        = block.ChunkMax + 4096 // a block's header and stored form
	InFlightMax    = 32 << 20              // in memory for one peer, in each direction
	EnrolMax       = 4 << 10               // a stranger's request
	EnrolReplyMax  = 1 << 20               // the reply to it
	ReasonMax      = 1 << 10               // the text of a refusal or failure
	PeerAddrsMax   = 32                    // addresses kept of one pod
	EnrolPerMinute = 3                     // requests served a minute for one stranger
)

// Errors of this package, wrapped; test them with errors.Is.
var (
	// ErrUnreachable says that the pod is not connected, could not be connected, or was lost on the way.
	ErrUnreachable = errors.New("pod can't be reached")
	// ErrRefused says that a pod does not let us in, or that Config.Admit did not let it in; the text says why.
	ErrRefused = errors.New("refused")
	// ErrBusy says that a peer, or this pod for it, has as much in hand as its limits allow: try later.
	ErrBusy = errors.New("busy")
	// ErrFull says that the peer has no space for what was put. A Handler may return it, wrapped.
	ErrFull = errors.New("no space at the peer")
	// ErrRemote says that the peer's Handler failed; the text is the peer's.
	ErrRemote = errors.New("the peer failed")
	// ErrTooLarge says that a body is over the limit of what may be sent.
	ErrTooLarge = errors.New("too large to send")
	// ErrProtocol says that a peer sent what the protocol does not allow. It has been disconnected.
	ErrProtocol = errors.New("protocol violated")
	// ErrClosed says that the host was closed. It is an ErrUnreachable too.
	ErrClosed = fmt.Errorf("host is closed: %w", ErrUnreachable)
)

// Kind says what a question or message is about. The bodies are opaque here, so this package only
// treats KindHead on its own: a newer one replaces one that was not sent yet.
type Kind uint8

// The kinds in use; others may be sent as well.
const (
	KindHead       Kind = 1 + iota // a pod's newest head
	KindLog                        // commits
	KindStatements                 // signed facts
	KindHas                        // which blocks are held
	KindPeers                      // pods and their addresses
	KindUsage                      // bytes held and free
	KindOffer                      // what proves a state, so that it can be joined

	KindTips          Kind = 16 // the newest commits of all authors that a pod has
	KindKept          Kind = 17 // which blocks are held for good, so that the asker may give them up
	KindDuty          Kind = 18 // an admin has a pod drained or removed
	KindDigests       Kind = 19 // digests of an author's commits
	KindClock         Kind = 20 // the time on the pod's machine
	KindPlace         Kind = 21 // a pod waits for copies that others are to make
	KindFragments     Kind = 24 // which fragments of blocks are held
	KindHeat          Kind = 26 // how much a pod reads of files
	KindKeptFragments Kind = 25 // which fragments of blocks are held for good, so that the asker may give up what it has
	KindStored        Kind = 27 // what a pod stores that can't know what is needed of it
	KindDrop          Kind = 28 // what of that a writer needs no more
	KindDirect        Kind = 29 // copies that such a pod is to make
)

// Config is what New needs.
type Config struct {
	Key     ed25519.PrivateKey // the pod's key: its identity towards peers
	Network ident.Network      // pods of another network are refused
	// Listen holds the addresses to listen on, "HOST:PORT" with an IP address or nothing as host (nothing:
	// all addresses, IPv4 and IPv6), and with port 0 for any free one; multiaddrs are read too. None: this
	// pod only dials.
	Listen []string
	// Announce holds addresses that others are told beside those where this pod listens: HOST:PORT or multiaddrs, as of a router that hands a port on.
	Announce []string
	// Hello returns what is shown first on each new connection: at most HelloMax bytes. It must not block.
	Hello func() []byte
	// Admit says whether a pod that shows this hello is let in; the error's text is sent to it. It must not
	// block, keep hello, or call methods of the Host that wait.
	Admit func(pod ident.Pod, hello []byte) error
	// Refused is told of whom was refused without asking Admit, as of another network; nil: nobody is told. It must not block.
	Refused func(pod ident.Pod, err error)
	Handler Handler
	// Enrol answers a stranger's request, at most EnrolMax bytes, by at most EnrolReplyMax bytes. The text
	// of its error is sent to the stranger. nil: strangers are refused.
	Enrol    func(ctx context.Context, pod ident.Pod, request []byte) ([]byte, error)
	Agent    string       // the version of the program, which other pods are told; "": none
	Discover bool         // find pods of this network on the local links, and be found, by mDNS
	DHT      *DHTConfig   // nil: this pod takes no part in the DHT
	Clock    clock.Clock  // nil: clock.Real
	Log      *slog.Logger // nil: nothing is logged
}

// Handler is what the pod does with what peers send. Methods are called at the same time from several
// goroutines unless it says otherwise. Bodies of Told and Asked belong to the Handler; the bytes of
// PutBlock are the caller's. Contexts end when the connection does. A panic is caught, logged, and
// answered as a failure.
type Handler interface {
	// Connected says that a pod was admitted on its first connection. Connected and Disconnected of one pod
	// are called strictly in turn, never at the same time. Both must not block, but may call any method of
	// the Host that does not wait for a peer.
	Connected(pod ident.Pod)
	// Disconnected says that the last connection to a pod ended.
	Disconnected(pod ident.Pod)
	// Told takes a message. Messages of one pod come one after the other, in the order in which they were
	// sent; while it runs up to InFlightMax of them wait, and what passes that is dropped.
	Told(ctx context.Context, from ident.Pod, kind Kind, body []byte)
	// Asked answers a question by at most QuestionMax bytes, which it must not change afterwards. Up to 16
	// questions of one peer are answered at once; others wait.
	Asked(ctx context.Context, from ident.Pod, kind Kind, body []byte) ([]byte, error)
	// Block returns a block's header and stored form, at most WireMax bytes, which it must not change
	// before done, if there is one, is called: they have been sent, or won't be. block.ErrNotFound is told to the peer as a miss.
	Block(ctx context.Context, from ident.Pod, id block.ID) (wire []byte, done func(), err error)
	// PutBlock stores a block that a peer puts; durable is it after PutSync. wire is valid until the
	// return, and is to be verified. Errors known to the peer: ErrFull, ErrBusy, block.ErrCorrupt.
	PutBlock(ctx context.Context, from ident.Pod, id block.ID, wire []byte) error
	// PutSync makes durable every PutBlock that returned before; the peer is acknowledged after it only.
	PutSync(ctx context.Context, from ident.Pod) error
	// HaveBlock says whether a block that a peer offers is here and owned, so that it need not be sent.
	HaveBlock(ctx context.Context, from ident.Pod, id block.ID) bool
	FragmentHandler
}

// FragmentHandler does with fragments what Handler does with blocks. PutSync makes durable what PutFragment took, too.
type FragmentHandler interface {
	// Fragment returns a fragment as block.StripeRecord.AppendWire writes it; the rest is as of Block.
	Fragment(ctx context.Context, from ident.Pod, f block.Fragment) (wire []byte, done func(), err error)
	// PutFragment stores a fragment that a peer puts; the rest is as of PutBlock.
	PutFragment(ctx context.Context, from ident.Pod, f block.Fragment, wire []byte) error
	// HaveFragment says whether a fragment that a peer offers is here, so that it need not be sent.
	HaveFragment(ctx context.Context, from ident.Pod, f block.Fragment) bool
}

// Peer is a connected pod.
type Peer struct {
	Pod       ident.Pod
	Addr      string        // the multiaddr that the connection goes to or comes from, without the pod
	Addrs     []string      // where it says that it listens: multiaddrs with /p2p/ID
	RTT       time.Duration // of the last ping; 0: not known yet
	Since     time.Time     // when it was connected
	Agent     string        // the version of the program, as the pod says; "": not known
	LastHeard time.Time     // when the last byte came; pings go each second, so 4 s of silence is suspect
	Sent      Traffic
	Received  Traffic
}

// Traffic is what went over a connection in one direction: messages and blocks.
type Traffic struct {
	Bytes int64 // since it was connected
	Rate  int64 // bytes a second, over the last few seconds
}

// Absent is a pod that is dialled and not connected.
type Absent struct {
	Pod    ident.Pod
	Addrs  []string  // at which it is dialled
	Tried  time.Time // when the last dial ended; zero: none did yet
	Failed error     // what became of it
}
