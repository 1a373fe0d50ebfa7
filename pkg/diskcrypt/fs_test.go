package diskcrypt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const anyWrite = vfs.WriteCategoryUnspecified

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// create makes a file.
func create(t *testing.T, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, anyWrite)
	must(t, err)
	_, err = f.Write(b)
	must(t, errors.Join(err, f.Sync(), f.Close()))
}

// whole reads a file.
func whole(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	must(t, err)
	b, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	return b
}

// noise is bytes of a seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// FuzzModel does the same operations on a plain file system and on an encrypted one: they must be told apart by nothing.
func FuzzModel(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	for seed := range uint64(8) {
		f.Add(noise(seed, 400))
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 4000 {
			ops = ops[:4000]
		}
		below := vfs.NewMem()
		m := &model{t: t, ops: ops, plain: vfs.NewMem(), locked: New(below, NewKey())}
		m.run()
		must(t, errors.Join(m.close(), nil))
		names, err := m.plain.List("")
		must(t, err)
		for _, name := range names {
			want := whole(t, m.plain, name)
			if got := whole(t, m.locked, name); !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, want %d, and others", name, len(got), len(want))
			}
			if raw := whole(t, below, name); len(want) >= 24 && bytes.Contains(raw, want[:24]) {
				t.Errorf("%s stands in plain", name)
			}
		}
	})
}

// model are two file systems with one open file each.
type model struct {
	t             *testing.T
	ops           []byte
	plain, locked vfs.FS

	file [2]vfs.File // of plain and of locked
	size int64       // how far it was written without a gap
}

func (m *model) next() int64 {
	if len(m.ops) == 0 {
		return 0
	}
	b := m.ops[0]
	m.ops = m.ops[1:]
	return int64(b)
}

func (m *model) close() (err error) {
	for i, f := range m.file {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		m.file[i] = nil
	}
	return err
}

// open opens a file in both.
func (m *model) open(f func(vfs.FS) (vfs.File, error)) {
	must(m.t, m.close())
	var err, lerr error
	if m.file[0], err = f(m.plain); err != nil {
		m.file[0] = nil
	}
	if m.file[1], lerr = f(m.locked); lerr != nil {
		m.file[1] = nil
	}
	if (err == nil) != (lerr == nil) {
		m.t.Fatalf("open: %v, plain %v", lerr, err)
	}
	m.size = 0
	if m.file[0] == nil {
		return
	}
	info, err := m.file[0].Stat()
	must(m.t, err)
	m.size = info.Size()
}

func (m *model) run() {
	name := func() string { return fmt.Sprintf("f%d", m.next()%3) }
	for len(m.ops) > 0 {
		op := m.next() % 8
		if op > 3 && m.file[0] == nil {
			continue
		}
		switch op {
		case 0:
			n := name()
			m.open(func(fs vfs.FS) (vfs.File, error) { return fs.Create(n, anyWrite) })
		case 1:
			n := name()
			m.open(func(fs vfs.FS) (vfs.File, error) { return fs.OpenReadWrite(n, anyWrite) })
		case 2:
			from, to := name(), name()
			if from == to {
				continue
			}
			must(m.t, m.close())
			if err, lerr := m.plain.Rename(from, to), m.locked.Rename(from, to); (err == nil) != (lerr == nil) {
				m.t.Fatalf("rename: %v, plain %v", lerr, err)
			}
		case 3:
			n := name()
			info, err := m.plain.Stat(n)
			got, lerr := m.locked.Stat(n)
			if (err == nil) != (lerr == nil) || err == nil && info.Size() != got.Size() {
				m.t.Fatalf("stat: %v %v, plain %v %v", got, lerr, info, err)
			}
		case 4, 5: // no gaps: a hole reads as noise
			off := min(m.next()*m.next()*7, m.size)
			b := noise(uint64(m.next()), int(m.next()*m.next()*5))
			kept := slices.Clone(b)
			for _, f := range m.file {
				if n, err := f.WriteAt(b, off); n != len(b) || err != nil {
					m.t.Fatal(n, err)
				}
			}
			if !bytes.Equal(b, kept) {
				m.t.Fatal("the caller's bytes were changed")
			}
			if len(b) > 0 {
				m.size = max(m.size, off+int64(len(b)))
			}
		case 6:
			off, n := m.next()*m.next()*9, m.next()*m.next()*9
			one, two := make([]byte, n), make([]byte, n)
			k, err := m.file[0].ReadAt(one, off)
			l, lerr := m.file[1].ReadAt(two, off)
			if k != l || !errors.Is(lerr, err) || !bytes.Equal(one, two) {
				m.t.Fatalf("read at %d: %d %v, plain %d %v", off, l, lerr, k, err)
			}
		case 7:
			n := m.next() * 20
			one, two := make([]byte, n), make([]byte, n)
			k, err := m.file[0].Read(one)
			l, lerr := m.file[1].Read(two)
			if n > 0 && (k != l || !errors.Is(lerr, err) || !bytes.Equal(one, two)) {
				m.t.Fatalf("read: %d %v, plain %d %v", l, lerr, k, err)
			}
		}
	}
}

// TestKeystreams breaks if two files, or two lives of a name, are encrypted by one keystream: the difference of both would be theirs.
func TestKeystreams(t *testing.T) {
	below := vfs.NewMem()
	fs := New(below, NewKey())
	zeros := make([]byte, 1000)
	seen := map[string]string{}
	note := func(what, name string) {
		b := whole(t, below, name)[HeadBytes:]
		for off := 0; off+16 <= len(b); off += 16 { // within a file, too
			at := fmt.Sprintf("%s at %d", what, off)
			if was, ok := seen[string(b[off:][:16])]; ok {
				t.Fatalf("%s has the keystream of %s", at, was)
			}
			seen[string(b[off:][:16])] = at
		}
	}
	create(t, fs, "a", zeros)
	note("a", "a")
	create(t, fs, "b", zeros)
	note("b", "b")
	create(t, fs, "a", zeros)
	note("a made anew", "a")
	f, err := fs.ReuseForWrite("a", "c", anyWrite)
	must(t, err)
	_, err = f.Write(zeros)
	must(t, errors.Join(err, f.Close()))
	note("c made of a", "c")
	if _, err := fs.Stat("a"); err == nil {
		t.Error("what was reused is still there")
	}
	f, err = fs.OpenReadWrite("new", anyWrite)
	must(t, err)
	_, err = f.WriteAt(zeros, 0)
	must(t, errors.Join(err, f.Close()))
	note("new", "new")
}

// TestCrash breaks if a sync does not make the head durable with what it heads, or if a file that was never synced is more than torn.
func TestCrash(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	key := NewKey()
	for round := range 200 {
		below := vfs.NewCrashableMem()
		fs := New(below, key)
		synced, torn := noise(uint64(round), 20_000), noise(uint64(round)+1000, 20_000)
		f, err := fs.Create("synced", anyWrite)
		must(t, err)
		_, err = f.Write(synced)
		must(t, errors.Join(err, f.SyncData()))
		_, err = f.Write(torn)
		must(t, err)
		g, err := fs.Create("torn", anyWrite)
		must(t, err)
		_, err = g.Write(torn)
		must(t, err)
		dir, err := fs.OpenDir("")
		must(t, errors.Join(err, dir.Sync()))

		after := New(below.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: round % 101, RNG: rng}), key)
		if got := whole(t, after, "synced"); !bytes.HasPrefix(got, synced) {
			t.Fatalf("round %d: what was synced is lost", round)
		}
		info, err := after.Stat("torn")
		must(t, err)
		if got := whole(t, after, "torn"); int64(len(got)) != info.Size() {
			t.Fatalf("round %d: %d bytes of %d", round, len(got), info.Size())
		}
		// What was torn can be written to, and that is there then.
		h, err := after.OpenReadWrite("torn", anyWrite)
		must(t, err)
		_, err = h.WriteAt(synced, 0)
		must(t, errors.Join(err, h.Close()))
		if got := whole(t, after, "torn"); !bytes.HasPrefix(got, synced) {
			t.Fatalf("round %d: a torn file takes no bytes", round)
		}
	}
}

// TestTornHead: a head that does not hold, of whatever length, is a file of zeros; what is left of one in one sector is enough.
func TestTornHead(t *testing.T) {
	key := NewKey()
	below := vfs.NewMem()
	fs := New(below, key)
	text := noise(1, 5000)
	create(t, fs, "good", text)
	good := whole(t, below, "good")
	for _, n := range []int{0, 1, headLen - 1, headLen, 511, 512, 4095, 4096, 4097, 6000} {
		create(t, below, "cut", good[:n])
		want := text[:max(0, n-HeadBytes)]
		if got := whole(t, fs, "cut"); !bytes.Equal(got, want) {
			t.Errorf("cut at %d: %d bytes, want %d", n, len(got), len(want))
		}
	}
	for sector := range HeadBytes / headSector {
		b := slices.Clone(good)
		clear(b[:HeadBytes])
		copy(b[sector*headSector:], good[:headSector])
		create(t, below, "one", b)
		if got := whole(t, fs, "one"); !bytes.Equal(got, text) {
			t.Errorf("sector %d alone is not enough", sector)
		}
	}
	for _, flip := range []int{0, 7, 8, 39, 40, 55} { // magic, version, salt, tag
		b := slices.Clone(good)
		for sector := range HeadBytes / headSector {
			b[sector*headSector+flip] ^= 1
		}
		create(t, below, "bad", b)
		if got := whole(t, fs, "bad"); !bytes.Equal(got, make([]byte, len(text))) {
			t.Errorf("byte %d of the head may be wrong", flip)
		}
	}
	if got := whole(t, New(below, NewKey()), "good"); !bytes.Equal(got, make([]byte, len(text))) {
		t.Error("another key reads something")
	}
}

// TestParallelReads is for the race detector.
func TestParallelReads(t *testing.T) {
	fs := New(vfs.NewMem(), NewKey())
	text := noise(3, 300_000)
	create(t, fs, "f", text)
	f, err := fs.Open("f")
	must(t, err)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b := make([]byte, 7000)
			for off := int64(i * 11); off+7000 < 300_000; off += 20_001 {
				if _, err := f.ReadAt(b, off); err != nil || !bytes.Equal(b, text[off:][:7000]) {
					t.Errorf("at %d: %v", off, err)
				}
			}
		})
	}
	wg.Wait()
	must(t, f.Close())
}

// TestShortWrite: what a full disk cuts short is told as such, and goes on where it was cut, the head included.
func TestShortWrite(t *testing.T) {
	below := &shortFS{FS: vfs.NewMem(), most: 1000}
	fs := New(below, NewKey())
	f, err := fs.Create("f", anyWrite)
	must(t, err)
	text := noise(5, 9000)
	for written, tries := 0, 0; written < len(text); tries++ {
		n, err := f.Write(text[written:])
		if err == nil && written+n < len(text) || tries > 100 {
			t.Fatalf("%d of %d bytes, no error", n, len(text)-written)
		}
		written += n
	}
	must(t, f.Close())
	if got := whole(t, fs, "f"); !bytes.Equal(got, text) {
		t.Error("other bytes")
	}
}

// shortFS writes only so many bytes at once, and says that the disk is full.
type shortFS struct {
	vfs.FS
	most int
}

func (s *shortFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	return &shortFile{f, s.most}, err
}

type shortFile struct {
	vfs.File
	most int
}

var errFull = errors.New("full")

func (f *shortFile) WriteAt(p []byte, off int64) (int, error) {
	if len(p) <= f.most {
		return f.File.WriteAt(p, off)
	}
	n, _ := f.File.WriteAt(p[:f.most], off)
	return n, errFull
}
