package member

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Limits of a chain.
const (
	ChainMax      = 4        // certificates
	ChainBytesMax = 32 << 10 // bytes encoded
)

// Chain is the certificates from the root's signature down: the first is signed by the root key, each next one by
// the subject of the one before it, and the last is about the member whose chain it is.
type Chain []Cert

// Leaf is the certificate of the member whose chain it is; of an empty chain the zero Cert.
func (c Chain) Leaf() Cert {
	if len(c) == 0 {
		return Cert{}
	}
	return c[len(c)-1]
}

// Verify proves the chain for a network and returns its leaf. It checks every signature, that all is about this
// network, that the chain is at most ChainMax long, that kinds and roles never rise, and that all numbers lie
// within the ranges of their issuers. It does not judge time: ValidAt does. The error is ErrBadCert.
func (c Chain) Verify(net ident.Network) (Cert, error) {
	if len(c) == 0 || len(c) > ChainMax {
		return Cert{}, fmt.Errorf("chain of %d certificates, not of 1 to %d: %w", len(c), ChainMax, ErrBadCert)
	}
	for i, cert := range c {
		if err := c.verifyOne(net, i); err != nil {
			return Cert{}, fmt.Errorf("certificate %d of %d, %s %q: %w: %w", i+1, len(c), cert.Kind, cert.Name, ErrBadCert, err)
		}
	}
	return c.Leaf(), nil
}

func (c Chain) verifyOne(net ident.Network, i int) error {
	cert := c[i]
	if err := cert.check(); err != nil {
		return err
	}
	if cert.Network != net {
		return fmt.Errorf("is of the network %s, not of %s", cert.Network.Short(), net.Short())
	}
	if i == 0 && ident.NetworkOf(cert.Issuer) != net {
		return errors.New("is not signed by the network's root key")
	}
	if i > 0 {
		if err := cert.checkIssuer(c[i-1]); err != nil {
			return err
		}
	}
	if i == 0 && cert.SSH {
		return errors.New("the root signs as users do")
	}
	if !ed25519.Verify(cert.Issuer, cert.message(), cert.Sig) {
		return errors.New("signature does not hold")
	}
	return nil
}

// ValidAt says whether t lies within the dates of all certificates; if not, the error is ErrExpired. It is for
// connections only: whether a commit counts never depends on a clock.
func (c Chain) ValidAt(t time.Time) error {
	for _, cert := range c {
		if err := cert.ValidAt(t); err != nil {
			return err
		}
	}
	return nil
}

// Encode is the chain's bytes, which DecodeChain reads.
func (c Chain) Encode() []byte {
	b := cbor.AppendArray(nil, 2)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendArray(b, len(c))
	for _, cert := range c {
		b = cert.append(b)
	}
	return b
}

// DecodeChain reads a chain and proves nothing: call Verify. The error is ErrBadCert.
func DecodeChain(b []byte) (Chain, error) {
	if len(b) > ChainBytesMax {
		return nil, fmt.Errorf("chain of %d bytes, over the limit of %d: %w", len(b), ChainBytesMax, ErrBadCert)
	}
	r := cbor.NewReader(b)
	r.Tuple(2)
	readVersion(r)
	var c Chain
	for range r.Array(ChainMax) {
		c = append(c, readCert(r))
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("chain: %w: %w", ErrBadCert, err)
	}
	return c, nil
}

// Issue signs a certificate and returns the chain that ends with it. key is the leaf's of issuer; with an empty
// issuer it is the root key. Of c, Network, Issuer and Sig are filled in. What would not verify is not issued:
// the error is ErrBadCert.
func Issue(key ed25519.PrivateKey, issuer Chain, c Cert) (Chain, error) {
	pub, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("issue: %w: key is not Ed25519", ErrBadCert)
	}
	c.Network, c.Issuer = ident.NetworkOf(pub), pub
	if len(issuer) > 0 {
		c.Network = issuer[0].Network
	}
	c.Sig = ed25519.Sign(key, c.message())
	return appendCert(issuer, c)
}

// IssueBySSH is Issue for a user, who is the leaf of issuer and whose OpenSSH key may lie in an agent: sign makes its plain Ed25519 signature of
// what it is given, which is in the format SSHSIG with the namespace "wormhole". Errors: ErrBadCert, and sign's own.
func IssueBySSH(issuer Chain, c Cert, sign func(message []byte) ([]byte, error)) (Chain, error) {
	user := issuer.Leaf()
	c.Network, c.Issuer, c.SSH = user.Network, user.Subject, true
	var err error
	if c.Sig, err = sign(c.message()); err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	return appendCert(issuer, c)
}

func appendCert(issuer Chain, c Cert) (Chain, error) {
	chain := append(append(make(Chain, 0, len(issuer)+1), issuer...), c)
	if _, err := chain.Verify(c.Network); err != nil {
		return nil, fmt.Errorf("issue: %w", err)
	}
	return chain, nil
}
