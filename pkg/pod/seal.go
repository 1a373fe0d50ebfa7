package pod

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/seal"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// ErrNoKey says that this pod has no key of its encrypted network: it can read no file and change nothing.
// It is a vfs.ErrNotPermitted.
var ErrNoKey = fmt.Errorf("this pod has no key of the encrypted network: %w", vfs.ErrNotPermitted)

// The file of a pod's folder that holds the network's data key, in PEM. The pod's own SealedKey has it too, in the state.
const (
	fileDataKey = "data.key"
	dataKeyPEM  = "WORMHOLE DATA KEY"
)

// What is derived from the data key beside the keys of chunks, so that who knows the network's id alone can't tell by lengths or
// sums which files there are.
const (
	useChunker = "chunker 1" // keys the table that cuts chunks
	useSum     = "sum 1"     // keys the sums of bodies
)

// sealing is how chunks of files are stored: as they are, or sealed under the network's data key.
type sealing struct {
	on  bool
	key *seal.Key // nil: the network is not encrypted, or this pod has no key
}

// usable is ErrNoKey where chunks are sealed and can't be.
func (s sealing) usable() error {
	if s.on && s.key == nil {
		return fmt.Errorf("pod: %w", ErrNoKey)
	}
	return nil
}

// derive is a key for a use; on a network that is not encrypted, its id.
func (s sealing) derive(network ident.Network, use string) [32]byte {
	if s.key == nil {
		return network
	}
	return s.key.Derive(use)
}

// open is the plain bytes of a block as it was put: what was sealed is opened, in place where it can be.
func (s sealing) open(id block.ID, stored []byte) ([]byte, error) {
	if !s.on || id.Codec() != block.Raw {
		return stored, nil
	}
	if err := s.usable(); err != nil {
		return nil, err
	}
	plain, err := s.key.Open(stored)
	if errors.Is(err, seal.ErrOtherKey) {
		err = fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	if err != nil {
		return nil, fmt.Errorf("pod: chunk %s: %w", id, err)
	}
	return plain, nil
}

// sealBuffers hold sealed chunks on their way to the store.
var sealBuffers = sync.Pool{New: func() any { return new([]byte) }}

// putChunk stores a chunk of a file, sealed where the network is encrypted. sum is the ID of its plain bytes, which a
// body's sum is made of.
func (p *Pod) putChunk(ctx context.Context, plain []byte) (id, sum block.ID, err error) {
	buf := sealBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool has only these
	defer sealBuffers.Put(buf)
	*buf = (*buf)[:0]
	stored, sum, err := p.seal.chunk(plain, buf)
	if err != nil {
		return id, sum, err
	}
	return stored.ID, sum, p.put(ctx, stored.ID, stored.Plain)
}

// chunk is the block of a chunk: its bytes, or, where the network is encrypted, they sealed behind the end of buf, which grows.
func (s sealing) chunk(plain []byte, buf *[]byte) (stored block.Block, sum block.ID, err error) {
	if !s.on {
		id := block.Sum(block.Raw, plain)
		return block.Block{ID: id, Plain: plain}, id, nil
	}
	if err := s.usable(); err != nil {
		return stored, sum, err
	}
	if need := len(plain) + len(plain)/8 + 2*block.SealOverhead; cap(*buf)-len(*buf) < need {
		*buf = make([]byte, 0, need) // what was there is still held by its blocks
	}
	at := len(*buf)
	sealed, hash, err := s.key.Seal((*buf)[at:at], plain)
	if err != nil {
		return stored, sum, fmt.Errorf("pod: %w", err)
	}
	*buf = (*buf)[:at+len(sealed)]
	return block.Block{ID: block.Sum(block.Raw, sealed), Plain: sealed}, block.FromHash(block.Raw, hash), nil
}

// findSealing says how a network's chunks are stored, and finds this pod's key: in its file, else in the statement that
// an admin sealed to it, from which the file is then written, durably. A file with another key is left as it is: it may be the last copy of that one.
// The sealing is right even with an error; ErrNoKey: the network is encrypted and there is no key.
func findSealing(dir string, own ed25519.PrivateKey, reg *registry) (sealing, error) {
	settings := reg.defaults()
	if !settings.Encrypted() {
		return sealing{}, nil
	}
	id := seal.ID(settings.KeyID)
	secret, fileErr := readDataKey(dir)
	if fileErr == nil && seal.IDOf(secret) == id {
		return sealing{on: true, key: seal.New(secret)}, nil
	}
	foreign := fileErr == nil
	if foreign {
		fileErr = fmt.Errorf("pod: %s: %w", filepath.Join(dir, fileDataKey), seal.ErrOtherKey)
	}
	errs := []error{fileErr}
	for _, k := range reg.sealedKeys(ident.PodOf(public(own)), id) {
		secret, err := k.Open(own)
		if err == nil && seal.IDOf(secret) != id {
			err = fmt.Errorf("pod: the key that was sealed to this pod: %w", seal.ErrOtherKey)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found := sealing{on: true, key: seal.New(secret)}
		if foreign {
			return found, fileErr
		}
		return found, writeDataKey(dir, secret)
	}
	return sealing{on: true}, fmt.Errorf("pod: %w: %w", ErrNoKey, errors.Join(errs...))
}

// newDataKey makes a data key and its file.
func newDataKey(dir string) (*seal.Key, error) {
	var secret [seal.SecretLen]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, fmt.Errorf("pod: make a data key: %w", err)
	}
	return seal.New(secret), writeDataKey(dir, secret)
}

// readDataKey reads the file; fs.ErrNotExist where there is none.
func readDataKey(dir string) (secret [seal.SecretLen]byte, err error) {
	b, err := os.ReadFile(filepath.Join(dir, fileDataKey))
	if err != nil {
		return secret, fmt.Errorf("pod: read the data key: %w", err)
	}
	p, _ := pem.Decode(b)
	if p == nil || p.Type != dataKeyPEM || len(p.Bytes) != len(secret) {
		return secret, fmt.Errorf("pod: %s is no data key in PEM: %w", fileDataKey, block.ErrCorrupt)
	}
	return [seal.SecretLen]byte(p.Bytes), nil
}

// writeDataKey writes the file, in the place of one that may be there, and syncs it and the folder.
func writeDataKey(dir string, secret [seal.SecretLen]byte) error {
	const stage = fileDataKey + ".new"
	if err := os.Remove(filepath.Join(dir, stage)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pod: %w", err)
	}
	if err := writeFile(dir, stage, pem.EncodeToMemory(&pem.Block{Type: dataKeyPEM, Bytes: secret[:]})); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, stage), filepath.Join(dir, fileDataKey)); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	return syncDir(dir)
}

// sealedKeyFor is the statement that brings a network's data key to a pod.
func sealedKeyFor(network ident.Network, to ident.Pod, key *seal.Key, by authority) ([]byte, error) {
	k, err := member.SealKey(network, to, key.ID(), key.Secret())
	if err != nil {
		return nil, err
	}
	k, err = k.Sign(by.chain, func(msg []byte) []byte { return ed25519.Sign(by.key, msg) })
	if err != nil {
		return nil, err
	}
	return member.EncodeStatement(member.KindKey, k.Encode()), nil
}

// keyFor is the statement that brings the data key to a new pod; nil where it needs none: the network is not encrypted,
// its role may not read, or it was made before. ErrNoKey: this pod has no key to give.
func (p *Pod) keyFor(cert member.Cert) ([]byte, error) {
	if !p.seal.on || !cert.Role.MayRead() {
		return nil, nil
	}
	if err := p.seal.usable(); err != nil {
		return nil, err
	}
	if len(p.reg.sealedKeys(cert.Pod(), p.seal.key.ID())) > 0 {
		return nil, nil
	}
	by, err := p.authority()
	if err != nil {
		return nil, err
	}
	return sealedKeyFor(p.reg.network, cert.Pod(), p.seal.key, by)
}
