package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// forkKey is the key of the statement of a fork point.
func forkKey(p forkPoint) []byte {
	b := binary.BigEndian.AppendUint64(append(make([]byte, 0, 49), keyFork), p.actor.Uint())
	return append(binary.BigEndian.AppendUint64(b, p.seq), p.digest[:]...)
}

// encode writes [actor, seq, digest, parent, first].
func (b *branch) encode() []byte {
	out := cbor.AppendArray(nil, 5)
	out = cbor.AppendUint(out, b.point.actor.Uint())
	out = cbor.AppendUint(out, b.point.seq)
	out = cbor.AppendBytes(out, b.point.digest[:])
	out = cbor.AppendUint(out, b.parent.Uint())
	return cbor.AppendBytes(out, b.first[:])
}

func decodeBranch(key, value []byte) (ident.Actor, branch, error) {
	r := cbor.NewReader(value)
	r.Tuple(5)
	b := branch{point: forkPoint{actor: readActor(r), seq: r.Uint(), digest: readDigest(r)}, parent: readActor(r), first: readDigest(r)}
	if len(key) != 9 {
		r.Fail("key of %d bytes", len(key))
	}
	if err := r.Done(); err != nil {
		return ident.Actor{}, b, corrupt(fmt.Sprintf("branch %x", key), err)
	}
	name, err := ident.ActorOf(binary.BigEndian.Uint64(key[1:]))
	if err == nil && (name != ident.BranchOf(b.point.actor.Member, b.first) || b.parent.Member != name.Member || b.parent == name) {
		err = errors.New("the names don't go together")
	}
	if err != nil {
		return name, b, corrupt(fmt.Sprintf("branch %x", key), err)
	}
	return name, b, nil
}

// branches reads the fork points and branches that are known.
func (v view) branches() (*branches, error) {
	t := newBranches()
	err := scanPrefix(v.r, []byte{keyFork}, func(key, value []byte) error {
		f, err := DecodeFork(slices.Clone(value))
		if err != nil {
			return err
		}
		t.points[f.point()] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t, scanPrefix(v.r, []byte{keyBranch}, func(key, value []byte) error {
		name, b, err := decodeBranch(key, value)
		if err != nil {
			return err
		}
		t.set(name, b)
		return nil
	})
}

// Forks are the fork statements that are known: signed facts, which are united as sets between pods before anything else.
func (d *DB) Forks() ([][]byte, error) {
	return readAs(d, func(v view) (out [][]byte, err error) {
		err = scanPrefix(v.r, []byte{keyFork}, func(_, value []byte) error {
			out = append(out, slices.Clone(value))
			return nil
		})
		return out, err
	})
}

// OnFork sets the function that is called with each statement that becomes known. It must not block or call operations.
func (d *DB) OnFork(f func(statement []byte)) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	d.onFork = f
}

// LearnFork takes in a fork statement; fresh says that the fork was not known. What is here of the commits behind it gets the label of its
// branch, in one batch. If it is this pod's own incarnation, the pod goes on under a new one.
//
// Errors: block.ErrCorrupt, ErrForeign, ErrSignature, Options.Author's; ErrGap: a digest that is needed is not known. Sync: one of the write-ahead log.
func (d *DB) LearnFork(ctx context.Context, statement []byte) (fresh bool, err error) {
	f, err := d.openFork(statement)
	if err != nil {
		return false, err
	}
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return false, err
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if err := d.settled(ctx); err != nil {
		return false, err
	}
	return d.learn(f)
}

// openFork decodes and verifies a fork statement.
func (d *DB) openFork(statement []byte) (*Fork, error) {
	f, err := DecodeFork(slices.Clone(statement))
	if err != nil {
		return nil, err
	}
	if f.network != d.o.Network {
		return nil, fmt.Errorf("state: fork of actor %s of network %s: %w", f.at.actor, f.network.Short(), ErrForeign)
	}
	key, err := d.o.Author(f.at.actor)
	if err != nil {
		return nil, fmt.Errorf("state: fork of actor %s: %w", f.at.actor, err)
	}
	return f, f.Verify(key)
}

// learn takes in a fork that was verified. commitMu must be held, and all that was applied be published.
func (d *DB) learn(f *Fork) (fresh bool, err error) {
	told, err := d.learnBatch(f)
	if err != nil || !told {
		return false, err
	}
	return true, d.sync()
}

func (d *DB) learnBatch(f *Fork) (fresh bool, err error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	p := f.point()
	if d.forks.points[p] {
		return false, nil
	}
	next, s, err := d.forks.learn(p, d.applied())
	if err != nil {
		return false, err
	}
	t := d.begin()
	defer t.close()
	statement := f.Encode()
	if err := t.set(forkKey(p), statement); err != nil {
		return false, err
	}
	heads := map[ident.Actor]actorState{}
	if s != nil {
		if heads, err = t.split(next, s); err != nil {
			return false, fmt.Errorf("state: fork of actor %s after commit %d: %w", p.actor, p.seq, err)
		}
	}
	if p.actor == d.self && d.signer() != nil {
		if err := t.renew(); err != nil {
			return false, err
		}
	}
	t.forks = next
	if err := t.finish(false); err != nil {
		return false, err
	}
	d.mu.Lock()
	for a, head := range heads {
		if d.heads[a], d.published[a] = head, head.seq; head.seq == 0 {
			delete(d.heads, a)
			delete(d.published, a)
		}
	}
	d.reach = nil
	d.mu.Unlock()
	d.slog.Warn("two copies of one pod have changed things apart; what both did stays", "actor", p.actor.String(), "after", p.seq)
	if d.onFork != nil {
		d.onFork(statement)
	}
	return true, nil
}

// split gives what is here of the commits behind a fork point the label of their branch: rows, uncommitted changes, the log. heads are the last
// commits of the two labels, seq 0 for none.
func (t *tx) split(next *branches, s *split) (heads map[ident.Actor]actorState, err error) {
	m := s.mapped(next)
	if err := t.rereadRows(m.row); err != nil {
		return nil, err
	}
	was := t.d.heads[s.from]
	for seq := s.seq + 1; seq <= was.seq; seq++ {
		value, err := get(t.d.db, logKey(s.from, seq))
		if err != nil {
			return nil, err
		}
		if value != nil {
			if err := errors.Join(t.set(logKey(s.to, seq), value), t.del(logKey(s.from, seq))); err != nil {
				return nil, err
			}
		}
	}
	for name, b := range next.byName {
		if t.d.forks.byName[name] != b {
			if err := t.set(branchKey(name), b.encode()); err != nil {
				return nil, err
			}
		}
	}
	left, err := t.splitHead(next, s, was)
	if err := errors.Join(err, t.splitBegin(s), t.set(actorKey(s.to), was.encode())); err != nil {
		return nil, err
	}
	return map[ident.Actor]actorState{s.from: left, s.to: was}, nil
}

// splitHead makes the fork point the last commit of the label that keeps its name, if it has commits at all.
func (t *tx) splitHead(next *branches, s *split, was actorState) (left actorState, err error) {
	if s.seq <= next.floor(s.from) {
		return left, t.del(actorKey(s.from))
	}
	left = actorState{seq: s.seq, hlc: was.hlc} // no earlier than its own, of which the header may be gone
	if left.digest, _, err = t.commitAt(s.from, s.seq); err != nil {
		return left, err
	}
	return left, t.set(actorKey(s.from), left.encode())
}

// splitBegin says where the logs of both labels begin, if that of the one begins behind the fork point.
func (t *tx) splitBegin(s *split) error {
	begin, err := t.floor(s.from)
	if err != nil || begin <= s.seq {
		return err
	}
	err = t.set(floorKey(s.to), binary.BigEndian.AppendUint64(nil, begin))
	if s.seq > t.d.forks.floor(s.from) {
		return errors.Join(err, t.set(floorKey(s.from), binary.BigEndian.AppendUint64(nil, s.seq)))
	}
	return errors.Join(err, t.del(floorKey(s.from)))
}

func branchKey(name ident.Actor) []byte { return seqKey(keyBranch, name.Uint()) }

// rowReader reads the encoded versions of a row, or an uncommitted change of one, anew.
type rowReader func(kind byte, committed bool, b []byte) ([]byte, error)

// rereadRows reads all rows anew, committed and not.
func (t *tx) rereadRows(read rowReader) error {
	changed := map[string]bool{} // by row key
	note := func(key []byte, committed, dirty []byte) error {
		for _, b := range [][]byte{committed, dirty} {
			if b == nil {
				continue
			}
			again, err := read(key[0], committed != nil, b)
			if err != nil {
				return fmt.Errorf("row %x: %w", key, err)
			}
			if string(again) != string(b) {
				changed[string(key)] = true
			}
		}
		return nil
	}
	for _, prefix := range []byte{KeyInode, KeyWish, KeySnap} {
		if err := scanPrefix(t.d.db, []byte{prefix}, func(key, value []byte) error { return note(key, value, nil) }); err != nil {
			return err
		}
	}
	if err := scanPrefix(t.d.db, []byte{keyDirty}, func(key, value []byte) error { return note(key[1:], nil, value) }); err != nil {
		return err
	}
	for _, key := range sortedKeys(changed) {
		if err := t.rereadRow([]byte(key), read); err != nil {
			return fmt.Errorf("row %x: %w", key, err)
		}
	}
	return nil
}

// rereadRow reads one row anew, with its place in the index.
func (t *tx) rereadRow(key []byte, read rowReader) error {
	_, ino, _, err := ParseKey(key)
	if err != nil {
		return err
	}
	var before *curInode
	if key[0] == KeyInode {
		if before, err = t.inode(ino); err != nil {
			return err
		}
	}
	for _, k := range [][]byte{key, textKey(keyDirty, key)} {
		value, err := get(t.r, k)
		if err != nil {
			return err
		}
		if value == nil {
			continue
		}
		again, err := read(key[0], len(k) == len(key), value)
		if err != nil {
			return err
		}
		if err := t.set(k, again); err != nil {
			return err
		}
	}
	if err := t.set(markKey(keyRowMark, t.d.epoch, key), nil); err != nil || before == nil {
		return err
	}
	after, err := t.inode(ino)
	if err != nil {
		return err
	}
	return t.reindex(ino, before.f, after.f)
}

// row is a rowReader.
func (m mapped) row(kind byte, committed bool, b []byte) ([]byte, error) {
	if !committed {
		return m.dirty(kind, b)
	}
	switch kind {
	case KeyInode:
		s, err := DecodeInodeSet(b)
		return AppendInodeSet(nil, mapVersions(m, s, m.inode)), err
	case KeyWish:
		s, err := DecodeWishSet(b)
		return AppendWishSet(nil, mapVersions(m, s, nil)), err
	}
	s, err := DecodeSnapSet(b)
	return AppendSnapSet(nil, mapVersions[block.ID](m, s, nil)), err
}

func (m mapped) dirty(kind byte, b []byte) ([]byte, error) {
	w, err := decodeDirty(b)
	if err != nil {
		return nil, err
	}
	w.observed = m.dots(w.observed)
	if kind == KeyInode && len(w.value) > 0 {
		n, err := DecodeInode(w.value)
		if err != nil {
			return nil, err
		}
		w.value = AppendInode(nil, m.inode(n))
	}
	return w.encode(), nil
}
