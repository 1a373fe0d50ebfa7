package state

import (
	"crypto/ed25519"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// headDomain is what stands before a head where it is signed.
const headDomain = "wormhole/head/1"

// headVersion is the version of the format.
const headVersion = 1

// Head is a pod's signed statement of what it has. It is fixed by Encode or DecodeHead.
type Head struct {
	Network      ident.Network
	Actor        ident.Actor
	Seq          uint64   // the pod's last commit; 0 if it made none
	CommitDigest [32]byte // of that commit; zero if there is none
	VV           VV       // what the pod has applied, its own commits included
	Checkpoint   block.ID // the newest state root, which carries a version vector of its own; zero: none
	TreeRoot     block.ID // the view at that checkpoint; zero: none
	HLC          HLC

	signed signed
}

// Encode signs the head and returns its bytes. sign gets the domain "wormhole/head/1" and the head, and returns an Ed25519 signature.
func (h *Head) Encode(sign func([]byte) []byte) []byte {
	b := cbor.AppendArray(nil, 9)
	b = cbor.AppendUint(b, headVersion)
	b = cbor.AppendBytes(b, h.Network[:])
	b = cbor.AppendUint(b, h.Actor.Uint())
	b = cbor.AppendUint(b, h.Seq)
	b = cbor.AppendBytes(b, h.CommitDigest[:])
	b = h.VV.Append(b)
	b = appendLink(b, h.Checkpoint)
	b = appendLink(b, h.TreeRoot)
	b = cbor.AppendUint(b, uint64(h.HLC))
	h.signed = seal(headDomain, b, sign)
	return h.signed.append(cbor.AppendArray(nil, 2))
}

// DecodeHead reads what Encode writes, and nothing else. It doesn't verify the signature. The error is block.ErrCorrupt.
func DecodeHead(b []byte) (*Head, error) {
	r := cbor.NewReader(b)
	r.Tuple(2)
	h := &Head{signed: readSigned(r)}
	if err := r.Done(); err != nil {
		return nil, corrupt("head", err)
	}
	if err := h.read(cbor.NewReader(h.signed.bytes)); err != nil {
		return nil, corrupt("head", err)
	}
	return h, nil
}

func (h *Head) read(r *cbor.Reader) error {
	r.Tuple(9)
	if v := r.Uint(); v != headVersion {
		r.Fail("version %d of the head's format is not known", v)
	}
	h.Network = readDigest(r)
	h.Actor = readActor(r)
	h.Seq = r.Uint()
	h.CommitDigest = readDigest(r)
	h.VV = readVV(r)
	h.Checkpoint = readLink(r)
	h.TreeRoot = readLink(r)
	h.HLC = HLC(r.Uint())
	switch {
	case r.Err() != nil:
	case h.Actor.Member == 0:
		r.Fail("head of no actor")
	case (h.Seq == 0) != (h.CommitDigest == [32]byte{}):
		r.Fail("commit %d and its digest don't go together", h.Seq)
	case h.VV[h.Actor] != h.Seq:
		r.Fail("commit %d is not the last one in the version vector", h.Seq)
	case h.Checkpoint.IsZero() != h.TreeRoot.IsZero():
		r.Fail("a state root without a tree root, or the other way round")
	}
	return r.Done()
}

// Verify says whether the head was signed with this key; if not, the error is ErrSignature.
func (h *Head) Verify(key ed25519.PublicKey) error {
	if err := h.signed.verify(headDomain, key); err != nil {
		return fmt.Errorf("state: head of actor %s: %w", h.Actor, err)
	}
	return nil
}

// Newer says whether of two heads of one pod this is the later one: by the number of its last commit, or by its time where that is equal or of another incarnation.
// A clock that is set back in a new incarnation can make three heads a circle; nothing rests on which of them is kept.
func (h *Head) Newer(than *Head) bool {
	if h.Actor == than.Actor && h.Seq != than.Seq {
		return h.Seq > than.Seq
	}
	return h.HLC > than.HLC
}

// appendLink appends a link to a node, or null for the zero ID.
func appendLink(b []byte, id block.ID) []byte {
	if id.IsZero() {
		return cbor.AppendNull(b)
	}
	return cbor.AppendLink(b, id.Bytes())
}

// readLink reads what appendLink writes.
func readLink(r *cbor.Reader) block.ID {
	if r.Null() {
		return block.ID{}
	}
	return readNodeID(r)
}
