package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Blocks of all sizes come once each, in order, missing and failed ones as such.
func TestGet(t *testing.T) {
	rnd := random(t)
	a, b := pair(t)
	bad := errors.New("bad sector")
	_, big := wireOf(rnd, block.ChunkMax)
	var ids []block.ID
	want := map[block.ID][]byte{}
	for i := range 3*batchMax + 5 {
		id, wire := wireOf(rnd, []int{1, 100, 70 << 10, 300 << 10}[i%4])
		if i == 500 {
			id, wire = block.Sum(block.Raw, big[block.HeaderLen:]), big
		}
		ids = append(ids, id)
		if i%7 != 3 {
			want[id] = wire
		}
	}
	b.blocks = want
	failing := ids[10]
	b.block = func(_ context.Context, id block.ID) ([]byte, error) {
		if id == failing {
			return nil, fmt.Errorf("read: %w: %w", bad, block.ErrCorrupt)
		}
		if w, ok := want[id]; ok {
			return w, nil
		}
		return nil, block.ErrNotFound
	}
	ids = append(ids, ids[0], ids[0]) // twice in a batch
	i := 0
	err := a.Get(within(t, 30*time.Second), b.id, ids, func(id block.ID, wire []byte, err error) error {
		switch w, ok := want[id]; {
		case id != ids[i]:
			t.Errorf("%d: another id", i)
		case i == 10 && !errors.Is(err, block.ErrCorrupt):
			t.Errorf("%d: got %v", i, err)
		case i != 10 && !ok && !errors.Is(err, block.ErrNotFound):
			t.Errorf("%d: got %v, not a miss", i, err)
		case i != 10 && ok && (err != nil || !bytes.Equal(wire, w)):
			t.Errorf("%d: got %d bytes, %v", i, len(wire), err)
		}
		i++
		return nil
	})
	if err != nil || i != len(ids) {
		t.Errorf("got %d of %d, %v", i, len(ids), err)
	}
}

// An error of f stops a Get and comes back; the next one works.
func TestGetStops(t *testing.T) {
	rnd := random(t)
	a, b := pair(t)
	var ids []block.ID
	for range 40 {
		id, wire := wireOf(rnd, 1<<20)
		b.blocks[id], ids = wire, append(ids, id)
	}
	stop, n := errors.New("enough"), 0
	err := a.Get(within(t, 10*time.Second), b.id, ids, func(block.ID, []byte, error) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("got %v after %d", err, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = a.Get(ctx, b.id, ids, func(block.ID, []byte, error) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || n > len(ids) {
		t.Errorf("cancelled: got %v after %d", err, n)
	}
	n = 0
	if err := a.Get(within(t, 10*time.Second), b.id, ids, func(block.ID, []byte, error) error { n++; return nil }); err != nil || n != len(ids) {
		t.Errorf("after it: got %v after %d", err, n)
	}
}

// A cancelled Get ends the Handler's call over there.
func TestGetCancel(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	a, b := start(t, 1, nil), start(t, 2, func(_ *Config, f *fake) {
		f.block = func(ctx context.Context, _ block.ID) ([]byte, error) {
			began <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
			return nil, ctx.Err()
		}
	})
	join(t, a, b)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-began; cancel() }()
	id, _ := wireOf(random(t), 1)
	err := a.Get(ctx, b.id, []block.ID{id}, func(block.ID, []byte, error) error { t.Error("called"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the other side was not told")
	}
}

// When the peer dies in a Get, f still hears of each block.
func TestGetPeerDies(t *testing.T) {
	rnd := random(t)
	a, b := pair(t)
	var ids []block.ID
	for range 100 {
		id, wire := wireOf(rnd, 1<<20)
		b.blocks[id], ids = wire, append(ids, id)
	}
	n, lost := 0, 0
	err := a.Get(within(t, 20*time.Second), b.id, ids, func(_ block.ID, _ []byte, err error) error {
		if n++; n == 5 {
			go b.stop()
			a.until("b is gone", func() bool { return !a.up[b.id] })
		}
		if errors.Is(err, ErrUnreachable) {
			lost++
		}
		return nil
	})
	if !errors.Is(err, ErrUnreachable) || n != len(ids) || lost == 0 {
		t.Errorf("got %v after %d, %d lost", err, n, lost)
	}
	if err := a.Get(within(t, time.Second), b.id, ids, func(_ block.ID, _ []byte, err error) error { lost--; return err }); !errors.Is(err, ErrUnreachable) {
		t.Errorf("not connected: got %v", err)
	}
}

// Put sends what is not there, and says of each block how it went; what is acknowledged is synced.
func TestPut(t *testing.T) {
	rnd := random(t)
	full := errors.New("disk is full")
	a, b := pair(t)
	var ids []block.ID
	var wires [][]byte
	for i := range 2*batchMax + 9 {
		id, wire := wireOf(rnd, 1000+i)
		ids, wires = append(ids, id), append(wires, wire)
		if i%5 == 0 {
			b.blocks[id] = wire
		}
	}
	unread := errors.New("can't read it here")
	b.put = func(id block.ID) error {
		if id == ids[7] {
			return fmt.Errorf("%w: %w", full, ErrFull)
		}
		return nil
	}
	sent := 0
	errs, err := a.Put(within(t, 20*time.Second), b.id, len(ids), func(i int) block.ID { return ids[i] }, func(i int) ([]byte, error) {
		sent++
		if i == 11 {
			return nil, unread
		}
		return wires[i], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := len(ids) - (len(ids)+4)/5; sent != want {
		t.Errorf("sent %d, want %d", sent, want)
	}
	for i, err := range errs {
		switch {
		case i == 7 && !errors.Is(err, ErrFull), i == 11 && !errors.Is(err, unread), i != 7 && i != 11 && err != nil:
			t.Errorf("%d: got %v", i, err)
		case i != 7 && i != 11 && !bytes.Equal(b.blocks[ids[i]], wires[i]):
			t.Errorf("%d: not there", i)
		}
	}
	if b.synced != len(b.blocks) {
		t.Errorf("synced %d of %d", b.synced, len(b.blocks))
	}
}

// A peer that dies in a Put leaves an error for each block that it did not acknowledge.
func TestPutPeerDies(t *testing.T) {
	rnd := random(t)
	a, b := pair(t)
	id, wire := wireOf(rnd, 1<<20)
	errs, err := a.Put(within(t, 20*time.Second), b.id, 20, func(i int) block.ID {
		return block.Sum(block.Raw, []byte{byte(i)})
	}, func(i int) ([]byte, error) {
		if i == 3 {
			go b.stop()
			a.until("b is gone", func() bool { return !a.up[b.id] })
		}
		return wire, nil
	})
	if !errors.Is(err, ErrUnreachable) || slices.Contains(errs, nil) {
		t.Errorf("got %v, %v", errs, err)
	}
	errs, err = a.Put(within(t, time.Second), b.id, 1, func(int) block.ID { return id }, nil)
	if !errors.Is(err, ErrUnreachable) || errs[0] == nil {
		t.Errorf("not connected: got %v, %v", errs, err)
	}
}

// Many slow readers of large blocks don't fill the server's memory.
func TestGetMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	rnd := random(t)
	var mu sync.Mutex
	held, most := 0, 0
	_, wire := wireOf(rnd, block.ChunkMax)
	a, b := start(t, 1, nil), start(t, 2, func(_ *Config, f *fake) {
		f.block = func(context.Context, block.ID) ([]byte, error) { return bytes.Clone(wire), nil }
	})
	join(t, a, b)
	stopped := make(chan struct{})
	runtime.GC() // other tests leave much
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			mu.Lock()
			held = int(m.HeapAlloc)
			most = max(most, held)
			mu.Unlock()
			select {
			case <-stopped:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	ids := make([]block.ID, 12)
	for i := range ids {
		ids[i] = block.Sum(block.Raw, []byte{byte(i)})
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			err := a.Get(within(t, 60*time.Second), b.id, ids, func(_ block.ID, got []byte, err error) error {
				time.Sleep(5 * time.Millisecond)
				if len(got) != len(wire) {
					return fmt.Errorf("%d bytes: %w", len(got), err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(stopped)
	watch.Wait()
	// 32 MiB of the server's blocks, 32 of windows, 32 of the client's buffers, and as much as garbage.
	if t.Logf("%d MiB of heap at most", most>>20); most > 400<<20 {
		t.Errorf("%d MiB of heap", most>>20)
	}
}

// Messages are not held up by blocks: the latency of a head while blocks stream.
func TestTellBesideBlocks(t *testing.T) {
	rnd := random(t)
	a, b := pair(t)
	id, wire := wireOf(rnd, block.ChunkMax)
	b.blocks[id] = wire
	ids := slices.Repeat([]block.ID{id}, 50)
	done := make(chan error, 1)
	go func() {
		done <- b.Host.Get(context.Background(), a.id, nil, nil)
		done <- a.Get(context.Background(), b.id, ids, func(_ block.ID, _ []byte, err error) error { return err })
	}()
	<-done
	b.until("b sees a", func() bool { return b.up[a.id] })
	for i := range 20 {
		from := time.Now()
		b.Tell(a.id, KindHead, fmt.Appendf(nil, "%d", i))
		a.until("head", func() bool { return len(a.told) == i+1 })
		if d := time.Since(from); d > time.Second {
			t.Errorf("a head took %v", d)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func BenchmarkGet(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 1))
	x, y := pair(b)
	var ids []block.ID
	for range 64 {
		id, wire := wireOf(rnd, 1<<20)
		y.blocks[id], ids = wire, append(ids, id)
	}
	ctx := context.Background()
	b.Run("1MiB/batch=64", func(b *testing.B) {
		b.SetBytes(64 << 20)
		b.ReportAllocs()
		for b.Loop() {
			if err := x.Get(ctx, y.id, ids, func(_ block.ID, _ []byte, err error) error { return err }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("1MiB/batch=1", func(b *testing.B) {
		b.SetBytes(1 << 20)
		b.ReportAllocs()
		for b.Loop() {
			if err := x.Get(ctx, y.id, ids[:1], func(_ block.ID, _ []byte, err error) error { return err }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestGetGivesRawAway breaks if the bytes of a raw block, which whoever gets them keeps, are memory that is used again.
func TestGetGivesRawAway(t *testing.T) {
	a, b := pair(t)
	var ids []block.ID
	for i := range 20 {
		plain := bytes.Repeat([]byte{byte(i)}, 5000)
		id := block.Sum(block.Raw, plain)
		wire := append(block.Header{Form: block.FormRaw, PlainLen: uint32(len(plain))}.Append(nil), plain...)
		ids = append(ids, id)
		b.blocks[id] = wire
	}
	var kept [][]byte
	if err := a.Get(within(t, 20*time.Second), b.id, ids, func(_ block.ID, wire []byte, err error) error {
		kept = append(kept, wire)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i, wire := range kept {
		if !bytes.Equal(wire, b.blocks[ids[i]]) {
			t.Errorf("block %d is overwritten", i)
		}
	}
}
