package state

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// encodedRoot is a state root without branches.
func encodedRoot(net ident.Network, rows block.ID, vv VV) []byte {
	return (&Root{Network: net, Rows: rows, VV: vv}).encode()
}

// exampleRoot has one branch, and one of that.
func exampleRoot() []byte {
	first, second := [32]byte{0xab, 0xcd, 0xef, 0x01}, [32]byte{0x12}
	a, b := ident.BranchOf(1, first), ident.BranchOf(1, second)
	t := newBranches()
	t.set(a, branch{point: forkPoint{actor: actor(1), seq: 3, digest: [32]byte{1}}, parent: actor(1), first: first})
	t.set(b, branch{point: forkPoint{actor: actor(1), seq: 7, digest: [32]byte{2}}, parent: a, first: second})
	return (&Root{Network: testNet, Rows: block.Sum(block.DagCBOR, []byte("rows")), VV: VV{actor(1): 3, a: 7, b: 9, actor(2): 9}, branches: t}).encode()
}

func exampleJoinRecord() *joinRecord {
	return &joinRecord{head: []byte("head"), upTo: InodeKey(7)}
}

// TestJoinFormats breaks if what a join leaves on the disk, or in the log, is written otherwise than before.
func TestJoinFormats(t *testing.T) {
	golden(t, "join-record", exampleJoinRecord().encode())
	rebuild := exampleJoinRecord()
	rebuild.replace = true
	golden(t, "join-record-rebuild", rebuild.encode())
	if back, err := decodeJoinRecord(rebuild.encode()); err != nil || !back.replace {
		t.Errorf("a rebuild is read as %v, %v", back, err)
	}
	c := &Commit{Header: Header{Network: testNet, Actor: actor(1), Seq: 1, HLC: 5}}
	whole := c.Encode(testSign(actor(1)))
	for name, encoded := range map[string][]byte{"log-entry": whole, "log-entry-header": c.AppendSigned(nil), "log-entry-digest": nil} {
		e := logEntry{digest: c.Digest(), total: 258, encoded: encoded}
		golden(t, name, e.encode())
		if e.whole() != (name == "log-entry") {
			t.Errorf("%s: whole %v", name, e.whole())
		}
		if h, err := headerOf(encoded); (err != nil) != (encoded == nil) || err == nil && h.Digest() != c.Digest() {
			t.Errorf("%s: %v", name, err)
		}
	}
	golden(t, "state-root-branches", exampleRoot())
	root, err := DecodeRoot(exampleRoot())
	if err != nil || root.VV[actor(2)] != 9 || root.Network != testNet || root.Rows.IsZero() {
		t.Errorf("%v, %v", root, err)
	}
}

func FuzzRoot(f *testing.F) {
	f.Add(exampleRoot())
	f.Add(encodedRoot(testNet, block.ID{}, VV{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeRoot(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("%x is read as %v", b, r)
		}
	})
}

// TestRootRefused: branches that don't go together are not read.
func TestRootRefused(t *testing.T) {
	first := [32]byte{0xab, 0xcd, 0xef, 0x01}
	a, x := ident.BranchOf(1, first), actor(1)
	good := branch{point: forkPoint{actor: x, seq: 3, digest: [32]byte{1}}, parent: x, first: first}
	for name, change := range map[string]func(b *branch, vv VV){
		"":                                  func(*branch, VV) {},
		"another first commit":              func(b *branch, _ VV) { b.first[0]++ },
		"a parent of another member":        func(b *branch, vv VV) { b.parent = actor(2); vv[actor(2)] = 3 },
		"no commits":                        func(b *branch, vv VV) { vv[a] = 3 },
		"a parent that goes on":             func(b *branch, vv VV) { vv[x] = 4 },
		"a parent that ends before":         func(b *branch, vv VV) { vv[x] = 2 },
		"itself as parent":                  func(b *branch, vv VV) { b.parent = a },
		"a parent that is not there":        func(b *branch, vv VV) { b.parent = ident.BranchOf(1, [32]byte{9}); vv[b.parent] = 3 },
		"the first commit with a digest":    func(b *branch, vv VV) { b.point.seq = 0; delete(vv, x) },
		"a later commit without the digest": func(b *branch, _ VV) { b.point.digest = [32]byte{} },
	} {
		b, vv, t2 := good, VV{x: 3, a: 9}, newBranches()
		change(&b, vv)
		t2.byName[a] = b
		if extra := ident.BranchOf(1, [32]byte{9}); vv[extra] > 0 {
			t2.byName[extra] = b
		}
		_, err := DecodeRoot((&Root{Network: testNet, VV: vv, branches: t2}).encode())
		if (err == nil) != (name == "") || err != nil && !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func exampleOffer() *Offer {
	return &Offer{
		Head: []byte("head"), Forks: [][]byte{[]byte("fork")}, LogBytes: 1 << 20,
		Ways: []Way{
			{Label: actor(1), From: 3, To: 4, Digests: bytes.Repeat([]byte{7}, 64), Headers: [][]byte{[]byte("four"), []byte("three")}},
			{Label: actor(2), From: 9, To: 1000, Digests: []byte{}},
		},
	}
}

// TestOfferFormat pins the bytes of an offer.
func TestOfferFormat(t *testing.T) {
	golden(t, "offer", exampleOffer().Encode())
	golden(t, "digests-from", AppendFrom(nil, actor(2), 1000))
	b := exampleOffer().Encode()
	if o, err := DecodeOffer(b); err != nil || !cmp.Equal(&o, exampleOffer()) {
		t.Errorf("%v: %v", err, cmp.Diff(&o, exampleOffer()))
	}
	for i := range b {
		if _, err := DecodeOffer(b[:i]); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
}

// TestOfferComplete breaks if an offer takes in what does not fit, or more than it may.
func TestOfferComplete(t *testing.T) {
	three := bytes.Repeat([]byte{1}, 3*digestLen)
	for name, c := range map[string]struct {
		to   uint64
		page []byte
		want error
	}{
		"whole":        {12, three[:digestLen], nil},
		"more":         {12, three, nil},
		"odd bytes":    {12, three[:5], block.ErrCorrupt},
		"nothing":      {12, nil, block.ErrCorrupt},
		"far too many": {1 << 40, three, block.ErrCorrupt},
		"all numbers":  {1<<64 - 1, three, block.ErrCorrupt},
	} {
		o := Offer{Ways: []Way{{Label: actor(1), From: 9, To: c.to, Digests: three[:digestLen]}, {Label: actor(2), From: 1, To: 1}}}
		err := o.Complete(t.Context(), func(_ context.Context, _ ident.Actor, _ uint64) ([]byte, error) { return c.page, nil })
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (len(o.Ways[0].Digests) != 4*digestLen || len(o.Ways[1].Digests) != digestLen) {
			t.Errorf("%s: %d, %d bytes", name, len(o.Ways[0].Digests), len(o.Ways[1].Digests))
		}
	}
}

func FuzzOffer(f *testing.F) {
	f.Add(exampleOffer().Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := DecodeOffer(b); err == nil && !bytes.Equal(o.Encode(), b) {
			t.Errorf("%x is read as %v", b, o)
		}
	})
}

func FuzzFrom(f *testing.F) {
	f.Add(AppendFrom(nil, actor(2), 1000))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, from, err := DecodeFrom(b); err == nil && !bytes.Equal(AppendFrom(nil, a, from), b) {
			t.Errorf("%x is read as %v, %d", b, a, from)
		}
	})
}

func FuzzJoinRecord(f *testing.F) {
	f.Add(exampleJoinRecord().encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeJoinRecord(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("%x is read as %v", b, r)
		}
	})
}

func FuzzRowNode(f *testing.F) {
	blocks := newMemBlocks()
	link := longRowLink(block.Sum(block.Raw, []byte("row")))
	root, err := dag.EditTree(f.Context(), blocks, block.ID{}, []dag.Edit{{Key: InodeKey(1), Value: []byte{0x80}}, {Key: InodeKey(2), Value: link}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blocks.m[root])
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := DecodeRowNode(b)
		if err != nil {
			return
		}
		for _, id := range n.Links {
			if id.IsZero() {
				t.Error("a link to nothing")
			}
		}
	})
}
