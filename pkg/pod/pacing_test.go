package pod

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/pace"
)

// beside is what users read here of some blocks in a second, alone and while blocks are fetched for a class as fast as they may, in turns, so that what
// else the machine does hits both; and what is fetched beside.
func (p *testPod) beside(blocks, fetched []block.ID, c pace.Class) (alone, together, other float64) {
	p.t.Helper()
	const turns, turn = 8, 250 * time.Millisecond
	ctx := quickly(p.t)
	next := 0
	read := func() (n float64) {
		for end := time.Now().Add(turn); time.Now().Before(end); next++ {
			plain, err := p.store.Get(ctx, blocks[next%len(blocks)])
			if err != nil {
				p.t.Fatal(err)
			}
			p.pace.NoteRead(int64(len(plain)))
			n += float64(len(plain))
		}
		return n
	}
	var bytes atomic.Int64
	for range turns {
		alone += read()
		repair, cancel := context.WithCancel(ctx)
		var work sync.WaitGroup
		for worker := range codersMax {
			work.Go(func() {
				for i := worker; repair.Err() == nil; i += codersMax {
					id := fetched[i%len(fetched)]
					var plain []byte
					err := p.working(repair, c, func(ctx context.Context) (err error) {
						plain, err = p.fetchBlock(ctx, id, true)
						return err
					})
					if err == nil {
						err = p.store.Delete(ctx, id)
						bytes.Add(int64(len(plain)))
					}
					if err != nil && repair.Err() == nil {
						p.t.Error(err)
						return
					}
				}
			})
		}
		together += read()
		cancel()
		work.Wait()
	}
	seconds := (turns * turn).Seconds()
	return alone / seconds, together / seconds, float64(bytes.Load()) / seconds
}

// TestReadsBesideRepair breaks if users' reads do not keep 0.7 of their rate while blocks are fetched for repair, or repair is starved. -v prints the
// figures of docs/bench/cache.md; "unpaced" is the same work under a class that makes no room.
func TestReadsBesideRepair(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	pods := metPods(t, 2)
	a, b, ctx := pods[0], pods[1], quickly(t)
	put := func(p *testPod, seed uint64) (ids []block.ID) {
		for i := range uint64(32) {
			plain := []byte(randomText(seed+i, 1<<20))
			id := block.Sum(block.Raw, plain)
			if err := p.store.Put(ctx, id, plain); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if err := p.store.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	mine, theirs := put(a, 1600), put(b, 1700)
	const mib = 1 << 20
	alone, together, other := a.beside(mine, theirs, pace.Spread)
	t.Logf("| unpaced | %.0f | %.0f | %.2f | %.0f |", alone/mib, together/mib, together/alone, other/mib)
	var err error
	for try := range 3 { // others use this machine, too
		alone, together, other = a.beside(mine, theirs, pace.Repair)
		t.Logf("| paced | %.0f | %.0f | %.2f | %.0f |", alone/mib, together/mib, together/alone, other/mib)
		switch {
		case together < 0.7*alone:
			err = errors.New("users' reads keep too little of their rate")
		case other < mib:
			err = errors.New("repair is starved")
		default:
			return
		}
		t.Logf("try %d: %v", try, err)
	}
	t.Error(err)
}

// TestOnLAN: only what is certainly near is.
func TestOnLAN(t *testing.T) {
	for addr, want := range map[string]bool{
		"/ip4/10.1.2.3/tcp/4001": true, "/ip4/192.168.7.1/udp/4001/quic-v1": true, "/ip4/127.0.0.1/tcp/1": true, "/ip6/fd00::1/tcp/1": true, "/ip6/fe80::1/tcp/1": true,
		"/ip4/8.8.8.8/tcp/4001": false, "/ip6/2001:db8::1/tcp/1": false, "/ip4/10.1.2.3/tcp/1/p2p/x/p2p-circuit": false, "": false, "/dns4/box/tcp/1": false, "/ip4/x/tcp/1": false,
	} {
		if got := onLAN(addr); got != want {
			t.Errorf("%q: %t", addr, got)
		}
	}
}

// TestLimitedFetch: a limit on what comes holds for users' reads, and is lifted while the pod runs.
func TestLimitedFetch(t *testing.T) {
	pods := metPods(t, 2)
	a, b, ctx := pods[0], pods[1], quickly(t)
	b.Tune(ctx, Tuning{Rates: pace.Rates{Down: 256 << 10}})
	var ids []block.ID
	for i := range uint64(3) {
		plain := []byte(randomText(1800+i, 128<<10))
		id := block.Sum(block.Raw, plain)
		if err := a.store.Put(ctx, id, plain); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	fetch := func() time.Duration {
		t.Helper()
		begin := time.Now()
		for _, id := range ids {
			if _, err := b.fetchBlock(ctx, id, false); err != nil {
				t.Fatal(err)
			}
			if err := b.store.Uncache(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(begin)
	}
	if took := fetch(); took < time.Second {
		t.Errorf("384 KiB at 256 KiB a second took %s", took)
	}
	b.Tune(ctx, Tuning{})
	if took := fetch(); took > time.Second {
		t.Errorf("without a limit it took %s", took)
	}
}
