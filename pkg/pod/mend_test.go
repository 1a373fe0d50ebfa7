package pod

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/store"
)

// givingNet is the network of a pod with one other, which gives what get says.
type givingNet struct {
	offline

	pod ident.Pod
	get func(id block.ID) (wire []byte, err error)
}

// Connected is network's; so are those that follow.
func (g *givingNet) Connected(pod ident.Pod) bool { return pod == g.pod }

func (g *givingNet) Peers() []p2p.Peer { return []p2p.Peer{{Pod: g.pod}} }

func (g *givingNet) Get(_ context.Context, _ ident.Pod, ids []block.ID, f func(block.ID, []byte, error) error) error {
	for _, id := range ids {
		wire, err := g.get(id)
		if err := f(id, wire, err); err != nil {
			return err
		}
	}
	return nil
}

// rottenPod is a pod that does not run, and whose copy of a block is damaged; put puts the block.
func rottenPod(t *testing.T, put func(p *stillPod, id block.ID, plain []byte) error) (p *stillPod, id block.ID, plain []byte) {
	t.Helper()
	p = newStill(t)
	plain = randomBytes(88, 256<<10)
	id = block.Sum(block.Raw, plain)
	if err := errors.Join(put(p, id, plain), p.store.Sync(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	turnByte(t, p.dir, plain)
	return openStill(t, p.o), id, plain
}

// turnByte damages bytes where they stand in the segments of a pod that is closed.
func turnByte(t *testing.T, dir string, plain []byte) {
	t.Helper()
	for _, path := range segmentsOf(t, dir) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(data, plain[:64]); at >= 0 {
			data[at+32] ^= 0x55
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("nothing was damaged")
}

func segmentsOf(t *testing.T, dir string) []string {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "segments", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return segments
}

func putCached(p *stillPod, id block.ID, plain []byte) error {
	return p.store.PutCached(p.t.Context(), id, plain)
}

func putOwned(p *stillPod, id block.ID, plain []byte) error {
	return p.store.Put(p.t.Context(), id, plain)
}

// TestMendCachedBesidePut: a damaged cached copy was found, and before it is dropped somebody puts the block as the pod's own. If it fails, bytes that a
// writer was told are durable are deleted.
func TestMendCachedBesidePut(t *testing.T) {
	p, id, plain := rottenPod(t, putCached)
	ctx := t.Context()
	var found []store.Problem
	if _, err := p.store.Scrub(ctx, "", 1<<40, func(pr store.Problem) {
		if pr.ID == id {
			found = append(found, pr)
		}
	}); err != nil || len(found) != 1 || !found[0].Cached {
		t.Fatalf("the scrub finds %v, %v", found, err)
	}
	if err := errors.Join(putOwned(p, id, plain), p.store.Sync(ctx)); err != nil {
		t.Fatal(err)
	}
	p.mend(ctx, found[0])
	if owned, _ := p.store.Has(id); !owned {
		t.Error("a block that was put is gone")
	}
	// Without a put the damaged copy goes.
	q, id, _ := rottenPod(t, putCached)
	if _, err := q.scrubStep(ctx, "", func(Problem) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.store.Get(ctx, id); !errors.Is(err, block.ErrNotFound) {
		t.Errorf("a damaged cached copy: %v, want %v", err, block.ErrNotFound)
	}
}

// TestReplaceBesidePut: while a good copy of a damaged block comes from another pod, somebody puts the block here, and then the disk is full. If it fails, bytes that
// a writer was told are durable are deleted for a copy that has no room.
func TestReplaceBesidePut(t *testing.T) {
	p, id, plain := rottenPod(t, putOwned)
	ctx := t.Context()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	used := int64(0)
	for _, path := range segmentsOf(t, p.dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		used += info.Size()
	}
	o := p.o
	o.CapacityBytes = reserveBytes + used + 400<<10 // one record fits, not two
	p = openStill(t, o)
	if _, err := p.store.Get(ctx, id); !errors.Is(err, block.ErrCorrupt) {
		t.Fatalf("get: %v, want %v", err, block.ErrCorrupt)
	}
	p.net = &givingNet{pod: ident.Pod{7}, get: func(id block.ID) ([]byte, error) {
		if err := errors.Join(putOwned(p, id, plain), p.store.Sync(ctx)); err != nil {
			return nil, err
		}
		return p.store.Wire(ctx, id)
	}}
	if got, err := p.replaceDamaged(ctx, id, block.ErrCorrupt); err != nil || string(got) != string(plain) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if owned, _ := p.store.Has(id); !owned {
		t.Error("a block that was put is gone")
	}
}

// TestCollectBesideDamage: a block in the trash is damaged, and something names it again. If it fails, no collection comes to an end until a scrub finds the block.
func TestCollectBesideDamage(t *testing.T) {
	p, id, _ := rottenPod(t, putOwned)
	ctx := t.Context()
	if done, err := p.store.Trash(ctx, id, nil); err != nil || !done {
		t.Fatal(done, err)
	}
	if _, err := p.store.Get(ctx, id); !errors.Is(err, block.ErrCorrupt) {
		t.Fatalf("get: %v, want %v", err, block.ErrCorrupt)
	}
	c := &collection{p: p.Pod, live: newFilter(16), start: p.clock.Now()}
	c.live.add(id)
	if err := c.trash(ctx); err != nil {
		t.Error(err)
	}
	if c.out.Restored != 0 || c.out.Kept != 0 || p.store.InTrash(id) {
		t.Errorf("%+v; in the trash: %v", c.out, p.store.InTrash(id))
	}
}
