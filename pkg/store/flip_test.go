package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

const flipSeeds = 500 // different blocks of the image

func flipLen(seed uint64) int { return int(seed*seed*37%3000) + 1 }

// flipImage is the files of a closed store, and what is in it.
type flipImage struct {
	files    map[string][]byte
	segments []string // names of files
	index    []string
	o        Options
	states   map[uint64]state // by seed
	seeds    map[block.ID]uint64

	rebuilt, failed int // flips in the index after which Open made it anew, and after which reads failed
}

// newFlipImage makes a store with blocks of all states, in segments that compactions rewrote in part.
func newFlipImage(t *testing.T, withCached bool) *flipImage {
	t.Helper()
	ctx := context.Background()
	mem := vfs.NewMem()
	clock := &testClock{}
	im := &flipImage{
		files: make(map[string][]byte), o: Options{SegmentBytes: 100_000, Clock: clock},
		states: make(map[uint64]state), seeds: make(map[block.ID]uint64),
	}
	s := openAt(t, mem, im.o)
	freed := int64(0)
	for seed := range uint64(flipSeeds) {
		clock.seconds.Add(1)
		it := testItem(seed, flipLen(seed))
		id := it.name
		if err := it.put(s); err != nil {
			t.Fatal(err)
		}
		im.seeds[id] = seed
		var err error
		switch n := seed % 10; n {
		case 1:
			_, err = s.Trash(ctx, id, nil)
		case 3:
			if withCached && !it.isFragment() {
				err = s.Disown(ctx, id)
			}
		case 0, 2, 4, 5, 6, 7, 8:
			if seed < 150 || n == 5 {
				err = s.Delete(ctx, id)
			}
		case 9:
			if err = s.Delete(ctx, id); err == nil && withCached && !it.isFragment() {
				err = s.PutCached(ctx, id, it.bytes)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if seed%100 == 99 {
			mustSync(t, s)
		}
		if seed == 150 || seed == 300 {
			n, err := s.Compact(ctx)
			if err != nil {
				t.Fatal(err)
			}
			freed += n
		}
	}
	if freed == 0 {
		t.Error("nothing was compacted")
	}
	mustSync(t, s)
	mustPut(t, s, flipSeeds, 10) // its record says that all before is on disk
	for id, seed := range im.seeds {
		st, err := stateOf(s, id)
		if err != nil {
			t.Fatal(err)
		}
		im.states[seed] = st
	}
	mustClose(t, s)
	im.segments = im.load(t, mem, testDir+"/segments")
	im.index = im.load(t, mem, testDir+"/index")
	return im
}

func flipItem(seed uint64) item { return testItem(seed, flipLen(seed)) }

// load reads the files of a directory and lists those that have bytes.
func (im *flipImage) load(t *testing.T, fs vfs.FS, dir string) (names []string) {
	t.Helper()
	list, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	for _, name := range list {
		name = dir + "/" + name
		f, err := fs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if im.files[name], err = io.ReadAll(f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if len(im.files[name]) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// write makes a file system with the files, as they are now.
func (im *flipImage) write() (*vfs.MemFS, error) {
	fs := vfs.NewMem()
	errs := []error{fs.MkdirAll(testDir+"/segments", 0o700), fs.MkdirAll(testDir+"/index", 0o700)}
	for name, b := range im.files {
		f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			return nil, err
		}
		_, err = f.Write(slices.Clone(b))
		errs = append(errs, err, f.Close())
	}
	return fs, errors.Join(errs...)
}

func (im *flipImage) bytes(names []string) (n int) {
	for _, name := range names {
		n += len(im.files[name])
	}
	return n
}

// flippedBit is where a bit was flipped.
type flippedBit struct {
	name string
	off  int64
	bit  byte
}

// flip flips a random bit of some files and tells where; to flip it again is to undo it.
func (im *flipImage) flip(rng *rand.Rand, names []string) (at flippedBit, undo func()) {
	off := rng.IntN(im.bytes(names))
	for _, at.name = range names {
		if off < len(im.files[at.name]) {
			break
		}
		off -= len(im.files[at.name])
	}
	at.off, at.bit = int64(off), 1<<rng.IntN(8)
	undo = func() { im.files[at.name][off] ^= at.bit }
	undo()
	return at, undo
}

// records lists the records of a segment of the image while it is whole.
func (im *flipImage) records(t *testing.T, name string) (rs []record) {
	t.Helper()
	b := im.files[name]
	_, nonce, _ := parseSegmentName(name[strings.LastIndexByte(name, '/')+1:])
	sc := scanner{r: bytes.NewReader(b), nonce: nonce, end: int64(len(b))}
	for {
		r, gap, err := sc.next()
		if gap.from < gap.to || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%s: gap %v, %v", name, gap, err)
		}
		if err != nil {
			return rs
		}
		rs = append(rs, r)
	}
}

// TestBitFlips: of flipped bits, as many in segments and in the index as their bytes are, none is served; each in the
// bytes of a live block is found by a read and by a scrub, and none takes another block with it, whether the index is
// there, lost, or made anew.
func TestBitFlips(t *testing.T) {
	rng := testRand(t)
	flips := 600
	switch {
	case *fullFlag:
		flips = 100_000
	case testing.Short():
		flips = 200
	}
	im := newFlipImage(t, true)
	// Open reads the rows of cached copies: without them flips in the index are found later.
	other := newFlipImage(t, false)
	segs, index := im.bytes(im.segments), im.bytes(im.index)
	inIndex := max(flips*index/(segs+index), 40)
	t.Logf("segments of %d bytes, index of %d bytes, %d of %d flips in the index", segs, index, inIndex, flips)
	for i := range inIndex {
		im, other = other, im
		at, undo := im.flip(rng, im.index)
		if err := im.verifyIndexFlip(); err != nil {
			t.Fatalf("flip %d, %+v: %v", i, at, err)
		}
		undo()
	}
	t.Logf("the index was made anew by Open after %d of them, reads failed after %d", im.rebuilt+other.rebuilt, im.failed+other.failed)
	if im.rebuilt == 0 || im.failed+other.failed == 0 {
		t.Error("the flips in the index do nothing")
	}
	heads := make(map[string][]record)
	for _, name := range im.segments {
		heads[name] = im.records(t, name)
	}
	end := heads[im.segments[len(im.segments)-1]]
	last := end[len(end)-1]
	const atOnce = 50
	for done := inIndex; done < flips; done += atOnce {
		hits := make(map[block.ID][]place)
		flipped := make(map[flippedBit]bool)
		var undos []func()
		for len(undos) < atOnce {
			at, undo := im.flip(rng, im.segments)
			rs := heads[at.name]
			i, _ := slices.BinarySearchFunc(rs, at.off, func(r record, off int64) int {
				if r.end() <= off {
					return -1
				}
				return 1
			})
			// Without the last record and the index nothing says that what is before it was on disk; and what is flipped twice is whole.
			if rs[i].id == last.id || flipped[at] {
				undo()
				continue
			}
			flipped[at] = true
			undos = append(undos, undo)
			num, _, _ := parseSegmentName(at.name[strings.LastIndexByte(at.name, '/')+1:])
			hits[rs[i].id] = append(hits[rs[i].id], place{num, rs[i].off})
		}
		if err := im.verifySegmentFlips(hits); err != nil {
			t.Fatalf("flips %d to %d: %v", done, done+atOnce, err)
		}
		for _, undo := range undos {
			undo()
		}
	}
}

// verifyIndexFlip opens a store with a flip in its index: nothing is missing without an error, and making the index anew
// brings everything back.
func (im *flipImage) verifyIndexFlip() error {
	ctx := context.Background()
	fs, err := im.write()
	if err != nil {
		return err
	}
	s, err := Open(fs, testDir, im.o)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // closed below, but after an error
	if s.Recovered().IndexRebuilt {
		im.rebuilt++
	}
	failed := error(nil)
	for _, seed := range im.seeds {
		if failed != nil {
			break // Pebble takes long for each such read: it tries which bit was flipped
		}
		it := flipItem(seed)
		got, err := it.get(s)
		switch {
		case err == nil && !bytes.Equal(got, it.bytes):
			return fmt.Errorf("seed %d: wrong bytes are served", seed)
		case errors.Is(err, block.ErrNotFound) && im.states[seed] != absent:
			return fmt.Errorf("seed %d is not found, recovered %+v", seed, s.Recovered())
		case err != nil && !errors.Is(err, block.ErrNotFound):
			failed = err
		}
	}
	if failed != nil {
		im.failed++
		found := errors.New("nothing is found")
		if err := s.Check(ctx, func(Problem) { found = nil }); err == nil && found != nil {
			return fmt.Errorf("reads fail, and a check finds nothing: %w", failed)
		}
		if err := s.RebuildIndex(ctx, func(Problem) {}); err != nil {
			return fmt.Errorf("rebuild after %w: %w", failed, err)
		}
	}
	for _, reopen := range []bool{false, true} {
		if reopen {
			if err := s.Close(); err != nil {
				return fmt.Errorf("close: %w", err)
			}
			if s, err = Open(fs, testDir, im.o); err != nil {
				return fmt.Errorf("reopen: %w", err)
			}
		}
		if err := im.verifyAll(s); err != nil {
			return fmt.Errorf("reads failed at first by %w; in the end, reopened %t: %w", failed, reopen, err)
		}
	}
	return s.Close()
}

// verifyAll compares all states and bytes, but of what was deleted.
func (im *flipImage) verifyAll(s *Store) error {
	for id, seed := range im.seeds {
		if im.states[seed] == absent {
			continue
		}
		if now, err := stateOf(s, id); err != nil || now != im.states[seed] {
			return fmt.Errorf("seed %d: %v, want %v, %w", seed, now, im.states[seed], err)
		}
		if got, err := flipItem(seed).get(s); err != nil || !bytes.Equal(got, flipItem(seed).bytes) {
			return fmt.Errorf("seed %d: %d bytes, %w", seed, len(got), err)
		}
	}
	return nil
}

// verifySegmentFlips opens a store with flips in the records of some blocks, at the places that are told.
func (im *flipImage) verifySegmentFlips(hits map[block.ID][]place) error {
	fs, err := im.write()
	if err != nil {
		return err
	}
	for _, what := range []string{"as it is", "made anew", "lost"} {
		if what == "lost" {
			if err := fs.RemoveAll(testDir + "/index"); err != nil {
				return err
			}
		}
		s, err := Open(fs, testDir, im.o)
		if err == nil {
			err = im.verifyHits(s, hits, what)
			err = errors.Join(err, s.Close())
		}
		if err != nil {
			return fmt.Errorf("index %s: %w", what, err)
		}
	}
	return nil
}

func (im *flipImage) verifyHits(s *Store, hits map[block.ID][]place, what string) error {
	ctx := context.Background()
	found := make(map[block.ID]bool)
	var garbage []Problem
	note := func(p Problem) {
		found[p.ID] = true
		if p.Fragment.K > 0 {
			found[nameOf(p.Fragment)] = true
		}
		if p.Kind == Garbage {
			garbage = append(garbage, p)
		}
	}
	for _, p := range s.Recovered().Problems {
		note(p)
	}
	if what == "made anew" {
		if err := s.RebuildIndex(ctx, note); err != nil {
			return err
		}
	}
	live := make(map[block.ID]bool) // its record is hit, not only a mark or one that is dead
	for id, places := range hits {
		if r, ok, err := s.lookup(id); err != nil {
			return err
		} else if ok && slices.Contains(places, r.place) {
			live[id] = true
			_, err := s.Wire(ctx, id)
			if isFragment(id) {
				_, err = flipItem(im.seeds[id]).get(s)
			}
			if !errors.Is(err, block.ErrCorrupt) {
				return fmt.Errorf("wire of block %s, which is hit at %v: %w", id, places, err)
			}
		}
	}
	if cursor, err := s.Scrub(ctx, "", 1<<40, note); err != nil || !cursor.Done {
		return fmt.Errorf("scrub: %+v, %w", cursor, err)
	}
	for id, seed := range im.seeds {
		it := flipItem(seed)
		got, err := it.get(s)
		isOwned, isCached := s.Has(id)
		switch hit := len(hits[id]) > 0; {
		case err == nil && !bytes.Equal(got, it.bytes):
			return fmt.Errorf("seed %d: wrong bytes are served", seed)
		case !hit && im.states[seed] == absent:
			// Deleted, and nothing of it is left but perhaps its record.
		case !hit && err != nil:
			return fmt.Errorf("seed %d is not hit, and lost: %w", seed, err)
		case live[id] && (err == nil || isOwned || isCached || !found[id]):
			return fmt.Errorf("seed %d is hit at %v: get %w, owned %t, cached %t, found by scrub %t", seed, hits[id], err, isOwned, isCached, found[id])
		case errors.Is(err, block.ErrNotFound) && im.states[seed] != absent && !covered(garbage, hits[id]):
			return fmt.Errorf("seed %d, hit at %v, is gone without a word", seed, hits[id])
		case !hit:
			if now, err := stateOf(s, id); err != nil || now != im.states[seed] {
				return fmt.Errorf("seed %d is not hit: %v, want %v, %w", seed, now, im.states[seed], err)
			}
		}
	}
	return nil
}

// covered says whether one of the places is in a range that was reported.
func covered(garbage []Problem, places []place) bool {
	return slices.ContainsFunc(places, func(at place) bool {
		return slices.ContainsFunc(garbage, func(p Problem) bool {
			return p.Segment == at.seg && p.Offset <= at.off && at.off < p.Offset+p.Bytes
		})
	})
}
