package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// The journal: an fsync of few bytes writes them beside the file's row, as a record of the state, and waits for one sync of the
// state's log. They stay in memory too, over the body. When the file is closed, or at the latest after foldAfter, they are folded: cut into
// chunks as if there were no record, and the operation that names the contents deletes the records. Opening a pod replays
// the records that are left (replay.go). docs/adr/0004 says why.
const (
	journalRecordsMax = 1024    // of one file: a replay reads them all
	journalBytesMax   = 1 << 20 // of one file, encoded
	journalRoom       = 8 << 20 // bytes that must be free: a full disk is told by the store, which can go on with one

	// foldAfter is how long others may not see what an fsync made durable of a file that stays open.
	foldAfter = time.Second
)

// unlogged is what changed of a file since its last journal record, or since its contents were staged or read.
type unlogged struct {
	some   bool   // anything at all
	spans  spans  // bytes that were written
	keep   uint64 // the least size since then
	beyond bool   // a record can't say it: bytes are in chunks, or in too many places
}

// logged is what stands of a file in the state's journal.
type logged struct {
	gen     uint64 // the last record; 0: there is none
	records int
	bytes   int64
	base    dag.Body // what they lie over: its blocks must stay
}

// wrote notes that bytes were written.
func (u *unlogged) wrote(off, end int64) {
	u.some = true
	if u.beyond {
		return
	}
	if u.spans = u.spans.add(off, end); len(u.spans) > state.JournalWritesMax {
		u.spans, u.beyond = nil, true
	}
}

// resized notes that the file was made size bytes long.
func (u *unlogged) resized(size uint64) {
	u.some, u.keep, u.spans = true, min(u.keep, size), u.spans.cut(int64(size))
}

// syncNode makes what was written to a file durable, and all that was done before: by a record of the journal and one sync of the state's
// log where that can say it, else by a pass of the barrier.
func (p *Pod) syncNode(ctx context.Context, n *node) error {
	if err := p.guard.err(); err != nil {
		return err
	}
	done, err := p.logWrites(n)
	switch {
	case err != nil:
		return err
	case done:
		err = p.syncLog(ctx)
	default:
		if err = p.stage(ctx, n); err == nil {
			err = p.barrier.wait(ctx)
		}
	}
	return errors.Join(err, n.lostErr())
}

// syncLog is the sync of the state's log. Who waits for it on a disk that is full, or fails, is told so and not kept waiting; what was written may
// become durable later, as after any failed fsync.
func (p *Pod) syncLog(ctx context.Context) error {
	full, broken := p.guard.stuck()
	done := make(chan error, 1)
	go func() { done <- p.db.Sync(context.WithoutCancel(ctx)) }()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-full:
		case <-broken:
		}
		if err := p.guard.err(); err != nil {
			return err
		}
		full, broken = p.guard.stuck() // there is room again
	}
}

// logWrites adds to the journal what was written to a file since its last record; done: after a sync of the state's log all of the file
// is durable.
func (p *Pod) logWrites(n *node) (done bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.orphan:
		return true, nil
	case n.staged != nil:
		return false, nil // what a record would lie over isn't durable
	case !n.dirty || !n.fresh.some:
		return true, nil
	case n.copy || n.fresh.beyond || n.fresh.spans.bytes() > state.JournalDataMax || p.store.Usage().FreeBytes < journalRoom:
		return false, nil
	}
	r := n.record()
	cost := n.log.bytes + int64(r.Len())
	if n.log.records >= journalRecordsMax || cost > journalBytesMax {
		return false, nil
	}
	gen, err := p.db.Journal(n.row, r)
	if errors.Is(err, vfs.ErrNotExist) {
		return false, nil // naming knows who removed it
	}
	if err != nil {
		return false, fmt.Errorf("pod: file %d: write its journal: %w", n.id, err)
	}
	if n.log.gen == 0 {
		n.log.base = n.body
		p.nodes.keepLogged(n)
		p.foldSoon()
	}
	n.log.gen, n.log.records, n.log.bytes = gen, n.log.records+1, cost
	n.fresh = unlogged{keep: n.attr.Size}
	return true, nil
}

// record is what a journal record has to say. It aliases the written bytes.
func (n *node) record() *state.JournalRecord {
	r := &state.JournalRecord{Keep: n.fresh.keep, Size: n.attr.Size, Mtime: n.attr.Mtime}
	if n.log.gen == 0 {
		r.Base = &state.JournalBase{Content: n.base, Mode: n.attr.Mode, UID: n.attr.UID, GID: n.attr.GID}
		if n.body.Size > 0 {
			r.Base.Body = n.body.Encode()
		}
		if len(n.path) <= state.JournalPathMax {
			r.Base.Path = n.path
		}
	}
	for _, s := range n.fresh.spans {
		r.Writes = append(r.Writes, state.JournalWrite{Off: uint64(s.off), Data: n.ext.run(s.off, s.end)})
	}
	return r
}

// keepLogged keeps a node that has its first journal record until that is folded.
func (s *nodes) keepLogged(n *node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.refs++
	s.logged[n] = true
}

// unlogLocked forgets a node's records, which the state has deleted.
func (p *Pod) unlogLocked(n *node) {
	if n.log.gen == 0 {
		return
	}
	n.log = logged{}
	p.nodes.mu.Lock()
	delete(p.nodes.logged, n)
	p.nodes.mu.Unlock()
	p.release(n)
}

// foldSoon tells runFold that there is a journal, or that one is in the way.
func (p *Pod) foldSoon() {
	select {
	case p.folds <- struct{}{}:
	default:
	}
}

// runFold folds journals: at once those of files that nobody has open and those that hold rows back from being committed (I4), the
// others after foldAfter.
func (p *Pod) runFold(ctx context.Context) error {
	var due *time.Timer
	var fired <-chan time.Time
	for all := false; ; {
		if err := p.foldJournals(ctx, all); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "what was written to an open file can't be cut into chunks yet", "err", err)
		}
		if fired == nil && p.nodes.anyLogged() {
			due = p.clock.NewTimer(foldAfter)
			fired = due.C
		}
		select {
		case <-ctx.Done():
			if due != nil {
				due.Stop()
			}
			return ctx.Err()
		case <-p.folds:
			all = false
		case <-fired:
			all, fired = true, nil
		}
	}
}

// foldJournals stages files that have journal records: all of them, or those that must not wait.
func (p *Pod) foldJournals(ctx context.Context, all bool) error {
	_, held := p.db.Uncommitted()
	var errs []error
	for n, open := range p.nodes.useLogged() {
		n.mu.RLock()
		now := all || !open || slices.Contains(held, n.row)
		n.mu.RUnlock()
		if now {
			errs = append(errs, p.stageSoon(ctx, n))
		}
		p.release(n)
	}
	return errors.Join(errs...)
}

func (s *nodes) anyLogged() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.logged) > 0
}

// useLogged are the nodes with journal records, each with one more use, and whether they are open.
func (s *nodes) useLogged() map[*node]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[*node]bool, len(s.logged))
	for n := range s.logged {
		n.refs++
		out[n] = n.opens > 0
	}
	return out
}

// eachJournalBody calls f with the bodies that journal records lie over. Their blocks must stay as long as the records: a replay, and a
// crash before the naming of what replaces them is durable, need them.
func (p *Pod) eachJournalBody(f func(dag.Body) error) error {
	var bodies []dag.Body
	for n := range p.nodes.useLogged() {
		n.mu.RLock()
		if n.log.gen != 0 {
			bodies = append(bodies, n.log.base)
		}
		n.mu.RUnlock()
		p.release(n)
	}
	for _, body := range bodies {
		if err := f(body); err != nil {
			return err
		}
	}
	return nil
}
