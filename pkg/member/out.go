package member

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	domainOut   = "wormhole/out/1"
	outFieldsNo = 6
	// OutVersionMax is the highest version, so that a pod can always answer.
	OutVersionMax = 1 << 62
)

// Out is the statement of kind KindOut: a pod says that it has not heard another for long, or an admin that a pod
// is lost and won't come back. It counts until the pod that it is about has answered it in its layout entry.
type Out struct {
	Network ident.Network
	Subject ident.Pod // who is gone
	Version uint64    // hybrid clock at the signing, to OutVersionMax; of one signer's about one pod the highest counts
	By      ident.Pod // whose key signed: a pod's, or, where it is lost, an admin's
	Admin   Chain     // the admin's; empty: the word of one pod, which counts together with those of others
	Sig     []byte
}

// Lost says whether it is an admin's word, which needs no other.
func (o Out) Lost() bool { return len(o.Admin) > 0 }

func (o Out) body() []byte {
	b := cbor.AppendArray(nil, outFieldsNo)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendBytes(b, o.Network[:])
	b = cbor.AppendBytes(b, o.Subject[:])
	b = cbor.AppendUint(b, o.Version)
	b = cbor.AppendBytes(b, o.By[:])
	return cbor.AppendBool(b, o.Lost())
}

// Sign fills in Sig: sign makes the Ed25519 signatures of By. What would not verify is not signed: the error is ErrBadStatement.
func (o Out) Sign(sign func(message []byte) []byte) (Out, error) {
	o.Sig = sign(signed(domainOut, o.body()))
	return o, o.Verify(o.Network)
}

// Verify proves the signature and, where it says that a pod is lost, that it is an admin's of the network. Whether By is a
// pod whose word counts is the caller's to judge. The error is ErrBadStatement.
func (o Out) Verify(net ident.Network) error {
	fail := func(why string) error {
		return fmt.Errorf("statement of a pod that is out: %w: %s", ErrBadStatement, why)
	}
	switch {
	case o.Network != net:
		return fail("of the network " + o.Network.Short())
	case o.Subject == o.By:
		return fail("a pod says it of itself")
	case o.Version == 0 || o.Version > OutVersionMax:
		return fail("no valid version")
	case !ed25519.Verify(o.By.Key(), signed(domainOut, o.body()), o.Sig):
		return fail("signature does not hold")
	}
	if !o.Lost() {
		return nil
	}
	by, err := o.Admin.Verify(net)
	switch {
	case err != nil:
		return fmt.Errorf("statement of a pod that is lost: %w: %w", ErrBadStatement, err)
	case !by.Role.MayAdmit() || ident.PodOf(by.Subject) != o.By:
		return fail("signed by a " + by.Role.String() + ", or by another key than its chain is of")
	}
	return nil
}

// Encode is the statement's body, which DecodeOut reads.
func (o Out) Encode() []byte {
	b := cbor.AppendArray(nil, 3)
	b = append(b, o.body()...)
	var chain []byte
	if o.Lost() {
		chain = o.Admin.Encode()
	}
	b = cbor.AppendBytes(b, chain)
	return cbor.AppendBytes(b, o.Sig)
}

// DecodeOut reads a statement's body and proves nothing: call Verify. The error is ErrBadStatement.
func DecodeOut(b []byte) (Out, error) {
	r := cbor.NewReader(b)
	r.Tuple(3)
	r.Tuple(outFieldsNo)
	readVersion(r)
	o := Out{
		Network: readNetwork(r),
		Subject: readPod(r),
		Version: r.UintMax(OutVersionMax),
		By:      readPod(r),
	}
	lost := r.Bool()
	chain := r.Bytes(ChainBytesMax)
	o.Sig = r.Fixed(ed25519.SignatureSize)
	err := r.Done()
	if err == nil && len(chain) > 0 {
		o.Admin, err = DecodeChain(chain)
	}
	if err == nil && (o.Lost() != lost || o.Lost() != (len(chain) > 0)) {
		err = errors.New("an admin's word has a chain, no other")
	}
	if err != nil {
		return Out{}, fmt.Errorf("statement of a pod that is out: %w: %w", ErrBadStatement, err)
	}
	return o, nil
}
