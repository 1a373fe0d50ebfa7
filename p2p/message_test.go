package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Both sides can ask, small and at the limit, and the answer is the other's.
func TestAsk(t *testing.T) {
	a, b := pair(t)
	for _, size := range []int{0, 1, pieceMax, pieceMax + 1, 3<<20 + 7, QuestionMax - 1} {
		body := bytes.Repeat([]byte{7}, size)
		for from, to := range map[*pod]*pod{a: b, b: a} {
			if from == b {
				b.until("b sees a", func() bool { return b.up[a.id] })
			}
			got, err := from.Ask(within(t, 10*time.Second), to.id, KindLog, body)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if want := append([]byte{byte(KindLog)}, body...); !bytes.Equal(got, want) {
				t.Errorf("%d bytes: got %d bytes", size, len(got))
			}
		}
	}
	if _, err := a.Ask(within(t, time.Second), b.id, KindLog, make([]byte, QuestionMax+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: got %v", err)
	}
	if _, err := a.Ask(within(t, time.Second), ident.Pod{9}, KindLog, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a stranger: got %v", err)
	}
}

// Errors of the other Handler come with their sentinels; a panic is one of them and ends nothing.
func TestAskFails(t *testing.T) {
	a, b := start(t, 1, nil), start(t, 2, func(_ *Config, f *fake) {
		f.asked = func(_ context.Context, _ ident.Pod, kind Kind, _ []byte) ([]byte, error) {
			switch kind {
			case 1:
				return nil, fmt.Errorf("well: %w", block.ErrNotFound)
			case 2:
				return nil, fmt.Errorf("well: %w", ErrFull)
			case 3:
				panic("on purpose")
			case 4:
				return make([]byte, QuestionMax+1), nil
			}
			return nil, errors.New("well\x1b[31m")
		}
	})
	join(t, a, b)
	for kind, want := range map[Kind]error{1: block.ErrNotFound, 2: ErrFull, 3: ErrRemote, 4: ErrRemote, 5: ErrRemote} {
		_, err := a.Ask(within(t, 5*time.Second), b.id, kind, nil)
		if !errors.Is(err, want) {
			t.Errorf("kind %d: got %v, want %v", kind, err, want)
		}
		if err != nil && bytes.ContainsRune([]byte(err.Error()), '\x1b') {
			t.Errorf("kind %d: escape in %q", kind, err)
		}
	}
}

// A question whose context ends is cancelled over there, and the link goes on.
func TestAskCancel(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	a, b := start(t, 1, nil), start(t, 2, func(_ *Config, f *fake) {
		f.asked = func(ctx context.Context, _ ident.Pod, kind Kind, body []byte) ([]byte, error) {
			if kind == KindHas {
				return body, nil
			}
			began <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
			return nil, ctx.Err()
		}
	})
	join(t, a, b)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-began; cancel() }()
	if _, err := a.Ask(ctx, b.id, KindLog, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the other side was not told")
	}
	// All slots come back.
	var wg sync.WaitGroup
	for range 4 * asksMax {
		wg.Go(func() {
			if _, err := a.Ask(within(t, 10*time.Second), b.id, KindHas, []byte("x")); err != nil {
				t.Errorf("after it: %v", err)
			}
		})
	}
	wg.Wait()
}

// Many large questions and answers at once stay within the limits, in both directions, and small ones and
// messages get in between.
func TestAskManyLarge(t *testing.T) {
	a, b := pair(t)
	b.until("b sees a", func() bool { return b.up[a.id] })
	body := make([]byte, 6<<20)
	var wg sync.WaitGroup
	for from, to := range map[*pod]*pod{a: b, b: a} {
		for range 8 {
			wg.Go(func() {
				got, err := from.Ask(within(t, 60*time.Second), to.id, KindLog, body)
				if err != nil || len(got) != len(body)+1 {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			})
		}
	}
	wg.Wait()
}

// Messages come in order and whole; the newest head replaces those before it.
func TestTell(t *testing.T) {
	a, b := pair(t)
	var want []string
	for i := range 200 {
		body := bytes.Repeat([]byte{byte('a' + i%26)}, 1+i*1000)
		a.Tell(b.id, KindStatements, body)
		want = append(want, fmt.Sprintf("%d:%.20s/%d", KindStatements, body, len(body)))
		if i%20 == 19 {
			b.until("messages", func() bool { return len(b.told) == len(want) })
		}
	}
	if d := cmp.Diff(want, b.told); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
	for i := range 1000 {
		a.Tell(b.id, KindHead, fmt.Appendf(nil, "head %d", i))
	}
	b.until("the last head", func() bool { return b.told[len(b.told)-1] == "1:head 999/8" })
	a.Tell(b.id, KindLog, make([]byte, TellMax+1))     // dropped
	a.Tell(ident.Pod{4}, KindLog, []byte("to nobody")) // dropped
	a.Tell(b.id, KindLog, make([]byte, TellMax))
	b.until("the largest", func() bool { return b.told[len(b.told)-1] == fmt.Sprintf("2:%.20s/%d", make([]byte, 20), TellMax) })
}

// A peer is measured and heard.
func TestPeers(t *testing.T) {
	a, b := pair(t)
	if _, err := a.Ask(within(t, 5*time.Second), b.id, KindHas, nil); err != nil {
		t.Fatal(err)
	}
	got := a.Peers()
	if len(got) != 1 || got[0].Pod != b.id || got[0].Addr == "" || got[0].LastHeard.Before(got[0].Since) {
		t.Fatalf("got %+v", got)
	}
	rtt := got[0].RTT
	for limit := time.Now().Add(5 * time.Second); rtt == 0 && time.Now().Before(limit); rtt = a.Peers()[0].RTT {
		time.Sleep(time.Millisecond) // the pong is on its way
	}
	if rtt <= 0 || rtt > 5*time.Second {
		t.Errorf("rtt %v", rtt)
	}
	if d := cmp.Diff(b.Addrs(), got[0].Addrs); d != "" {
		t.Errorf("announced (-want +got):\n%s", d)
	}
	if sent, received := got[0].Sent.Bytes, got[0].Received.Bytes; sent < 8 || received < 8 {
		t.Errorf("%d bytes sent, %d received", sent, received)
	}
	if got := a.Absent(); len(got) != 0 {
		t.Errorf("absent are %+v", got)
	}
	a.Disconnect(b.id)
	a.until("gone", func() bool { return !a.up[b.id] })
	if a.Connected(b.id) || len(a.Peers()) != 0 {
		t.Error("still connected")
	}
}

// A pod that can't be reached is told of with the reason.
func TestAbsent(t *testing.T) {
	a, b := pair(t)
	addrs := b.Addrs()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	a.until("gone", func() bool { return !a.up[b.id] })
	a.Know(b.id, addrs)
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := a.Absent()
		if len(got) == 1 && got[0].Pod == b.id && len(got[0].Addrs) > 0 && errors.Is(got[0].Failed, ErrUnreachable) && !got[0].Tried.IsZero() {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("absent are %+v", got)
		}
	}
}

func TestRate(t *testing.T) {
	var x traffic
	for range 40 {
		x.bytes.Add(1000)
		x.tick()
	}
	if got := x.traffic(); got.Rate < 990 || got.Rate > 1000 || got.Bytes != 40000 {
		t.Errorf("%+v after 1000 bytes a second", got)
	}
	for range 40 {
		x.tick()
	}
	if got := x.traffic().Rate; got > 10 {
		t.Errorf("%d bytes a second after a long rest", got)
	}
}

func BenchmarkAsk(b *testing.B) {
	x, y := pair(b)
	ctx := context.Background()
	b.Run("1KiB", func(b *testing.B) {
		body := make([]byte, 1<<10)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := x.Ask(ctx, y.id, KindHas, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("1KiB/parallel=16", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			body := make([]byte, 1<<10)
			for pb.Next() {
				if _, err := x.Ask(ctx, y.id, KindHas, body); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
