package member

import (
	"bytes"
	"crypto/ed25519"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	domainRekey   = "wormhole/rekey/1"
	rekeyFieldsNo = 5
)

// Rekey is the statement of kind KindRekey: an encrypted network seals what is new under another data key from now on. What was sealed until then stays as it is, and
// the keys of before go on opening it. It names the key; SealedKeys bring it to those who may read.
type Rekey struct {
	Network ident.Network
	KeyID   [KeyIDLen]byte // of the new data key, not zero
	Version uint64         // hybrid clock at the signing, over 0; the highest counts
	Ext     []Field
	Signer  Chain // of an admin
	Sig     []byte
}

func (k Rekey) body() []byte {
	b := cbor.AppendArray(nil, rekeyFieldsNo)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendBytes(b, k.Network[:])
	b = cbor.AppendBytes(b, k.KeyID[:])
	b = cbor.AppendUint(b, k.Version)
	return appendExt(b, k.Ext)
}

// Sign fills in Signer and Sig, as Settings.Sign does.
func (k Rekey) Sign(signer Chain, sign func(message []byte) []byte) (Rekey, error) {
	k.Signer = signer
	k.Sig = sign(signed(domainRekey, k.body()))
	return k, k.Verify(k.Network)
}

// Verify proves the statement for a network: signed by a member of it with the role admin. Whether that one's right had ended is the caller's to
// judge. The error is ErrBadStatement.
func (k Rekey) Verify(net ident.Network) error {
	by, err := k.Signer.Verify(net)
	if err == nil {
		err = checkExt(k.Ext)
	}
	switch {
	case err != nil:
		return fmt.Errorf("change of the data key: %w: %w", ErrBadStatement, err)
	case k.Network != net:
		return fmt.Errorf("change of the data key: %w: of the network %s, not of %s", ErrBadStatement, k.Network.Short(), net.Short())
	case k.KeyID == [KeyIDLen]byte{} || k.Version == 0:
		return fmt.Errorf("change of the data key: %w: to no key, or of no version", ErrBadStatement)
	case !by.Role.MayAdmit():
		return fmt.Errorf("change of the data key: %w: signed by a %s", ErrBadStatement, by.Role)
	case !ed25519.Verify(by.Subject, signed(domainRekey, k.body()), k.Sig):
		return fmt.Errorf("change of the data key: %w: signature does not hold", ErrBadStatement)
	}
	return nil
}

// Newer says whether k wins over other: the higher version, of equal ones the greater bytes. Verify both first.
func (k Rekey) Newer(other Rekey) bool {
	if k.Version != other.Version {
		return k.Version > other.Version
	}
	return bytes.Compare(k.Encode(), other.Encode()) > 0
}

// Encode is the statement's bytes, the body of its envelope, which DecodeRekey reads.
func (k Rekey) Encode() []byte {
	b := cbor.AppendArray(nil, 3)
	b = append(b, k.body()...)
	b = cbor.AppendBytes(b, k.Signer.Encode())
	return cbor.AppendBytes(b, k.Sig)
}

// DecodeRekey reads what Encode writes and proves nothing: call Verify. The error is ErrBadStatement.
func DecodeRekey(b []byte) (Rekey, error) {
	r := cbor.NewReader(b)
	r.Tuple(3)
	r.Tuple(rekeyFieldsNo)
	readVersion(r)
	k := Rekey{Network: readNetwork(r)}
	copy(k.KeyID[:], r.Fixed(KeyIDLen))
	k.Version = r.Uint()
	k.Ext = readExt(r)
	chain := r.Bytes(ChainBytesMax)
	k.Sig = r.Fixed(ed25519.SignatureSize)
	err := r.Done()
	if err == nil {
		k.Signer, err = DecodeChain(chain)
	}
	if err != nil {
		return Rekey{}, fmt.Errorf("change of the data key: %w: %w", ErrBadStatement, err)
	}
	return k, nil
}
