package store

import (
	"context"
	"errors"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/bloom"
)

const (
	// filterBits: with 10 bits, one lookup in 100 of an absent ID asks the index all the same. With the room for another eighth that
	// is 1.4 bytes for each ID.
	filterBits = 10
	// filterMin is the IDs of the smallest generation: 80 KB.
	filterMin = 64 << 10
	// filterMax bounds the first generation, whose length is by what the index says: 20 MB. More IDs go to more generations.
	filterMax = 16 << 20
	// fillPage is how many IDs are read from the index, and then added, at once.
	fillPage = 1024
)

// filter knows of most IDs without a row that they have none, so that their lookup asks neither memtables nor tables: what is put is
// absent as a rule. Store.mu guards it.
//
// INVARIANT: whole is nil, or has each ID with a row, be it in pending, in flushing or in the index. growing is nil, or
// has each ID that was pending when it began or was noted since; once the rows of the index are added it becomes whole. IDs are
// never taken out: those of deleted blocks go when a filter is made anew, which is when it has doubled.
type filter struct {
	min     int // IDs of the smallest generation
	whole   generations
	growing generations
	limit   int // IDs of whole with which it is made anew
}

// mayHave is false when the ID surely has no row.
func (f *filter) mayHave(id block.ID) bool { return f.whole == nil || f.whole.has(id) }

// note takes up an ID that has a row from now on.
func (f *filter) note(id block.ID) {
	if f.whole != nil {
		f.whole.addAll(id, f.min)
	}
	if f.growing != nil {
		f.growing.addAll(id, f.min)
	}
}

// due says whether the filter must be made anew.
func (f *filter) due() bool { return f.whole != nil && f.growing == nil && f.whole.len() >= f.limit }

// finish puts what was made in use, or drops it.
func (f *filter) finish(good bool) {
	if good {
		f.whole = f.growing
		f.limit = 2 * max(f.whole.len(), f.min)
	}
	f.growing = nil
}

// generations is a filter that grows: each has its room, and the last takes what is added.
type generations []generation

type generation struct {
	*bloom.Filter
	room int // IDs
}

func newGenerations(n int) generations { return generations{{bloom.New(n, filterBits), n}} }

func (g generations) has(id block.ID) bool {
	for _, one := range g {
		if one.Has(id) {
			return true
		}
	}
	return false
}

// addAll adds an ID; of a fragment also what tells that its block has some.
func (g *generations) addAll(id block.ID, least int) {
	g.add(id, least)
	if isFragment(id) {
		g.add(familyOf(id), least)
	}
}

// add adds an ID that is not there; a further generation has room for an eighth of what is there.
func (g *generations) add(id block.ID, least int) {
	if g.has(id) {
		return
	}
	last := (*g)[len(*g)-1]
	if last.Len() >= last.room {
		n := max(least, g.len()/8)
		last = generation{bloom.New(n, filterBits), n}
		*g = append(*g, last)
	}
	last.Add(id)
}

// len is how many IDs were added.
func (g generations) len() int {
	n := 0
	for _, one := range g {
		n += one.Len()
	}
	return n
}

// growFilter begins to make the filter, in the background; Close waits for it. The caller is Open, or holds the token of Sync.
func (s *Store) growFilter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.filter
	f.growing = newGenerations(int(min(max(s.totals.blocks, int64(f.min)), filterMax)))
	for _, changes := range []map[block.ID]change{s.pending, s.flushing} {
		for id := range changes {
			f.growing.addAll(id, f.min)
		}
	}
	s.filling.Go(s.fillFilter)
}

// fillFilter adds the IDs of all rows in the index to the growing filter. A row that is written meanwhile was noted.
func (s *Store) fillFilter() {
	from := block.ID{}
	for {
		ids, err := s.rowsBehind(from)
		s.mu.Lock()
		for _, id := range ids {
			s.filter.growing.addAll(id, s.filter.min)
		}
		done := err != nil || len(ids) < fillPage
		if done {
			s.filter.finish(err == nil)
		}
		s.mu.Unlock()
		if err != nil && !errors.Is(err, ErrClosed) {
			s.o.Log.Warn("store filter can't be made, so that absent blocks are looked up in the index", "error", err)
		}
		if done {
			return
		}
		from = ids[len(ids)-1]
	}
}

// rowsBehind lists the next IDs of the index behind from, fillPage of them or all that are left.
func (s *Store) rowsBehind(from block.ID) ([]block.ID, error) {
	if !s.claims.enter() {
		return nil, ErrClosed
	}
	defer s.claims.leave()
	s.mu.RLock()
	generation := s.generation // a rebuild, which makes another, waits until we leave
	s.mu.RUnlock()
	prefix := []byte{keyBlock, generation}
	ids := make([]block.ID, 0, fillPage)
	err := s.index.each(context.Background(), prefix, append(blockKey(generation, from), 0), func(key, _ []byte) error {
		if len(ids) == fillPage {
			return errPageFull
		}
		id, err := readID(key[len(prefix):])
		if err != nil {
			return errors.Join(err, block.ErrCorrupt)
		}
		ids = append(ids, id)
		return nil
	})
	if errors.Is(err, errPageFull) {
		err = nil
	}
	return ids, err
}
