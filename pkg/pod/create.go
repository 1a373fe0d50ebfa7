package pod

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// ErrExists says that a pod is in the folder already.
var ErrExists = errors.New("a pod is here already")

// Numbers of members: the first admin may give all but its own pod's, admins that are invited get a range.
const (
	adminRange      = 1024 // numbers that an invited admin may give
	defaultPolicy   = "replica:2"
	defaultDurable  = "local"
	defaultPodWeigh = 100
)

// CreateOptions say what network Create is to make.
type CreateOptions struct {
	NetworkName string // see member.CheckName
	PodName     string
	Encrypt     bool        // seal the chunks of files under a data key, which is made here
	Access      string      // who may join with no invitation: "", AccessInvite, AccessAsk or AccessOpen
	Lock        *Locking    // of the pod's disk; nil: it is not locked
	Clock       clock.Clock // nil: clock.Real
}

// Create makes a network and its first pod in dir, which must not exist: complete, or not at all.
// Errors: ErrExists, member.ErrBadName; config.ErrBad for access.
func Create(ctx context.Context, dir string, o CreateOptions) (Info, error) {
	for _, name := range []string{o.NetworkName, o.PodName} {
		if err := member.CheckName(name); err != nil {
			return Info{}, err
		}
	}
	ext, err := accessText(o.Access)
	if err != nil {
		return Info{}, err
	}
	if o.Access == AccessOpen && o.Encrypt {
		return Info{}, fmt.Errorf("access: %w: an encrypted network is not open, since who joins gets its key", config.ErrBad)
	}
	var info Info
	err = build(dir, func(tmp string) error {
		in, err := o.Lock.begin(tmp)
		if err != nil {
			return err
		}
		root, err := newKey(in, fileRootKey)
		if err != nil {
			return err
		}
		adminKey, admin, err := newAdmin(root)
		if err == nil {
			err = writeKey(in, fileAdminKey, adminKey)
		}
		if err != nil {
			return err
		}
		if err := in.write(fileAdmin, admin.Encode()); err != nil {
			return err
		}
		key, err := newKey(in, fileKey)
		if err != nil {
			return err
		}
		chain, err := member.Issue(adminKey, admin, member.Cert{
			Subject: public(key), Kind: member.KindPod, Name: o.PodName, Role: member.RoleAdmin, Member: 1,
		})
		if err != nil {
			return err
		}
		if err := in.write(fileCerts, chain.Encode()); err != nil {
			return err
		}
		now := uint64(state.NextHLC(0, orReal(o.Clock).Now()))
		settings := member.Settings{
			Network: chain[0].Network, Name: o.NetworkName, Policy: defaultPolicy, Durability: defaultDurable, Version: now, Ext: ext,
		}
		statements := [][]byte{member.EncodeStatement(member.KindChain, chain.Encode())}
		if o.Encrypt {
			dataKey, err := newDataKey(in)
			if err != nil {
				return err
			}
			sealed, err := sealedKeyFor(settings.Network, chain.Leaf().Pod(), dataKey, authority{adminKey, admin})
			if err != nil {
				return err
			}
			settings.KeyID, statements = dataKey.ID(), append(statements, sealed)
		}
		settings, err = settings.Sign(admin, func(msg []byte) []byte { return ed25519.Sign(adminKey, msg) })
		if err != nil {
			return err
		}
		info = infoOf(chain, o.NetworkName)
		info.Locked = o.Lock != nil
		statements = append(statements, member.EncodeStatement(member.KindNetwork, settings.Encode()))
		reg, err := registryOf(settings.Network, statements)
		if err != nil {
			return err
		}
		return seed(ctx, in, key, chain, reg, statements, nil)
	})
	return info, err
}

// JoinOptions say which network Join is to join.
type JoinOptions struct {
	Token   string
	PodName string  // wished
	Ticket  *Ticket // instead of a token and a name
	// Lock locks the pod's disk, if the network is encrypted and the pod may read; nil: it is not locked.
	Lock *Locking
}

// Join makes a pod in dir, which must not exist, of the network that a token invites to, or a ticket is for: complete, or not at all.
// Errors: ErrExists, member.ErrBadToken, member.ErrDenied, member.ErrExpired, member.ErrUsed, p2p.ErrUnreachable; ErrNoKey where the
// network is encrypted and its key did not come with the answer.
func Join(ctx context.Context, dir string, o JoinOptions) (Info, error) {
	if o.Ticket != nil {
		return joinAt(ctx, dir, *o.Ticket, o.Ticket.request(), o.Lock)
	}
	token, err := member.ParseToken(o.Token)
	if err != nil {
		return Info{}, err
	}
	if err := member.CheckName(o.PodName); err != nil {
		return Info{}, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Info{}, fmt.Errorf("pod: make a key: %w", err)
	}
	t := Ticket{Key: key, Network: token.Network, NetworkName: token.NetworkName, At: p2p.Found{Pod: token.Issuer, Addrs: token.Addrs}}
	return joinAt(ctx, dir, t, member.EnrolRequest{Secret: token.Secret, PodName: o.PodName}.Encode(), o.Lock)
}

// joinAt makes a pod of what the pod t.At answers to a request.
func joinAt(ctx context.Context, dir string, t Ticket, request []byte, lock *Locking) (Info, error) {
	var info Info
	err := build(dir, func(tmp string) error {
		reply, err := askToEnrol(ctx, t.Key, t.At, request)
		if err != nil {
			return fmt.Errorf("pod: join %s: %w", t.NetworkName, err)
		}
		cert, err := reply.Chain.Verify(t.Network)
		if err != nil {
			return err
		}
		if cert.Kind != member.KindPod || cert.Pod() != ident.PodOf(public(t.Key)) {
			return fmt.Errorf("pod: join %s: the certificate is for another key: %w", t.NetworkName, member.ErrBadCert)
		}
		statements := append([][]byte{member.EncodeStatement(member.KindChain, reply.Chain.Encode())}, reply.Statements...)
		reg, err := registryOf(cert.Network, statements)
		if err != nil {
			return err
		}
		if !reg.defaults().Encrypted() || !cert.Role.MayRead() {
			lock = nil
		}
		in, err := lock.begin(tmp)
		if err != nil {
			return err
		}
		if err := writeKey(in, fileKey, t.Key); err != nil {
			return err
		}
		if err := in.write(fileCerts, reply.Chain.Encode()); err != nil {
			return err
		}
		addrs := addressBook{t.At.Pod: t.At.Addrs}
		for _, peer := range reply.Peers {
			addrs.learn(peer.Pod, peer.Addrs)
		}
		info = infoOf(reply.Chain, reply.NetworkName)
		info.Locked = lock != nil
		return seed(ctx, in, t.Key, reply.Chain, reg, statements, addrs)
	})
	return info, err
}

func public(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}

func orReal(c clock.Clock) clock.Clock {
	if c == nil {
		return clock.Real{}
	}
	return c
}

func infoOf(chain member.Chain, network string) Info {
	cert := chain.Leaf()
	return Info{Pod: cert.Pod(), Name: cert.Name, Network: cert.Network, NetworkName: network, Role: cert.Role.String()}
}

// build has f fill a folder beside dir, and renames it to dir when all is in it and synced.
func build(dir string, f func(tmp string) error) (err error) {
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("pod: %s: %w", dir, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pod: %w", err)
	}
	parent := filepath.Dir(dir)
	if err := makeDurable(parent); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(parent, ".new-")
	if err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := f(tmp); err != nil {
		return err
	}
	if err := syncDir(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	return syncDir(parent)
}

// makeDurable makes a folder, with those above it, and the entries of those that it made durable.
func makeDurable(dir string) error {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil // what uses it tells what is wrong
	}
	above := filepath.Dir(dir)
	if above == dir {
		return nil
	}
	if err := makeDurable(above); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	return syncDir(above)
}

// syncDir makes a folder's entries durable.
func syncDir(dir string) error {
	d, err := pebblevfs.Default.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("pod: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("pod: sync %s: %w", dir, err)
	}
	return nil
}

// registryOf proves what a new pod was told of its network: the pod that sent it may be in error.
func registryOf(network ident.Network, statements [][]byte) (*registry, error) {
	reg := newRegistry(network)
	for _, s := range statements {
		if _, err := reg.add(s); err != nil {
			return nil, err
		}
	}
	return reg, nil
}

// seed makes a new pod's state: what it was told of the network, as reg has it.
func seed(ctx context.Context, in folder, key ed25519.PrivateKey, chain member.Chain, reg *registry, statements [][]byte, addrs addressBook) error {
	cert := chain.Leaf()
	db, err := state.Open(ctx, stateOptions(in.over(pebblevfs.Default), in.dir, key, cert, reg, slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := db.AddStatement(ctx, s); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	err = errors.Join(addrs.save(ctx, db), db.Close())
	if err != nil {
		return err
	}
	// Who may read begins with the key, durably, or not at all.
	if _, err = findKeys(in, key, reg); errors.Is(err, ErrNoKey) && !cert.Role.MayRead() {
		return nil
	}
	return err
}
