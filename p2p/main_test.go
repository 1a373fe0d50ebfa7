package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

var (
	seed   = flag.Uint64("seed", 1, "seed of random data")
	update = flag.Bool("update", false, "write golden files anew")
	loud   = flag.Bool("loud", false, "log")
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// testNetwork is the network of all tests but those that say otherwise.
var testNetwork = ident.Network{1, 2, 3}

// fake is a Handler that records and serves from memory.
type fake struct {
	lent   atomic.Int64 // blocks that were not given back
	t      *testing.T
	mu     sync.Mutex
	blocks map[block.ID][]byte // wire
	synced int
	told   []string
	up     map[ident.Pod]bool
	events []string // "+" and "-"
	change chan struct{}

	asked func(ctx context.Context, from ident.Pod, kind Kind, body []byte) ([]byte, error)
	block func(ctx context.Context, id block.ID) ([]byte, error)
	put   func(id block.ID) error

	putClass int // of the last put
}

func newFake(t *testing.T) *fake {
	return &fake{t: t, blocks: map[block.ID][]byte{}, up: map[ident.Pod]bool{}, change: make(chan struct{}, 1)}
}

func (f *fake) event(pod ident.Pod, up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.up[pod] == up {
		f.t.Errorf("pod %s: connected %v called twice in turn", pod, up)
	}
	f.up[pod] = up
	f.events = append(f.events, map[bool]string{true: "+", false: "-"}[up])
	kick(f.change)
}

func (f *fake) Connected(pod ident.Pod)    { f.event(pod, true) }
func (f *fake) Disconnected(pod ident.Pod) { f.event(pod, false) }

func (f *fake) Told(_ context.Context, _ ident.Pod, kind Kind, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, fmt.Sprintf("%d:%.20s/%d", kind, body, len(body)))
	kick(f.change)
}

func (f *fake) Asked(ctx context.Context, from ident.Pod, kind Kind, body []byte) ([]byte, error) {
	if f.asked != nil {
		return f.asked(ctx, from, kind, body)
	}
	return append([]byte{byte(kind)}, body...), nil
}

// Block lends a copy, which is spoiled when it is given back.
func (f *fake) Block(ctx context.Context, _ ident.Pod, id block.ID) ([]byte, func(), error) {
	if f.block != nil {
		w, err := f.block(ctx, id)
		return w, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.blocks[id]
	if !ok {
		return nil, nil, fmt.Errorf("fake: %w", block.ErrNotFound)
	}
	w = bytes.Clone(w)
	f.lent.Add(1)
	return w, func() {
		f.lent.Add(-1)
		clear(w)
	}, nil
}

func (f *fake) PutBlock(ctx context.Context, _ ident.Pod, id block.ID, wire []byte) error {
	if f.put != nil {
		if err := f.put(id); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.putClass = int(ClassOf(ctx))
	f.blocks[id] = bytes.Clone(wire)
	return nil
}

func (f *fake) PutSync(context.Context, ident.Pod) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.synced = len(f.blocks)
	return nil
}

// The name of a fragment of which the fake makes the ID that it is kept under.
func fragmentKey(f block.Fragment) block.ID { return block.Sum(block.Raw, f.Append(nil)) }

func (f *fake) Fragment(ctx context.Context, from ident.Pod, name block.Fragment) ([]byte, func(), error) {
	return f.Block(ctx, from, fragmentKey(name))
}

func (f *fake) PutFragment(ctx context.Context, from ident.Pod, name block.Fragment, wire []byte) error {
	return f.PutBlock(ctx, from, fragmentKey(name), wire)
}

func (f *fake) HaveFragment(ctx context.Context, from ident.Pod, name block.Fragment) bool {
	return f.HaveBlock(ctx, from, fragmentKey(name))
}

func (f *fake) HaveBlock(_ context.Context, _ ident.Pod, id block.ID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.blocks[id]
	return ok
}

// until waits until ok holds; it is looked at under mu after each change.
func (f *fake) until(what string, ok func() bool) {
	f.t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		f.mu.Lock()
		done := ok()
		f.mu.Unlock()
		if done {
			return
		}
		select {
		case <-f.change:
		case <-deadline:
			f.t.Fatalf("timeout: %s", what)
		}
	}
}

// pod is a host under test, running.
type pod struct {
	*Host
	*fake
	stop func() // ends Run and waits for it
	id   ident.Pod
}

func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// Connected is the Host's: the fake has one too.
func (p *pod) Connected(other ident.Pod) bool { return p.Host.Connected(other) }

func podNumber(t testing.TB, n byte) ident.Pod {
	t.Helper()
	public, ok := keyOf(n).Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no public key")
	}
	return ident.PodOf(public)
}

// start makes and runs the pod with number n.
func start(t testing.TB, n byte, change func(*Config, *fake)) *pod {
	t.Helper()
	tt, _ := t.(*testing.T)
	f := newFake(tt)
	c := Config{
		Key: keyOf(n), Network: testNetwork, Listen: []string{"127.0.0.1:0"}, Handler: f,
		Hello: func() []byte { return []byte{n} },
		Admit: func(ident.Pod, []byte) error { return nil },
	}
	if *loud {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("me", n)
	}
	if change != nil {
		change(&c, f)
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("run ended with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Errorf("run did not end")
			}
			if n := f.lent.Load(); n != 0 {
				t.Errorf("%d blocks were not given back", n)
			}
		})
	}
	t.Cleanup(stop)
	return &pod{Host: h, fake: f, stop: stop, id: h.Pod()}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// pair is two pods, the first connected to the second.
func pair(t testing.TB) (a, b *pod) {
	t.Helper()
	a, b = start(t, 1, nil), start(t, 2, nil)
	join(t, a, b)
	return a, b
}

func join(t testing.TB, a, b *pod) {
	t.Helper()
	if err := a.Connect(within(t, 10*time.Second), b.id, b.Addrs()); err != nil {
		t.Fatalf("connect: %v", err)
	}
}

// wireOf is a block with random bytes and its wire form.
func wireOf(rnd *rand.Rand, size int) (block.ID, []byte) {
	plain := make([]byte, size)
	for i := 0; i+8 <= len(plain); i += 8 {
		binary.LittleEndian.PutUint64(plain[i:], rnd.Uint64())
	}
	return block.Sum(block.Raw, plain), append(block.Header{PlainLen: uint32(size)}.Append(nil), plain...)
}

func random(t testing.TB) *rand.Rand {
	t.Logf("seed %d", *seed)
	return rand.New(rand.NewPCG(*seed, 0))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "format", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %x, want %x", name, got, want)
	}
}

func addrsOfText(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}
