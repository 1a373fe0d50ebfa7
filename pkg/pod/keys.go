package pod

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// The files of a pod's folder that hold who it is. They are the operating system's files, not those of Options.FS: they must be
// for their owner only, and new, which a pebble vfs.FS can't say. They are synced before the folder gets its name; afterwards UseRootKey adds an admin's, DropRootKey
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
func newKey(dir, name string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pod: make a key: %w", err)
	}
	return key, writeKey(dir, name, key)
}

// writeKey writes a key to a file that must not exist.
func writeKey(dir, name string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("pod: encode a key: %w", err)
	}
	return writeFile(dir, name, pem.EncodeToMemory(&pem.Block{Type: keyPEM, Bytes: der}))
}

// readKey reads a key; fs.ErrNotExist where there is none.
func readKey(dir, name string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
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

func readChain(dir, name string) (member.Chain, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("pod: read certificates: %w", err)
	}
	return member.DecodeChain(b)
}

// writeFile writes a new file, for the owner only, and syncs it. The caller syncs the folder.
func writeFile(dir, name string, b []byte) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	return nil
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
func readAuthority(dir string, own authority) (authority, error) {
	key, err := readKey(dir, fileAdminKey)
	if err == nil {
		chain, err := readChain(dir, fileAdmin)
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
