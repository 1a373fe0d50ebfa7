package pod

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestSpans compares random additions, removals and cuts with plain bits.
func TestSpans(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		var s spans
		have := make([]bool, 200)
		for range 40 {
			off := rng.IntN(150)
			if rng.IntN(6) == 0 {
				s = s.cut(int64(off))
				clear(have[off:])
				continue
			}
			end := off + rng.IntN(20)
			if rng.IntN(4) == 0 {
				s = s.without(int64(off), int64(end))
				clear(have[off:end])
				continue
			}
			s = s.add(int64(off), int64(end))
			for i := off; i < end; i++ {
				have[i] = true
			}
		}
		got, total := make([]bool, 200), 0
		for i, e := range s {
			if e.off >= e.end || i > 0 && s[i-1].end >= e.off {
				t.Fatalf("%v: %d is empty, or touches the one before", s, i)
			}
			for j := e.off; j < e.end; j++ {
				got[j] = true
				total++
			}
		}
		for i := range have {
			if got[i] != have[i] {
				t.Fatalf("%v: byte %d: %v", s, i, got[i])
			}
		}
		for _, e := range s.within(50, 120) {
			for j := e.off; j < e.end; j++ {
				if j < 50 || j >= 120 || !have[j] {
					t.Fatalf("%v within [50, 120): %v", s, e)
				}
				total--
			}
		}
		for j := range have {
			if have[j] && (j < 50 || j >= 120) {
				total--
			}
		}
		if total != 0 {
			t.Fatalf("%v within [50, 120): %d bytes more or less", s, total)
		}
		total = int(s.bytes())
		for _, known := range have {
			if known {
				total--
			}
		}
		if total != 0 {
			t.Fatalf("%v: bytes is %d too many", s, total)
		}
	}
}

// overwriter is a file, and what it has to hold.
type overwriter struct {
	*stillPod

	f      vfs.File
	want   []byte
	rng    *rand.Rand
	rnd    *rand.ChaCha8
	synced bool // all of want
}

// TestRandomOverwrites writes, truncates, syncs and closes at random a file of 64 MiB, and compares it with a plain slice, after kills too. If it
// fails, a database's file is damaged. It fails too if small writes cost large chunks, or fragment the file.
func TestRandomOverwrites(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	size, steps := 64<<20, 800
	if testing.Short() {
		size, steps = 8<<20, 400
	}
	o := &overwriter{stillPod: newStill(t), want: make([]byte, size), rng: rand.New(rand.NewPCG(seed, 0)), rnd: rand.NewChaCha8([32]byte{byte(seed)})}
	_, _ = o.rnd.Read(o.want) // it never fails
	o.f = o.open("f")
	for off := 0; off < size; off += 1 << 20 {
		write(o.stillPod, o.f, int64(off), string(o.want[off:off+1<<20]))
	}
	o.close()
	o.f = o.open("f")
	before := o.store.Usage().OwnedBytes
	write(o.stillPod, o.f, int64(size/2), "one small write")
	copy(o.want[size/2:], "one small write")
	o.close()
	if cost := o.store.Usage().OwnedBytes - before; cost > 64<<10 {
		t.Errorf("a write of 15 bytes costs %d", cost)
	}
	o.f = o.open("f")
	for i := range steps {
		o.step()
		if t.Failed() {
			return
		}
		if i%(steps/4) == 0 {
			o.compare()
		}
	}
	o.close()
	o.f = o.open("f")
	o.compare()
	a, err := o.fs.Lookup(o.t.Context(), vfs.RootID, "f")
	if err != nil {
		t.Fatal(err)
	}
	row, err := o.db.Get(a.ID)
	if err != nil {
		t.Fatal(err)
	}
	body, err := decodeBody(row.Body)
	if err != nil {
		t.Fatal(err)
	}
	for at := uint64(0); at < body.Size; at += foldWindow {
		list, err := dag.Range(o.t.Context(), blocks{o.Pod}, body, at, min(foldWindow, body.Size-at))
		if err != nil || len(list) > foldEntries+2 {
			t.Errorf("%d entries at %d, %v", len(list), at, err)
		}
	}
}

// close closes the file and has its contents named.
func (o *overwriter) close() {
	o.t.Helper()
	if err := errors.Join(o.f.Close(o.t.Context()), o.pass(o.t.Context())); err != nil {
		o.t.Fatal(err)
	}
	o.synced = true
}

func (o *overwriter) step() {
	switch k := o.rng.IntN(100); {
	case k < 60:
		n := 1 + o.rng.IntN(8192)
		if o.rng.IntN(20) == 0 {
			n = 1 + o.rng.IntN(300_000)
		}
		off := o.rng.IntN(len(o.want) + 1)
		if o.rng.IntN(2) == 0 {
			off = min(off, len(o.want)/2+off%(1<<20)) // one place is hot
		}
		data := make([]byte, n)
		_, _ = o.rnd.Read(data) // it never fails
		write(o.stillPod, o.f, int64(off), string(data))
		if grow := off + n - len(o.want); grow > 0 {
			o.want = append(o.want, make([]byte, grow)...)
		}
		copy(o.want[off:], data)
		o.synced = false
	case k < 90:
		o.sync()
	case k < 92:
		size := max(0, len(o.want)-o.rng.IntN(100_000))
		o.resize("f", uint64(size))
		o.want = o.want[:size]
		if grow := o.rng.IntN(3) * o.rng.IntN(50_000); grow > 0 {
			o.want = append(o.want, make([]byte, grow)...)
			o.resize("f", uint64(len(o.want)))
		}
		o.synced = false
	case k < 96:
		o.close()
		o.f = o.open("f")
	case k < 98:
		o.folds()
	default:
		if o.sync(); o.synced {
			o.stillPod = o.again()
			o.f = o.open("f")
		}
	}
}

// sync is an fsync; one that needs a pass gets it.
func (o *overwriter) sync() {
	o.t.Helper()
	done := make(chan error, 1)
	go func() { done <- o.f.Sync(o.t.Context()) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				o.t.Fatal(err)
			}
			o.synced = true
			return
		case <-o.barrier.kick:
			if err := o.pass(o.t.Context()); err != nil {
				o.t.Fatal(err)
			}
		}
	}
}

func (o *overwriter) compare() {
	o.t.Helper()
	got := make([]byte, len(o.want)+1)
	n, err := o.f.ReadAt(o.t.Context(), got, 0)
	if !errors.Is(err, io.EOF) || n != len(o.want) {
		o.t.Fatalf("%d bytes, want %d; %v", n, len(o.want), err)
	}
	if !bytes.Equal(got[:n], o.want) {
		i := 0
		for got[i] == o.want[i] {
			i++
		}
		o.t.Fatalf("differs from byte %d on", i)
	}
}
