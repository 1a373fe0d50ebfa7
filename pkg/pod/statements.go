package pod

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

const statementsMax = 1 << 16 // in one message

// learn takes in a statement that a pod sent, keeps it durably, and passes on what is news.
func (p *Pod) learn(ctx context.Context, statement []byte, from ident.Pod) error {
	var rules map[string]Rule // as they are before
	switch kind, body, err := member.DecodeStatement(statement); {
	case err != nil: // add says so
	case kind == member.KindFork && p.blind():
		return nil // it is about commits
	case kind == member.KindFork:
		_, err := p.db.LearnFork(ctx, body) // tells runForks what is news
		return err
	case kind == member.KindNetwork:
		rules = p.Rules()
	}
	changed, err := p.reg.add(statement)
	if err != nil {
		return err
	}
	if changed.settings {
		p.rulesChanged(rules)
	}
	fresh, err := p.db.AddStatement(ctx, statement)
	if err != nil {
		return err
	}
	if !fresh {
		return nil
	}
	message := encodeStatements([][]byte{statement})
	for _, pod := range p.connected() {
		if pod != from && p.mayHear(pod, statement) {
			p.net.Tell(pod, p2p.KindStatements, message)
		}
	}
	if changed.members || changed.revoked {
		if err := p.enforce(ctx); err != nil {
			return err
		}
	}
	if changed.revoked {
		p.partRevoked(ctx)
		p.meetAgain()
		p.toldOfEnd(ctx, statement)
	}
	if changed.members {
		p.reg.lengthen()
		p.pulls.retry() // commits of an author that was not known may be applied now
	}
	if changed.keys || changed.revoked {
		p.keysChanged(ctx, statement)
	}
	if changed.members {
		p.lookAtKeys()
	}
	if changed.layout || changed.members || changed.settings || changed.revoked { // a role says who may hold nodes
		p.spread.poke()
	}
	return nil
}

// learnAll takes in a message of statements; those that are not believed don't keep the others out.
func (p *Pod) learnAll(ctx context.Context, message []byte, from ident.Pod) error {
	list, err := decodeStatements(message)
	if err != nil {
		return err
	}
	var errs []error
	slices.SortStableFunc(list, byKind)
	for _, s := range list {
		errs = append(errs, p.learn(ctx, s, from))
	}
	return errors.Join(append(errs, p.answerOut(ctx))...)
}

// byKind orders statements so that members are known before what is said of them.
func byKind(a, b []byte) int {
	x, _, _ := member.DecodeStatement(a) // 0 for what is none: that is refused later
	y, _, _ := member.DecodeStatement(b)
	return cmp.Compare(x, y)
}

// allStatements is currentStatements as a message to a pod.
func (p *Pod) allStatements(to ident.Pod) ([]byte, error) {
	list, err := p.currentStatements()
	list = slices.DeleteFunc(list, func(s []byte) bool { return !p.mayHear(to, s) })
	return encodeStatements(list), err
}

// currentStatements are those that no newer one has replaced, forks last: who learns them knows the members by then.
func (p *Pod) currentStatements() ([][]byte, error) {
	list, err := p.db.Statements()
	if err != nil {
		return nil, err
	}
	forks, err := p.db.Forks()
	list = slices.DeleteFunc(list, p.reg.stale)
	for _, f := range forks {
		list = append(list, member.EncodeStatement(member.KindFork, f))
	}
	return list, err
}

func encodeStatements(list [][]byte) []byte {
	b := cbor.AppendArray(nil, len(list))
	for _, s := range list {
		b = cbor.AppendBytes(b, s)
	}
	return b
}

func decodeStatements(b []byte) ([][]byte, error) {
	r := cbor.NewReader(b)
	var list [][]byte
	for range r.Array(statementsMax) {
		list = append(list, r.Bytes(member.StatementMax))
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("pod: statements: %w", err)
	}
	return list, nil
}

// announceEntry makes and keeps this pod's layout entry where its options differ from the newest.
func (p *Pod) announceEntry(ctx context.Context) error {
	s := p.share.Load()
	want := placement.Entry{
		Network: p.reg.network, Pod: p.id, Weight: s.Weight, Zone: s.Zone, Class: s.Class,
		CapacityBytes: uint64(p.o.CapacityBytes),
	}
	old, known := p.reg.entry(p.id)
	want.Ext = old.Ext
	want = want.Prefer(s.Priority)
	if want.Drain = known && old.Drain; want.Drain && old.Weight == 0 {
		want.Weight = 0 // it was removed
	}
	want, news := p.reg.answered(want)
	if known && !news && old.Weight == want.Weight && old.Zone == want.Zone && old.Class == want.Class && old.Priority() == want.Priority() &&
		old.CapacityBytes == want.CapacityBytes && old.Drain == want.Drain {
		return nil
	}
	want.Version = uint64(state.NextHLC(state.HLC(old.Version), p.clock.Now()))
	statement := member.EncodeStatement(member.KindLayout, want.Encode(func(msg []byte) []byte { return ed25519.Sign(p.own.key, msg) }))
	if _, err := p.reg.add(statement); err != nil {
		return err
	}
	_, err := p.db.AddStatement(ctx, statement)
	return err
}
