package state

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// The versions of the format of a fork statement: two headers, or the author's own word.
const (
	forkHeaders = 1
	forkWord    = 2
)

// wordDomain is what stands before an author's word where it is signed.
const wordDomain = "wormhole/fork/1"

// Fork is a statement that says behind which commit two copies of a pod went on apart. It closes the incarnation. It is one of two things that only
// the author's key can make: two signed commits with one number and one commit before them; or the author's word, a signed point, for forks of which such
// headers are in no log any more. It is fixed by NewFork, NewForkWord or DecodeFork.
type Fork struct {
	A, B *Header // sorted by digest; nil: it is the author's word

	network ident.Network
	at      forkPoint
	word    signed // of an author's word
}

// forkPoint is where an incarnation's commits forked: the last commit that the branches share. Seq 0, with the zero digest: they share none.
type forkPoint struct {
	actor  ident.Actor // the incarnation
	seq    uint64
	digest [32]byte
}

// NewFork is the statement that two signed headers make. The error is block.ErrCorrupt: they prove nothing.
func NewFork(a, b *Header) (*Fork, error) {
	x, y := a.Digest(), b.Digest()
	if bytes.Compare(x[:], y[:]) > 0 {
		a, b = b, a
	}
	return forkOf(a, b)
}

func forkOf(a, b *Header) (*Fork, error) {
	f := &Fork{A: a, B: b, network: a.Network, at: pointBefore(a)}
	if why := f.broken(); why != "" {
		return nil, corrupt("fork", errors.New(why))
	}
	return f, nil
}

// newForkWord is an author's word that two copies of its pod went on apart behind a commit of its incarnation.
func newForkWord(network ident.Network, at forkPoint, sign func([]byte) []byte) *Fork {
	b := cbor.AppendArray(nil, 4)
	b = cbor.AppendBytes(b, network[:])
	b = cbor.AppendUint(b, at.actor.Uint())
	b = cbor.AppendUint(b, at.seq)
	b = cbor.AppendBytes(b, at.digest[:])
	return &Fork{network: network, at: at, word: seal(wordDomain, b, sign)}
}

// broken says why the headers prove no fork, or "".
func (f *Fork) broken() string {
	a, b := f.A.Digest(), f.B.Digest()
	switch {
	case bytes.Compare(a[:], b[:]) >= 0:
		return "the headers are one, or not in order"
	case f.A.Network != f.B.Network || f.A.Dot() != f.B.Dot():
		return "the headers are of two dots"
	case f.A.Prev != f.B.Prev:
		return "the commits before differ: the fork is further back"
	}
	return ""
}

// Actor is the incarnation that the copies shared.
func (f *Fork) Actor() ident.Actor { return f.at.actor }

// point is where the branches part.
func (f *Fork) point() forkPoint { return f.at }

// pointBefore is the point at which a commit's branch would begin, if others began there too.
func pointBefore(h *Header) forkPoint {
	return forkPoint{actor: h.Actor, seq: h.Seq - 1, digest: h.Prev}
}

// Verify says whether the statement was signed with this key; if not, the error is ErrSignature.
func (f *Fork) Verify(key ed25519.PublicKey) error {
	if f.A == nil {
		if err := f.word.verify(wordDomain, key); err != nil {
			return fmt.Errorf("state: fork of actor %s after commit %d: %w", f.at.actor, f.at.seq, err)
		}
		return nil
	}
	return errors.Join(f.A.Verify(key), f.B.Verify(key))
}

// Encode is the statement's bytes: [1, header, header], or [2, point, signature].
func (f *Fork) Encode() []byte {
	b := cbor.AppendArray(nil, 3)
	if f.A == nil {
		return f.word.append(cbor.AppendUint(b, forkWord))
	}
	b = cbor.AppendUint(b, forkHeaders)
	b = cbor.AppendBytes(b, f.A.AppendSigned(nil))
	return cbor.AppendBytes(b, f.B.AppendSigned(nil))
}

// DecodeFork reads what Encode writes, and nothing else. It doesn't verify the signatures. It aliases b. The error is block.ErrCorrupt.
func DecodeFork(b []byte) (*Fork, error) {
	r := cbor.NewReader(b)
	r.Tuple(3)
	switch v := r.Uint(); {
	case r.Err() != nil:
	case v == forkWord:
		return readForkWord(r)
	case v != forkHeaders:
		r.Fail("version %d of the format is not known", v)
	}
	var hs [2]*Header
	for i := range hs {
		signed := r.Bytes(HeaderMax + 128)
		if r.Err() != nil {
			break
		}
		h, err := DecodeHeader(signed)
		if err != nil {
			return nil, fmt.Errorf("state: fork: %w", err)
		}
		hs[i] = h
	}
	if err := r.Done(); err != nil {
		return nil, corrupt("fork", err)
	}
	return forkOf(hs[0], hs[1])
}

func readForkWord(r *cbor.Reader) (*Fork, error) {
	f := &Fork{word: readSigned(r)}
	if err := r.Done(); err != nil {
		return nil, corrupt("fork", err)
	}
	in := cbor.NewReader(f.word.bytes)
	in.Tuple(4)
	f.network = readDigest(in)
	f.at = forkPoint{actor: readActor(in), seq: in.Uint(), digest: readDigest(in)}
	switch {
	case in.Err() != nil:
	case f.at.actor.Member == 0 || f.at.actor.IsBranch():
		in.Fail("fork of actor %s", f.at.actor)
	case (f.at.seq == 0) != (f.at.digest == [32]byte{}):
		in.Fail("commit %d and its digest don't go together", f.at.seq)
	}
	if err := in.Done(); err != nil {
		return nil, corrupt("fork", err)
	}
	return f, nil
}
