package state

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// forkVersion is the version of the format of a fork statement.
const forkVersion = 1

// Fork is a statement: two signed commits of one actor with one number and one commit before them. It proves that two copies of a pod
// went on apart from there, and closes the incarnation. It needs no signature of its own. It is fixed by NewFork or DecodeFork.
type Fork struct {
	A, B *Header // sorted by digest
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
	f := &Fork{A: a, B: b}
	if why := f.broken(); why != "" {
		return nil, corrupt("fork", errors.New(why))
	}
	return f, nil
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

// point is where the branches part.
func (f *Fork) point() forkPoint { return pointBefore(f.A) }

// pointBefore is the point at which a commit's branch would begin, if others began there too.
func pointBefore(h *Header) forkPoint {
	return forkPoint{actor: h.Actor, seq: h.Seq - 1, digest: h.Prev}
}

// Verify says whether both headers were signed with this key; if not, the error is ErrSignature.
func (f *Fork) Verify(key ed25519.PublicKey) error {
	return errors.Join(f.A.Verify(key), f.B.Verify(key))
}

// Encode is the statement's bytes: [1, header, header].
func (f *Fork) Encode() []byte {
	b := cbor.AppendUint(cbor.AppendArray(nil, 3), forkVersion)
	b = cbor.AppendBytes(b, f.A.AppendSigned(nil))
	return cbor.AppendBytes(b, f.B.AppendSigned(nil))
}

// DecodeFork reads what Encode writes, and nothing else. It doesn't verify the signatures. It aliases b. The error is block.ErrCorrupt.
func DecodeFork(b []byte) (*Fork, error) {
	r := cbor.NewReader(b)
	r.Tuple(3)
	if v := r.Uint(); v != forkVersion {
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
	f := &Fork{A: hs[0], B: hs[1]}
	if why := f.broken(); why != "" {
		return nil, corrupt("fork", errors.New(why))
	}
	return f, nil
}
