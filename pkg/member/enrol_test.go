package member

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

func TestEnrolRequest(t *testing.T) {
	want := EnrolRequest{Secret: [16]byte{9}, PodName: strings.Repeat("n", NameMax), Version: 1}
	got, err := DecodeEnrolRequest(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, b := range map[string][]byte{
		"name with a slash": EnrolRequest{PodName: "a/b"}.Encode(),
		"no name":           EnrolRequest{}.Encode(),
		"too long":          make([]byte, EnrolRequestMax+1),
		"next version":      append([]byte{0x83, 2}, want.Encode()[2:]...),
	} {
		if _, err := DecodeEnrolRequest(b); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEnrolReply(t *testing.T) {
	want := testReply(t)
	got, err := DecodeEnrolReply(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Err() != nil {
		t.Error(got.Err())
	}
}

// The joining pod's exit code depends on which error comes out at the other end.
func TestRefuse(t *testing.T) {
	for _, row := range []struct{ err, want error }{
		{fmt.Errorf("x: %w", ErrDenied), ErrDenied},
		{ErrExpired, ErrExpired},
		{ErrUsed, ErrUsed},
		{ErrBadMessage, ErrBadMessage},
		{errors.New("disk"), ErrEnrolFailed},
		{errors.New(strings.Repeat("ü", enrolTextMax)), ErrEnrolFailed},
		{errors.New("\xff\xfe"), ErrEnrolFailed},
		{nil, ErrEnrolFailed},
	} {
		reply := RefuseEnrol(row.err)
		reply.NetworkName, reply.Peers = "secret", []EnrolPeer{{}}
		got, err := DecodeEnrolReply(reply.Encode())
		if err != nil {
			t.Errorf("%v: %v", row.err, err)
			continue
		}
		if !errors.Is(got.Err(), row.want) || got.NetworkName != "" || len(got.Peers) != 0 {
			t.Errorf("%v arrives as %v: %+v", row.err, got.Err(), got)
		}
		if errors.Is(row.want, ErrDenied) != errors.Is(got.Err(), ErrDenied) {
			t.Errorf("%v: denied or not differs", row.err)
		}
	}
	if err := (EnrolReply{Code: 200}).Err(); !errors.Is(err, ErrEnrolFailed) {
		t.Errorf("a code that is not known: %v", err)
	}
}

func TestBadReplies(t *testing.T) {
	reply := testReply(t)
	reply.NetworkName = "../x"
	// A refusal that carries a network's name.
	b := cbor.AppendArray(nil, 7)
	b = cbor.AppendUint(b, 1)
	b = cbor.AppendUint(b, uint64(EnrolDenied))
	b = cbor.AppendText(b, "no")
	b = cbor.AppendBytes(b, nil)
	b = cbor.AppendText(b, "home")
	b = cbor.AppendArray(b, 0)
	b = cbor.AppendArray(b, 0)
	for name, b := range map[string][]byte{
		"network's name": reply.Encode(), "refusal with a name": b, "too long": make([]byte, EnrolReplyMax+1),
		// Heads that promise far more than there is: memory must not be taken for them.
		"statements promised": append(b[:len(b)-2:len(b)-2], 0x9a, 0xff, 0xff, 0xff, 0xff),
	} {
		if _, err := DecodeEnrolReply(b); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Names, addresses and statements of a reply outlive the frame that it was read from.
func TestDecodedOwnsItsMemory(t *testing.T) {
	b := testReply(t).Encode()
	got, err := DecodeEnrolReply(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if diff := cmp.Diff(testReply(t), got); diff != "" {
		t.Error(diff)
	}
	if _, err := got.Chain.Verify(testNet); err != nil {
		t.Error(err)
	}
}

func TestEnrolReplyPeers(t *testing.T) {
	reply := testReply(t)
	reply.Peers = make([]EnrolPeer, 300)
	reply.Peers[0].Pod = ident.Pod{1}
	got, err := DecodeEnrolReply(reply.Encode())
	if err != nil || len(got.Peers) != enrolPeersMax {
		t.Errorf("%d peers, %v", len(got.Peers), err)
	}
}
