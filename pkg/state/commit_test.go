package state

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

var equalRows = []cmp.Option{
	cmpopts.IgnoreUnexported(Header{}, Row{}, Head{}), cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b block.ID) bool { return a == b }),
}

func key(a ident.Actor) ed25519.PublicKey { return testKey(a).Public().(ed25519.PublicKey) }

func TestCommitRoundTrip(t *testing.T) {
	want := fullCommit()
	b := want.Encode(testSign(want.Actor))
	got, err := DecodeCommit(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(got, want, equalRows...); d != "" {
		t.Errorf("got - want +\n%s", d)
	}
	if got.Digest() != want.Digest() || got.Digest() == [32]byte{} {
		t.Errorf("digest: got %x, want %x", got.Digest(), want.Digest())
	}
	if err := got.Verify(key(actor(1))); err != nil {
		t.Error(err)
	}
	for name, k := range map[string]ed25519.PublicKey{"another's": key(actor(2)), "none": nil} {
		if err := got.Verify(k); !errors.Is(err, ErrSignature) {
			t.Errorf("%s key: got %v, want ErrSignature", name, err)
		}
	}
	if d := cmp.Diff(got.Inode(0), fullInode().Stamp(want.Dot()), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("inode: got - want +\n%s", d)
	}
	if got.Inode(1) != nil || got.Inode(3) != nil || got.Wish(0) != nil {
		t.Error("rows have values that they don't bring")
	}
	if d := cmp.Diff(got.Wish(3), fullWish()); d != "" {
		t.Errorf("wish: got - want +\n%s", d)
	}
	if got.Snap(4) != testRoot("snap") {
		t.Errorf("snapshot: got %v", got.Snap(4))
	}
	if d := cmp.Diff(got.Past(), VV{actor(1): 5, actor(2): 4, actor(3): 1}); d != "" {
		t.Errorf("past: got - want +\n%s", d)
	}
}

// TestHeaderAlone: a header proves what its actor committed, without the rows.
func TestHeaderAlone(t *testing.T) {
	c := fullCommit()
	b := c.Encode(testSign(c.Actor))
	alone := c.AppendSigned(nil)
	h, err := DecodeHeader(alone)
	if err != nil {
		t.Fatal(err)
	}
	of, err := HeaderOf(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*Header{h, of} {
		if err := h.Verify(key(c.Actor)); err != nil || h.Digest() != c.Digest() || h.Dot() != c.Dot() {
			t.Errorf("%v: header %+v, want %+v", err, h, c.Header)
		}
	}
	if again := h.AppendSigned(nil); !bytes.Equal(again, alone) {
		t.Errorf("encoded again: %x, want %x", again, alone)
	}
}

// TestEveryByteIsSigned: whatever byte of a commit or head is another, it is refused, or the signature is not valid.
func TestEveryByteIsSigned(t *testing.T) {
	c, h := fullCommit().Encode(testSign(actor(1))), fullHead().Encode(testSign(actor(1)))
	for i := range c {
		b := bytes.Clone(c)
		b[i] ^= 1
		if got, err := DecodeCommit(b); err == nil && got.Verify(key(actor(1))) == nil {
			t.Errorf("commit: byte %d is not protected", i)
		}
	}
	for i := range h {
		b := bytes.Clone(h)
		b[i] ^= 1
		if got, err := DecodeHead(b); err == nil && got.Verify(key(actor(1))) == nil {
			t.Errorf("head: byte %d is not protected", i)
		}
	}
}

// TestDecodeCommitRefuses: an author, though a member, may be hostile: what it could not know or do is refused.
func TestDecodeCommitRefuses(t *testing.T) {
	inode := func(breakIt func(n *Inode)) func(c *Commit) {
		return func(c *Commit) {
			n := fullInode()
			breakIt(n)
			c.Rows[0].Value = AppendInode(nil, n)
		}
	}
	row := func(key []byte, value []byte, observed ...Dot) func(c *Commit) {
		return func(c *Commit) { c.Rows = []Row{{Key: key, Value: value, Observed: observed}} }
	}
	plain, fold := AppendInode(nil, plainInodeAt(1)), AppendInode(nil, plainFolder())
	root := plainFolder()
	root.Links = nil
	for name, breakIt := range map[string]func(c *Commit){
		"no actor":                   func(c *Commit) { c.Actor = ident.Actor{} },
		"no seq":                     func(c *Commit) { c.Seq = 0 },
		"first with prev":            func(c *Commit) { c.Seq, c.Skip, c.Rows = 1, [32]byte{}, nil },
		"no prev":                    func(c *Commit) { c.Prev = [32]byte{} },
		"no skip":                    func(c *Commit) { c.Skip = [32]byte{} },
		"skip where there is none":   func(c *Commit) { c.Seq = 8 },
		"depends on itself":          func(c *Commit) { c.Deps[0].Actor = c.Actor },
		"depends twice on one":       func(c *Commit) { c.Deps[1].Actor = actor(2) },
		"depends on commit 0":        func(c *Commit) { c.Deps[0].Seq = 0 },
		"branch":                     func(c *Commit) { c.Actor = ident.BranchOf(1, [32]byte{}) },
		"observed the future":        func(c *Commit) { c.Rows[0].Observed[1].Seq = 5 },
		"observed itself":            func(c *Commit) { c.Rows[0].Observed[0].Seq = 6 },
		"observed twice":             func(c *Commit) { c.Rows[0].Observed[1] = c.Rows[0].Observed[0] },
		"two rows of a key":          func(c *Commit) { c.Rows[1].Key = c.Rows[0].Key },
		"content of the future":      inode(func(n *Inode) { n.Contents[1].Dot.Seq, n.Contents[2].Dot.Seq, n.Seen[1].Seq = 5, 5, 5 }),
		"content of its own, dotted": inode(func(n *Inode) { n.Contents[0].Dot, n.Seen[0].Seq = Dot{actor(1), 6}, 6 }),
		"saw the future":             inode(func(n *Inode) { n.Seen[1].Seq = 5 }),
		"stamp of the future":        inode(func(n *Inode) { n.Mode.TS = at(2001, 1) }),
		"lineage since the future":   inode(func(n *Inode) { n.Links[0].Over.Since = at(2001, 1) }),
		"file with derived number":   row(InodeKey(1<<63|5), plain),
		"root is a file":             row(InodeKey(RootIno), plain),
		"root has a link":            row(InodeKey(RootIno), fold),
		"folder without link":        row(InodeKey(1<<63|5), AppendInode(nil, root)),
		"number 0":                   row(InodeKey(0), plain),
		"key of another kind":        row([]byte("x1234567"), plain),
		"key too short":              row([]byte("i123"), plain),
		"key empty":                  row(nil, plain),
		"snapshot without name":      row(SnapKey(""), AppendSnap(nil, testRoot("x"))),
		"snapshot dot dot":           row(SnapKey(".."), AppendSnap(nil, testRoot("x"))),
		"snapshot of a chunk":        row(SnapKey("x"), AppendSnap(nil, block.Sum(block.Raw, nil))),
		"wish of the future":         row(WishKey(1), AppendWish(nil, &Wish{Policy: Reg[string]{TS: at(2001, 1)}})),
		"value of another kind":      row(WishKey(1), plain),
		"removes nothing":            row(InodeKey(5), nil),
	} {
		t.Run(name, func(t *testing.T) {
			c := fullCommit()
			breakIt(c)
			if _, err := DecodeCommit(c.Encode(testSign(actor(1)))); !errors.Is(err, block.ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
		})
	}
	other := fullCommit()
	other.Rows = other.Rows[:1]
	a, b := fullCommit(), other.Encode(testSign(actor(1)))
	a.Encode(testSign(actor(1)))
	mixed := append([]byte{0x83}, a.AppendSigned(nil)[1:]...)
	mixed = append(mixed, b[len(mixed):]...)
	if _, err := DecodeCommit(mixed); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("rows of another commit: got %v, want ErrCorrupt", err)
	}
}

// plainInodeAt is plainInode with stamps in the past of fullCommit.
func plainInodeAt(ms int) *Inode {
	n := plainInode()
	n.Mode.TS, n.Owner.TS, n.Links[0].TS = at(ms, 1), at(ms, 1), at(ms, 1)
	n.Contents[0].TS, n.Contents[0].MtimeTS = at(ms, 1), at(ms, 1)
	return n
}

// TestCommitAllows: what must not be refused.
func TestCommitAllows(t *testing.T) {
	root := plainFolder()
	root.Links = nil
	for name, c := range map[string]*Commit{
		"first":    {Header: Header{Network: testNet, Actor: actor(1), Seq: 1}},
		"no rows":  {Header: Header{Network: testNet, Actor: actor(1), Seq: 3, Prev: [32]byte{1}, Skip: [32]byte{1}}},
		"the root": {Header: Header{Actor: actor(1), Seq: 1, HLC: at(1000, 1).HLC}, Rows: []Row{{Key: InodeKey(RootIno), Value: AppendInode(nil, root)}}},
		"others' numbers": {
			Header: Header{Actor: actor(1), Seq: 1, HLC: at(1000, 1).HLC, Deps: []Dep{{Dot: Dot{actor(2), 1}}}},
			Rows:   []Row{{Key: InodeKey(InoOf(actor(2), 500)), Observed: []Dot{{actor(2), 1}}, Value: AppendInode(nil, plainInodeAt(1))}},
		},
	} {
		if _, err := DecodeCommit(c.Encode(testSign(actor(1)))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSkipSeq(t *testing.T) {
	for seq, want := range map[uint64]uint64{1: 0, 2: 0, 3: 2, 6: 4, 7: 6, 8: 0, 12: 8, 13: 12} {
		if got := SkipSeq(seq); got != want {
			t.Errorf("%d: got %d, want %d", seq, got, want)
		}
	}
}

func TestHead(t *testing.T) {
	want := fullHead()
	got, err := DecodeHead(want.Encode(testSign(actor(1))))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(got, want, equalRows...); d != "" {
		t.Errorf("got - want +\n%s", d)
	}
	if err := got.Verify(key(actor(1))); err != nil {
		t.Error(err)
	}
	if err := got.Verify(key(actor(2))); !errors.Is(err, ErrSignature) {
		t.Errorf("another's key: got %v, want ErrSignature", err)
	}
	for name, breakIt := range map[string]func(h *Head){
		"no actor":          func(h *Head) { h.Actor = ident.Actor{} },
		"digest of nothing": func(h *Head) { h.Seq, h.VV = 0, VV{} },
		"no digest":         func(h *Head) { h.CommitDigest = [32]byte{} },
		"not its own seq":   func(h *Head) { h.VV[actor(1)] = 5 },
		"half a checkpoint": func(h *Head) { h.TreeRoot = block.ID{} },
		"root is a chunk":   func(h *Head) { h.TreeRoot = block.Sum(block.Raw, nil) },
	} {
		h := fullHead()
		breakIt(h)
		if _, err := DecodeHead(h.Encode(testSign(actor(1)))); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
	empty := &Head{Network: testNet, Actor: actor(1)}
	if _, err := DecodeHead(empty.Encode(testSign(actor(1)))); err != nil {
		t.Errorf("a pod that has nothing: %v", err)
	}
}

// TestDomains: a signature of one kind is none of another.
func TestDomains(t *testing.T) {
	h := fullHead()
	h.Encode(testSign(actor(1)))
	if err := h.signed.verify(commitDomain, key(actor(1))); !errors.Is(err, ErrSignature) {
		t.Errorf("a head as a commit: got %v, want ErrSignature", err)
	}
}

func TestHLC(t *testing.T) {
	now := time.UnixMilli(1764158400123)
	h := NextHLC(0, now)
	if !h.Time().Equal(now) || h != HLCOf(now) {
		t.Errorf("got %v, want %v", h.Time(), now)
	}
	if got := NextHLC(h, now.Add(-time.Hour)); got != h+1 {
		t.Errorf("a clock turned back: got %d, want %d", got, h+1)
	}
	if got := NextHLC(h|0xffff, now); !got.Time().Equal(now.Add(time.Millisecond)) {
		t.Errorf("a counter that overflows: got %v", got.Time())
	}
	if got := NextHLC(0, time.UnixMilli(-5)); got != 1 {
		t.Errorf("before 1970: got %d, want 1", got)
	}
	if got := NextHLC(math.MaxUint64, now); got != math.MaxUint64 {
		t.Errorf("at the end: got %d", got)
	}
	if got := HLCOf(time.UnixMilli(1 << 60)); got != hlcMilliMax<<16 {
		t.Errorf("after the end: got %d", got)
	}
}

// TestDerived pins numbers that all pods must compute alike.
func TestDerived(t *testing.T) {
	name := ContentName{Dot: Dot{actor(2), 3}, K: 1}
	if got, want := DeriveFolderIno(testNet, RootIno, "docs", 0), Ino(0xbbb4ef51853c2802); got != want {
		t.Errorf("folder: got %#x, want %#x", uint64(got), uint64(want))
	}
	if got, want := CopyIno(77, name), Ino(0xa318e3f5393834fe); got != want {
		t.Errorf("copy: got %#x, want %#x", uint64(got), uint64(want))
	}
	if got, want := hash16(77, 5, name), uint16(0x2478); got != want {
		t.Errorf("hash16: got %#x, want %#x", got, want)
	}
	seen := map[Ino]bool{}
	for _, n := range []Ino{
		DeriveFolderIno(testNet, 1, "a", 0), DeriveFolderIno(testNet, 1, "a", 1), DeriveFolderIno(testNet, 1, "b", 0), DeriveFolderIno(testNet, 2, "a", 0),
		DeriveFolderIno(ident.Network{}, 1, "a", 0), CopyIno(1, name), CopyIno(2, name), CopyIno(1, ContentName{Dot: name.Dot}),
	} {
		if seen[n] || !IsDerived(n) {
			t.Errorf("%#x: not a derived number of its own", uint64(n))
		}
		seen[n] = true
	}
	a := ident.Actor{Member: ident.MemberMax, Incarnation: ident.IncarnationMax}
	if n := InoOf(a, 1<<45-1); n != 1<<63-1 {
		t.Errorf("the greatest number: %#x", uint64(n))
	}
}

// TestFitsOp: operations stop before an inode can't be folded any more.
func TestFitsOp(t *testing.T) {
	n := plainInode()
	if err := n.FitsOp(len(AppendInode(nil, n))); err != nil {
		t.Error(err)
	}
	if err := n.FitsOp(InodeOpMax + 1); !errors.Is(err, vfs.ErrNoSpace) {
		t.Errorf("large: got %v, want ErrNoSpace", err)
	}
	n.Links = make([]Link, LinksOpMax+1)
	if err := n.FitsOp(0); !errors.Is(err, vfs.ErrTooManyLinks) {
		t.Errorf("many links: got %v, want ErrTooManyLinks", err)
	}
}

// FuzzRows fuzzes the rows of a commit whose header fits them.
func FuzzRows(f *testing.F) {
	f.Add(appendRows(nil, fullCommit().Rows))
	f.Fuzz(func(t *testing.T, rows []byte) {
		got, err := decodeRows(rows)
		if err != nil {
			return
		}
		c := fullCommit()
		c.Rows = got
		b := c.Encode(testSign(actor(1)))
		if again := appendRows(nil, got); !bytes.Equal(again, rows) {
			t.Fatalf("encoded again: %x, want %x", again, rows)
		}
		if c, err = DecodeCommit(b); err == nil {
			for i := range c.Rows {
				c.Inode(i)
			}
		}
	})
}

// FuzzHeader fuzzes signed headers.
func FuzzHeader(f *testing.F) {
	fuzz(f, DecodeHeader, func(h *Header) []byte {
		return (&signed{bytes: h.append(nil), sig: h.signed.sig}).append([]byte{0x82})
	}, "header")
}
