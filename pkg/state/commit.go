package state

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// commitDomain is what stands before a header where it is signed.
const commitDomain = "wormhole/commit/1"

// commitVersion is the version of the format.
const commitVersion = 1

// Dep names a commit that a commit's author had applied: the newest one of its actor.
type Dep struct {
	Dot
	Digest [8]byte // the first bytes of that commit's digest
}

// Header is the signed part of a commit. It names the rows by their digest, so it can be verified without them.
type Header struct {
	Network    ident.Network
	Actor      ident.Actor
	Seq        uint64   // from 1
	Prev       [32]byte // digest of the actor's commit before; zero for the first
	Skip       [32]byte // digest of the actor's commit SkipSeq(Seq); zero if that is 0
	Deps       []Dep    // sorted by actor, without the author
	HLC        HLC      // later than every stamp in the rows, or equal
	RowsDigest [32]byte // BLAKE3-256 of the encoded rows

	signed signed
}

// Commit is a batch of rows by one author. Encode or DecodeCommit fix it: it must not be changed after them.
type Commit struct {
	Header

	Rows []Row // sorted by key, of different keys; none is allowed
}

// SkipSeq is the seq of the commit that a commit's Skip names: seq with its lowest set bit cleared.
func SkipSeq(seq uint64) uint64 { return seq & (seq - 1) }

// Dot is the dot of all changes in the commit.
func (h *Header) Dot() Dot { return Dot{Actor: h.Actor, Seq: h.Seq} }

// Past is what the commit's author had seen, its own earlier commits included.
func (h *Header) Past() VV {
	vv := make(VV, len(h.Deps)+1)
	for _, d := range h.Deps {
		vv[d.Actor] = d.Seq
	}
	if h.Seq > 1 {
		vv[h.Actor] = h.Seq - 1
	}
	return vv
}

// Digest names the commit: BLAKE3-256 of the header that was signed, without the signature. It is zero before Encode.
func (h *Header) Digest() [32]byte {
	if h.signed.bytes == nil {
		return [32]byte{}
	}
	return h.signed.digest()
}

// Verify says whether the header was signed with this key; if not, the error is ErrSignature.
func (h *Header) Verify(key ed25519.PublicKey) error {
	if err := h.signed.verify(commitDomain, key); err != nil {
		return fmt.Errorf("state: commit %d of actor %s: %w", h.Seq, h.Actor, err)
	}
	return nil
}

// AppendSigned appends the signed header alone to b; DecodeHeader reads it.
func (h *Header) AppendSigned(b []byte) []byte { return h.signed.append(cbor.AppendArray(b, 2)) }

// DecodeHeader reads a signed header, which it doesn't verify. It aliases b. The error is block.ErrCorrupt.
func DecodeHeader(b []byte) (*Header, error) {
	r := cbor.NewReader(b)
	r.Tuple(2)
	h := readHeader(r)
	if err := r.Done(); err != nil {
		return nil, corrupt("commit's header", err)
	}
	return h, nil
}

// HeaderOf reads the signed header of an encoded commit, without a look at the rows: so that the signature
// can be verified before the rows are decoded. It aliases b. The error is block.ErrCorrupt.
func HeaderOf(commit []byte) (*Header, error) {
	r := cbor.NewReader(commit)
	r.Tuple(3)
	h := readHeader(r)
	if err := r.Err(); err != nil {
		return nil, corrupt("commit's header", err)
	}
	return h, nil
}

// Encode signs the commit and returns its bytes: the signed header and the rows. The deps and rows are sorted. sign gets the domain
// "wormhole/commit/1" and the header, and returns an Ed25519 signature.
func (c *Commit) Encode(sign func([]byte) []byte) []byte {
	c.Rows = sorted(c.Rows, byKey)
	c.Deps = sorted(c.Deps, func(a, b Dep) int { return a.Actor.Compare(b.Actor) })
	rows := appendRows(nil, c.Rows)
	c.RowsDigest = blake3.Sum256(rows)
	c.signed = seal(commitDomain, c.append(nil), sign)
	b := c.signed.append(cbor.AppendArray(nil, 3))
	return cbor.AppendBytes(slices.Grow(b, len(rows)+9), rows)
}

// DecodeCommit reads what Encode writes, and nothing else, and checks all that a commit alone can tell: the digest of the rows, that
// keys, values and numbers are valid, and that rows name nothing that the author had not seen. It doesn't verify the signature.
// The commit aliases b. The error is block.ErrCorrupt.
func DecodeCommit(b []byte) (*Commit, error) {
	r := cbor.NewReader(b)
	r.Tuple(3)
	h := readHeader(r)
	rows := r.Bytes(RowsBytes)
	if err := r.Done(); err != nil {
		return nil, corrupt("commit", err)
	}
	if blake3.Sum256(rows) != h.RowsDigest {
		return nil, corrupt("commit", errors.New("the rows are not those of the header"))
	}
	c := &Commit{Header: *h}
	var err error
	if c.Rows, err = decodeRows(rows); err != nil {
		return nil, corrupt(fmt.Sprintf("rows of commit %d of actor %s", h.Seq, h.Actor), err)
	}
	past := h.Past()
	for i := range c.Rows {
		if err := c.check(&c.Rows[i], past); err != nil {
			return nil, corrupt(fmt.Sprintf("row %x of commit %d of actor %s", c.Rows[i].Key, h.Seq, h.Actor), err)
		}
	}
	return c, nil
}

// append appends what is signed.
func (h *Header) append(b []byte) []byte {
	b = cbor.AppendArray(b, 9)
	b = cbor.AppendUint(b, commitVersion)
	b = cbor.AppendBytes(b, h.Network[:])
	b = cbor.AppendUint(b, h.Actor.Uint())
	b = cbor.AppendUint(b, h.Seq)
	b = cbor.AppendBytes(b, h.Prev[:])
	b = cbor.AppendBytes(b, h.Skip[:])
	b = cbor.AppendArray(b, len(h.Deps))
	for _, d := range h.Deps {
		b = cbor.AppendArray(b, 3)
		b = cbor.AppendUint(b, d.Actor.Uint())
		b = cbor.AppendUint(b, d.Seq)
		b = cbor.AppendBytes(b, d.Digest[:])
	}
	b = cbor.AppendUint(b, uint64(h.HLC))
	return cbor.AppendBytes(b, h.RowsDigest[:])
}

// readHeader reads a signed header out of r.
func readHeader(r *cbor.Reader) *Header {
	h := &Header{signed: readSigned(r)}
	if r.Err() != nil {
		return h
	}
	in := cbor.NewReader(h.signed.bytes)
	in.Tuple(9)
	if v := in.Uint(); v != commitVersion {
		in.Fail("version %d of the commit's format is not known", v)
	}
	h.Network = readDigest(in)
	h.Actor = readActor(in)
	h.Seq = in.Uint()
	h.Prev, h.Skip = readDigest(in), readDigest(in)
	h.Deps = list(in, VVMax, func(a, b Dep) int { return a.Actor.Compare(b.Actor) }, func() (d Dep) {
		in.Tuple(3)
		d.Actor, d.Seq = readActor(in), in.Uint()
		readFixed(in, d.Digest[:])
		if d.Actor.Member == 0 || d.Seq == 0 || d.Actor == h.Actor {
			in.Fail("dependency on commit %d of actor %s", d.Seq, d.Actor)
		}
		return d
	})
	h.HLC = HLC(in.Uint())
	h.RowsDigest = readDigest(in)
	var none [32]byte
	switch {
	case in.Err() != nil:
	case h.Actor.Member == 0 || h.Actor.IsBranch() || h.Seq == 0:
		in.Fail("commit %d of actor %s", h.Seq, h.Actor)
	case (h.Prev == none) != (h.Seq == 1), (h.Skip == none) != (SkipSeq(h.Seq) == 0):
		in.Fail("digests of the commits before are there that should not be, or the other way round")
	}
	if err := in.Done(); err != nil {
		r.Fail("header: %v", err)
	}
	return h
}

func byKey(a, b Row) int { return bytes.Compare(a.Key, b.Key) }
