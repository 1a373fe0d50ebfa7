package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/seal"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// When data keys are given and changed by admins' pods that did not do what makes it needful (docs/adr/0016).
const (
	rekeyEvery = time.Minute      // between looks, at the most
	rekeyAfter = time.Second      // until the first of the connected admins' pods acts
	rekeyTurn  = 5 * time.Second  // more for each that has its turn before
	rekeyAlone = 10 * time.Minute // that an admin's pod waits for a key that others have, until it makes another
)

// errNoRekey says that there is no data key to be changed.
var errNoRekey = fmt.Errorf("pod: the network is not encrypted: %w", member.ErrDenied)

// Rekey changes the data key of an encrypted network: what is new is sealed under a key that only those get who may read now. What was sealed before stays readable to
// all who could read it. It is durable here, and sent to all that are connected, when it returns nil. A revocation does that by itself.
//
// Errors: member.ErrDenied if this pod is no admin's, or if the network is not encrypted.
func (p *Pod) Rekey(ctx context.Context) error {
	if !p.seal.Load().on {
		return errNoRekey
	}
	p.rekeying.Lock()
	defer p.rekeying.Unlock()
	return p.rekeyLocked(ctx)
}

// rekeyIfDue changes the data key if somebody has it who may not read any more.
func (p *Pod) rekeyIfDue(ctx context.Context) error {
	p.rekeying.Lock()
	defer p.rekeying.Unlock()
	if !p.seal.Load().on || len(p.reg.outgrown()) == 0 {
		return nil
	}
	if err := p.rekeyLocked(ctx); err != nil {
		return fmt.Errorf("pod: the data key was not changed, which is tried again: %w", err)
	}
	return nil
}

// rekeyLocked makes a data key, seals it to all who may read, and then says that it is the one; rekeying is held. If it breaks off before that, the key is one that nobody uses.
func (p *Pod) rekeyLocked(ctx context.Context) error {
	by, err := p.authority()
	if err != nil {
		return fmt.Errorf("pod: only an admin's pod may change the data key: %w", err)
	}
	key, err := p.freshKey()
	if err != nil {
		return err
	}
	if err := p.giveKey(ctx, key, by); err != nil {
		return err
	}
	last, _ := p.reg.rekey()
	k := member.Rekey{Network: p.reg.network, KeyID: key.ID(), Version: uint64(state.NextHLC(state.HLC(last.Version), p.clock.Now()))}
	if k, err = k.Sign(by.chain, by.sign); err != nil {
		return err
	}
	return p.learn(ctx, member.EncodeStatement(member.KindRekey, k.Encode()), p.id)
}

// freshKey makes a key that the headers of chunks tell apart from all others.
func (p *Pod) freshKey() (*seal.Key, error) {
	taken := make(map[uint32]bool)
	for id := range p.reg.keyIDs() {
		taken[id.Short()] = true
	}
	for {
		key, err := newSecret()
		if err != nil || !taken[key.ID().Short()] {
			return key, err
		}
	}
}

// giveKey seals a data key to all who may read and lack it.
func (p *Pod) giveKey(ctx context.Context, key *seal.Key, by authority) error {
	for _, pod := range p.reg.lacking(key.ID()) {
		sealed, err := sealedKeyFor(p.reg.network, pod, key, by)
		if err != nil {
			return err
		}
		if err := p.learn(ctx, sealed, p.id); err != nil {
			return err
		}
	}
	return nil
}

// keysChanged takes in what a statement says of the data keys, and tells people that it was changed.
func (p *Pod) keysChanged(ctx context.Context, statement []byte) {
	if !p.seal.Load().on {
		return
	}
	p.findSealing()
	p.lookAtKeys()
	kind, body, err := member.DecodeStatement(statement)
	if err != nil || kind != member.KindRekey {
		return
	}
	k, err := member.DecodeRekey(body)
	if err != nil || p.reg.currentKey() != k.KeyID {
		return
	}
	by := p.memberName(k.Signer.Leaf().Pod())
	p.log.InfoContext(ctx, "the data key was changed", "by", by, "usable", p.seal.Load().usable() == nil)
	p.event(Event{Kind: EventRekeyed, Text: "by " + by})
}

// lookAtKeys has it looked at whether data keys are to be given or changed.
func (p *Pod) lookAtKeys() {
	select {
	case p.rekeys <- struct{}{}:
	default:
	}
}

// runRekeys gives data keys to those who lack them, and changes the one that somebody has who may not read any more: of several admins' pods one after the other, so that mostly one does it.
func (p *Pod) runRekeys(ctx context.Context) error {
	p.lookAtKeys()        // what was broken off
	var without time.Time // since when this pod lacks the key of now
	for {
		if err := clock.SleepOr(ctx, p.clock, rekeyEvery, p.rekeys); err != nil {
			return err
		}
		if !p.keysWanted() {
			without = time.Time{}
			continue
		}
		if err := clock.Sleep(ctx, p.clock, p.rekeyWait()); err != nil {
			return err
		}
		if p.seal.Load().usable() == nil {
			without = time.Time{}
		} else if without.IsZero() {
			without = p.clock.Now()
		}
		err := p.tendKeys(ctx, !without.IsZero() && clock.Since(p.clock, without) >= rekeyAlone)
		if err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "data keys were not given, got or changed; that is tried again", "err", err)
		}
	}
}

// rekeyWait is how long this pod leaves it to other admins' pods to act.
func (p *Pod) rekeyWait() time.Duration {
	d := rekeyAfter
	for _, pod := range p.connected() {
		if p.reg.role(pod).MayAdmit() && bytes.Compare(pod[:], p.id[:]) < 0 {
			d += rekeyTurn
		}
	}
	return d
}

// keysWanted says whether there is something to do about data keys that this pod may be the one to do.
func (p *Pod) keysWanted() bool {
	s := p.seal.Load()
	if !s.on {
		return false
	}
	if s.usable() != nil && p.role().MayRead() {
		return true
	}
	if _, err := p.authority(); err != nil {
		return false // another's work
	}
	for _, key := range s.keys {
		if len(p.reg.lacking(key.ID())) > 0 {
			return true
		}
	}
	return len(p.reg.outgrown()) > 0
}

// tendKeys does what is to be done about data keys. With alone no other admin's pod gave this one the key of now: it makes another.
func (p *Pod) tendKeys(ctx context.Context, alone bool) error {
	var errs []error
	if p.seal.Load().usable() != nil && p.role().MayRead() {
		errs = append(errs, p.askForKeys(ctx))
	}
	by, err := p.authority()
	if errors.Is(err, member.ErrDenied) {
		return errors.Join(errs...) // another's work
	}
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, p.rekeyIfDue(ctx))
	for _, key := range p.seal.Load().keys {
		errs = append(errs, p.giveKey(ctx, key, by))
	}
	if alone && p.seal.Load().usable() != nil && p.role().MayRead() {
		errs = append(errs, p.Rekey(ctx))
	}
	return errors.Join(errs...)
}

// askForKeys exchanges statements with the connected pods until this one has the key of now: what was told it may have been lost.
func (p *Pod) askForKeys(ctx context.Context) error {
	var errs []error
	for _, pod := range p.connected() {
		if p.seal.Load().usable() == nil {
			return nil
		}
		errs = append(errs, p.swapStatements(ctx, pod))
	}
	return errors.Join(errs...)
}

// swapStatements exchanges all statements with a pod.
func (p *Pod) swapStatements(ctx context.Context, pod ident.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	mine, err := p.allStatements(pod)
	if err != nil {
		return err
	}
	theirs, err := p.net.Ask(ctx, pod, p2p.KindStatements, mine)
	if err != nil {
		return err
	}
	if err := p.learnAll(ctx, theirs, pod); err != nil {
		p.log.WarnContext(ctx, "a pod sent statements that are not believed", "pod", p.reg.name(pod), "err", err)
	}
	return nil
}
