package state

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// memBlocks keeps blocks in memory.
type memBlocks struct {
	mu sync.Mutex
	m  map[block.ID][]byte
}

func newMemBlocks() *memBlocks { return &memBlocks{m: map[block.ID][]byte{}} }

func (s *memBlocks) Get(_ context.Context, id block.ID) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.m[id]
	if !ok {
		return nil, fmt.Errorf("%s: %w", id, block.ErrNotFound)
	}
	return b, nil
}

func (s *memBlocks) Put(_ context.Context, id block.ID, plain []byte) error {
	if err := id.Verify(plain); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[id] = append([]byte(nil), plain...)
	return nil
}

// turned is a clock that a test turns.
type turned struct {
	mu  sync.Mutex
	now time.Time
}

func (c *turned) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *turned) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

func (c *turned) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var _ clock.Clock = (*turned)(nil)

// podsNet is a network of writers for tests.
type podsNet struct {
	id    ident.Network
	clock *turned
}

func newPods() *podsNet {
	return &podsNet{id: ident.Network{7}, clock: &turned{now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)}}
}

// isNow says whether a time is of this millisecond: the clock of stamps counts within it.
func (n *podsNet) isNow(ns int64) bool { return ns/1e6 == n.clock.Now().UnixMilli() }

func podKey(member uint32) ed25519.PrivateKey {
	var seed [32]byte
	seed[0], seed[1] = byte(member), byte(member>>8)
	return ed25519.NewKeyFromSeed(seed[:])
}

func (n *podsNet) options(member uint32, fs pebblevfs.FS) Options {
	key := podKey(member)
	return Options{
		FS: fs, Dir: "state", Network: n.id, Actor: ident.Actor{Member: member},
		Sign: func(msg []byte) []byte { return ed25519.Sign(key, msg) },
		Author: func(a ident.Actor) (ed25519.PublicKey, error) {
			if a.Member > 99 {
				return nil, errors.New("no member")
			}
			return podKey(a.Member).Public().(ed25519.PublicKey), nil
		},
		PodName: func(a ident.Actor) string { return fmt.Sprintf("pod%d", a.Member) },
		Blocks:  newMemBlocks(), Clock: n.clock,
	}
}

func (n *podsNet) open(t testing.TB, member uint32) *DB {
	t.Helper()
	return openWith(t, n.options(member, pebblevfs.NewMem()))
}

func openWith(t testing.TB, o Options) *DB {
	t.Helper()
	d, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func inline(s string) NewContent {
	return NewContent{Size: uint64(len(s)), Body: dag.InlineBody([]byte(s)).Encode()}
}

func textOf(t testing.TB, n Node) string {
	t.Helper()
	if len(n.Body) == 0 {
		return ""
	}
	b, err := dag.DecodeBody(n.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b.Inline)
}

func mkfile(t testing.TB, d *DB, parent Ino, name, text string) Node {
	t.Helper()
	c := inline(text)
	return must[Node](t)(d.Create(parent, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}, CreateOptions{Content: &c}))
}

func mkdir(t testing.TB, d *DB, parent Ino, name string) Node {
	t.Helper()
	return must[Node](t)(d.Create(parent, name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}, CreateOptions{}))
}

// tree is everything below a folder: paths and texts.
func tree(t testing.TB, d *DB) map[string]string {
	t.Helper()
	out := map[string]string{}
	var walk func(ino Ino, path string, depth int)
	walk = func(ino Ino, path string, depth int) {
		if depth > 100 {
			t.Fatalf("%s is too deep", path)
		}
		for _, e := range must[[]Entry](t)(d.List(ino, "", 0)) {
			p := path + "/" + e.Name
			if e.Node.Kind == vfs.KindFolder {
				out[p] = "folder"
				walk(e.Node.ID, p, depth+1)
			} else {
				out[p] = textOf(t, e.Node)
			}
		}
	}
	walk(RootIno, "", 0)
	return out
}

// exchange gives every DB what the others have committed.
func exchange(t testing.TB, dbs ...*DB) {
	t.Helper()
	for _, d := range dbs {
		must[int](t)(d.Commit(t.Context()))
	}
	for _, to := range dbs {
		for _, from := range dbs {
			if from != to {
				pull(t, to, from)
			}
		}
	}
}

func pull(t testing.TB, to, from *DB) {
	t.Helper()
	commits := must[[][]byte](t)(from.Log(t.Context(), to.VV(), 1<<30))
	must[int](t)(to.Apply(t.Context(), commits))
}

func wantTree(t testing.TB, d *DB, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(tree(t, d), want); diff != "" {
		t.Errorf("tree: got - want +\n%s", diff)
	}
	check(t, d)
}

func check(t testing.TB, d *DB) {
	t.Helper()
	if err := d.Check(t.Context(), func(p string) { t.Errorf("check: %s", p) }); err != nil {
		t.Error(err)
	}
}

func TestBasics(t *testing.T) {
	n := newPods()
	d := n.open(t, 1)
	a := mkdir(t, d, RootIno, "a")
	f := mkfile(t, d, a.ID, "f", "hello")
	wantTree(t, d, map[string]string{"/a": "folder", "/a/f": "hello"})
	must[Node](t)(d.SetContent(f.ID, inline("world")))
	must[Node](t)(d.Link(f.ID, RootIno, "g"))
	wantTree(t, d, map[string]string{"/a": "folder", "/a/f": "world", "/g": "world"})
	must[int](t)(d.Commit(t.Context()))
	if d.Dirty() {
		t.Error("dirty after a commit")
	}
	must[Node](t)(d.Rename(a.ID, "f", RootIno, "h", 0))
	if got := must[string](t)(d.Path(a.ID)); got != "/a" {
		t.Errorf("path %s", got)
	}
	if _, err := d.Remove(RootIno, "a", false); !errors.Is(err, vfs.ErrIsDir) {
		t.Errorf("unlink of a folder: %v", err)
	}
	gone := must[Node](t)(d.Remove(RootIno, "g", false))
	if gone.NLink != 1 {
		t.Errorf("nlink %d", gone.NLink)
	}
	must[Node](t)(d.Remove(RootIno, "a", true))
	wantTree(t, d, map[string]string{"/h": "world"})
	cp := must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	again := must[CheckpointInfo](t)(d.Checkpoint(t.Context()))
	if cp.Tree != again.Tree || cp.State != again.State {
		t.Errorf("a checkpoint of nothing new: %v, then %v", cp, again)
	}
	if id := must[block.ID](t)(d.NodeCID(RootIno)); id != cp.Tree {
		t.Errorf("root's CID %s, tree root %s", id, cp.Tree)
	}
	h := must[[]byte](t)(d.Head(t.Context()))
	if _, err := DecodeHead(h); err != nil {
		t.Error(err)
	}
	wantTree(t, d, map[string]string{"/h": "world"})
}
