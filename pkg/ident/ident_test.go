package ident

import (
	"crypto/ed25519"
	"errors"
	"testing"
)

// TestPod holds the text of a pod's id, which libp2p must read as its peer id.
func TestPod(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no Ed25519 key")
	}
	p := PodOf(pub)
	const want = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
	if p.String() != want {
		t.Errorf("pod %s, want %s", p, want)
	}
	if got, err := ParsePod(want); err != nil || got != p {
		t.Errorf("parsed %s, %v", got, err)
	}
	for _, bad := range []string{"", "12D3", want + "x", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG"} {
		if _, err := ParsePod(bad); !errors.Is(err, ErrBad) {
			t.Errorf("%q: %v, want %v", bad, err, ErrBad)
		}
	}
	if (Pod{}).String() != "" {
		t.Error("the zero pod has a text")
	}
}

// TestActor breaks if an actor's number does not say which actor it is.
func TestActor(t *testing.T) {
	for _, a := range []Actor{{}, {Member: 1}, {Member: MemberMax, Incarnation: IncarnationMax}, {Member: 7, Incarnation: 3}, BranchOf(9, [32]byte{1, 2, 3, 4})} {
		if got, err := ActorOf(a.Uint()); err != nil || got != a {
			t.Errorf("%s: got %s, %v", a, got, err)
		}
	}
	if _, err := ActorOf(1 << 50); !errors.Is(err, ErrBad) {
		t.Errorf("an actor of 51 bits: %v", err)
	}
	if (Actor{Member: 1, Incarnation: 9}).Compare(Actor{Member: 2}) <= 0 {
		t.Error("incarnations come before members")
	}
	if b := BranchOf(9, [32]byte{1, 2, 3, 4}); !b.IsBranch() || b.Member != 9 || b.String() != "9/01020304" || (Actor{Member: 9, Incarnation: IncarnationMax}).IsBranch() {
		t.Errorf("branch %+v is %s", b, b)
	}
}

// TestNetwork breaks if a network's id is not read as it is written.
func TestNetwork(t *testing.T) {
	n := NetworkOf(make(ed25519.PublicKey, ed25519.PublicKeySize))
	if got, err := ParseNetwork(n.String()); err != nil || got != n {
		t.Errorf("got %s, %v; want %s", got, err, n)
	}
	for _, bad := range []string{"", "zz", n.Short()} {
		if _, err := ParseNetwork(bad); !errors.Is(err, ErrBad) {
			t.Errorf("%q: %v, want %v", bad, err, ErrBad)
		}
	}
}
