package pace

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const piece = 64 << 10

// goes has one goroutine for each class send pieces for some time, and says how many bytes a second each got.
func goes(t *testing.T, r Rates, d time.Duration, exempt bool, running ...Class) map[Class]int64 {
	t.Helper()
	p := New(clock.Real{})
	p.Set(r)
	var bytes [classes]atomic.Int64
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var work sync.WaitGroup
	for _, c := range running {
		work.Go(func() {
			for ctx.Err() == nil {
				err := p.Wait(ctx, c, Up, ident.Pod{byte(c)}, piece, exempt)
				if err != nil {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					return
				}
				if c == Read {
					p.NoteRead(piece)
				}
				bytes[c].Add(piece)
				time.Sleep(time.Millisecond) // what sends them has a limit of its own: 62 MiB/s
			}
		})
	}
	work.Wait()
	out := make(map[Class]int64)
	for _, c := range running {
		out[c] = bytes[c].Load() * int64(time.Second) / int64(d)
		if bytes[c].Load() > p.Moved(c) {
			t.Errorf("%s: %d bytes went, %d are counted", c, bytes[c].Load(), p.Moved(c))
		}
	}
	return out
}

func within(t *testing.T, what string, got, least, most int64) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s: %d bytes a second, want %d to %d", what, got, least, most)
	}
}

// TestLimits: each limit holds, and alone slows what it is for.
func TestLimits(t *testing.T) {
	const mib = 1 << 20
	synctest.Test(t, func(t *testing.T) {
		free := goes(t, Rates{}, 20*time.Second, false, Repair)[Repair]
		within(t, "no limit", free, 55*mib, 65*mib)
		within(t, "in all", goes(t, Rates{Up: 4 * mib}, 20*time.Second, false, Repair)[Repair], 39*mib/10, 45*mib/10)
		within(t, "the other direction", goes(t, Rates{Down: 4 * mib}, 20*time.Second, false, Repair)[Repair], 55*mib, 65*mib)
		within(t, "of a pod", goes(t, Rates{Pod: 2 * mib}, 20*time.Second, false, Spread)[Spread], 19*mib/10, 23*mib/10)
		within(t, "exempt", goes(t, Rates{Up: 4 * mib, Pod: mib}, 20*time.Second, true, Repair)[Repair], 55*mib, 65*mib)
		r := Rates{}
		r.Class[Balance] = mib
		got := goes(t, r, 20*time.Second, false, Balance, Spread)
		within(t, "balance", got[Balance], 9*mib/10, 12*mib/10)
		within(t, "spread beside it", got[Spread], 55*mib, 65*mib)
	})
}

// TestReadsFirst: users' reads get nearly all that a limit gives, whatever else goes on, and background work still has its floor.
func TestReadsFirst(t *testing.T) {
	const mib = 1 << 20
	synctest.Test(t, func(t *testing.T) {
		got := goes(t, Rates{Up: 10 * mib}, 20*time.Second, false, Read, Spread, Repair, Balance)
		within(t, "reads", got[Read], 85*mib/10, 105*mib/10)
		within(t, "the rest", got[Spread]+got[Repair]+got[Balance], 8*mib/10, 15*mib/10)
		within(t, "alone", goes(t, Rates{Up: 10 * mib}, 20*time.Second, false, Repair)[Repair], 95*mib/10, 11*mib)
	})
}

// TestWork: beside users' reads background work rests most of the time, but has its floor; without them it does not rest.
func TestWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := func(r Rates, reads bool) (n int64) {
			p := New(clock.Real{})
			p.Set(r)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			var work sync.WaitGroup
			if reads {
				work.Go(func() {
					for ctx.Err() == nil {
						p.NoteRead(1 << 20)
						time.Sleep(10 * time.Millisecond)
					}
				})
				time.Sleep(time.Millisecond)
			}
			var count atomic.Int64
			for range 4 {
				work.Go(func() {
					for {
						done, err := p.Work(ctx, Repair)
						if err != nil {
							return
						}
						time.Sleep(10 * time.Millisecond)
						if err := p.Wait(ctx, Repair, Down, ident.Pod{}, piece, false); err != nil {
							done()
							return
						}
						count.Add(1)
						if done(); ctx.Err() != nil {
							return
						}
					}
				})
			}
			work.Wait()
			return count.Load() * piece / 20
		}
		within(t, "beside reads", jobs(Rates{Floor: 1}, true), piece*8, piece*17) // of 100 jobs a second one after the other
		within(t, "with a floor", jobs(Rates{Floor: 40 * piece}, true), piece*30, piece*50)
		within(t, "without reads", jobs(Rates{Floor: 1}, false), piece*380, piece*405)
		p := New(clock.Real{})
		p.NoteRead(1 << 30)
		if done, err := p.Work(context.Background(), Spread); err != nil {
			t.Error(err)
		} else {
			done()
		}
	})
}

// TestHotChange: a limit that is lifted while somebody waits for it holds no more a second later.
func TestHotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(clock.Real{})
		p.Set(Rates{Up: 1})
		ctx := context.Background()
		if err := p.Wait(ctx, Spread, Up, ident.Pod{}, piece, false); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- p.Wait(ctx, Spread, Up, ident.Pod{}, piece, false) }()
		synctest.Wait()
		p.Set(Rates{})
		if err := <-ended; err != nil || time.Since(begin) > 2*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		p.Set(Rates{Up: 1})
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = p.Wait(ctx, Read, Up, ident.Pod{}, piece, false)
		if err := p.Wait(ctx, Read, Up, ident.Pod{}, piece, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a wait ends with its context: %v", err)
		}
	})
}
