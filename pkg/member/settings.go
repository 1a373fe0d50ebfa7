package member

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"unicode/utf8"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	domainNetwork  = "wormhole/network/1"
	settingTextMax = 63 // bytes of a policy or durability
)

// Settings is the statement of kind KindNetwork: the network's name and defaults. Of several the one that wins is
// the same on all pods, see Newer.
type Settings struct {
	Network    ident.Network
	Name       string // see CheckName
	Policy     string // the default placement policy, as placement.Policy.String writes it
	Durability string // the default durability; "": as the policy says
	Version    uint64 // hybrid clock at the signing; the highest wins
	Ext        []Field
	KeyID      [KeyIDLen]byte // names the data key under which chunks are sealed; zero: the network is not encrypted
	Signer     Chain          // of an admin
	Sig        []byte
}

// The settings of an encrypted network have a version of their own, so that a pod that can't seal refuses them,
// instead of storing plain chunks.
const (
	settingsSealed   = 2 // version
	settingsFieldsNo = 7 // of version 1
	settingsSealedNo = 8 // of version 2
)

// Encrypted says whether chunks are sealed.
func (s Settings) Encrypted() bool { return s.KeyID != [KeyIDLen]byte{} }

func (s Settings) body() []byte {
	fields, version := settingsFieldsNo, uint64(formatVersion)
	if s.Encrypted() {
		fields, version = settingsSealedNo, settingsSealed
	}
	b := cbor.AppendArray(nil, fields)
	b = cbor.AppendUint(b, version)
	b = cbor.AppendBytes(b, s.Network[:])
	b = cbor.AppendText(b, s.Name)
	b = cbor.AppendText(b, s.Policy)
	b = cbor.AppendText(b, s.Durability)
	b = cbor.AppendUint(b, s.Version)
	b = appendExt(b, s.Ext)
	if s.Encrypted() {
		b = cbor.AppendBytes(b, s.KeyID[:])
	}
	return b
}

// Sign fills in Signer and Sig: signer is the chain of an admin and sign makes its Ed25519 signatures. Settings
// that would not verify are not signed: the error is ErrBadStatement.
func (s Settings) Sign(signer Chain, sign func(message []byte) []byte) (Settings, error) {
	s.Signer = signer
	s.Sig = sign(signed(domainNetwork, s.body()))
	return s, s.Verify(s.Network)
}

// Verify proves the settings for a network: signed by a member of it with the role admin. The error is
// ErrBadStatement.
func (s Settings) Verify(net ident.Network) error {
	by, err := s.Signer.Verify(net)
	if err == nil {
		err = CheckName(s.Name)
	}
	if err == nil {
		err = checkExt(s.Ext)
	}
	switch {
	case err != nil:
		return fmt.Errorf("network settings: %w: %w", ErrBadStatement, err)
	case s.Network != net:
		return fmt.Errorf("network settings: %w: of the network %s, not of %s", ErrBadStatement, s.Network.Short(), net.Short())
	case !by.Role.MayAdmit():
		return fmt.Errorf("network settings: %w: signed by a %s", ErrBadStatement, by.Role)
	case !settingText(s.Policy) || !settingText(s.Durability):
		return fmt.Errorf("network settings: %w: policy or durability is too long or no text", ErrBadStatement)
	case !ed25519.Verify(by.Subject, signed(domainNetwork, s.body()), s.Sig):
		return fmt.Errorf("network settings: %w: signature does not hold", ErrBadStatement)
	}
	return nil
}

func settingText(s string) bool { return len(s) <= settingTextMax && utf8.ValidString(s) }

// Newer says whether s wins over other: the one that is encrypted, since that is decided for good when a network is made;
// then the higher version, then the greater bytes. Verify both first.
func (s Settings) Newer(other Settings) bool {
	if s.Encrypted() != other.Encrypted() {
		return s.Encrypted()
	}
	if s.Version != other.Version {
		return s.Version > other.Version
	}
	return bytes.Compare(s.Encode(), other.Encode()) > 0
}

// Encode is the settings' bytes, the body of a statement, which DecodeSettings reads.
func (s Settings) Encode() []byte {
	b := cbor.AppendArray(nil, 3)
	b = append(b, s.body()...)
	b = cbor.AppendBytes(b, s.Signer.Encode())
	return cbor.AppendBytes(b, s.Sig)
}

// DecodeSettings reads settings and proves nothing: call Verify. The error is ErrBadStatement.
func DecodeSettings(b []byte) (Settings, error) {
	r := cbor.NewReader(b)
	r.Tuple(3)
	fields := r.Array(settingsSealedNo)
	sealed := fields == settingsSealedNo
	switch v := r.Uint(); {
	case r.Err() != nil:
	case sealed && v != settingsSealed, !sealed && v != formatVersion:
		r.Fail("version %d with %d fields is not known", v, fields)
	case !sealed && fields != settingsFieldsNo:
		r.Fail("%d fields", fields)
	}
	s := Settings{
		Network:    readNetwork(r),
		Name:       readName(r),
		Policy:     r.Text(settingTextMax),
		Durability: r.Text(settingTextMax),
		Version:    r.Uint(),
		Ext:        readExt(r),
	}
	if sealed {
		copy(s.KeyID[:], r.Fixed(KeyIDLen))
		if r.Err() == nil && !s.Encrypted() {
			r.Fail("encrypted under no key")
		}
	}
	chain := r.Bytes(ChainBytesMax)
	s.Sig = r.Fixed(ed25519.SignatureSize)
	err := r.Done()
	if err == nil {
		s.Signer, err = DecodeChain(chain)
	}
	if err != nil {
		return Settings{}, fmt.Errorf("network settings: %w: %w", ErrBadStatement, err)
	}
	return s, nil
}
