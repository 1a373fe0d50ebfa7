package pod

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/erasure"
	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// cutChunk has pods hold the fragments of a chunk that nobody has whole then: pod i fragment i.
func cutChunk(t *testing.T, pods []*testPod, k, m int, plain []byte) block.ID {
	t.Helper()
	ctx := quickly(t)
	id := block.Sum(block.Raw, plain)
	first := pods[0]
	if err := first.Pod.put(ctx, id, plain); err != nil {
		t.Fatal(err)
	}
	var targets []target
	for i := range k + m {
		targets = append(targets, target{pods[i].id, i})
	}
	_, errs, err := first.encodeTo(ctx, id, nil, k, m, targets)
	if err = errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.store.Delete(ctx, id), first.store.Sync(ctx)); err != nil {
		t.Fatal(err)
	}
	return id
}

// metPods are manyPods that are connected.
func metPods(t *testing.T, n int) []*testPod {
	t.Helper()
	pods := manyPods(t, n)
	eventually(t, "all are connected", func() error {
		var errs []error
		for _, p := range pods {
			for _, o := range pods {
				if o != p {
					errs = append(errs, p.reachable(o))
				}
			}
		}
		return errors.Join(errs...)
	})
	return pods
}

// gets reads a block, from other pods as far as possible, and forgets it.
func (p *testPod) gets(id block.ID) ([]byte, error) {
	p.t.Helper()
	p.forget()
	if err := p.store.Uncache(quickly(p.t), id); err != nil {
		p.t.Fatal(err)
	}
	return p.getBlock(quickly(p.t), id)
}

func (p *testPod) getsSame(id block.ID, plain []byte) {
	p.t.Helper()
	if got, err := p.gets(id); err != nil || !bytes.Equal(got, plain) {
		p.t.Errorf("%s: %d bytes of %d, %v", p.reg.name(p.id), len(got), len(plain), err)
	}
}

func (p *testPod) end() *memPeer {
	p.t.Helper()
	end, ok := p.net.(*memPeer)
	if !ok {
		p.t.Fatal("the pod is in no memNet")
	}
	return end
}

// TestGather: of six pods with a fragment each of 4+2, any two may go, and all others read the chunk; with three gone it fails and says so, and when one comes back it is
// read again.
func TestGather(t *testing.T) {
	pods := metPods(t, 6)
	plain := []byte(randomText(1, 300_000))
	id := cutChunk(t, pods, 4, 2, plain)
	net := pods[0].end().net
	for a := range 6 {
		for b := range a {
			if testing.Short() && (a+b)%3 != 0 {
				continue
			}
			net.cut(pods[a].end())
			net.cut(pods[b].end())
			for i, p := range pods {
				if i != a && i != b {
					p.getsSame(id, plain)
				}
			}
			net.join(pods[a].end())
			net.join(pods[b].end())
		}
	}
	for i, p := range pods {
		if err := p.store.Uncache(quickly(t), id); err != nil {
			t.Fatal(err)
		}
		if i < 3 {
			net.cut(p.end())
		}
	}
	if _, err := pods[5].gets(id); !errors.Is(err, block.ErrUnavailable) {
		t.Errorf("with three fragments of 4+2: %v", err)
	}
	net.join(pods[1].end())
	pods[5].getsSame(id, plain)
}

// TestGatherLies: pods that send wrong bytes, wrong lengths, other fragments, nothing, a record that lies, or claim what they have not, keep nobody from reading, as long as k are
// honest; no wrong byte is served.
func TestGatherLies(t *testing.T) {
	pods := metPods(t, 5)
	reader := pods[4]
	plain := []byte(randomText(2, 200_000))
	id := cutChunk(t, pods, 2, 2, plain)
	var called atomic.Int32
	for name, spoil := range map[string]func(ctx context.Context, f block.Fragment, wire []byte) ([]byte, error){
		"wrong bytes": func(_ context.Context, _ block.Fragment, wire []byte) ([]byte, error) {
			wire[len(wire)-9] ^= 1
			return wire, nil
		},
		"short": func(_ context.Context, _ block.Fragment, wire []byte) ([]byte, error) { return wire[:len(wire)-1], nil },
		"empty": func(context.Context, block.Fragment, []byte) ([]byte, error) { return []byte{}, nil },
		"gone":  func(context.Context, block.Fragment, []byte) ([]byte, error) { return nil, block.ErrNotFound },
		"stalls": func(ctx context.Context, _ block.Fragment, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"another one": func(_ context.Context, f block.Fragment, wire []byte) ([]byte, error) {
			wire[6] = (f.I + 1) % 4
			return wire, nil
		},
		"lying record": func(_ context.Context, f block.Fragment, wire []byte) ([]byte, error) { return lie(f, wire), nil },
	} {
		t.Run(name, func(t *testing.T) {
			called.Store(0)
			for i := range 2 { // both have fragments of data, which are asked for first
				pods[i].end().tricks.Store(&tricks{fragment: func(ctx context.Context, f block.Fragment, wire []byte) ([]byte, error) {
					called.Add(1)
					return spoil(ctx, f, bytes.Clone(wire))
				}})
			}
			for range 50 { // whose answer comes first is asked first
				if reader.getsSame(id, plain); called.Load() > 0 {
					break
				}
			}
			if called.Load() == 0 {
				t.Error("the lying pods were not asked")
			}
			pods[2].end().tricks.Store(pods[0].end().tricks.Load())
			pods[3].end().tricks.Store(pods[0].end().tricks.Load())
			if name != "stalls" {
				if _, err := reader.gets(id); !errors.Is(err, block.ErrUnavailable) {
					t.Errorf("with all of them lying: %v", err)
				}
			}
			for i := range 4 {
				pods[i].end().tricks.Store(&tricks{})
			}
		})
	}
}

// lie changes a fragment together with the record that it carries.
func lie(f block.Fragment, wire []byte) []byte {
	_, rec, data, err := block.ParseFragment(wire)
	if err != nil {
		return wire
	}
	data = bytes.Clone(data)
	data[3] ^= 0x40
	for i := range rec.Digests {
		rec.Digests[i] = blake3.Sum256([]byte{byte(i)}) // all liars tell one story
	}
	rec.Digests[f.I] = blake3.Sum256(data)
	return rec.AppendWire(nil, int(f.I), data)
}

// TestGatherConsistentLie: a whole stripe that fits together and is another block, on more pods than there are honest ones, is found out by the block's ID, and the honest stripe read.
func TestGatherConsistentLie(t *testing.T) {
	pods := metPods(t, 5)
	ctx := quickly(t)
	plain := []byte(randomText(3, 200_000))
	id := cutChunk(t, pods[:3], 1, 2, plain)
	other := []byte(randomText(4, 200_000))
	var codec erasure.Codec
	var set erasure.Set
	if err := codec.Cut(&set, id, append(block.Header{PlainLen: uint32(len(other))}.Append(nil), other...), 1, 4); err != nil {
		t.Fatal(err)
	}
	for i, p := range pods {
		wire, err := set.AppendWire(nil, i)
		if err == nil {
			err = p.store.PutFragment(ctx, block.Fragment{Stripe: set.Record().Stripe, I: uint8(i)}, wire)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range pods {
		p.getsSame(id, plain)
	}
}

// TestGatherForms: fragments of two forms of one chunk never count together, and each whole stripe is enough.
func TestGatherForms(t *testing.T) {
	pods := metPods(t, 4)
	ctx := quickly(t)
	plain := []byte(strings.Repeat("what compresses well; ", 20_000))
	id := block.Sum(block.Raw, plain)
	raw := append(block.Header{PlainLen: uint32(len(plain))}.Append(nil), plain...)
	if err := pods[0].Pod.put(ctx, id, plain); err != nil {
		t.Fatal(err)
	}
	encode := func(form []byte, targets ...target) {
		t.Helper()
		_, errs, err := pods[0].encodeTo(ctx, id, form, 2, 1, targets)
		if err = errors.Join(append(errs, err)...); err != nil {
			t.Fatal(err)
		}
	}
	encode(nil, target{pods[0].id, 0})
	encode(raw, target{pods[1].id, 1}) // two fragments, of two forms
	if err := pods[0].store.Delete(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := pods[3].gets(id); !errors.Is(err, block.ErrUnavailable) {
		t.Fatalf("fragments of two forms were joined: %v", err)
	}
	encode(raw, target{pods[2].id, 2})
	pods[3].getsSame(id, plain)
	pods[0].getsSame(id, plain)
}

// TestEncodeRefuses: two fragments of a stripe never come to one pod; nothing is cut from bytes that are not the block.
func TestEncodeRefuses(t *testing.T) {
	pods := metPods(t, 3)
	ctx := quickly(t)
	plain := []byte(randomText(5, 150_000))
	id := cutChunk(t, pods, 2, 1, plain)
	a, b := pods[0], pods[1]
	if err := a.Pod.put(ctx, id, plain); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.encodeTo(ctx, id, nil, 2, 1, []target{{b.id, 0}, {b.id, 2}}); !errors.Is(err, errSamePod) {
		t.Errorf("two for one pod: %v", err)
	}
	if _, _, err := a.encodeTo(ctx, id, nil, 2, 1, []target{{b.id, 3}}); !errors.Is(err, block.ErrBadID) {
		t.Errorf("fragment 3 of 2+1: %v", err)
	}
	if _, _, err := a.encodeTo(ctx, id, nil, 2, 0, nil); !errors.Is(err, block.ErrBadID) {
		t.Errorf("2+0: %v", err)
	}
	wrong := append(block.Header{PlainLen: 3}.Append(nil), "not"...)
	if _, _, err := a.encodeTo(ctx, id, wrong, 2, 1, []target{{b.id, 1}}); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("wrong bytes: %v", err)
	}
	if _, _, err := b.encodeTo(ctx, id, nil, 2, 1, nil); !errors.Is(err, block.ErrNotFound) {
		t.Errorf("a block that is not here: %v", err)
	}
}

// rotFragment flips a bit in the bytes of a fragment on a pod's disk.
func rotFragment(t *testing.T, p *testPod, f block.Fragment) {
	t.Helper()
	want, err := p.store.Fragment(quickly(t), f)
	if err != nil {
		t.Fatal(err)
	}
	fs := p.o.FS
	dir := fs.PathJoin(p.dir, "segments")
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		file, err := fs.OpenReadWrite(fs.PathJoin(dir, name), pebblevfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		all := make([]byte, info.Size())
		if _, err := file.ReadAt(all, 0); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if at := bytes.Index(all, want); at >= 0 {
			at += len(want) - 5
			if _, err := file.WriteAt([]byte{all[at] ^ 8}, int64(at)); err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the fragment is nowhere on the disk")
}

// TestMendFragment: a damaged fragment is made again out of the others, by a scrub, and after a read that found it; with too few others it stays damaged, and that is told.
func TestMendFragment(t *testing.T) {
	pods := metPods(t, 3)
	ctx := quickly(t)
	plain := []byte(randomText(6, 150_000))
	id := cutChunk(t, pods, 2, 1, plain)
	p := pods[1]
	list, err := p.store.Fragments(id)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	f := list[0]
	before, err := p.store.Fragment(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	mended := func(how string) {
		t.Helper()
		if after, err := p.store.Fragment(ctx, f); err != nil || !bytes.Equal(after, before) || !p.store.HasFragment(f) {
			t.Errorf("%s: the fragment is another: %v", how, err)
		}
		if st, err := p.Status(ctx); err != nil || len(p.damaged.listFragments()) != 0 {
			t.Errorf("%s: %+v, %v", how, st, err)
		}
	}
	scrub := func() (fixed, left int) {
		t.Helper()
		if _, err := p.Scrub(ctx, func(pr Problem) {
			if pr.Fixed {
				fixed++
			} else {
				left++
			}
		}); err != nil {
			t.Fatal(err)
		}
		return fixed, left
	}
	rotFragment(t, p, f)
	if fixed, left := scrub(); fixed != 1 || left != 0 {
		t.Errorf("scrub mended %d, %d are left", fixed, left)
	}
	mended("scrub")

	rotFragment(t, p, f)
	pods[2].getsSame(id, plain) // asks for it, in vain
	eventually(t, "the damage is noted", func() error {
		if len(p.damaged.listFragments()) == 0 {
			_, err := pods[2].gets(id)
			return errors.Join(err, errors.New("not yet"))
		}
		return nil
	})
	p.mendDamaged(ctx)
	mended("read")

	rotFragment(t, p, f)
	net := p.end().net
	net.cut(pods[2].end())
	if fixed, left := scrub(); fixed != 0 || left != 1 {
		t.Errorf("with too few others, scrub mended %d, %d are left", fixed, left)
	}
	if p.store.HasFragment(f) || len(p.damaged.listFragments()) != 1 {
		t.Error("damage is not told")
	}
	net.join(pods[2].end())
	p.mendDamaged(ctx)
	mended("later")
}

// TestRebuildFragment: a fragment is made anew on a pod that never had one, from fragments, and from a whole copy of the same form.
func TestRebuildFragment(t *testing.T) {
	pods := metPods(t, 4)
	ctx := quickly(t)
	plain := []byte(randomText(7, 150_000))
	id := cutChunk(t, pods[:3], 2, 1, plain)
	list, err := pods[2].store.Fragments(id)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	f := list[0]
	want, err := pods[2].store.Fragment(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	net := pods[0].end().net
	net.cut(pods[2].end())
	p := pods[3]
	if err := p.rebuildFragment(ctx, f); err != nil {
		t.Fatal(err)
	}
	if got, err := p.store.Fragment(ctx, f); err != nil || !bytes.Equal(got, want) {
		t.Errorf("rebuilt another: %v", err)
	}
	net.cut(pods[0].end())
	if err := errors.Join(p.store.DeleteFragment(ctx, f), p.store.Sync(ctx)); err != nil {
		t.Fatal(err)
	}
	if err := p.rebuildFragment(ctx, f); !errors.Is(err, block.ErrUnavailable) {
		t.Errorf("rebuilt out of one of two: %v", err)
	}
	if err := errors.Join(p.Pod.put(ctx, id, plain), p.rebuildFragment(ctx, f)); err != nil {
		t.Fatal(err)
	}
	if got, err := p.store.Fragment(ctx, f); err != nil || !bytes.Equal(got, want) {
		t.Errorf("recut another: %v", err)
	}
	net.join(pods[0].end())
	if err := pods[0].copyFragment(ctx, p.id, f); err != nil || !pods[0].store.HasFragment(f) {
		t.Errorf("copied: %v", err)
	}
}

// TestFragmentsCollected: garbage collection keeps fragments of what is named, though this pod has no whole copy of it, and takes those of what is not; one that is named again comes back.
func TestFragmentsCollected(t *testing.T) {
	pods := metPods(t, 3)
	ctx := quickly(t)
	if err := pods[0].SetPolicy(ctx, vfs.RootID, "none", ""); err != nil {
		t.Fatal(err)
	}
	text := randomText(8, 200_000)
	pods[0].write("/f", text)
	pods[0].settle()
	sameRoot(t, pods...)
	live := chunkOf(t, pods[0], "/f")
	dead := cutChunk(t, pods, 2, 1, []byte(randomText(9, 200_000)))
	_, errs, err := pods[0].encodeTo(ctx, live, nil, 2, 1, []target{{pods[0].id, 0}, {pods[1].id, 1}, {pods[2].id, 2}})
	if err = errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
	has := func(p *testPod, id block.ID, want int) {
		t.Helper()
		if list, err := p.store.Fragments(id); err != nil || len(list) != want {
			t.Errorf("%s has %d fragments, want %d: %v", p.reg.name(p.id), len(list), want, err)
		}
	}
	for _, p := range pods[1:] {
		got := p.collect(CollectOptions{})
		has(p, live, 1)
		has(p, dead, 0)
		if got.Garbage != 1 {
			t.Errorf("collected %+v", got)
		}
	}
	if err := errors.Join(pods[0].store.Delete(ctx, live), pods[0].store.Sync(ctx)); err != nil {
		t.Fatal(err)
	}
	pods[0].forget()
	pods[0].reads("/f", text)

	p := pods[1]
	list, err := p.store.Fragments(live)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if done, err := p.store.TrashFragment(ctx, list[0], nil); err != nil || !done {
		t.Fatal(done, err)
	}
	if got := p.collect(CollectOptions{}); got.Restored != 1 {
		t.Errorf("collected %+v", got)
	}
	has(p, live, 1)
	p.collect(CollectOptions{atOnce: true})
	has(p, live, 1)
	dead2 := cutChunk(t, pods, 2, 1, []byte(randomText(11, 200_000)))
	list, err = p.store.Fragments(dead2)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	rotFragment(t, p, list[0])
	if _, err := p.storedFragment(ctx, list[0]); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("rotten: %v", err)
	}
	p.collect(CollectOptions{})
	if knows, err := p.store.KnowsFragments(dead2); err != nil || knows || len(p.damaged.listFragments()) != 0 {
		t.Errorf("the dead and rotten fragment is still there: %t, %v", knows, err)
	}
	if knows, err := p.store.KnowsFragments(dead); err != nil || knows {
		t.Errorf("the dead fragment is still there: %t, %v", knows, err)
	}
	p.clean()
}

// TestFragmentsOverWire: two pods that speak over TCP put, list and get fragments.
func TestFragmentsOverWire(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	eventually(t, "connected", func() error { return errors.Join(a.reachable(b), b.reachable(a)) })
	plain := []byte(randomText(10, 3<<20))
	id := cutChunk(t, []*testPod{a, b}, 1, 1, plain)
	for _, p := range []*testPod{a, b} {
		if list, err := p.store.Fragments(id); err != nil || len(list) != 1 {
			t.Errorf("%d fragments: %v", len(list), err)
		}
	}
	list, err := a.store.Fragments(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.store.DeleteFragment(quickly(t), list[0]); err != nil {
		t.Fatal(err)
	}
	a.getsSame(id, plain)
	if err := a.rebuildFragment(quickly(t), list[0]); err != nil || !a.store.HasFragment(list[0]) {
		t.Errorf("rebuild: %v", err)
	}
}

// TestHedge: a fragment that does not come is asked for elsewhere, after the time in which most came.
func TestHedgedFragments(t *testing.T) {
	var times fragmentTimes
	if got := times.hedge(); got != hedgeFirst {
		t.Errorf("at first: %v", got)
	}
	for range 94 {
		times.note(20 * time.Millisecond)
	}
	if got := times.hedge(); got != 20*time.Millisecond {
		t.Errorf("got %v", got)
	}
	for range 6 {
		times.note(time.Hour)
	}
	if got := times.hedge(); got != fragmentHedgeMax {
		t.Errorf("got %v", got)
	}
	for range hedgeOf {
		times.note(0)
	}
	if got := times.hedge(); got != hedgeMin {
		t.Errorf("got %v", got)
	}
}

// FuzzFragmentsAnswer: no answer makes the reader panic, and what it accepts is about the blocks that were asked for.
func FuzzFragmentsAnswer(f *testing.F) {
	id := block.Sum(block.Raw, []byte("chunk"))
	other := block.Sum(block.DagCBOR, nil)
	one := block.Fragment{Stripe: block.Stripe{ID: id, K: 4, M: 2}, I: 5}
	f.Add(appendFragments(appendFragments(nil, []block.Fragment{one, one}), nil))
	f.Add(appendFragments(appendFragments(nil, nil), []block.Fragment{one}))
	f.Add([]byte{255})
	f.Fuzz(func(t *testing.T, b []byte) {
		lists, err := decodeFragments(b, []block.ID{id, other})
		if err != nil {
			return
		}
		again := appendFragments(appendFragments(nil, lists[0]), lists[1])
		if !bytes.Equal(again, b) {
			t.Errorf("read %x, written %x", b, again)
		}
	})
}

// TestFragmentsGolden: the bytes of a question of kind 24 and its answer never change.
func TestFragmentsGolden(t *testing.T) {
	id := block.Sum(block.Raw, []byte("chunk"))
	one := block.Fragment{Stripe: block.Stripe{ID: id, Form: [32]byte{1, 2, 3}, K: 4, M: 2}, I: 5}
	golden(t, "fragments", appendFragments(appendFragments(id.Append(nil), []block.Fragment{one}), nil))
}

var _ p2p.FragmentHandler = handler{}
