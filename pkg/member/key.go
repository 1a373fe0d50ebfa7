package member

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha512"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const domainKey = "wormhole/key/1"

// Lengths of a data key's parts in bytes.
const (
	KeyIDLen     = 32
	dataKeyLen   = 32
	sealedKeyLen = 32 + dataKeyLen + 16 // HPKE's encapsulated key, ciphertext, tag
)

// SealedKey is the statement of kind KindKey: a network's data key, encrypted to one member's key. All pods keep
// it, so that the member gets it whenever it asks. It is no secret.
type SealedKey struct {
	Network ident.Network
	Subject ident.Pod      // for whom it is
	KeyID   [KeyIDLen]byte // of the data key
	Sealed  []byte         // 80 bytes
	Signer  Chain          // of an admin
	Sig     []byte
}

// SealKey encrypts a data key to a pod, not signed yet: HPKE in base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256 and ChaCha20Poly1305, to the X25519 key that belongs to the pod's Ed25519 key. That one key pair may serve for both is shown by
// Thormarker, "On using the same key pair for Ed25519 and an X25519 based KEM" (IACR eprint 2021/509). What is encrypted is bound to
// network, subject and key ID. The error is ErrBadCert for a pod whose key is none.
func SealKey(network ident.Network, to ident.Pod, id [KeyIDLen]byte, secret [dataKeyLen]byte) (SealedKey, error) {
	k := SealedKey{Network: network, Subject: to, KeyID: id}
	public, err := exchangeKey(to.Key())
	if err != nil {
		return SealedKey{}, fmt.Errorf("seal the data key to %s: %w: %w", to, ErrBadCert, err)
	}
	key, err := hpke.NewDHKEMPublicKey(public)
	if err == nil {
		k.Sealed, err = hpke.Seal(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), k.info(), secret[:])
	}
	if err != nil {
		return SealedKey{}, fmt.Errorf("seal the data key to %s: %w: %w", to, ErrBadCert, err)
	}
	return k, nil
}

// Open is the data key, by the private key of the subject. Whether it is the one of the key ID, the caller checks.
// The error is ErrBadStatement.
func (k SealedKey) Open(subject ed25519.PrivateKey) (secret [dataKeyLen]byte, err error) {
	digest := sha512.Sum512(subject.Seed()) // RFC 8032, section 5.1.5: its first half is the scalar
	private, err := ecdh.X25519().NewPrivateKey(digest[:32])
	if err != nil {
		return secret, fmt.Errorf("open the data key: %w: %w", ErrBadStatement, err)
	}
	key, err := hpke.NewDHKEMPrivateKey(private)
	if err != nil {
		return secret, fmt.Errorf("open the data key: %w: %w", ErrBadStatement, err)
	}
	plain, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), k.info(), k.Sealed)
	if err != nil || len(plain) != dataKeyLen {
		return secret, fmt.Errorf("open the data key: %w: it is not sealed to this key: %w", ErrBadStatement, err)
	}
	return [dataKeyLen]byte(plain), nil
}

// curvePrime is 2^255 - 19.
var curvePrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

var errNoPoint = errors.New("no point that has an X25519 key")

// exchangeKey is the X25519 public key of an Ed25519 one: u = (1+y)/(1-y) (RFC 7748, section 4.1). The keys are public, so
// the time that this takes tells nothing.
func exchangeKey(key ed25519.PublicKey) (*ecdh.PublicKey, error) {
	b := slices.Clone(key)
	b[len(b)-1] &= 0x7f // the sign of x
	slices.Reverse(b)
	y := new(big.Int).SetBytes(b)
	one := big.NewInt(1)
	below := new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Sub(one, y), curvePrime), curvePrime)
	if below == nil {
		return nil, errNoPoint
	}
	u := new(big.Int).Mul(new(big.Int).Add(one, y), below)
	b = u.Mod(u, curvePrime).FillBytes(b)
	slices.Reverse(b)
	return ecdh.X25519().NewPublicKey(b)
}

// info is what the encryption is bound to.
func (k SealedKey) info() []byte {
	b := cbor.AppendArray(nil, 3)
	b = cbor.AppendBytes(b, k.Network[:])
	b = cbor.AppendBytes(b, k.Subject[:])
	return signed(domainKey, cbor.AppendBytes(b, k.KeyID[:]))
}

func (k SealedKey) body() []byte {
	b := cbor.AppendArray(nil, 5)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendBytes(b, k.Network[:])
	b = cbor.AppendBytes(b, k.Subject[:])
	b = cbor.AppendBytes(b, k.KeyID[:])
	return cbor.AppendBytes(b, k.Sealed)
}

// Sign fills in Signer and Sig, as Settings.Sign does.
func (k SealedKey) Sign(signer Chain, sign func(message []byte) []byte) (SealedKey, error) {
	k.Signer = signer
	k.Sig = sign(signed(domainKey, k.body()))
	return k, k.Verify(k.Network)
}

// Verify proves the statement for a network: signed by a member of it with the role admin. Whether the key within
// is good, only the subject can tell. The error is ErrBadStatement.
func (k SealedKey) Verify(net ident.Network) error {
	by, err := k.Signer.Verify(net)
	switch {
	case err != nil:
		return fmt.Errorf("sealed key: %w: %w", ErrBadStatement, err)
	case k.Network != net:
		return fmt.Errorf("sealed key: %w: of the network %s, not of %s", ErrBadStatement, k.Network.Short(), net.Short())
	case len(k.Sealed) != sealedKeyLen:
		return fmt.Errorf("sealed key: %w: %d bytes", ErrBadStatement, len(k.Sealed))
	case !by.Role.MayAdmit():
		return fmt.Errorf("sealed key: %w: signed by a %s", ErrBadStatement, by.Role)
	case !ed25519.Verify(by.Subject, signed(domainKey, k.body()), k.Sig):
		return fmt.Errorf("sealed key: %w: signature does not hold", ErrBadStatement)
	}
	return nil
}

// Encode is the statement's bytes, the body of its envelope, which DecodeSealedKey reads.
func (k SealedKey) Encode() []byte {
	b := cbor.AppendArray(nil, 3)
	b = append(b, k.body()...)
	b = cbor.AppendBytes(b, k.Signer.Encode())
	return cbor.AppendBytes(b, k.Sig)
}

// DecodeSealedKey reads what Encode writes and proves nothing: call Verify. The error is ErrBadStatement.
func DecodeSealedKey(b []byte) (SealedKey, error) {
	r := cbor.NewReader(b)
	r.Tuple(3)
	r.Tuple(5)
	readVersion(r)
	k := SealedKey{Network: readNetwork(r), Subject: readPod(r)}
	copy(k.KeyID[:], r.Fixed(KeyIDLen))
	k.Sealed = r.Fixed(sealedKeyLen)
	chain := r.Bytes(ChainBytesMax)
	k.Sig = r.Fixed(ed25519.SignatureSize)
	err := r.Done()
	if err == nil {
		k.Signer, err = DecodeChain(chain)
	}
	if err != nil {
		return SealedKey{}, fmt.Errorf("sealed key: %w: %w", ErrBadStatement, err)
	}
	return k, nil
}
