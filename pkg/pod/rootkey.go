package pod

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

var (
	// ErrNoRootKey says that the network's root key is not on this pod: it was made on the network's first, and may have been exported. It is a vfs.ErrNotExist.
	ErrNoRootKey = fmt.Errorf("the network's root key is not on this pod: %w", vfs.ErrNotExist)
	// ErrOtherKey says that a key is not this network's root key. It is a member.ErrDenied.
	ErrOtherKey = fmt.Errorf("%w: it is not this network's root key", member.ErrDenied)
)

// RootKey is the network's root key, PKCS #8 in PEM, for a file that its owner puts away. Error: ErrNoRootKey.
func (p *Pod) RootKey() ([]byte, error) {
	b, err := p.home.read(fileRootKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("pod: %w", ErrNoRootKey)
	}
	if err != nil {
		return nil, fmt.Errorf("pod: %w", err)
	}
	return b, nil
}

// DropRootKey removes the root key from this pod, given the key as RootKey returned it, so that only a key is dropped that was put away. The pod's admin goes on
// without it. Durable: its folder is synced before the return. Errors: ErrNoRootKey, ErrOtherKey.
func (p *Pod) DropRootKey(key []byte) error {
	p.inviting.Lock()
	defer p.inviting.Unlock()
	have, err := p.RootKey()
	if err != nil {
		return err
	}
	if !bytes.Equal(have, key) {
		return fmt.Errorf("pod: drop the root key: %w", ErrOtherKey)
	}
	if err := os.Remove(filepath.Join(p.dir, fileRootKey)); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	return syncDir(p.dir)
}

// UseRootKey makes this pod an admin's, as the network's first is: the root key signs a new admin's key that stays here, and is not kept itself. It is for a network
// whose admins' pods were lost. Durable when it returns nil. Errors: ErrOtherKey; vfs.ErrExist where an admin's key is here.
func (p *Pod) UseRootKey(key []byte) error {
	root, err := rootOf(key, p.reg.network)
	if err != nil {
		return err
	}
	p.inviting.Lock()
	defer p.inviting.Unlock()
	if _, err := os.Lstat(filepath.Join(p.dir, fileAdminKey)); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("pod: an admin's key is here already: %w", vfs.ErrExist), err)
	}
	// The certificate comes first: without a key it is nothing, and is what a crash may leave.
	if err := os.Remove(filepath.Join(p.dir, fileAdmin)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pod: %w", err)
	}
	admin, chain, err := newAdmin(root)
	if err != nil {
		return err
	}
	if err := p.home.write(fileAdmin, chain.Encode()); err != nil {
		return err
	}
	if err := syncDir(p.dir); err != nil {
		return err
	}
	// Whole or not at all: half a key would keep the pod from what it could do before.
	const temporary = fileAdminKey + stageSuffix
	if err := os.Remove(filepath.Join(p.dir, temporary)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pod: %w", err)
	}
	if err := writeKey(p.home, temporary, admin); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(p.dir, temporary), filepath.Join(p.dir, fileAdminKey)); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	return syncDir(p.dir)
}

// newAdmin makes the key of an admin who may give all numbers, and has the root key sign it.
func newAdmin(root ed25519.PrivateKey) (ed25519.PrivateKey, member.Chain, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, fmt.Errorf("pod: make a key: %w", err)
	}
	chain, err := member.Issue(root, nil, member.Cert{
		Subject: public(key), Kind: member.KindAdmin, Name: "admin", Role: member.RoleAdmin, RangeLo: 1, RangeHi: ident.MemberMax,
	})
	return key, chain, err
}

// rootOf reads a network's root key. Error: ErrOtherKey.
func rootOf(file []byte, network ident.Network) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(file)
	if block == nil || block.Type != keyPEM {
		return nil, fmt.Errorf("pod: it is no key in PEM: %w", ErrOtherKey)
	}
	key, err := parseKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("pod: %w: %w", ErrOtherKey, err)
	}
	if ident.NetworkOf(public(key)) != network {
		return nil, fmt.Errorf("pod: %w", ErrOtherKey)
	}
	return key, nil
}
