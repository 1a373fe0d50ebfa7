package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// askedFirst puts a chunk into two pods that the reader asks for it, first one of them: liar.
func askedFirst(t *testing.T, seed uint64, reader, liar, honest *testPod) (block.ID, []byte) {
	t.Helper()
	ctx := quickly(t)
	for ; ; seed++ {
		plain := []byte(randomText(seed, 150_000))
		id := block.Sum(block.Raw, plain)
		pods := slices.DeleteFunc(slices.Clone(reader.reg.layout().Walk(placement.GroupOf(id))), func(pod ident.Pod) bool { return pod == reader.id })
		if pods[0] != liar.id {
			continue
		}
		if err := errors.Join(liar.store.Put(ctx, id, plain), honest.store.Put(ctx, id, plain)); err != nil {
			t.Fatal(err)
		}
		return id, plain
	}
}

// TestMaliciousHolders: a pod that sends wrong bytes, too few or too many, another block, a header that lies, nothing, or sends so slowly that it never ends, keeps nobody from reading what an
// honest one has; no wrong byte is served or kept; who sent wrong ones is asked last from then on, and people are told.
func TestMaliciousHolders(t *testing.T) {
	ctx := quickly(t)
	seed := uint64(5000)
	for name, tt := range map[string]struct {
		spoil func(ctx context.Context, wire []byte) ([]byte, error)
		lies  bool // it is proved that it does
		slow  bool
	}{
		"wrong bytes": {lies: true, spoil: func(_ context.Context, wire []byte) ([]byte, error) {
			wire[len(wire)-9] ^= 1
			return wire, nil
		}},
		"too few":        {lies: true, spoil: func(_ context.Context, wire []byte) ([]byte, error) { return wire[:len(wire)-1], nil }},
		"too many":       {lies: true, spoil: func(_ context.Context, wire []byte) ([]byte, error) { return append(wire, 0), nil }},
		"none":           {lies: true, spoil: func(context.Context, []byte) ([]byte, error) { return []byte{}, nil }},
		"a header alone": {lies: true, spoil: func(_ context.Context, wire []byte) ([]byte, error) { return wire[:block.HeaderLen], nil }},
		"another block": {lies: true, spoil: func(context.Context, []byte) ([]byte, error) {
			return append(block.Header{PlainLen: 5}.Append(nil), "other"...), nil
		}},
		"a form of 4 GiB": {lies: true, spoil: func(_ context.Context, wire []byte) ([]byte, error) {
			return append(bytes.Repeat([]byte{0xff}, block.HeaderLen), wire...), nil
		}},
		"it has it not":     {spoil: func(context.Context, []byte) ([]byte, error) { return nil, block.ErrNotFound }},
		"its disk is bad":   {spoil: func(context.Context, []byte) ([]byte, error) { return nil, block.ErrCorrupt }},
		"one byte a second": {slow: true, spoil: func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.slow && testing.Short() {
				t.Skip("some seconds")
			}
			pods := metPods(t, 3)
			reader, liar, honest := pods[0], pods[1], pods[2]
			seed += 100
			id, plain := askedFirst(t, seed, reader, liar, honest)
			asked := make(chan struct{}, 100)
			liar.end().tricks.Store(&tricks{block: func(ctx context.Context, wire []byte) ([]byte, error) {
				asked <- struct{}{}
				return tt.spoil(ctx, bytes.Clone(wire))
			}})
			begin := time.Now()
			reader.getsSame(id, plain)
			for try := uint64(1); len(asked) == 0; try++ { // a busy machine may have the other asked as well, and first
				if try == 5 {
					t.Fatal("the liar was not asked")
				}
				id, plain = askedFirst(t, seed+10*try, reader, liar, honest)
				begin = time.Now()
				reader.getsSame(id, plain)
			}
			if took := time.Since(begin); took > hedgeAfter+2*time.Second {
				t.Errorf("it took %s", took)
			}
			if got, err := reader.store.Get(ctx, id); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes are kept, %v", len(got), err)
			}
			if reader.lies(liar.id) != tt.lies || reader.lies(honest.id) {
				t.Errorf("the liar is known as one: %v", reader.lies(liar.id))
			}
			told := 0
			err := reader.Events(ctx, time.Time{}, false, func(e Event) error {
				if e.Kind == EventLied && e.Pod == liar.reg.name(liar.id) {
					told++
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if want := map[bool]int{true: 1}[tt.lies]; told != want {
				t.Errorf("%d events, want %d", told, want)
			}
			if before := len(asked); tt.lies {
				other, text := askedFirst(t, seed+50, reader, liar, honest)
				if reader.getsSame(other, text); len(asked) != before {
					t.Error("the liar is asked first again")
				}
			}
			net := liar.end().net
			net.cut(honest.end())
			if tt.slow {
				short, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				reader.forget()
				if err := reader.store.Uncache(ctx, id); err != nil {
					t.Fatal(err)
				}
				if _, err := reader.getBlock(short, id); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the slow one alone: %v", err)
				}
			} else if _, err := reader.gets(id); !errors.Is(err, block.ErrUnavailable) {
				t.Errorf("the liar alone: %v", err)
			}
		})
	}
}

// TestClaimsEverything: a pod that says of all blocks that it keeps them for good, takes what is put to it, and gives none of it, has nobody give up what the policy wants of the others: all is read without it.
func TestClaimsEverything(t *testing.T) {
	for _, policy := range []string{"replica:2", "rs:2+1"} {
		t.Run(policy, func(t *testing.T) {
			pods := metPods(t, 5)
			a, liar, ctx := pods[0], pods[4], quickly(t)
			ruled(t, map[string]string{"lower": "1ms"}, pods...)
			if err := a.SetPolicy(ctx, vfs.RootID, policy, ""); err != nil {
				t.Fatal(err)
			}
			sameRoot(t, pods...)
			liar.end().tricks.Store(&tricks{
				fragment: func(context.Context, block.Fragment, []byte) ([]byte, error) { return nil, block.ErrNotFound },
				block:    func(context.Context, []byte) ([]byte, error) { return nil, block.ErrNotFound },
				answers:  claim,
				drops:    policy == "replica:2",
			})
			texts := map[string]string{}
			for i := range uint64(6) {
				path := fmt.Sprintf("/f%d", i)
				texts[path] = randomText(5900+i, 200_000)
				pods[i%4].write(path, texts[path])
			}
			sameRoot(t, pods...)
			for range 4 {
				for _, p := range pods[:4] {
					if err := p.spread.everything(ctx); err != nil {
						t.Fatal(err)
					}
				}
			}
			uncached(t, pods[:4]...)
			liar.end().net.cut(liar.end())
			for path, text := range texts {
				for _, p := range pods[:4] {
					p.reads(path, text)
				}
			}
		})
	}
}

// claim is the answer of who says that it has all that it is asked about.
func claim(kind p2p.Kind, body, honest []byte) []byte {
	switch kind {
	case p2p.KindHas:
		return bytes.Repeat([]byte{hasOwned}, len(body)/block.IDLen)
	case p2p.KindKept:
		return bytes.Repeat([]byte{hasOwned}, len(honest))
	}
	return honest
}
