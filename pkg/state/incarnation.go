package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Actor is who commits here: the member in its present incarnation. It changes when the pod finds out that it is a copy, or was set back.
func (d *DB) Actor() ident.Actor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.self
}

// Renew goes on under a new incarnation. Sync: one of the write-ahead log, before the return.
func (d *DB) Renew(ctx context.Context) error {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return err
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if err := d.settled(ctx); err != nil {
		return err
	}
	return d.renew()
}

// renew is Renew while commitMu is held.
func (d *DB) renew() error {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	t := d.begin()
	defer t.close()
	if err := t.renew(); err != nil {
		return err
	}
	if err := t.finish(true); err != nil {
		return err
	}
	return d.sync()
}

// renew draws a new incarnation, in which nobody is known to have committed. Two copies that draw the same fork at their first commits, and that is
// settled as every fork is.
func (t *tx) renew() error {
	d := t.d
	for {
		n, err := d.random()
		if err != nil {
			return err
		}
		next := ident.Actor{Member: d.o.Actor.Member, Incarnation: uint32(n & ident.IncarnationMax)}
		_, known := d.heads[next]
		if known || next.Incarnation == 0 || next == d.self || d.forks.closed(next) {
			continue
		}
		t.self = next
		return t.set(textKey(keyOwn, ownActor), binary.BigEndian.AppendUint64(nil, next.Uint()))
	}
}

// loadSelf reads in which incarnation the pod is, and takes a new one if this is another copy of the directory than the last time.
func (d *DB) loadSelf() error {
	d.self = d.o.Actor
	n, err := d.ownUint(ownActor)
	if err != nil {
		return err
	}
	if n != 0 {
		if d.self, err = ident.ActorOf(n); err != nil {
			return corrupt("own actor", err)
		}
	}
	if d.self.Member != d.o.Actor.Member || d.self.IsBranch() {
		return fmt.Errorf("state: %s is of member %d, not of %d: %w", d.o.Dir, d.self.Member, d.o.Actor.Member, block.ErrCorrupt)
	}
	if d.o.Copy == nil {
		return nil
	}
	known, err := get(d.db, textKey(keyOwn, ownCopy))
	if err != nil || bytes.Equal(known, d.o.Copy) {
		return err
	}
	if err := d.db.Set(textKey(keyOwn, ownCopy), d.o.Copy, pebble.NoSync); err != nil {
		return fmt.Errorf("state: own copy: %w", err)
	}
	if known == nil || d.heads[d.self].seq == 0 {
		return nil // new; or none of its commits can be anywhere
	}
	d.slog.Warn("this is a copy of the pod, or it was brought back from one: it goes on under a new incarnation", "actor", d.self.String())
	return d.renew()
}
