package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// nameBehind is how many bytes behind the head of its record a fragment's name goes on.
const nameBehind = block.FragmentNameLen - block.FragmentHeaderLen

// PutFragment stores a fragment as it is sent (block.StripeRecord.AppendWire), after its bytes were compared with the digest that it carries; what is
// another fragment or has another digest is block.ErrCorrupt. That it is a piece of its block, nobody can see from it alone. One that is there stays; one in the
// trash comes back; a damaged one is stored anew. Fragments are the pod's own, never cache. Durable as after Put, whose errors it has.
func (s *Store) PutFragment(ctx context.Context, f block.Fragment, wire []byte) error {
	if err := f.Check(); err != nil {
		return fmt.Errorf("store: put %s: %w", f, err)
	}
	if _, _, err := block.CheckFragment(f, wire); err != nil {
		return fmt.Errorf("store: put: %w", err)
	}
	name := nameOf(f)
	err := s.claims.claim(ctx, name)
	if err == nil {
		err = s.putFragment(ctx, name, f, wire)
		s.claims.release(name)
	}
	if err == nil {
		err = s.boundUnsynced(ctx)
	}
	if err != nil {
		return fmt.Errorf("store: put %s: %w", f, err)
	}
	return nil
}

// putFragment stores a good fragment; the name is claimed.
func (s *Store) putFragment(ctx context.Context, name block.ID, f block.Fragment, wire []byte) error {
	old, had, err := s.lookup(name)
	switch {
	case err != nil:
		return err
	case had && old.of != f:
		return fmt.Errorf("its name is that of %s: %w", old.of, block.ErrCorrupt)
	case had && !old.bad():
		return s.putAgain(ctx, name, old, false)
	}
	part, err := block.ParseFragmentHeader(wire)
	if err != nil {
		return err
	}
	buf := s.bufs.get(wireStart + len(wire))
	defer s.bufs.put(buf)
	b := *buf
	copy(b[wireStart:], wire)
	if err := s.makeRoom(ctx, int64(len(b)), false); err != nil {
		return err
	}
	head := record{kind: kindFragment, id: name, part: part, length: uint32(len(b) - recordHead)}
	err = s.append(head, b, false, func(at place) { s.setRow(name, old, had, newRow(at, head, f)) })
	if err == nil && had {
		err = s.buryDamaged(ctx, name, old)
	}
	return err
}

// Fragment returns a fragment as it is sent, read from disk; the caller owns it. Its record's checksum was compared, not the digest: that the receiver
// does (block.CheckFragment). One in the trash is served too. Errors are those of Get.
func (s *Store) Fragment(ctx context.Context, f block.Fragment) ([]byte, error) {
	wire, done, err := s.LendFragment(ctx, f)
	if err != nil {
		return nil, err
	}
	defer done()
	return bytes.Clone(wire), nil
}

// LendFragment is Fragment whose bytes are lent: done gives them back, once, when they are no longer read.
func (s *Store) LendFragment(ctx context.Context, f block.Fragment) (wire []byte, done func(), err error) {
	wire, done, err = s.lend(ctx, nameOf(f), func(_ record, b []byte) error {
		got, _, err := block.ParseFragmentName(b)
		if err == nil && got != f {
			err = fmt.Errorf("it is %s: %w", got, block.ErrCorrupt)
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f, err)
	}
	return wire, done, nil
}

// HasFragment says whether a fragment is held. A damaged one, or one in the trash, is not.
func (s *Store) HasFragment(f block.Fragment) bool {
	r, ok, err := s.lookup(nameOf(f))
	if err != nil {
		s.o.Log.Error("store index can't be read", "fragment", f.String(), "error", err)
	}
	return err == nil && ok && r.of == f && !r.bad() && !r.trashed()
}

// Fragments lists the fragments of a block that are held, of all its stripes, in no special order. Damaged ones and those in the trash are left out.
// Errors: ErrClosed, those of reading the index.
func (s *Store) Fragments(id block.ID) ([]block.Fragment, error) {
	var out []block.Fragment
	err := s.family(id, func(r row) error {
		if !r.bad() && !r.trashed() {
			out = append(out, r.of)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("store: fragments of %s: %w", id, err)
	}
	return out, nil
}

// KnowsFragments says whether there are fragments of a block, be they damaged or in the trash. Errors are those of Fragments.
func (s *Store) KnowsFragments(id block.ID) (bool, error) {
	err := s.family(id, func(row) error { return errFound })
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

var errFound = errors.New("found")

// family calls f with the rows of all fragments of a block.
func (s *Store) family(id block.ID, f func(row) error) error {
	family := familyOf(id)
	if !s.claims.enter() {
		return ErrClosed
	}
	defer s.claims.leave()
	// The changes are copied first: what a flush moves to the index after that is in both.
	s.mu.RLock()
	may, generation := s.filter.mayHave(family), s.generation
	var changes map[block.ID]change
	if may {
		changes = familyChanges(family, s.flushing, s.pending)
	}
	s.mu.RUnlock()
	if !may {
		return nil
	}
	for _, c := range changes {
		if !c.gone && c.of.ID == id {
			if err := f(c.row); err != nil {
				return err
			}
		}
	}
	prefix := blockKey(generation, family)
	prefix = prefix[:len(prefix)-nameHalf]
	return s.index.few(prefix, func(key, value []byte) error {
		name, err := readID(key[2:])
		if err != nil {
			return fmt.Errorf("index: %w: %w", err, block.ErrCorrupt)
		}
		if _, changed := changes[name]; changed {
			return nil
		}
		r, err := decodeRow(value)
		if err == nil && r.of.ID == id {
			err = f(r)
		}
		return err
	})
}

// familyChanges is what of some changes is about fragments of a block; later ones count.
func familyChanges(family block.ID, lists ...map[block.ID]change) map[block.ID]change {
	changes := make(map[block.ID]change)
	for _, list := range lists {
		for name, c := range list {
			if isFragment(name) && familyOf(name) == family {
				changes[name] = c
			}
		}
	}
	return changes
}

// EachFragment calls f for every fragment, those of a block one after the other, with the bytes of its record, 0 of a damaged one; trashed says that it is in the trash, since when.
// A change that is made meanwhile may be seen or not. f may call the store.
func (s *Store) EachFragment(ctx context.Context, f func(fr block.Fragment, size int64, trashed bool, since time.Time) error) error {
	return s.eachRow(ctx, beforeFragments, func(_ block.ID, r row) error {
		size := r.size()
		if r.bad() {
			size = 0
		}
		return f(r.of, size, r.trashed(), time.Unix(r.since, 0))
	})
}

// DeleteFragment is Delete for a fragment.
func (s *Store) DeleteFragment(ctx context.Context, f block.Fragment) error {
	return s.Delete(ctx, nameOf(f))
}

// OwnFragment brings a fragment back from the trash. Errors are those of Own.
func (s *Store) OwnFragment(ctx context.Context, f block.Fragment) error {
	return s.Own(ctx, nameOf(f))
}

// TrashFragment is Trash for a fragment.
func (s *Store) TrashFragment(ctx context.Context, f block.Fragment, unless func() bool) (done bool, err error) {
	return s.Trash(ctx, nameOf(f), unless)
}

// DropFragment is Drop for a fragment.
func (s *Store) DropFragment(ctx context.Context, f block.Fragment, unless func() bool) (done bool, err error) {
	return s.Drop(ctx, nameOf(f), unless)
}

// DropDamaged deletes a fragment if it was found damaged, under the rule of unless that Trash has.
func (s *Store) DropDamaged(ctx context.Context, f block.Fragment, unless func() bool) (done bool, err error) {
	return s.changeUnless(ctx, "drop", nameOf(f), unless, row.bad, func(r row) error { return s.remove(nameOf(f), r) })
}

// readName reads the name of a fragment from its record; block.ErrCorrupt says that it is not the one that the head has.
func readName(g *segment, r record) (block.Fragment, error) {
	b := r.part.Append(make([]byte, 0, block.FragmentNameLen))
	b = b[:block.FragmentNameLen]
	if _, err := readAt(g.file, b[block.FragmentHeaderLen:], r.off+recordHead, r.end()); err != nil {
		return block.Fragment{}, err
	}
	f, _, err := block.ParseFragmentName(b)
	if err == nil && nameOf(f) != r.id {
		err = fmt.Errorf("record at %d: fragment of another name: %w", r.off, block.ErrCorrupt)
	}
	return f, err
}

// verifyFragment compares a fragment with its name and its digest. form is what stands behind the head of its record.
func verifyFragment(name block.ID, r record, form []byte) error {
	f, rec, data, err := block.ParseFragment(append(r.part.Append(nil), form...))
	if err == nil && nameOf(f) != name {
		err = fmt.Errorf("it is %s: %w", f, block.ErrCorrupt)
	}
	if err == nil {
		err = rec.Verify(int(f.I), data)
	}
	return err
}
