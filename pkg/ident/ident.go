// Package ident is the vocabulary of identities: networks, pods, actors.
//
// All types are comparable values, may be keys of maps, and are safe for concurrent use.
package ident

import (
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
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
	if err != nil {
		return Pod{}, fmt.Errorf("pod id %q: %w", s, ErrBad)
	}
	return PodFromBytes(b)
}

// PodFromBytes reads the bytes whose base58 String writes, as libp2p's peer ids are; the error is ErrBad.
func PodFromBytes(b []byte) (Pod, error) {
	if len(b) != len(podPrefix)+ed25519.PublicKeySize || string(b[:len(podPrefix)]) != podPrefix {
		return Pod{}, fmt.Errorf("pod id %q: %w", base58.Encode(b), ErrBad)
	}
	return Pod(b[len(podPrefix):]), nil
}

// Limits of an actor's numbers.
const (
	MemberMax      = 1<<18 - 1
	IncarnationMax = 1<<31 - 1
)

// branchBit is set in the incarnation of an actor that is a branch.
const branchBit = 1 << 31

// Actor is the author of dots: a member in one incarnation, or one branch of the commits of an incarnation that forked (package state).
// The zero value is no actor.
type Actor struct {
	Member      uint32 // 1 to MemberMax
	Incarnation uint32 // 0 to IncarnationMax; a branch has bit 31 set
}

// BranchOf is the branch of a member's commits that begins with the commit of this digest.
func BranchOf(member uint32, first [32]byte) Actor {
	return Actor{Member: member, Incarnation: branchBit | binary.BigEndian.Uint32(first[:4])}
}

// IsBranch says whether the actor is one side of a fork: no commit's header names it.
func (a Actor) IsBranch() bool { return a.Incarnation&branchBit != 0 }

// Compare orders actors by incarnation, then member: -1, 0 or +1.
func (a Actor) Compare(b Actor) int { return cmp.Compare(a.Uint(), b.Uint()) }

// Uint is incarnation<<18 | member: 50 bits, few of them for a member's first incarnation.
func (a Actor) Uint() uint64 { return uint64(a.Incarnation)<<18 | uint64(a.Member) }

// ActorOf reads what Uint writes; the error is ErrBad.
func ActorOf(u uint64) (Actor, error) {
	if u >= 1<<50 {
		return Actor{}, fmt.Errorf("actor %d: %w", u, ErrBad)
	}
	return Actor{Member: uint32(u & MemberMax), Incarnation: uint32(u >> 18)}, nil
}

// String is "member.incarnation", or "member/branch" in hexadecimal digits.
func (a Actor) String() string {
	if a.IsBranch() {
		return fmt.Sprintf("%d/%08x", a.Member, a.Incarnation&^branchBit)
	}
	return fmt.Sprintf("%d.%d", a.Member, a.Incarnation)
}
