// Package ident is the vocabulary of identities: networks, pods, actors.
//
// All types are comparable values, may be keys of maps, and are safe for concurrent use.
package ident

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/mr-tron/base58"
	"github.com/zeebo/blake3"
)

// ErrBad says that a text or bytes are no identity of the kind asked for.
var ErrBad = errors.New("no valid identity")

// Network names a network: BLAKE3-256 of its root Ed25519 public key.
type Network [32]byte

// NetworkOf is the id of the network with this root public key.
func NetworkOf(root ed25519.PublicKey) Network { return blake3.Sum256(root) }

// String is the id in hexadecimal.
func (n Network) String() string { return hex.EncodeToString(n[:]) }

// Short is the first 8 hexadecimal digits, to show beside a name.
func (n Network) Short() string { return n.String()[:8] }

// ParseNetwork reads what String writes; the error is ErrBad.
func ParseNetwork(s string) (Network, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(Network{}) {
		return Network{}, fmt.Errorf("network id %q: %w", s, ErrBad)
	}
	return Network(b), nil
}

// Pod names a pod: its Ed25519 public key, which is its libp2p identity too.
type Pod [ed25519.PublicKeySize]byte

// PodOf is the pod with this public key.
func PodOf(key ed25519.PublicKey) Pod { return Pod(key) }

// podPrefix is what libp2p puts before an Ed25519 key in a peer id: an identity multihash (00, 36 bytes)
// of the protobuf {1: Ed25519 (1), 2: 32 bytes} (libp2p specs, peer-ids).
const podPrefix = "\x00\x24\x08\x01\x12\x20"

// Key is the pod's public key; the caller owns it.
func (p Pod) Key() ed25519.PublicKey { return ed25519.PublicKey(append([]byte(nil), p[:]...)) }

// String is the pod's libp2p peer id, "12D3Koo…", or "" for the zero pod.
func (p Pod) String() string {
	if p == (Pod{}) {
		return ""
	}
	return base58.Encode(append([]byte(podPrefix), p[:]...))
}

// ParsePod reads what String writes; the error is ErrBad.
func ParsePod(s string) (Pod, error) {
	b, err := base58.Decode(s)
	if err != nil || len(b) != len(podPrefix)+ed25519.PublicKeySize || string(b[:len(podPrefix)]) != podPrefix {
		return Pod{}, fmt.Errorf("pod id %q: %w", s, ErrBad)
	}
	return Pod(b[len(podPrefix):]), nil
}

// Limits of an actor's numbers: with a counter of 36 bits they fill the 63 bits of an inode number.
const (
	MemberMax      = 1<<18 - 1
	IncarnationMax = 1<<9 - 1
)

// Actor is the author of dots and inode numbers: a member in one incarnation.
// The zero value is no actor.
type Actor struct {
	Member      uint32 // 1 to MemberMax
	Incarnation uint16 // 0 to IncarnationMax
}

// Compare orders actors by member, then incarnation: -1, 0 or +1.
func (a Actor) Compare(b Actor) int {
	switch x, y := a.Uint(), b.Uint(); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// Uint is member<<9 | incarnation: 27 bits.
func (a Actor) Uint() uint64 { return uint64(a.Member)<<9 | uint64(a.Incarnation) }

// ActorOf reads what Uint writes; the error is ErrBad.
func ActorOf(u uint64) (Actor, error) {
	if u > MemberMax<<9|IncarnationMax {
		return Actor{}, fmt.Errorf("actor %d: %w", u, ErrBad)
	}
	return Actor{Member: uint32(u >> 9), Incarnation: uint16(u & IncarnationMax)}, nil
}

// String is "member.incarnation".
func (a Actor) String() string { return fmt.Sprintf("%d.%d", a.Member, a.Incarnation) }
