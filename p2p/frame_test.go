package p2p

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// The bytes on the wire are frozen.
func TestGolden(t *testing.T) {
	id := block.Sum(block.Raw, []byte("chunk"))
	golden(t, "preamble", appendPreamble(nil, roleMessages))
	golden(t, "hello", appendFrame(nil, frameHeader{typ: frameHello}, hello{network: ident.Network{1, 2}, instance: 3, body: []byte("hi")}.encode()))
	golden(t, "question", appendFrame(nil, frameHeader{typ: frameQuestion, kind: KindLog, flags: flagMore, id: 7}, []byte("piece")))
	golden(t, "get", appendFrame(nil, frameHeader{typ: frameGet, id: 1}, appendObjects(nil, frameGet, []object{wholeBlock(id), wholeBlock(id)})))
	f := object{Stripe: block.Stripe{ID: id, Form: [32]byte{1, 2, 3}, K: 4, M: 2}, I: 5}
	golden(t, "getfragments", appendFrame(nil, frameHeader{typ: frameGetFragments, id: 1}, appendObjects(nil, frameGetFragments, []object{f, f})))
	golden(t, "offerfragments", appendFrame(nil, frameHeader{typ: frameOfferFragments, id: 2}, appendObjects(nil, frameOfferFragments, []object{f})))
	golden(t, "getrepair", appendFrame(nil, frameHeader{typ: frameGet, kind: Kind(ClassRepair), id: 1}, appendObjects(nil, frameGet, []object{wholeBlock(id)})))
	golden(t, "fail", appendFrame(nil, frameHeader{typ: frameFail, id: 9}, encodeFailure(fmt.Errorf("no such block: %w", block.ErrNotFound))))
	golden(t, "acks", appendFrame(nil, frameHeader{typ: frameAck, id: 2}, appendAck(appendAck(nil, nil), ErrFull)))
	golden(t, "addrs", appendFrame(nil, frameHeader{typ: frameAddrs}, encodeAddrs(parseAddrs([]string{"10.0.0.1:4001", "[fd00::1]:4001"}))))
}

// What is refused of a frame's header.
func TestFrameHeaderRefused(t *testing.T) {
	for name, f := range map[string]frameHeader{
		"length":       {typ: frameTell, length: pieceMax + 1},
		"type":         {typ: 99},
		"other role":   {typ: frameData, length: 10},
		"kind":         {typ: framePing, kind: 1},
		"flags":        {typ: frameTell, flags: 2, length: 1},
		"more of ping": {typ: framePing, flags: flagMore},
		"empty piece":  {typ: frameTell, flags: flagMore},
	} {
		if _, err := readHeader(bytes.NewReader(f.append(nil)), roleMessages); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for r := roleMessages; r <= roleEnrol; r++ {
		for typ := range 34 {
			f.Add(byte(r), appendFrame(nil, frameHeader{typ: frameType(typ), id: 3}, []byte{}))
			f.Add(byte(r), appendFrame(nil, frameHeader{typ: frameType(typ)}, bytes.Repeat([]byte{1}, 40)))
		}
	}
	f.Fuzz(func(t *testing.T, r byte, b []byte) {
		in := bufio.NewReader(bytes.NewReader(b))
		head, body, err := readFrame(in, role(r))
		if err != nil {
			return
		}
		if limit, ok := bodyMax(role(r), head.typ); !ok || len(body) > limit {
			t.Fatalf("%d bytes of type %d", len(body), head.typ)
		}
		if again := appendFrame(nil, head, body); !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("got %x, want %x", again, b)
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(hello{network: testNetwork, instance: 1 << 63, body: []byte("chain")}.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHello(b)
		if err == nil && !bytes.Equal(h.encode(), b) {
			t.Errorf("got %x, want %x", h.encode(), b)
		}
	})
}

// FuzzBodies reads bytes as each of the bodies that have a form of their own.
func FuzzBodies(f *testing.F) {
	f.Add(appendObjects(nil, frameGet, []object{wholeBlock(block.Sum(block.Raw, nil))}))
	f.Add(appendObjects(nil, frameGetFragments, []object{{Stripe: block.Stripe{ID: block.Sum(block.Raw, nil), K: 1, M: 1}, I: 1}}))
	f.Add(appendAck(appendAck(nil, nil), ErrFull))
	f.Add(encodeAddrs(parseAddrs([]string{"10.0.0.1:4001", "/dns4/a.example/tcp/1"})))
	f.Add(encodeFailure(errors.New("ö\x00")))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, typ := range []frameType{frameGet, frameOffer, frameGetFragments, frameOfferFragments} {
			if objects, err := parseObjects(typ, b); err == nil && (!bytes.Equal(appendObjects(nil, typ, objects), b) || len(objects) > batchMax) {
				t.Errorf("names differ: %x", b)
			}
		}
		if addrs, err := decodeAddrs(b); err == nil && len(addrs) > PeerAddrsMax {
			t.Errorf("%d addresses", len(addrs))
		}
		for n := range 4 {
			errs := make([]error, n)
			_ = parseAcks(b, errs)
		}
		if err := decodeFailure(b); err == nil || !utf8.ValidString(err.Error()) {
			t.Errorf("failure %q", err)
		}
		for _, c := range []byte(cleanText(b)) {
			if c < ' ' || c == 0x7f {
				t.Errorf("byte %x in a text", c)
			}
		}
	})
}

// Errors keep their meaning over the wire, texts are cut at a rune.
func TestFailures(t *testing.T) {
	for _, want := range []error{block.ErrNotFound, block.ErrCorrupt, block.ErrUnavailable, ErrBusy, ErrFull, ErrRefused} {
		got := decodeFailure(encodeFailure(fmt.Errorf("here: %w", want)))
		if !errors.Is(got, want) || !strings.Contains(got.Error(), "here: ") {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	for _, err := range []error{context.Canceled, errors.New("x")} {
		if got := decodeFailure(encodeFailure(err)); !errors.Is(got, ErrRemote) || errors.Is(got, context.Canceled) {
			t.Errorf("%v: got %v", err, got)
		}
	}
	for n := range 5 {
		s := cutText(strings.Repeat("a", n)+strings.Repeat("€", 400), ReasonMax)
		if !utf8.ValidString(s) || len(s) < ReasonMax-3 || len(s) > ReasonMax {
			t.Errorf("%d: %d bytes", n, len(s))
		}
	}
}

func TestAddrs(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1:4001":       "/ip4/10.0.0.1/tcp/4001",
		"[fd00::1]:4001":      "/ip6/fd00::1/tcp/4001",
		"nas.example:4001":    "/dns/nas.example/tcp/4001",
		"/ip4/10.0.0.1/tcp/1": "/ip4/10.0.0.1/tcp/1",
		"/ip4/10.0.0.1/tcp/1/p2p/" + ident.Pod{1}.String(): "/ip4/10.0.0.1/tcp/1",
		"/ip4/10.0.0.1/udp/1/quic-v1":                      "",
		"/unix/tmp/x":                                      "",
		"10.0.0.1":                                         "",
		"10.0.0.1:99999":                                   "",
		"/ip4/10.0.0.1/tcp/1/ws":                           "",
		"":                                                 "",
		"/p2p/" + ident.Pod{1}.String():                    "",
	} {
		got := ""
		if a, err := parseAddr(in); err == nil {
			got = a.String()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Unspecified listeners stand for each address of their family; loopback is last, link-local left out.
func TestAnnounced(t *testing.T) {
	listen := parseAddrs([]string{"0.0.0.0:5", "[::]:5", "10.9.9.9:6"})
	var got []string
	for _, a := range announced(listen, addrsOfText("127.0.0.1", "10.0.0.1", "fe80::1", "fd00::1", "::1")) {
		got = append(got, a.String())
	}
	want := []string{"/ip4/10.0.0.1/tcp/5", "/ip6/fd00::1/tcp/5", "/ip4/10.9.9.9/tcp/6", "/ip4/127.0.0.1/tcp/5", "/ip6/::1/tcp/5"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
