package p2p

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// raw is a libp2p host without our protocol, connected to a pod.
type raw struct {
	t    *testing.T
	host libp2phost.Host
	conn network.Conn
	pod  ident.Pod
}

func rawTo(t *testing.T, p *pod, n byte) *raw {
	t.Helper()
	h, id, err := newLibp2p(keyOf(n), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	pid, err := peerID(p.id)
	if err != nil {
		t.Fatal(err)
	}
	h.Peerstore().AddAddrs(pid, parseAddrs(p.Addrs()), peerstore.TempAddrTTL)
	c, err := h.Network().DialPeer(within(t, 5*time.Second), pid)
	if err != nil {
		t.Fatal(err)
	}
	return &raw{t, h, c, id}
}

func (r *raw) open(p protocol.ID) network.Stream {
	r.t.Helper()
	s, err := openStream(within(r.t, 5*time.Second), r.conn, p)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// hello opens the stream of messages and gets admitted.
func (r *raw) hello() network.Stream {
	r.t.Helper()
	s := r.open(protoX)
	r.send(s, appendFrame(appendPreamble(nil, roleMessages), frameHeader{typ: frameHello}, hello{network: testNetwork, instance: 5}.encode()))
	if _, err := readPreamble(s); err != nil {
		r.t.Fatal(err)
	}
	if f, _, err := readFrame(s, roleMessages); err != nil || f.typ != frameHello {
		r.t.Fatalf("hello: type %d, %v", f.typ, err)
	}
	r.send(s, appendFrame(nil, frameHeader{typ: frameReady}, nil))
	return s
}

func (r *raw) send(s network.Stream, b []byte) {
	r.t.Helper()
	if _, err := s.Write(b); err != nil {
		r.t.Logf("send: %v", err) // the other side may have had enough
	}
}

// closed waits until the pod has closed the connection.
func (r *raw) closed(s network.Stream) {
	r.t.Helper()
	deadline := time.After(10 * time.Second)
	go func() { _, _ = io.Copy(io.Discard, s) }()
	for !r.conn.IsClosed() {
		select {
		case <-deadline:
			r.t.Fatal("the connection is still open")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// What breaks the protocol ends the connection, before and after the hello; the pod lives on.
func TestGarbage(t *testing.T) {
	p := start(t, 1, nil)
	frame := func(typ frameType, id uint64, kind Kind, flags byte, body string) []byte {
		return appendFrame(nil, frameHeader{typ: typ, id: id, kind: kind, flags: flags}, []byte(body))
	}
	length := frameHeader{typ: frameQuestion, length: 1 << 31, id: 1}.append(nil)
	ids := string(appendObjects(nil, frameGet, []object{wholeBlock(block.Sum(block.Raw, nil))}))
	fragment := object{Stripe: block.Stripe{ID: block.Sum(block.Raw, nil), K: 4, M: 2}, I: 5}
	names := string(appendObjects(nil, frameOfferFragments, []object{fragment}))
	fragment.I = 6
	noName := string(appendObjects(nil, frameOfferFragments, []object{fragment}))
	get := func(b []byte) []byte { return append(appendPreamble(nil, roleGet), b...) }
	put := func(b ...byte) []byte { return append(appendPreamble(nil, rolePut), b...) }
	n := byte(10)
	for name, tt := range map[string]struct {
		hello  bool
		stream bool // on a stream of its own, after the hello
		send   []byte
	}{
		"noise before the hello":      {send: []byte(strings.Repeat("GET / HTTP/1.1\r\n", 100))},
		"another version":             {send: []byte("whx\x02\x01\x00\x00\x00")},
		"hello of another length":     {send: append(appendPreamble(nil, roleMessages), frameHeader{typ: frameHello, length: 1 << 30}.append(nil)...)},
		"short hello":                 {send: append(appendPreamble(nil, roleMessages), frame(frameHello, 0, 0, 0, "x")...)},
		"question before the hello":   {send: append(appendPreamble(nil, roleMessages), frame(frameQuestion, 1, 1, 0, "x")...)},
		"enrolment on the wrong name": {send: append(appendPreamble(nil, roleEnrol), frame(frameEnrol, 1, 0, 0, "x")...)},
		"noise after the hello":       {hello: true, send: []byte(strings.Repeat("GET / HTTP/1.1\r\n", 100))},
		"length":                      {hello: true, send: length},
		"a second hello":              {hello: true, send: frame(frameHello, 0, 0, 0, strings.Repeat("x", 50))},
		"answer to no question":       {hello: true, send: frame(frameAnswer, 1, 0, 0, "x")},
		"failure of no question":      {hello: true, send: frame(frameFail, 1, 0, 0, "x")},
		"cancel of no question":       {hello: true, send: frame(frameCancel, 1, 0, 0, "")},
		"pong of no ping":             {hello: true, send: frame(framePong, 1<<40, 0, 0, "")},
		"question ids fall":           {hello: true, send: append(frame(frameQuestion, 5, 1, 0, "x"), frame(frameQuestion, 4, 1, 0, "x")...)},
		"addresses":                   {hello: true, send: frame(frameAddrs, 0, 0, 0, "\xff\xff")},
		"noise on a stream of blocks": {hello: true, stream: true, send: get([]byte(strings.Repeat("noise", 10)))},
		"put on a stream of gets":     {hello: true, stream: true, send: get(frame(frameOffer, 1, 0, 0, ids))},
		"ids of another length":       {hello: true, stream: true, send: get(frame(frameGet, 1, 0, 0, ids+"x"))},
		"ids of another kind":         {hello: true, stream: true, send: get(frame(frameGet, 1, 0, 0, strings.Repeat("x", 36)))},
		"request ids don't rise":      {hello: true, stream: true, send: get(append(frame(frameGet, 1, 0, 0, ids), frame(frameGet, 1, 0, 0, ids)...))},
		"block that was not offered":  {hello: true, stream: true, send: put(frame(frameData, 1, 0, 0, ids)...)},
		"block of another put":        {hello: true, stream: true, send: put(append(frame(frameOffer, 1, 0, 0, ids), frame(frameData, 2, 0, 0, ids)...)...)},
		"block without a header":      {hello: true, stream: true, send: put(append(frame(frameOffer, 1, 0, 0, ids), frame(frameData, 1, 0, 0, "x")...)...)},
		"names of another length":     {hello: true, stream: true, send: get(frame(frameGetFragments, 1, 0, 0, names+"x"))},
		"ids for names":               {hello: true, stream: true, send: get(frame(frameGetFragments, 1, 0, 0, ids))},
		"fragment 6 of 4+2":           {hello: true, stream: true, send: get(frame(frameGetFragments, 1, 0, 0, noName))},
		"too many names":              {hello: true, stream: true, send: get(frameHeader{typ: frameGetFragments, length: batchMax*block.FragmentLen + 1, id: 1}.append(nil))},
		"fragment without a name":     {hello: true, stream: true, send: put(append(frame(frameOfferFragments, 1, 0, 0, names), frame(frameData, 1, 0, 0, strings.Repeat("x", block.FragmentNameLen-1))...)...)},
		"fragment that is too long":   {hello: true, stream: true, send: put(append(frame(frameOfferFragments, 1, 0, 0, names), frameHeader{typ: frameData, id: 1, length: 1<<20 + 4096}.append(nil)...)...)},
		"second stream of messages":   {hello: true, stream: true, send: appendPreamble(nil, roleMessages)},
		"message over the limit":      {hello: true, send: []byte(strings.Repeat(string(frame(frameTell, 0, 1, flagMore, strings.Repeat("x", pieceMax))), TellMax/pieceMax+1))},
		"addresses of too many":       {hello: true, send: frame(frameAddrs, 0, 0, 0, strings.Repeat("\x00\x01x", PeerAddrsMax+1))},
	} {
		n++
		t.Run(name, func(t *testing.T) {
			r := rawTo(t, p, n)
			var s network.Stream
			if tt.hello {
				s = r.hello()
				p.until("connected", func() bool { return p.up[r.pod] })
			}
			if s == nil || tt.stream {
				s = r.open(protoX)
			}
			r.send(s, tt.send)
			r.closed(s)
			if tt.hello {
				p.until("disconnected", func() bool { return !p.up[r.pod] })
			}
		})
	}
	// It lives on.
	join(t, start(t, 2, nil), p)
}

// resetStream is a stream on which a write waits until it is reset, and whose first reset ends when that one has been told.
type resetStream struct {
	network.Stream

	reset, told chan struct{}
	resets      atomic.Int32
}

func (s *resetStream) Write([]byte) (int, error) {
	<-s.reset
	defer close(s.told)
	return 0, network.ErrReset
}

func (s *resetStream) Reset() error {
	if s.resets.Add(1) == 1 {
		close(s.reset)
		<-s.told
		time.Sleep(20 * time.Millisecond) // whoever wrote gets on
	}
	return nil
}

// TestGarbageBesideWrite breaks if what a peer did wrong on a stream of gets is not told because a write failed for it, too.
func TestGarbageBesideWrite(t *testing.T) {
	a, b := start(t, 1, nil), start(t, 2, nil)
	join(t, a, b)
	l, err := a.link(b.id)
	if err != nil {
		t.Fatal(err)
	}
	s := &resetStream{reset: make(chan struct{}), told: make(chan struct{})}
	if err := l.serveGets(s, bufio.NewReader(strings.NewReader(strings.Repeat("noise", 10)))); !errors.Is(err, ErrProtocol) {
		t.Errorf("got %v", err)
	}
}

// Blocks are not served before the hello, and a silent connection is closed after 5 s.
func TestSilence(t *testing.T) {
	p := start(t, 1, hurried)
	mute, early := rawTo(t, p, 2), rawTo(t, p, 3)
	s := early.open(protoX)
	early.send(s, appendFrame(appendPreamble(nil, roleGet), frameHeader{typ: frameGet, id: 1}, appendObjects(nil, frameGet, []object{wholeBlock(block.Sum(block.Raw, nil))})))
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("blocks are served before the hello")
	}
	half := rawTo(t, p, 4)
	hs := half.open(protoX)
	half.send(hs, appendPreamble(nil, roleMessages)[:5])
	half.closed(hs)
	early.closed(s)
	mute.closed(s)
	// Plain TCP that says nothing, or nonsense, is the upgrader's business; it must not hang the close.
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.ListenPort())))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Error(err)
	}
	_ = c.Close()
}

// A peer that answers nothing is given up by the caller's context; one that asks and never reads is
// disconnected.
func TestNotReading(t *testing.T) {
	p := start(t, 1, nil)
	r := rawTo(t, p, 2)
	s := r.hello()
	p.until("connected", func() bool { return p.up[r.pod] })
	if _, err := p.Ask(within(t, 50*time.Millisecond), r.pod, KindHas, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	p.asked = func(context.Context, ident.Pod, Kind, []byte) ([]byte, error) { return make([]byte, QuestionMax), nil }
	go func() {
		for id := uint64(1); ; id++ {
			if _, err := s.Write(appendFrame(nil, frameHeader{typ: frameQuestion, kind: 1, id: id}, nil)); err != nil {
				return
			}
		}
	}()
	p.until("disconnected", func() bool { return !p.up[r.pod] })
}

// A stranger's request is answered; a fourth within the minute is not, nor one that is too large, nor one at
// the wrong pod.
func TestEnrol(t *testing.T) {
	p := start(t, 1, func(c *Config, _ *fake) {
		c.Enrol = func(_ context.Context, pod ident.Pod, request []byte) ([]byte, error) {
			switch string(request) {
			case "no":
				return nil, errors.New("token was used")
			case "long":
				return make([]byte, EnrolReplyMax), nil
			}
			return append([]byte(pod.String()), request...), nil
		}
	})
	q := start(t, 2, nil)
	ask := func(key byte, to *pod, addrs []string, request string) (string, error) {
		k := keyOf(key)
		if key == 0 {
			k = nil
		}
		got, err := Enrol(within(t, 10*time.Second), k, to.id, addrs, []byte(request))
		return string(got), err
	}
	if got, err := ask(3, p, p.Addrs(), "hi"); err != nil || got != podNumber(t, 3).String()+"hi" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := ask(0, p, p.Addrs(), "long"); err != nil || len(got) != EnrolReplyMax {
		t.Errorf("long: got %d bytes, %v", len(got), err)
	}
	if _, err := ask(3, p, p.Addrs(), "no"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "token was used") {
		t.Errorf("refused: got %v", err)
	}
	_, err := ask(3, p, p.Addrs(), "3")
	if err != nil {
		t.Error(err)
	}
	if _, err := ask(3, p, p.Addrs(), "4"); !errors.Is(err, ErrBusy) {
		t.Errorf("the fourth: got %v", err)
	}
	if _, err := ask(0, p, p.Addrs(), strings.Repeat("x", EnrolMax+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large: got %v", err)
	}
	if _, err := ask(0, q, p.Addrs(), "hi"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("another pod answers: got %v", err)
	}
	if _, err := ask(0, q, q.Addrs(), "hi"); !errors.Is(err, ErrRefused) {
		t.Errorf("no strangers: got %v", err)
	}
	// Garbage on the protocol of strangers.
	for i, b := range []string{"noise noise noise", string(appendPreamble(nil, roleEnrol)) + string(frameHeader{typ: frameEnrol, length: EnrolMax + 1}.append(nil))} {
		r := rawTo(t, p, byte(20+i))
		s := r.open(protoEnrol)
		r.send(s, []byte(b))
		if _, err := io.ReadAll(s); err == nil {
			t.Errorf("garbage %d is answered", i)
		}
	}
}

func TestEnrolLimits(t *testing.T) {
	var e enrolLimits
	now := time.Unix(1000, 0)
	for i := range enrolmentsMax {
		if err := e.begin(ident.Pod{byte(i)}, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.begin(ident.Pod{99}, now); !errors.Is(err, ErrBusy) {
		t.Errorf("too many at once: got %v", err)
	}
	for range enrolmentsMax {
		e.end()
	}
	for i := e.all; i < enrolPerMinute; i++ {
		if err := e.begin(ident.Pod{1, byte(i), byte(i >> 8)}, now); err != nil {
			t.Fatal(err)
		}
		e.end()
	}
	if err := e.begin(ident.Pod{99}, now); !errors.Is(err, ErrBusy) {
		t.Errorf("too many a minute: got %v", err)
	}
	if err := e.begin(ident.Pod{99}, now.Add(enrolWindow)); err != nil {
		t.Errorf("a minute later: got %v", err)
	}
}

// A peer with two connections counts once. When one of them ends, it is shown as gone and back; when both
// do, as gone.
func TestTwoLinks(t *testing.T) {
	for _, tt := range []struct {
		both bool
		want string
	}{{false, "+-+"}, {true, "+-"}} {
		p := start(t, 1, nil)
		r, r2 := rawTo(t, p, 2), rawTo(t, p, 2)
		s, s2 := r.hello(), r2.hello()
		deadline := time.Now().Add(5 * time.Second)
		for len(p.links()) < 2 {
			if time.Now().After(deadline) {
				t.Fatal("no second link")
			}
			time.Sleep(time.Millisecond)
		}
		if n := len(p.Peers()); n != 1 {
			t.Errorf("%d peers", n)
		}
		r.send(s, []byte("what breaks the protocol"))
		if tt.both {
			r.send(s2, []byte("what breaks the protocol"))
		}
		p.until(tt.want, func() bool { return strings.Join(p.events, "") == tt.want })
		if p.Connected(r.pod) == tt.both {
			t.Errorf("both %v: connected %v", tt.both, !tt.both)
		}
	}
}
