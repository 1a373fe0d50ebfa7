package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/store"
)

// A blind pod can't tell garbage from what is needed, so those who write tell it (DESIGN section 5, docs/adr/0017): each goes through what the pod holds and lists what nothing names. What two of
// them list goes to the trash. From there it goes for good when two list it again, each of whom finds that it was there as long as its own trash keeps things, and that all members have passed the moment when it came there.
// Whoever asks whether a block is there, or puts it, brings it back, and it all begins anew.

const (
	storedMax = 4096           // entries in one answer about what is stored
	votesMax  = 1 << 16        // of which one writer's word is remembered; of more it is said again after an hour
	voteLife  = 24 * time.Hour // how long one writer's word waits for another's: they may be up at different times of a day
)

// A writer's word about something that a blind pod holds.
const (
	verdictNeeded = 0 // of what is in the trash: it is to come back
	verdictDead   = 1 // nothing names it: it may go to the trash
	verdictDrop   = 2 // of what is in the trash: it may go for good
)

// votes are the words of writers that wait for a second one.
type votes struct {
	mu    sync.Mutex // guards the field below
	byKey map[block.ID]vote
}

// vote is the word of one writer.
type vote struct {
	verdict byte
	by      ident.Pod // see registry.voice
	at      time.Time
}

// second notes a writer's word and says whether another one's is there that says the same.
func (v *votes) second(key block.ID, one vote) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	first, known := v.byKey[key]
	known = known && first.verdict == one.verdict && one.at.Sub(first.at) < voteLife
	if known && first.by != one.by {
		delete(v.byKey, key)
		return true
	}
	if v.byKey == nil {
		v.byKey = make(map[block.ID]vote)
	}
	if _, there := v.byKey[key]; there || len(v.byKey) < votesMax {
		v.byKey[key] = one
	}
	return false
}

// forget drops what was said about a key.
func (v *votes) forget(key block.ID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.byKey, key)
}

// voice is who speaks by a pod: the user who runs it, who could run many, or the pod itself where an admin let it in.
func (r *registry) voice(pod ident.Pod) ident.Pod {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if users := usersIn(r.chains[pod]); len(users) > 0 {
		return users[0]
	}
	return pod
}

// writer is the voice of a pod that may write; "": it may not.
func (r *registry) writer(pod ident.Pod) string {
	if !r.mayWrite(pod) {
		return ""
	}
	return r.voice(pod).String()
}

// renewed says that somebody relies on a block from now on. A blind pod brings it back from the trash, and forgets who said that it is needed no more.
func (p *Pod) renewed(ctx context.Context, id block.ID) {
	if !p.blind() {
		return
	}
	p.votes.forget(id)
	if found, err := p.store.Untrash(ctx, id); err != nil {
		p.log.WarnContext(ctx, "a block that is needed could not be brought back from the trash", "block", id, "err", err)
	} else if found {
		p.log.InfoContext(ctx, "a block in the trash is needed again", "block", id)
	}
}

// mayTellDrops says whether a pod may say what this one stores for nothing. Error: member.ErrDenied.
func (p *Pod) mayTellDrops(from ident.Pod) error {
	if err := p.obeys(from); err != nil {
		return err
	}
	if !p.reg.mayWrite(from) {
		return fmt.Errorf("pod: what a storage pod holds is writers' to list, and %q is a %s: %w", p.reg.name(from), p.reg.role(from), member.ErrDenied)
	}
	return nil
}

// answerStored lists what this pod holds behind a key. Each entry tells how long it has been in the trash, so that two clocks need not agree.
func (p *Pod) answerStored(ctx context.Context, from ident.Pod, body []byte) ([]byte, error) {
	if err := p.mayTellDrops(from); err != nil {
		return nil, err
	}
	behind, err := decodeBehind(body)
	if err != nil {
		return nil, err
	}
	list, err := p.store.List(ctx, behind, storedMax)
	if err != nil {
		return nil, err
	}
	return encodeStored(list, p.clock.Now()), nil
}

// answerDrop takes a writer's word about what is here.
func (p *Pod) answerDrop(ctx context.Context, from ident.Pod, body []byte) ([]byte, error) {
	if err := p.mayTellDrops(from); err != nil {
		return nil, err
	}
	list, err := decodeDrops(body)
	if err != nil {
		return nil, err
	}
	p.leases.begin() // what is put from here on stays; what was put before and is not being put now is no reason
	p.leases.end()
	by, done := p.reg.voice(from), 0
	for _, d := range list {
		acted, err := p.takeVerdict(ctx, by, d)
		if err != nil {
			return nil, err
		}
		if acted {
			done++
		}
	}
	if done > 0 {
		p.log.InfoContext(ctx, "what writers listed was put into the trash, deleted or brought back", "by", p.reg.name(from), "listed", len(list), "done", done)
	}
	return nil, p.store.Sync(ctx)
}

// takeVerdict does what one writer's word, with those of others, comes to.
func (p *Pod) takeVerdict(ctx context.Context, by ident.Pod, d drop) (acted bool, err error) {
	if d.verdict == verdictNeeded {
		p.votes.forget(d.key)
		if !p.store.InTrash(d.key) {
			return false, nil
		}
		return true, p.store.Own(ctx, d.key)
	}
	if p.store.InTrash(d.key) != (d.verdict == verdictDrop) {
		return false, nil // it came back, or was put there, since the list was made
	}
	if !p.votes.second(d.key, vote{d.verdict, by, p.clock.Now()}) {
		return false, nil
	}
	take := p.store.Trash
	if d.verdict == verdictDrop {
		take = p.store.Drop
	}
	return take(ctx, d.key, func() bool { return p.leases.has(d.key) })
}

// listDrops goes through what the connected blind pods hold, and tells them what of it nothing names. A pod that can't be asked is left for the next time.
func (c *collection) listDrops(ctx context.Context) error {
	p := c.p
	if c.named == nil || !p.mayWrite() {
		return nil
	}
	var errs []error
	for _, pod := range p.blindConnected() {
		if err := c.listDropsOf(ctx, pod); err != nil {
			errs = append(errs, fmt.Errorf("pod: list what %s need not keep: %w", p.reg.name(pod), err))
		}
	}
	return errors.Join(errs...)
}

func (c *collection) listDropsOf(ctx context.Context, pod ident.Pod) error {
	var behind block.ID
	for {
		asked := c.p.clock.Now()
		answer, err := c.p.ask(ctx, pod, p2p.KindStored, behind.Append(nil))
		if err != nil {
			return err
		}
		page, err := decodeStored(answer)
		if err != nil || len(page) == 0 {
			return err
		}
		var list []drop
		for _, s := range page {
			if err := c.rest(ctx); err != nil {
				return err
			}
			if d, tell := c.judgeStored(s, asked); tell {
				list = append(list, d)
			}
			if s.key.Compare(behind) <= 0 {
				return fmt.Errorf("what is stored is not told in order: %w", block.ErrCorrupt)
			}
			behind = s.key
		}
		if len(list) == 0 {
			continue
		}
		if _, err := c.p.ask(ctx, pod, p2p.KindDrop, encodeDrops(list)); err != nil {
			return err
		}
	}
}

// judgeStored is this pod's word about something that a blind pod holds; tell is false where there is nothing to say. A node, which such a pod may have from when it could read, may go once this pod has it.
func (c *collection) judgeStored(s stored, now time.Time) (d drop, tell bool) {
	d = drop{key: s.key}
	needed := c.named.has(s.id) || c.p.leases.has(s.id)
	if s.id.Codec() != block.Raw && needed {
		owned, _ := c.p.store.Has(s.id)
		needed = !owned
	}
	switch {
	case needed:
		return d, s.trashed
	case !s.trashed:
		d.verdict = verdictDead
	case c.waited(now.Add(-s.age)):
		d.verdict = verdictDrop
	default:
		return d, false
	}
	return d, true
}

// stored is an entry of an answer about what is stored.
type stored struct {
	key, id block.ID
	trashed bool
	age     time.Duration // since it came to the trash, in whole seconds
}

// ageMax is the longest age that is told, in seconds.
const ageMax = 1 << 32

// encodeStored writes [[key, id, 0 | seconds in the trash + 1]…].
func encodeStored(list []store.Held, now time.Time) []byte {
	b := cbor.AppendArray(nil, len(list))
	for _, h := range list {
		b = cbor.AppendBytes(cbor.AppendArray(b, 3), h.Key.Append(nil))
		b = cbor.AppendBytes(b, h.ID.Append(nil))
		age := uint64(0)
		if !h.Since.IsZero() {
			age = 1 + uint64(min(max(0, now.Sub(h.Since)/time.Second), ageMax-1))
		}
		b = cbor.AppendUint(b, age)
	}
	return b
}

func decodeStored(b []byte) ([]stored, error) {
	return readList(b, "what is stored", storedMax, func(r *cbor.Reader) (s stored, err error) {
		r.Tuple(3)
		key, id, age := r.Fixed(store.KeyLen), r.Fixed(block.IDLen), r.UintMax(ageMax)
		if r.Err() != nil {
			return s, r.Err()
		}
		s.trashed, s.age = age > 0, time.Duration(max(age, 1)-1)*time.Second
		if s.key, err = store.ReadKey(key); err == nil {
			s.id, err = block.FromBytes(id)
		}
		return s, err
	})
}

// decodeBehind reads a question about what is stored: a key, or the zero one.
func decodeBehind(b []byte) (block.ID, error) {
	if string(b) == string(block.ID{}.Append(nil)) {
		return block.ID{}, nil
	}
	key, err := store.ReadKey(b)
	if err != nil {
		err = fmt.Errorf("pod: question about what is stored: %w", err)
	}
	return key, err
}

// drop is a writer's word about a key.
type drop struct {
	key     block.ID
	verdict byte
}

// encodeDrops writes [[key, verdict]…].
func encodeDrops(list []drop) []byte {
	b := cbor.AppendArray(nil, len(list))
	for _, d := range list {
		b = cbor.AppendBytes(cbor.AppendArray(b, 2), d.key.Append(nil))
		b = cbor.AppendUint(b, uint64(d.verdict))
	}
	return b
}

func decodeDrops(b []byte) ([]drop, error) {
	return readList(b, "drop list", storedMax, func(r *cbor.Reader) (d drop, err error) {
		r.Tuple(2)
		key := r.Fixed(store.KeyLen)
		d.verdict = byte(r.UintMax(verdictDrop))
		if r.Err() == nil {
			d.key, err = store.ReadKey(key)
		}
		return d, err
	})
}

// collectBlind is Collect on a blind pod: what is garbage here others say; this gives back the room of what is gone.
func (p *Pod) collectBlind(ctx context.Context, o CollectOptions) (out Collected, err error) {
	err = p.store.EachTrash(ctx, func(_ block.ID, bytes int64, _ time.Time) error {
		out.Kept++
		out.KeptBytes += bytes
		return nil
	})
	if err != nil || o.DryRun {
		return out, err
	}
	if err := p.store.Sync(ctx); err != nil {
		return out, err
	}
	out.CompactedBytes, err = p.store.Compact(ctx)
	return out, err
}

// unseen says that this pod can't tell yet what is garbage: it became a pod that reads, and has not heard of the tree. Error: block.ErrUnavailable.
func (p *Pod) unseen() error {
	if !p.reg.defaults().Encrypted() || len(p.db.VV()) > 0 || len(p.reg.pods()) < 2 {
		return nil
	}
	return fmt.Errorf("pod: nothing of the tree is known here yet, so that it can't be told what is garbage: %w", block.ErrUnavailable)
}
