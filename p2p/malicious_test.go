package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// maliciousHeap is how many bytes of heap a pod may take for one peer that does its worst: what is in memory for it in each direction, the windows of its streams, which
// libp2p keeps, their buffers, and what of a former test is not collected yet.
const maliciousHeap = 2*InFlightMax + 32<<20

// serves has a raw host answer what the pod gets: f is called for each request on a stream.
func (r *raw) serves(f func(s network.Stream, req frameHeader) error) {
	r.host.SetStreamHandler(protoX, func(s network.Stream) {
		defer func() { _ = s.Reset() }()
		if _, err := readPreamble(s); err != nil {
			return
		}
		if _, err := s.Write(appendPreamble(nil, roleGet)); err != nil {
			return
		}
		for {
			head, _, err := readFrame(s, roleGet)
			if err != nil || f(s, head) != nil {
				return
			}
		}
	})
}

// trickle sends a byte now and then until nobody wants more.
func trickle(s io.Writer) error {
	for {
		if _, err := s.Write([]byte{0}); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// listens reads what the pod says on the stream of messages, and answers its pings.
func (r *raw) listens(s network.Stream) {
	go func() {
		for {
			head, _, err := readFrame(s, roleMessages)
			if err != nil {
				return
			}
			if head.typ == framePing {
				if _, err := s.Write(appendFrame(nil, frameHeader{typ: framePong, id: head.id}, nil)); err != nil {
					return
				}
			}
		}
	}()
}

// TestMaliciousServer: a pod that answers a request with what was not asked for, or is longer or shorter than such a block can be, is disconnected before memory is taken for
// it, and the reader hears of no byte of it.
func TestMaliciousServer(t *testing.T) {
	p := start(t, 1, nil)
	data := func(req uint64, n uint32) []byte { return frameHeader{typ: frameData, id: req, length: n}.append(nil) }
	node := block.Sum(block.DagCBOR, []byte("node"))
	n := byte(100)
	for name, answer := range map[string]func(req uint64) []byte{
		"longer than any block":    func(req uint64) []byte { return data(req, WireMax+1) },
		"longer than a node":       func(req uint64) []byte { return data(req, 2<<20) },
		"2 GiB":                    func(req uint64) []byte { return data(req, 1<<31) },
		"shorter than its header":  func(req uint64) []byte { return append(data(req, 3), "abc"...) },
		"to another request":       func(req uint64) []byte { return append(data(req+1, 20), make([]byte, 20)...) },
		"a frame of another kind":  func(req uint64) []byte { return frameHeader{typ: frameWant, id: req}.append(nil) },
		"a frame of no kind":       func(req uint64) []byte { return frameHeader{typ: 99, id: req}.append(nil) },
		"a failure without a code": func(req uint64) []byte { return frameHeader{typ: frameFail, id: req, length: 1 << 20}.append(nil) },
		"noise":                    func(uint64) []byte { return bytes.Repeat([]byte("noise"), 100) },
	} {
		n++
		t.Run(name, func(t *testing.T) {
			r := rawTo(t, p, n)
			r.serves(func(s network.Stream, req frameHeader) error {
				_, err := s.Write(answer(req.id))
				return err
			})
			s := r.hello()
			p.until("connected", func() bool { return p.up[r.pod] })
			heard := 0
			before := heap()
			err := p.Get(within(t, 10*time.Second), r.pod, []block.ID{node}, func(_ block.ID, wire []byte, err error) error {
				if heard++; wire != nil || err == nil {
					t.Errorf("%d bytes are handed over", len(wire))
				}
				return nil
			})
			if !errors.Is(err, ErrProtocol) || heard != 1 {
				t.Errorf("got %v, %d answers", err, heard)
			}
			r.closed(s)
			p.until("disconnected", func() bool { return !p.up[r.pod] })
			if grown := heap() - before; grown > 16<<20 {
				t.Errorf("%d MiB were taken", grown>>20)
			}
		})
	}
}

// TestOneByteASecond: who sends or reads a byte now and then holds nobody up but who asked it, takes a bounded amount of memory on however many streams, and is cut off where it
// was not admitted yet.
func TestOneByteASecond(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	rnd := random(t)
	good, wire := wireOf(rnd, block.ChunkMax)
	p, honest := start(t, 1, hurried), start(t, 2, nil)
	p.blocks[good], honest.blocks[good] = wire, wire
	p.block = func(context.Context, block.ID) ([]byte, error) { return bytes.Clone(wire), nil } // as from a disk
	join(t, p, honest)
	lives := func(t *testing.T) {
		t.Helper()
		begin := time.Now()
		err := p.Get(within(t, 10*time.Second), honest.id, []block.ID{good}, func(_ block.ID, got []byte, err error) error {
			if !bytes.Equal(got, wire) {
				t.Errorf("%d bytes: %v", len(got), err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		t.Logf("4 MiB from an honest pod beside it took %s", time.Since(begin).Round(time.Millisecond))
	}
	// taken is what the heap grows by while f is going on.
	taken := func(t *testing.T, before int64) {
		t.Helper()
		time.Sleep(time.Second)
		grown := heap() - before
		if t.Logf("%d MiB are taken", grown>>20); grown > maliciousHeap {
			t.Errorf("%d MiB are taken", grown>>20)
		}
	}
	fresh := func() int64 {
		debug.FreeOSMemory()
		runtime.GC() // what the pool of buffers kept goes with the second one
		return heap()
	}

	t.Run("as it serves", func(t *testing.T) {
		before := fresh()
		r := rawTo(t, p, 3)
		r.serves(func(s network.Stream, req frameHeader) error {
			if _, err := s.Write(frameHeader{typ: frameData, id: req.id, length: uint32(wholeBlock(good).wireMax())}.append(nil)); err != nil {
				return err
			}
			return trickle(s)
		})
		r.listens(r.hello())
		p.until("connected", func() bool { return p.up[r.pod] })
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var readers sync.WaitGroup
		for range 4 * getStreamsMax {
			readers.Go(func() {
				err := p.Get(ctx, r.pod, []block.ID{good}, func(_ block.ID, wire []byte, err error) error {
					t.Errorf("%d bytes are handed over, %v", len(wire), err)
					return nil
				})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		taken(t, before)
		lives(t)
		readers.Wait()
		if !p.Connected(r.pod) {
			t.Error("it is slow, and was disconnected")
		}
	})
	t.Run("as it puts", func(t *testing.T) {
		before := fresh()
		r := rawTo(t, p, 4)
		r.listens(r.hello())
		p.until("connected", func() bool { return p.up[r.pod] })
		var puts sync.WaitGroup
		for i := range servedMax {
			s := r.open(protoX)
			id := block.Sum(block.Raw, []byte{byte(i)})
			r.send(s, appendFrame(appendPreamble(nil, rolePut), frameHeader{typ: frameOffer, id: 1}, appendObjects(nil, frameOffer, []object{wholeBlock(id)})))
			r.send(s, frameHeader{typ: frameData, id: 1, length: uint32(wholeBlock(id).wireMax())}.append(nil))
			puts.Go(func() { _ = trickle(s) })
		}
		taken(t, before)
		lives(t)
		_ = r.host.Close()
		puts.Wait()
		p.until("disconnected", func() bool { return !p.up[r.pod] })
	})
	t.Run("as it reads", func(t *testing.T) {
		before := fresh()
		r := rawTo(t, p, 5)
		r.listens(r.hello())
		p.until("connected", func() bool { return p.up[r.pod] })
		ids := bytes.Repeat(good.Append(nil), batchMax)
		for range servedMax {
			s := r.open(protoX)
			r.send(s, appendFrame(appendPreamble(nil, roleGet), frameHeader{typ: frameGet, id: 1}, ids))
			_, _ = s.Read(make([]byte, 1))
		}
		taken(t, before)
		lives(t)
	})
	t.Run("before it is admitted", func(t *testing.T) {
		r := rawTo(t, p, 6)
		s := r.open(protoX)
		var sender sync.WaitGroup
		sender.Go(func() {
			for _, b := range appendPreamble(nil, roleMessages) {
				if _, err := s.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond) // a second of this pod's clock
			}
		})
		r.closed(s)
		sender.Wait()
	})
}
