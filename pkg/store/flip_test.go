package store

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

const (
	flipSeeds = 60
	flipLen   = 700
)

// flipped is the image of a closed store whose bits are flipped, and what it must hold.
type flipped struct {
	fs    *vfs.MemFS
	o     Options
	want  map[uint64]state
	ids   [flipSeeds]block.ID
	plain [flipSeeds][]byte
	live  []row // of all blocks
	files []flipFile
	bytes int64 // of all files
}

type flipFile struct {
	path  string
	bytes int64
}

// flipImage is a store with blocks in all states over several segments, deletions, a compaction, marks, and an index of
// several tables.
func flipImage(t *testing.T) *flipped {
	t.Helper()
	ctx := context.Background()
	im := &flipped{fs: vfs.NewMem(), o: Options{SegmentBytes: 12 << 10, Clock: &testClock{}}, want: make(map[uint64]state)}
	for life := range uint64(3) {
		s := openAt(t, im.fs, im.o)
		for seed := life * flipSeeds / 3; seed < (life+1)*flipSeeds/3; seed++ {
			id := mustPut(t, s, seed, flipLen)
			im.want[seed] = owned
			var err error
			switch seed % 6 {
			case 1:
				err = s.Disown(ctx, id)
				im.want[seed] = cached
			case 2:
				mustTrash(t, s, id)
				im.want[seed] = trashed
			case 3, 4:
				err = s.Delete(ctx, id)
				im.want[seed] = absent
			case 5:
				mustTrash(t, s, id)
				err = s.Own(ctx, id)
			}
			if err != nil {
				t.Fatal(err)
			}
			if seed%7 == 0 {
				mustSync(t, s)
			}
		}
		if _, err := s.Compact(ctx); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
	}
	for seed := range uint64(flipSeeds) {
		im.ids[seed], im.plain[seed] = testBlock(seed, flipLen)
	}
	im.list(t, testDir)
	to := vfs.NewMem()
	if ok, err := vfs.Clone(im.fs, to, "home", "home"); err != nil || !ok {
		t.Fatalf("clone: %t, %v", ok, err)
	}
	s := openAt(t, to, im.o)
	err := s.eachRow(ctx, func(_ block.ID, r row) error {
		im.live = append(im.live, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	return im
}

func (im *flipped) list(t *testing.T, dir string) {
	t.Helper()
	names, err := im.fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		path := im.fs.PathJoin(dir, name)
		info, err := im.fs.Stat(path)
		switch {
		case err != nil:
			t.Fatal(err)
		case info.IsDir():
			im.list(t, path)
		case info.Size() > 0:
			im.files = append(im.files, flipFile{path, info.Size()})
			im.bytes += info.Size()
		}
	}
}

// copyTo writes the image, with one bit flipped, to a new file system.
func (im *flipped) copyTo(t *testing.T, at flipFile, bit int64) *vfs.MemFS {
	t.Helper()
	to := vfs.NewMem()
	if ok, err := vfs.Clone(im.fs, to, "home", "home"); err != nil || !ok {
		t.Fatalf("clone: %t, %v", ok, err)
	}
	b := im.read(t, at.path)
	overwrite(t, to, at.path, bit/8, []byte{b[bit/8] ^ 1<<(bit%8)})
	return to
}

func (im *flipped) read(t *testing.T, path string) []byte {
	t.Helper()
	f, err := im.fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// flipCounts are how many bits are flipped under an open store, and how many before one is opened.
func flipCounts() (open, closed int) {
	switch {
	case *fullFlag:
		return 90_000, 10_000
	case testing.Short():
		return 1_000, 150
	}
	return 4_000, 300
}

// TestFlipsOpen flips single bits in the segments of an open store: no wrong byte is served, each flip in a live byte is
// found by a read, and no block goes but the one that was hit.
func TestFlipsOpen(t *testing.T) {
	rng := testRand(t)
	flips, _ := flipCounts()
	im := flipImage(t)
	s := openAt(t, im.fs, im.o)
	wantCheck(t, s, nil)
	found := 0
	for i := range flips {
		at, bit := im.pick(rng, true)
		b := im.read(t, at.path)[bit/8]
		overwrite(t, im.fs, at.path, bit/8, []byte{b ^ 1<<(bit%8)})
		f := flip1{im: im, t: t, at: at, bit: bit}
		_, gone := f.look(s)
		if live := f.inLiveBytes(); live != (gone == 1) || gone > 1 {
			t.Errorf("live %t, %d blocks went", live, gone)
		}
		if i%64 == 0 {
			if err := s.Check(t.Context(), f.problem); err != nil {
				t.Fatal(err)
			}
			if f.problems < gone {
				t.Error("check tells nothing")
			}
		}
		found += gone
		overwrite(t, im.fs, at.path, bit/8, []byte{b})
		im.heal(t, s)
		if t.Failed() {
			t.Fatalf("flip %d: bit %d of %s", i, bit, at.path)
		}
	}
	t.Logf("%d flips, %d of them in live bytes", flips, found)
	if found < flips/10 {
		t.Error("too few flips hit anything")
	}
	wantCheck(t, s, nil)
	mustClose(t, s)
}

// heal makes the store believe again in what it set aside, now that it is whole.
func (im *flipped) heal(t *testing.T, s *Store) {
	t.Helper()
	for _, id := range im.ids {
		r, ok, err := s.lookup(id)
		if err != nil {
			t.Fatal(err)
		}
		if !ok || !r.bad() {
			continue
		}
		good := r
		good.flags &^= flagBad
		s.appendMu.Lock()
		s.mu.Lock()
		s.setRow(id, r, true, good)
		s.mu.Unlock()
		s.appendMu.Unlock()
	}
}

// TestFlips flips single bits in the files of a closed store, segments and index, in a part of the runs with the index
// lost: it opens, no wrong byte is served, a flip is found by a read or a check unless nothing lives there, and it takes
// at most the one block that it hit, which a Put brings back.
func TestFlips(t *testing.T) {
	rng := testRand(t)
	_, flips := flipCounts()
	im := flipImage(t)
	found, rebuilt := 0, 0
	for i := range flips {
		at, bit := im.pick(rng, i%4 == 0)
		f := flip1{im: im, t: t, at: at, bit: bit, lost: i%8 == 0}
		f.run()
		if f.problems > 0 {
			found++
		}
		if f.rebuilt {
			rebuilt++
		}
		if t.Failed() {
			t.Fatalf("flip %d: bit %d of %s, index lost %t", i, bit, at.path, f.lost)
		}
	}
	t.Logf("%d flips in %d files, %d bytes: damage told %d times, the index made anew %d times", flips, len(im.files), im.bytes, found, rebuilt)
	if found < flips/20 || rebuilt < flips/20 {
		t.Error("too few flips hit anything")
	}
}

// pick picks a bit of the segments, or of the other files.
func (im *flipped) pick(rng *rand.Rand, segments bool) (flipFile, int64) {
	for {
		off := rng.Int64N(im.bytes)
		for _, f := range im.files {
			if off >= f.bytes {
				off -= f.bytes
				continue
			}
			if strings.HasSuffix(f.path, ".seg") == segments {
				return f, off*8 + rng.Int64N(8)
			}
			break
		}
	}
}

// flip1 is one flipped bit and what came of it.
type flip1 struct {
	im   *flipped
	t    *testing.T
	at   flipFile
	bit  int64
	lost bool // the index is lost, too

	problems int
	hit      uint64 // a block that is gone
	rebuilt  bool
}

func (f *flip1) run() {
	f.t.Helper()
	fs := f.im.copyTo(f.t, f.at, f.bit)
	if f.lost {
		if err := fs.RemoveAll(testDir + "/index"); err != nil {
			f.t.Fatal(err)
		}
	}
	s := f.open(fs)
	unread, gone := f.look(s)
	if unread > 0 {
		// The index is damaged. It is made anew in the next life, or by a repair.
		if f.bit%2 == 0 {
			f.close(s)
			s = f.open(fs)
		} else if err := s.RebuildIndex(context.Background(), f.problem); err != nil {
			f.t.Errorf("rebuild: %v", err)
			return
		}
		f.rebuilt = true
		if unread, gone = f.look(s); unread > 0 {
			f.t.Errorf("%d blocks can't be read after the index was made anew", unread)
		}
	}
	if err := s.Check(context.Background(), f.problem); err != nil {
		f.t.Errorf("check: %v", err)
	}
	switch {
	case gone > 1:
		f.t.Errorf("one bit took %d blocks", gone)
	case gone == 1 && f.problems == 0:
		f.t.Error("a block is lost, and nothing was told")
	}
	if f.inLiveBytes() && f.problems == 0 {
		f.t.Error("a flip in live bytes was not found")
	}
	for seed, st := range f.im.want {
		if st == owned {
			if err := s.Put(context.Background(), f.im.ids[seed], f.im.plain[seed]); err != nil {
				f.t.Errorf("put: %v", err)
			}
		}
	}
	if _, gone := f.look(s); gone > 0 && f.im.want[f.hit] == owned {
		f.t.Error("a block that was put again can't be read")
	}
	f.close(s)
}

func (f *flip1) problem(Problem) { f.problems++ }

func (f *flip1) open(fs vfs.FS) *Store {
	f.t.Helper()
	s, err := Open(fs, testDir, f.im.o)
	if err != nil {
		f.t.Fatalf("bit %d of %s: open: %v", f.bit, f.at.path, err)
	}
	f.problems += len(s.Recovered().Problems)
	if f.lost && s.Recovered().CutBytes > 0 {
		f.problems++ // without the index, the end of the log may be torn for all that is known
	}
	f.rebuilt = f.rebuilt || s.Recovered().IndexRebuilt
	return s
}

func (f *flip1) close(s *Store) {
	f.t.Helper()
	if err := s.Close(); err != nil && !errors.Is(err, errIndexRotten) {
		f.t.Errorf("close: %v", err)
	}
}

// look reads all the blocks: unread is how many the index says an error of, gone how many owned ones are damaged or absent.
// Without the marks that a flip took, a block may be in another state than it was, but it can be read.
func (f *flip1) look(s *Store) (unread, gone int) {
	f.t.Helper()
	buf := make([]byte, flipLen)
	for seed, want := range f.im.want {
		got, err := s.GetInto(context.Background(), f.im.ids[seed], buf)
		switch {
		case errors.Is(err, errIndexRotten):
			unread++
		case errors.Is(err, block.ErrNotFound), errors.Is(err, block.ErrCorrupt):
			if want != absent {
				gone++
				f.hit = seed
			}
		case err != nil:
			f.t.Errorf("seed %d: %v", seed, err)
		case !bytes.Equal(got, f.im.plain[seed]):
			f.t.Errorf("seed %d: wrong bytes are served", seed)
		}
	}
	return unread, gone
}

// inLiveBytes says whether the bit lies in the record of a block that is held.
func (f *flip1) inLiveBytes() bool {
	num, _, ok := parseSegmentName(f.im.fs.PathBase(f.at.path))
	if !ok {
		return false
	}
	for _, r := range f.im.live {
		if off := f.bit / 8; r.seg == num && r.off <= off && off < r.off+r.size() {
			return true
		}
	}
	return false
}
