package member

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	domainCert   = "wormhole/cert/1"
	certFieldsNo = 13
	certSSH      = 2 // version of a certificate that an OpenSSH key signed
)

// Cert is one signed sentence: this key is this kind of member of this network, with this name, role and numbers.
type Cert struct {
	Network ident.Network
	Subject ed25519.PublicKey
	Kind    Kind
	Name    string // see CheckName
	Role    Role
	// Member is the subject's own number, 1 to ident.MemberMax. Only a pod must have one; 0 is none.
	Member uint32
	// RangeLo and RangeHi are the first and last number that the subject may give to others; both 0: none,
	// and then it can sign nobody. Its own number is never among them.
	RangeLo, RangeHi uint32
	// NotBefore and NotAfter are seconds of Unix time; 0: no limit. See Chain.ValidAt.
	NotBefore, NotAfter int64
	Issuer              ed25519.PublicKey
	Ext                 []Field // sorted by ID
	SSH                 bool    // Sig is of a user's OpenSSH key, in the format SSHSIG: version 2
	Sig                 []byte
}

// Pod is the subject as a pod.
func (c Cert) Pod() ident.Pod { return ident.PodOf(c.Subject) }

// Actor is the subject as an author in its first incarnation.
func (c Cert) Actor() ident.Actor { return ident.Actor{Member: c.Member} }

// ValidAt says whether t lies within the certificate's dates; if not, the error is ErrExpired.
func (c Cert) ValidAt(t time.Time) error {
	now := t.Unix()
	if (c.NotBefore != 0 && now < c.NotBefore) || (c.NotAfter != 0 && now > c.NotAfter) {
		return fmt.Errorf("certificate of %s %q: %w", c.Kind, c.Name, ErrExpired)
	}
	return nil
}

// message is what its signature covers.
func (c Cert) message() []byte {
	m := signed(domainCert, c.body())
	if c.SSH {
		return sshSigned(m)
	}
	return m
}

func (c Cert) body() []byte {
	version := uint64(formatVersion)
	if c.SSH {
		version = certSSH
	}
	b := cbor.AppendArray(nil, certFieldsNo)
	b = cbor.AppendUint(b, version)
	b = cbor.AppendBytes(b, c.Network[:])
	b = cbor.AppendBytes(b, c.Subject)
	b = cbor.AppendUint(b, uint64(c.Kind))
	b = cbor.AppendText(b, c.Name)
	b = cbor.AppendUint(b, uint64(c.Role))
	b = cbor.AppendUint(b, uint64(c.Member))
	b = cbor.AppendUint(b, uint64(c.RangeLo))
	b = cbor.AppendUint(b, uint64(c.RangeHi))
	b = cbor.AppendInt(b, c.NotBefore)
	b = cbor.AppendInt(b, c.NotAfter)
	b = cbor.AppendBytes(b, c.Issuer)
	return appendExt(b, c.Ext)
}

func (c Cert) append(b []byte) []byte {
	b = cbor.AppendArray(b, 2)
	b = append(b, c.body()...)
	return cbor.AppendBytes(b, c.Sig)
}

func readCert(r *cbor.Reader) Cert {
	r.Tuple(2)
	r.Tuple(certFieldsNo)
	version := r.Uint()
	if r.Err() == nil && version != formatVersion && version != certSSH {
		r.Fail("version %d is not known", version)
	}
	c := Cert{
		SSH:       version == certSSH,
		Network:   readNetwork(r),
		Subject:   readKey(r),
		Kind:      Kind(r.UintMax(uint64(KindPod))),
		Name:      readName(r),
		Role:      Role(r.UintMax(uint64(RoleStorage))),
		Member:    uint32(r.UintMax(ident.MemberMax)),
		RangeLo:   uint32(r.UintMax(ident.MemberMax)),
		RangeHi:   uint32(r.UintMax(ident.MemberMax)),
		NotBefore: r.Int(),
		NotAfter:  r.Int(),
		Issuer:    readKey(r),
		Ext:       readExt(r),
	}
	c.Sig = r.Fixed(ed25519.SignatureSize)
	return c
}

// check holds the rules that one certificate keeps by itself, whoever signed it.
func (c Cert) check() error {
	if err := CheckName(c.Name); err != nil {
		return err
	}
	if err := checkExt(c.Ext); err != nil {
		return err
	}
	hasRange := c.RangeLo != 0 || c.RangeHi != 0
	switch {
	case len(c.Subject) != ed25519.PublicKeySize || len(c.Issuer) != ed25519.PublicKeySize:
		return fmt.Errorf("keys of %d and %d bytes", len(c.Subject), len(c.Issuer))
	case !c.Kind.valid() || !c.Role.valid():
		return fmt.Errorf("%s with the role %s", c.Kind, c.Role)
	case c.Kind == KindAdmin && c.Role != RoleAdmin:
		return fmt.Errorf("an admin with the role %s", c.Role)
	case c.Member > ident.MemberMax:
		return fmt.Errorf("member number %d is over %d", c.Member, ident.MemberMax)
	case c.Kind == KindPod && c.Member == 0:
		return fmt.Errorf("a pod with no member number")
	case hasRange && (c.RangeLo == 0 || c.RangeLo > c.RangeHi || c.RangeHi > ident.MemberMax):
		return fmt.Errorf("range of numbers %d to %d", c.RangeLo, c.RangeHi)
	case c.Member != 0 && c.gives(c.Member, c.Member):
		return fmt.Errorf("its own number %d is among those that it gives", c.Member)
	case c.NotAfter != 0 && c.NotAfter < c.NotBefore:
		return fmt.Errorf("ends before it begins")
	}
	return nil
}

// gives says whether the subject may give all the numbers from lo to hi.
func (c Cert) gives(lo, hi uint32) bool { return c.RangeLo != 0 && lo >= c.RangeLo && hi <= c.RangeHi }

// checkIssuer holds the rules between a certificate and its issuer's.
func (c Cert) checkIssuer(by Cert) error {
	switch {
	case !bytes.Equal(c.Issuer, by.Subject):
		return fmt.Errorf("signed by another key than %s %q", by.Kind, by.Name)
	case c.Role < by.Role:
		return fmt.Errorf("role rises from %s to %s", by.Role, c.Role)
	case c.SSH && by.Kind != KindUser:
		return fmt.Errorf("a %s signs as users do", by.Kind)
	case !by.maySign(c.Kind):
		return fmt.Errorf("a %s with the role %s signs a %s", by.Kind, by.Role, c.Kind)
	case c.Member != 0 && !by.gives(c.Member, c.Member):
		return fmt.Errorf("number %d is outside the issuer's range %d to %d", c.Member, by.RangeLo, by.RangeHi)
	case c.RangeLo != 0 && !by.gives(c.RangeLo, c.RangeHi):
		return fmt.Errorf("range %d to %d is outside the issuer's %d to %d", c.RangeLo, c.RangeHi, by.RangeLo, by.RangeHi)
	}
	return nil
}

// maySign says whether the subject may sign members of kind k: admins sign all, users their pods, and pods
// users and other pods if their role is admin.
func (c Cert) maySign(k Kind) bool {
	switch c.Kind {
	case KindAdmin:
		return true
	case KindUser:
		return k == KindPod
	case KindPod:
		return k != KindAdmin && c.Role.MayAdmit()
	}
	return false
}
