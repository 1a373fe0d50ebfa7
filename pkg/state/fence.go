package state

// A fence parts the changes of this pod in two. The next Commit makes commits of those before it, as the rows were then, and leaves those behind it for
// another one. So whoever waits for bytes to be durable before it names them tells nobody of what came after them without them: else a file's removal were heard of before the
// contents that its writer had finished first, and another pod had neither.
type fence struct {
	gen    uint64                // the last change before it
	before map[string]*fencedRow // rows that changed behind it, and were uncommitted before, as they were
	given  map[string]uint64     // rows to which contents were given behind it, which belong before it: the change that did
}

// fencedRow is a row's uncommitted change as it was at a fence.
type fencedRow struct {
	mark *dirtyMark
	gen  uint64
	w    *dirtyValue
}

// Fence calls f between two operations, and puts a fence there for the next Commit, in place of the one before. The contents that are given meanwhile, by SetContent, Create and
// Import, count as given before it; what else changed of such a file since goes with them. f must not call d.
func (d *DB) Fence(f func()) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	f()
	d.fence = newFence(d.gen)
}

func newFence(gen uint64) *fence {
	return &fence{gen: gen, before: map[string]*fencedRow{}, given: map[string]uint64{}}
}

// liftFence takes the fence away, and says whether there was one.
func (d *DB) liftFence() bool {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	had := d.fence != nil
	d.fence = nil
	return had
}

// precedes says whether a row's last change came before the fence, or belongs there. There may be no fence.
func (f *fence) precedes(row string, w *dirtyMark) bool {
	return f == nil || w.gen <= f.gen || f.given[row] == w.gen
}

// keepFenced keeps the rows that an operation changes as they were at the fence. It is called before they are written.
func (t *tx) keepFenced() error {
	f := t.d.fence
	if f == nil || t.gives {
		return nil
	}
	for _, rows := range [][]string{t.rows, t.cleaned} {
		for _, row := range rows {
			mark := t.d.dirty[row]
			if mark == nil || !f.precedes(row, mark) {
				continue
			}
			w, err := t.d.uncommitted(row)
			if err != nil {
				return err
			}
			f.before[row] = &fencedRow{mark: mark, gen: mark.gen, w: w}
		}
	}
	return nil
}

// giveFenced notes rows to which an operation gave contents. It is called after they were written.
func (t *tx) giveFenced() {
	f := t.d.fence
	if f == nil || !t.gives {
		return
	}
	for _, row := range t.rows {
		delete(f.before, row)
		f.given[row] = t.d.dirty[row].gen
	}
}

// taken notes that rows are in a commit.
func (f *fence) taken(rows []takenRow) {
	if f == nil {
		return
	}
	for i := range rows {
		delete(f.before, string(rows[i].key))
	}
}

// candidate is an uncommitted row that may be committed.
type candidate struct {
	key   string
	mark  *dirtyMark
	gen   uint64
	order uint64
	w     *dirtyValue // nil: as it is now
	group uint64      // the first order in its group
}

// candidates are the rows that became dirty as one of the first until, before the fence if there is one. opMu must be held.
func (d *DB) candidates(until uint64) []candidate {
	out := make([]candidate, 0, len(d.dirty))
	for key, w := range d.dirty {
		if w.order <= until && d.fence.precedes(key, w) {
			out = append(out, candidate{key: key, mark: w, gen: w.gen, order: w.order})
		}
	}
	if d.fence != nil {
		for key, b := range d.fence.before {
			out = append(out, candidate{key: key, mark: b.mark, gen: b.gen, order: b.mark.order, w: b.w})
		}
	}
	return out
}
