package pod

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// The files of a pod's folder that hold who it is; see folder. They are synced before the folder gets its name; afterwards UseRootKey adds an admin's, DropRootKey
// removes the root key, and no other changes.
const (
	fileKey      = "key"       // the pod's private key, PKCS #8 in PEM
	fileCerts    = "certs"     // the pod's chain of certificates
	fileAdminKey = "admin.key" // an admin's key that signs new pods; on the network's first pod
	fileAdmin    = "admin.certs"
	fileRootKey  = "root.key" // the network's root key, until it is taken offline
)

const keyPEM = "PRIVATE KEY"

// newKey makes a key and writes it to a file that must not exist.
func newKey(in folder, name string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pod: make a key: %w", err)
	}
	return key, writeKey(in, name, key)
}

// writeKey writes a key to a file that must not exist.
func writeKey(in folder, name string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("pod: encode a key: %w", err)
	}
	return in.write(name, pem.EncodeToMemory(&pem.Block{Type: keyPEM, Bytes: der}))
}

// readKey reads a key; fs.ErrNotExist where there is none.
func readKey(in folder, name string) (ed25519.PrivateKey, error) {
	path := in.path(name)
	b, err := in.read(name)
	if err != nil {
		return nil, fmt.Errorf("pod: read key: %w", err)
	}
	p, _ := pem.Decode(b)
	if p == nil || p.Type != keyPEM {
		return nil, fmt.Errorf("pod: %s is no key in PEM: %w", path, block.ErrCorrupt)
	}
	key, err := parseKey(p.Bytes)
	if err != nil {
		return nil, fmt.Errorf("pod: key %s: %w: %w", path, err, block.ErrCorrupt)
	}
	return key, nil
}

var errKeyKind = errors.New("the key is not Ed25519")

// parseKey reads a key in PKCS #8.
func parseKey(der []byte) (ed25519.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says which key
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errKeyKind
	}
	return key, nil
}

func readChain(in folder, name string) (member.Chain, error) {
	b, err := in.read(name)
	if err != nil {
		return nil, fmt.Errorf("pod: read certificates: %w", err)
	}
	return member.DecodeChain(b)
}

// authority is the right to sign new members.
type authority struct {
	key   ed25519.PrivateKey
	chain member.Chain
}

// sign makes the admin's signatures.
func (a authority) sign(msg []byte) []byte { return ed25519.Sign(a.key, msg) }

// readAuthority finds the key by which this pod admits others: an admin's that lies here, or its own if its role
// is admin. member.ErrDenied: it has none.
func readAuthority(in folder, own authority) (authority, error) {
	key, err := readKey(in, fileAdminKey)
	if err == nil {
		chain, err := readChain(in, fileAdmin)
		return authority{key: key, chain: chain}, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return authority{}, err
	}
	if cert := own.chain.Leaf(); cert.Role.MayAdmit() && cert.RangeLo != 0 {
		return own, nil
	}
	return authority{}, fmt.Errorf("pod: this pod has the role %s and admits nobody; invite from an admin's pod: %w",
		own.chain.Leaf().Role, member.ErrDenied)
}
