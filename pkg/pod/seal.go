package pod

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/wormhole-fs/wormhole/chunker"
	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/seal"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// ErrNoKey says that this pod lacks a key of its encrypted network: it has none, and can read no file and change nothing; or it lacks the one that a chunk was sealed under,
// or the newest, and changes nothing until it has that. It is a vfs.ErrNotPermitted.
var ErrNoKey = fmt.Errorf("this pod has no key of the encrypted network: %w", vfs.ErrNotPermitted)

// errNewKey is the ErrNoKey of a pod that knows of a newer key.
var errNewKey = fmt.Errorf("the data key was changed, and no admin's pod has given this one the new key yet: %w", ErrNoKey)

// The file of a pod's folder that holds the network's data keys, in PEM, the first one first. The pod's own SealedKeys have them too, in the state.
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

// sealing is how chunks of files are stored: as they are, or sealed under one of the network's data keys. It never changes: a pod that gets another key has another sealing.
type sealing struct {
	on   bool
	key  *seal.Key   // under which new chunks are sealed; nil: the network is not encrypted, or this pod lacks it
	keys []*seal.Key // all that this pod has

	table  *chunker.Table
	sumKey [32]byte  // of the sums of bodies
	sums   sync.Pool // of *dag.SumHasher, under sumKey
}

// newSealing is how chunks are stored by who has some keys. Those that table and sums are made of stay those of the first key when it is changed, so that equal files stay equal.
func newSealing(reg *registry, keys []*seal.Key) *sealing {
	s := &sealing{on: reg.defaults().Encrypted(), keys: keys}
	tableKey, sumKey := [32]byte(reg.network), [32]byte(reg.network)
	if s.on {
		s.key = find(keys, reg.currentKey())
		if first := find(keys, reg.defaults().KeyID); first != nil {
			tableKey, sumKey = first.Derive(useChunker), first.Derive(useSum)
		}
	}
	s.table, s.sumKey = chunker.NewTable(tableKey), sumKey
	s.sums.New = func() any { return dag.NewSum(sumKey) }
	return s
}

// find is the key of a name; nil: there is none.
func find(keys []*seal.Key, id seal.ID) *seal.Key {
	for _, k := range keys {
		if k.ID() == id {
			return k
		}
	}
	return nil
}

// usable is ErrNoKey where chunks are sealed and new ones can't be.
func (s *sealing) usable() error {
	switch {
	case !s.on || s.key != nil:
		return nil
	case len(s.keys) > 0:
		return fmt.Errorf("pod: %w", errNewKey)
	}
	return fmt.Errorf("pod: %w", ErrNoKey)
}

// open is the plain bytes of a block as it was put: what was sealed is opened, in place where it can be.
func (s *sealing) open(id block.ID, stored []byte) ([]byte, error) {
	if !s.on || id.Codec() != block.Raw {
		return stored, nil
	}
	h, err := block.ParseSealedHeader(stored)
	if err != nil {
		return nil, fmt.Errorf("pod: chunk %s: %w", id, err)
	}
	var fitting []*seal.Key // more than one only where two admins apart came to the same four bytes
	for _, k := range s.keys {
		if k.ID().Short() == h.KeyID {
			fitting = append(fitting, k)
		}
	}
	if len(fitting) == 0 {
		return nil, fmt.Errorf("pod: chunk %s, sealed under the key %08x: %w: %w", id, h.KeyID, ErrNoKey, seal.ErrOtherKey)
	}
	for _, k := range fitting[1:] { // on a copy, which a wrong key spoils
		if plain, err := k.Open(bytes.Clone(stored)); err == nil {
			return plain, nil
		}
	}
	plain, err := fitting[0].Open(stored)
	if err != nil {
		return nil, fmt.Errorf("pod: chunk %s: %w", id, err)
	}
	return plain, nil
}

// sealBuffers hold sealed chunks on their way to the store.
var sealBuffers = sync.Pool{New: func() any { return new([]byte) }}

// putChunk stores a chunk of a file, sealed where the network is encrypted. sum is the ID of its plain bytes, which a
// body's sum is made of.
func (p *Pod) putChunk(ctx context.Context, plain []byte, m making) (id, sum block.ID, err error) {
	buf := sealBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool has only these
	defer sealBuffers.Put(buf)
	*buf = (*buf)[:0]
	stored, sum, err := p.seal.Load().chunk(plain, buf, m.raw)
	if err != nil {
		return id, sum, err
	}
	return stored.ID, sum, p.putMade(ctx, stored, m.raw)
}

// chunk is the block of a chunk: its bytes, or, where the network is encrypted, they sealed behind the end of buf, which grows; raw: not compressed.
func (s *sealing) chunk(plain []byte, buf *[]byte, raw bool) (stored block.Block, sum block.ID, err error) {
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
	sealAs := s.key.Seal
	if raw {
		sealAs = s.key.SealRaw
	}
	sealed, hash, err := sealAs((*buf)[at:at], plain)
	if err != nil {
		return stored, sum, fmt.Errorf("pod: %w", err)
	}
	*buf = (*buf)[:at+len(sealed)]
	return block.Block{ID: block.Sum(block.Raw, sealed), Plain: sealed}, block.FromHash(block.Raw, hash), nil
}

// findKeys finds this pod's data keys: in its file, and in the statements that admins sealed to it, from which the file is then written, durably. A file with a key that
// no statement tells of is left as it is: it may be the last copy of that one. The keys are right even with an error; ErrNoKey: the one of now is not among them.
func findKeys(in folder, own ed25519.PrivateKey, reg *registry) (keys []*seal.Key, err error) {
	if !reg.defaults().Encrypted() {
		return nil, nil
	}
	known := reg.keyIDs()
	inFile, fileErr := readDataKeys(in)
	foreign := false
	for _, secret := range inFile {
		if k := seal.New(secret); known[k.ID()] {
			keys = append(keys, k)
		} else {
			foreign = true
			fileErr = fmt.Errorf("pod: %s: %w", in.path(fileDataKey), seal.ErrOtherKey)
		}
	}
	errs := []error{fileErr}
	had := len(keys)
	for _, k := range reg.sealedTo(ident.PodOf(public(own))) {
		if find(keys, seal.ID(k.KeyID)) != nil {
			continue
		}
		secret, err := k.Open(own)
		if err == nil && seal.IDOf(secret) != seal.ID(k.KeyID) {
			err = fmt.Errorf("pod: a key that was sealed to this pod: %w", seal.ErrOtherKey)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		keys = append(keys, seal.New(secret))
	}
	firstFirst(keys, reg.defaults().KeyID)
	var writeErr error
	switch {
	case foreign:
		writeErr = fileErr
	case len(keys) > had || len(keys) > 0 && fileErr != nil:
		writeErr = writeDataKeys(in, keys)
	}
	if find(keys, reg.currentKey()) == nil {
		return keys, fmt.Errorf("pod: %w: %w", ErrNoKey, errors.Join(errs...))
	}
	return keys, writeErr
}

// firstFirst puts the network's first key before the others.
func firstFirst(keys []*seal.Key, id seal.ID) {
	for i, k := range keys {
		if k.ID() == id {
			keys[0], keys[i] = k, keys[0]
		}
	}
}

// newSecret makes a data key.
func newSecret() (*seal.Key, error) {
	var secret [seal.SecretLen]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, fmt.Errorf("pod: make a data key: %w", err)
	}
	return seal.New(secret), nil
}

// newDataKey makes a network's first data key and its file.
func newDataKey(in folder) (*seal.Key, error) {
	key, err := newSecret()
	if err != nil {
		return nil, err
	}
	return key, writeDataKeys(in, []*seal.Key{key})
}

// readDataKeys reads the file; fs.ErrNotExist where there is none. Keys may be found beside an error.
func readDataKeys(in folder) (secrets [][seal.SecretLen]byte, err error) {
	b, err := in.read(fileDataKey)
	if err != nil {
		return nil, fmt.Errorf("pod: read the data keys: %w", err)
	}
	for {
		p, rest := pem.Decode(b)
		if p == nil || p.Type != dataKeyPEM || len(p.Bytes) != seal.SecretLen {
			return secrets, fmt.Errorf("pod: %s has something else than data keys in PEM: %w", fileDataKey, block.ErrCorrupt)
		}
		secrets = append(secrets, [seal.SecretLen]byte(p.Bytes))
		if len(bytes.TrimSpace(rest)) == 0 {
			return secrets, nil
		}
		b = rest
	}
}

// writeDataKeys writes the file, in the place of one that may be there, and syncs it and the folder.
func writeDataKeys(in folder, keys []*seal.Key) error {
	const stage = fileDataKey + stageSuffix
	if err := os.Remove(in.path(stage)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pod: %w", err)
	}
	var text []byte
	for _, k := range keys {
		secret := k.Secret()
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: dataKeyPEM, Bytes: secret[:]})...)
	}
	if err := in.write(stage, text); err != nil {
		return err
	}
	if err := os.Rename(in.path(stage), in.path(fileDataKey)); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	return syncDir(in.dir)
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

// keysFor are the statements that bring the data keys to a new pod; none where it needs none: the network is not encrypted,
// its role may not read, or they were made before. ErrNoKey: this pod has not the one of now to give.
func (p *Pod) keysFor(cert member.Cert) ([][]byte, error) {
	s := p.seal.Load()
	if !s.on || !cert.Role.MayRead() {
		return nil, nil
	}
	if err := s.usable(); err != nil {
		return nil, err
	}
	by, err := p.authority()
	if err != nil {
		return nil, err
	}
	has := p.reg.sealedTo(cert.Pod())
	var out [][]byte
	for _, key := range s.keys {
		if hasKey(has, key.ID()) {
			continue
		}
		sealed, err := sealedKeyFor(p.reg.network, cert.Pod(), key, by)
		if err != nil {
			return nil, err
		}
		out = append(out, sealed)
	}
	return out, nil
}
