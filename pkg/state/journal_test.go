package state

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// fullJournal is a record with every field set.
func fullJournal() *JournalRecord {
	return &JournalRecord{
		Base: &JournalBase{
			Content: ContentName{Dot: Dot{actor(2), 9}, K: 1}, Body: dag.InlineBody([]byte("hello world\n")).Encode(),
			Path: "/docs/a\xff.txt", Mode: 0o4755, UID: 1000, GID: 100,
		},
		Keep: 5, Size: 70_000, Mtime: -7,
		Writes: []JournalWrite{{Off: 0, Data: []byte("J")}, {Off: 5, Data: []byte("oy")}, {Off: 69_999, Data: []byte{0}}},
	}
}

// TestJournalRecord: the codec gives back what it was given, and refuses what no pod writes.
func TestJournalRecord(t *testing.T) {
	plain := &JournalRecord{Size: 12, Keep: 12, Mtime: 1, Writes: []JournalWrite{{Off: 3, Data: []byte("xyz")}}}
	own := &JournalRecord{Base: &JournalBase{Mode: 0o644}}
	golden(t, "journal", appendJournal(nil, fullJournal()))
	golden(t, "journal-plain", appendJournal(nil, plain))
	for _, want := range []*JournalRecord{fullJournal(), plain, own} {
		b := appendJournal(nil, want)
		got, err := decodeJournal(b)
		if err != nil {
			t.Fatal(err)
		}
		got.Writes = slices.Clone(got.Writes)
		if len(b) > want.Len() {
			t.Errorf("takes %d bytes, Len says %d", len(b), want.Len())
		}
		// What is empty comes back empty, nil or not.
		if got.Base != nil && len(got.Base.Body) == 0 {
			got.Base.Body = nil
		}
		if d := cmp.Diff(got, want); d != "" {
			t.Errorf("got - want +\n%s", d)
		}
	}
	many := make([]JournalWrite, JournalWritesMax+1)
	for i := range many {
		many[i] = JournalWrite{Off: uint64(2 * i), Data: []byte{1}}
	}
	for name, change := range map[string]func(r *JournalRecord){
		"more kept than there is": func(r *JournalRecord) { r.Keep = r.Size + 1 },
		"too large":               func(r *JournalRecord) { r.Size = vfs.FileMax + 1 },
		"write of nothing":        func(r *JournalRecord) { r.Writes[1].Data = nil },
		"writes that overlap":     func(r *JournalRecord) { r.Writes[1].Off = 0 },
		"write past the end":      func(r *JournalRecord) { r.Writes[2].Off = 70_000 },
		"write far past the end":  func(r *JournalRecord) { r.Writes[2].Off = 1<<64 - 1 },
		"too many bytes":          func(r *JournalRecord) { r.Writes[1].Data = make([]byte, JournalDataMax) },
		"too many writes":         func(r *JournalRecord) { r.Writes = many },
		"no body":                 func(r *JournalRecord) { r.Base.Body = []byte("body") },
		"mode":                    func(r *JournalRecord) { r.Base.Mode = 0o10000 },
		"path":                    func(r *JournalRecord) { r.Base.Path = strings.Repeat("x", JournalPathMax+1) },
	} {
		r := fullJournal()
		change(r)
		if _, err := decodeJournal(appendJournal(nil, r)); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
}

func FuzzJournal(f *testing.F) {
	fuzz(f, decodeJournal, func(r *JournalRecord) []byte { return appendJournal(nil, r) }, "journal", "journal-plain")
}

// replayed is text with a record's writes over it.
func replayed(text string, r *JournalRecord) string {
	b := make([]byte, r.Size)
	copy(b, text[:min(uint64(len(text)), r.Keep)])
	for _, w := range r.Writes {
		copy(b[w.Off:], w.Data)
	}
	return string(b)
}

// texts are what files hold with their journals over what their rows name, by file.
func texts(t testing.TB, d *DB) map[Ino]string {
	t.Helper()
	out := map[Ino]string{}
	for _, e := range must[[]Entry](t)(d.List(RootIno, "", 0)) {
		out[e.Node.ID] = textOf(t, e.Node)
	}
	err := d.Journaled(func(ino Ino, _ uint64, r *JournalRecord, err error) error {
		if err == nil && r.Base != nil {
			out[ino] = ""
			if len(r.Base.Body) > 0 {
				var b dag.Body
				b, err = dag.DecodeBody(r.Base.Body)
				out[ino] = string(b.Inline)
			}
		}
		if err == nil {
			out[ino] = replayed(out[ino], r)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// write is a record that writes text over what a file holds.
func write(off int, text string, size int) *JournalRecord {
	return &JournalRecord{Keep: uint64(size), Size: uint64(max(size, off+len(text))), Writes: []JournalWrite{{Off: uint64(off), Data: []byte(text)}}}
}

func based(r *JournalRecord, body string) *JournalRecord {
	r.Base = &JournalBase{Mode: 0o644}
	if body != "" {
		r.Base.Body = dag.InlineBody([]byte(body)).Encode()
	}
	return r
}

// TestJournalHoldsRows breaks if a commit has the row of a file with journal records, or a row that was changed together with it (I4), or
// if others wait for it.
func TestJournalHoldsRows(t *testing.T) {
	d := newPods().open(t, 1)
	f := mkfile(t, d, RootIno, "f", "")
	old := mkfile(t, d, RootIno, "old", "old")
	must[uint64](t)(d.Journal(f.ID, based(write(0, "new", 0), "")))
	must[Node](t)(d.Rename(RootIno, "f", RootIno, "old", 0)) // f and old are one group now
	free := mkfile(t, d, RootIno, "free", "free")
	woken := 0
	d.OnDirty(func() { woken++ })
	if n := must[int](t)(d.Commit(t.Context())); n != 1 {
		t.Errorf("%d rows are committed, want 1", n)
	}
	if ready, held := d.Uncommitted(); ready || !slices.Equal(held, []Ino{f.ID}) {
		t.Errorf("ready %v, held %v; want false, [%d]", ready, held, f.ID)
	}
	if _, err := d.Checkpoint(t.Context()); !errors.Is(err, ErrUnfolded) {
		t.Errorf("checkpoint: %v, want %v", err, ErrUnfolded)
	}
	for _, ino := range []Ino{f.ID, old.ID, free.ID} {
		row := must[[]byte](t)(get(d.db, InodeKey(ino)))
		if (row != nil) != (ino == free.ID) {
			t.Errorf("row %d has committed versions: %v", ino, row != nil)
		}
	}
	mkfile(t, d, RootIno, "later", "later")
	if woken != 1 {
		t.Errorf("a change beside held ones wakes %d times, want 1", woken)
	}
	c := inline("new")
	c.Folded = JournalMark{Ino: f.ID, Gen: 1 << 63}
	must[Node](t)(d.SetContent(f.ID, c))
	if n := must[int](t)(d.Commit(t.Context())); n != 2 { // old was never committed, and left nothing
		t.Errorf("after the fold %d rows are committed, want 2", n)
	}
	must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	wantTree(t, d, map[string]string{"/old": "new", "/free": "free", "/later": "later"})
}

// TestJournalRefuses breaks if records could be written that can't be replayed, or a replayable one be taken from under others.
func TestJournalRefuses(t *testing.T) {
	n := newPods()
	d := n.open(t, 1)
	f := mkfile(t, d, RootIno, "f", "")
	if _, err := d.Journal(f.ID, write(0, "x", 0)); !errors.Is(err, vfs.ErrInvalid) {
		t.Errorf("first record without a base: %v", err)
	}
	first := must[uint64](t)(d.Journal(f.ID, based(write(0, "x", 0), "")))
	if _, err := d.Journal(f.ID, based(write(0, "x", 0), "")); !errors.Is(err, vfs.ErrInvalid) {
		t.Errorf("second base: %v", err)
	}
	second := must[uint64](t)(d.Journal(f.ID, write(1, "y", 1)))
	if second <= first {
		t.Errorf("numbers %d, then %d", first, second)
	}
	c := inline("x")
	c.Folded = JournalMark{Ino: f.ID, Gen: first}
	if _, err := d.SetContent(f.ID, c); !errors.Is(err, vfs.ErrInvalid) {
		t.Errorf("a content with a part of the journal folded in: %v", err)
	}
	if got := texts(t, d)[f.ID]; got != "xy" {
		t.Errorf("holds %q", got)
	}
	o := n.options(3, pebblevfs.NewMem())
	o.Sign = nil
	reader := must[*DB](t)(Open(t.Context(), o))
	defer func() { _ = reader.Close() }()
	if _, err := reader.Journal(f.ID, based(write(0, "x", 0), "")); !errors.Is(err, vfs.ErrReadOnly) {
		t.Errorf("who may not write: %v", err)
	}
}

// TestJournalDamage breaks if a record that can't be read is dropped silently, keeps the others from being read, or holds its file's row back.
func TestJournalDamage(t *testing.T) {
	n := newPods()
	fs := pebblevfs.NewMem()
	o := n.options(1, fs)
	d := must[*DB](t)(Open(t.Context(), o))
	lost, kept := mkfile(t, d, RootIno, "lost", ""), mkfile(t, d, RootIno, "kept", "")
	gen := must[uint64](t)(d.Journal(lost.ID, based(write(0, "a", 0), "")))
	must[uint64](t)(d.Journal(lost.ID, write(1, "b", 1)))
	must[uint64](t)(d.Journal(kept.ID, based(write(0, "c", 0), "")))
	if err := d.db.Set(journalKey(lost.ID, gen), []byte("rot"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = must[*DB](t)(Open(t.Context(), o))
	defer func() { _ = d.Close() }()
	var good, bad []Ino
	err := d.Journaled(func(ino Ino, _ uint64, _ *JournalRecord, err error) error {
		if errors.Is(err, block.ErrCorrupt) {
			bad = append(bad, ino)
		} else if err == nil {
			good = append(good, ino)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []Ino{lost.ID, lost.ID}; !slices.Equal(bad, want) || !slices.Equal(good, []Ino{kept.ID}) {
		t.Errorf("good %v, bad %v", good, bad)
	}
	var found []string
	if err := d.Check(t.Context(), func(p string) { found = append(found, p) }); err != nil || len(found) != 2 {
		t.Errorf("check: %q, %v", found, err)
	}
	if _, held := d.Uncommitted(); !slices.Equal(held, []Ino{kept.ID}) {
		t.Errorf("held: %v", held)
	}
	must[uint64](t)(d.Journal(lost.ID, based(write(0, "again", 0), "")))
	c := inline("again")
	c.Folded = JournalMark{Ino: lost.ID, Gen: 1 << 63}
	must[Node](t)(d.SetContent(lost.ID, c))
	found = nil
	if err := d.Check(t.Context(), func(p string) { found = append(found, p) }); err != nil || len(found) != 2 {
		t.Errorf("check after new records were folded: %q, %v", found, err)
	}
}

// journalUser changes files with journals, and knows every state of all files since the last sync.
type journalUser struct {
	t      *testing.T
	rng    *rand.Rand
	d      *DB
	name   int
	inos   []Ino
	gens   map[Ino]uint64   // of the last record; 0: none
	now    map[Ino]string   // what files hold
	states []map[Ino]string // since the last sync; the first is durable
}

func (u *journalUser) step() {
	d, t := u.d, u.t
	text := fmt.Sprintf("<%d>", u.rng.IntN(1e6))
	if len(u.inos) == 0 {
		u.create(text)
		u.states = append(u.states, maps.Clone(u.now))
		return
	}
	ino := u.inos[u.rng.IntN(len(u.inos))]
	was := u.now[ino]
	switch u.rng.IntN(12) {
	case 0:
		u.create(text)
	case 1, 2, 3, 4:
		u.journal(ino, write(u.rng.IntN(min(len(was), 900)+1), text, len(was)))
	case 5:
		size := u.rng.IntN(len(was) + 1)
		u.journal(ino, &JournalRecord{Keep: uint64(size), Size: uint64(min(size+u.rng.IntN(20), 1000))})
	case 6: // a fold
		u.set(ino, was)
	case 7: // a fold, with what was written after the last record
		u.set(ino, text+was[:min(len(was), 500)])
	case 8, 9:
		name := u.nameOf(ino)
		if u.rng.IntN(2) == 0 || len(u.inos) == 1 {
			must[Node](t)(d.Remove(RootIno, name, false))
		} else { // another one takes its place
			by := u.inos[0]
			if by == ino {
				by = u.inos[1]
			}
			must[Node](t)(d.Rename(RootIno, u.nameOf(by), RootIno, name, 0))
		}
		delete(u.now, ino)
		delete(u.gens, ino)
		u.inos = slices.DeleteFunc(u.inos, func(i Ino) bool { return i == ino })
	case 10:
		must[int](t)(d.Commit(t.Context()))
		return // says nothing of files whose rows are held back
	case 11:
		if err := d.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		u.states = nil
	}
	u.states = append(u.states, maps.Clone(u.now))
}

func (u *journalUser) nameOf(ino Ino) string {
	return strings.TrimPrefix(must[string](u.t)(u.d.Path(ino)), "/")
}

func (u *journalUser) create(text string) {
	u.name++
	f := mkfile(u.t, u.d, RootIno, fmt.Sprint("f", u.name), text)
	u.inos, u.now[f.ID] = append(u.inos, f.ID), text
}

func (u *journalUser) journal(ino Ino, r *JournalRecord) {
	if u.gens[ino] == 0 {
		based(r, u.now[ino])
	}
	u.gens[ino] = must[uint64](u.t)(u.d.Journal(ino, r))
	u.now[ino] = replayed(u.now[ino], r)
}

func (u *journalUser) set(ino Ino, text string) {
	c := NewContent{Size: uint64(len(text)), Folded: JournalMark{Ino: ino, Gen: u.gens[ino]}}
	if text != "" {
		c.Body = dag.InlineBody([]byte(text)).Encode()
	}
	must[Node](u.t)(u.d.SetContent(ino, c))
	u.now[ino], u.gens[ino] = text, 0
}

// TestJournalCrash cuts the power after every step of writes, truncations, folds, removals and renames over files with journals: what the last
// sync made durable is there or something later, all of it of one moment. If it fails, an fsync loses bytes, or a crash brings
// back old bytes (a record that was folded, but not deleted in the same change) or removed files.
func TestJournalCrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) % 1e9
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	for range rounds {
		journalCrashRound(t, rng)
		if t.Failed() {
			return
		}
	}
}

func journalCrashRound(t *testing.T, rng *rand.Rand) {
	n := newPods()
	fs := pebblevfs.NewCrashableMem()
	o := n.options(1, fs)
	d := must[*DB](t)(Open(t.Context(), o))
	u := &journalUser{t: t, rng: rng, d: d, gens: map[Ino]uint64{}, now: map[Ino]string{}, states: []map[Ino]string{{}}}
	for range 40 {
		u.step()
		n.clock.turn(time.Millisecond)
		co := o
		co.FS = fs.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[rng.IntN(3)], RNG: rng})
		after := must[*DB](t)(Open(t.Context(), co))
		got := texts(t, after)
		if !slices.ContainsFunc(u.states, func(want map[Ino]string) bool { return cmp.Equal(got, want) }) {
			t.Errorf("after the crash: %v; none of the %d states since the last sync, of which the first is\n%v\nand the last\n%v", got, len(u.states), u.states[0], u.now)
		}
		check(t, after)
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again := must[*DB](t)(Open(t.Context(), o))
	if got := texts(t, again); !cmp.Equal(got, u.now) {
		t.Errorf("after a close: %v, want %v", got, u.now)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestJournalNumbers breaks if a number of a record is used again after a restart, where the records before are gone.
func TestJournalNumbers(t *testing.T) {
	n := newPods()
	fs := pebblevfs.NewMem()
	o := n.options(1, fs)
	var last uint64
	for i := range 4 {
		d := must[*DB](t)(Open(t.Context(), o))
		f := mkfile(t, d, RootIno, fmt.Sprint("f", i), "")
		gen := must[uint64](t)(d.Journal(f.ID, based(write(0, "x", 0), "")))
		if gen <= last {
			t.Errorf("number %d after %d", gen, last)
		}
		last = gen
		c := inline("x")
		c.Folded = JournalMark{Ino: f.ID, Gen: gen}
		must[Node](t)(d.SetContent(f.ID, c))
		if i%2 == 0 {
			must[int](t)(d.Commit(t.Context()))
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		n.clock.turn(-time.Second) // the clock goes back
	}
}
