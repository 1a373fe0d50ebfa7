package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/sshkey"
)

// identityEnv names the file of the key that opens locked disks, as --identity does.
const identityEnv = "WH_IDENTITY"

// lockNamespace tells what locks a disk from all else that a person's key signs (sshkey.Identity.Secret).
const lockNamespace = "wormhole-lock"

var errNoIdentity = errors.New("neither an ssh-agent has the key, nor does pod.toml name its file")

// secretOf makes secrets for locks by an identity.
func secretOf(key *sshkey.Identity) func(salt []byte) ([diskcrypt.KeyBytes]byte, error) {
	return func(salt []byte) ([diskcrypt.KeyBytes]byte, error) { return key.Secret(lockNamespace, salt) }
}

// newLock makes a disk's key and locks it for an identity, whose file is remembered.
func newLock(key *sshkey.Identity, file string) (*api.Lock, error) {
	disk := diskcrypt.NewKey()
	lock, file, err := lockFor(disk, key, file)
	if err != nil {
		return nil, err
	}
	secret := disk.Secret()
	return &api.Lock{Key: secret[:], Lock: lock.Encode(), Identity: api.Text(file)}, nil
}

// lockFor locks a disk's key for an identity; full is the path of its file.
func lockFor(disk *diskcrypt.Key, key *sshkey.Identity, file string) (l diskcrypt.Lock, full string, err error) {
	if full, err = filepath.Abs(file); err != nil {
		return l, "", fmt.Errorf("identity: %w", err)
	}
	if l, err = diskcrypt.NewLock(disk, key.Public().Key, secretOf(key)); err != nil {
		return l, "", fmt.Errorf("lock the disk: %w", err)
	}
	return l, full, nil
}

// unlocker opens the locked disks of this machine, and each identity once.
type unlocker struct {
	identity string            // --identity; "": an agent that has the key, or what pod.toml names
	handed   map[string][]byte // keys by pod, from the process that started this one
	open     map[string]*sshkey.Identity
}

// close forgets the identities.
func (u *unlocker) close() {
	for _, key := range u.open {
		_ = key.Close() // It was only used to read.
	}
	u.open = nil
}

// unlock finds the key of a pod's disk.
func (u *unlocker) unlock(p daemon.LockedPod) (*diskcrypt.Key, error) {
	if b, ok := u.handed[p.Name]; ok && len(b) == diskcrypt.KeyBytes {
		return diskcrypt.KeyOf([diskcrypt.KeyBytes]byte(b)), nil
	}
	key, err := u.find(p)
	if err != nil {
		return nil, err
	}
	want := sshkey.Public{Key: p.Lock.Identity[:]}
	if have := key.Public(); !have.Key.Equal(want.Key) {
		return nil, fmt.Errorf("it was locked with the key %s, not with %s", want.Fingerprint(), have.Fingerprint())
	}
	return p.Lock.Open(secretOf(key))
}

// find opens the identity of a lock: what the user named; or the key in an agent, which asks for no passphrase; or what pod.toml names.
func (u *unlocker) find(p daemon.LockedPod) (*sshkey.Identity, error) {
	file := u.identity
	if file == "" {
		if key, err := sshkey.OpenHeld(p.Lock.Identity[:], os.Getenv("SSH_AUTH_SOCK")); err == nil {
			return u.keep("agent "+string(p.Lock.Identity[:]), key), nil
		}
		if file = p.Identity; file == "" {
			return nil, errNoIdentity
		}
	}
	if key := u.open[file]; key != nil {
		return key, nil
	}
	key, err := openIdentity(file)
	if err != nil {
		return nil, err
	}
	return u.keep(file, key), nil
}

func (u *unlocker) keep(name string, key *sshkey.Identity) *sshkey.Identity {
	if u.open == nil {
		u.open = map[string]*sshkey.Identity{}
	}
	u.open[name] = key
	return key
}

// handedMax is the most bytes of keys that are handed over.
const handedMax = 1 << 20

// handOver is the keys of all locked disks, for a process that is started; nil: there is none.
func (u *unlocker) handOver(home api.Home) ([]byte, error) {
	locked, err := daemon.Locked(home)
	if err != nil || len(locked) == 0 {
		return nil, err
	}
	keys := map[string][]byte{}
	for _, p := range locked {
		l, err := u.unlock(p)
		if err != nil {
			return nil, daemon.StaysLocked(p.Name, err)
		}
		secret := l.Secret()
		keys[p.Name] = secret[:]
	}
	return json.Marshal(keys)
}

// take reads what handOver made.
func (u *unlocker) take(from io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(from, handedMax))
	if err == nil {
		err = json.Unmarshal(b, &u.handed)
	}
	clear(b)
	if err != nil {
		return fmt.Errorf("keys of disks: %w", err)
	}
	return nil
}
