package state

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// randomInode is a valid version with zero dots, canonical: decoding its encoding gives it back.
func randomInode(rng *rand.Rand) *Inode {
	ts := func() TS { return at(rng.IntN(4), 1+rng.IntN(3)) }
	n := &Inode{
		Kind:  vfs.Kind(1 + rng.IntN(7)),
		Mode:  Reg[uint32]{Value: rng.Uint32N(0o10000), TS: ts()},
		Owner: Reg[Owner]{Value: Owner{UID: rng.Uint32(), GID: rng.Uint32N(30)}, TS: ts()},
		RDev:  rng.Uint64N(1000),
		Btime: rng.Int64() - 1<<62,
	}
	for i := range rng.IntN(3) {
		x := Xattr{Name: "user." + string(rune('a'+i)), Value: []byte{}, TS: ts()}
		if rng.IntN(3) == 0 {
			x.Gone, x.Value = true, nil
		} else {
			x.Value = append(x.Value, "value"[:rng.IntN(5)]...)
		}
		n.Xattrs = append(n.Xattrs, x)
	}
	for i := range rng.IntN(3) {
		n.Ext = append(n.Ext, Ext{Field: uint64(i*30 + rng.IntN(30)), TS: ts(), Value: []byte("x")})
	}
	for i := range 1 + rng.IntN(3) {
		l := Link{ID: uint64(i * 1000), Parent: Ino(1 + rng.Uint64N(1<<63)), Name: strings.Repeat("n", 1+rng.IntN(255)), TS: ts()}
		if rng.IntN(2) == 0 {
			l.Dead, l.DeadTS = true, ts()
		}
		if rng.IntN(2) == 0 {
			l.PrevParent, l.PrevName = 1, "prev"
		}
		if rng.IntN(2) == 0 {
			l.Over = &Over{Ino: 5, Since: ts(), TS: ts()}
		}
		if n.Links = append(n.Links, l); n.Kind == vfs.KindFolder {
			return n
		}
	}
	for i := range rng.IntN(4) {
		c := Content{Dot: Dot{actor(1 + rng.Uint32N(3)), 1 + rng.Uint64N(4)}, K: uint32(i), TS: ts(), Size: rng.Uint64N(vfs.FileMax), Mtime: rng.Int64(), MtimeTS: ts()}
		if rng.IntN(3) == 0 {
			c.Dot = Dot{}
		}
		if rng.IntN(2) == 0 {
			c.Body = []byte("body")
		}
		n.Contents = append(n.Contents, c)
	}
	n.Contents = sorted(n.Contents, newestFirst)
	if rng.IntN(2) == 0 {
		n.Seen = leftOut(joinSeen(listed(n.Contents), []Dot{{actor(2), 9}}), n.Contents)
	}
	return n
}

// TestInodeRoundTrip: what decodes differently than it was written is lost or changed on the way to another pod.
func TestInodeRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		n := randomInode(rng)
		b := AppendInode(nil, n)
		got, err := DecodeInode(b)
		if err != nil {
			t.Fatalf("%v\n%+v", err, n)
		}
		if d := cmp.Diff(got, n); d != "" {
			t.Fatalf("got - want +\n%s", d)
		}
		if again := AppendInode(nil, got); !bytes.Equal(again, b) {
			t.Fatalf("encoded again: %x, want %x", again, b)
		}
		dot := Dot{actor(5), 10}
		set := VerSet[*Inode]{{Dot: dot, Value: n.Stamp(dot)}, {Dot: Dot{actor(6), 1}, Value: n.Stamp(Dot{actor(6), 1})}}
		back, err := DecodeInodeSet(AppendInodeSet(nil, set))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(back, set); d != "" {
			t.Fatalf("set: got - want +\n%s", d)
		}
	}
}

func TestWishAndSnapRoundTrip(t *testing.T) {
	want := VerSet[*Wish]{{Dot: Dot{actor(1), 2}, Value: fullWish()}, {Dot: Dot{actor(1), 3}, Value: &Wish{}}}
	got, err := DecodeWishSet(AppendWishSet(nil, want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("wishes: got - want +\n%s", d)
	}
	snaps := VerSet[block.ID]{{Dot: Dot{actor(1), 2}, Value: testRoot("a")}, {Dot: Dot{actor(2), 2}, Value: testRoot("b")}}
	gotSnaps, err := DecodeSnapSet(AppendSnapSet(nil, snaps))
	if err != nil || !cmp.Equal(gotSnaps, snaps, cmp.Comparer(func(a, b block.ID) bool { return a == b })) {
		t.Errorf("snapshots: got %v, %v, want %v", gotSnaps, err, snaps)
	}
}

// TestAppendInodeSorts: an operation may leave lists out of order and Seen in place.
func TestAppendInodeSorts(t *testing.T) {
	n := fullInode()
	want := AppendInode(nil, n)
	m := n.Clone()
	m.Links[0], m.Links[1] = m.Links[1], m.Links[0]
	m.Xattrs[0], m.Xattrs[1] = m.Xattrs[1], m.Xattrs[0]
	m.Contents[0], m.Contents[2] = m.Contents[2], m.Contents[0]
	m.Seen[0], m.Seen[1] = m.Seen[1], m.Seen[0]
	m.Ext[0], m.Ext[1] = m.Ext[1], m.Ext[0]
	if got := AppendInode(nil, m); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if d := cmp.Diff(n, fullInode()); d != "" {
		t.Errorf("Clone shares what changed: %s", d)
	}
	p := plainInode().Stamp(Dot{actor(1), 4})
	want = AppendInode(nil, p)
	p.Seen = []Dot{{actor(1), 4}}
	if got := AppendInode(nil, p); !bytes.Equal(got, want) {
		t.Errorf("seen is not left out: got %x, want %x", got, want)
	}
}

// TestDecodeInodeRefuses: each of these breaks a rule on which other code relies.
func TestDecodeInodeRefuses(t *testing.T) {
	for name, breakIt := range map[string]func(n *Inode){
		"no kind":               func(n *Inode) { n.Kind = 0 },
		"kind not known":        func(n *Inode) { n.Kind = 8 },
		"mode":                  func(n *Inode) { n.Mode.Value = 0o10000 },
		"no link":               func(n *Inode) { n.Links = nil },
		"link twice":            func(n *Inode) { n.Links[1].ID = 0 },
		"name with slash":       func(n *Inode) { n.Links[0].Name = "a/b" },
		"name dot dot":          func(n *Inode) { n.Links[0].Name = ".." },
		"name empty":            func(n *Inode) { n.Links[0].Name = "" },
		"name long":             func(n *Inode) { n.Links[0].Name = strings.Repeat("x", 256) },
		"previous name NUL":     func(n *Inode) { n.Links[0].PrevName = "a\x00" },
		"no parent":             func(n *Inode) { n.Links[0].Parent = 0 },
		"over nothing":          func(n *Inode) { n.Links[0].Over.Ino = 0 },
		"attribute twice":       func(n *Inode) { n.Xattrs[1].Name = n.Xattrs[0].Name },
		"attribute of no name":  func(n *Inode) { n.Xattrs[0].Name = "" },
		"attribute NUL":         func(n *Inode) { n.Xattrs[0].Name = "a\x00b" },
		"attribute large":       func(n *Inode) { n.Xattrs[0].Value = make([]byte, vfs.XattrMax+1) },
		"field twice":           func(n *Inode) { n.Ext[1].Field = n.Ext[0].Field },
		"content twice":         func(n *Inode) { n.Contents[1].K = 0 },
		"content large":         func(n *Inode) { n.Contents[0].Size = vfs.FileMax + 1 },
		"body large":            func(n *Inode) { n.Contents[0].Body = make([]byte, BodyMax+1) },
		"content not seen":      func(n *Inode) { n.Seen = []Dot{{actor(1), 1}, {actor(2), 2}} },
		"seen of no actor":      func(n *Inode) { n.Seen = []Dot{{ident.Actor{}, 1}, {actor(2), 4}} },
		"folder with contents":  func(n *Inode) { n.Kind = vfs.KindFolder; n.Links = n.Links[:1] },
		"folder with two links": func(n *Inode) { n.Kind = vfs.KindFolder; n.Contents, n.Seen = nil, nil },
		"folder's link number":  func(n *Inode) { n.Kind = vfs.KindFolder; n.Contents, n.Seen, n.Links = nil, nil, n.Links[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			n := fullInode()
			breakIt(n)
			if _, err := DecodeInode(AppendInode(nil, n)); !errors.Is(err, block.ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
		})
	}
}

// TestDecodeRefusesOtherForms: bytes that are not what encoding gives, of a value that is valid.
func TestDecodeRefusesOtherForms(t *testing.T) {
	b := AppendInode(nil, plainInode())
	ts := []byte{0x82, 0x1b}
	i := bytes.Index(b, ts)
	stamp := b[i : i+11]
	j := i + 11 + bytes.IndexByte(b[i+11:], 0xf6)
	for name, c := range map[string][]byte{
		"stamp repeated": bytes.Join([][]byte{b[:j], stamp, b[j+1:]}, nil),
		"bytes left":     append(bytes.Clone(b), 0),
		"cut":            b[:len(b)-1],
		"empty":          nil,
	} {
		if _, err := DecodeInode(c); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
	if _, err := DecodeInode(b); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeInodeSet([]byte{0x80}); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("set of no version: got %v, want ErrCorrupt", err)
	}
	unstamped := AppendInodeSet(nil, VerSet[*Inode]{{Dot: Dot{actor(1), 1}, Value: plainInode()}})
	if _, err := DecodeInodeSet(unstamped); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("set with a content without dot: got %v, want ErrCorrupt", err)
	}
}

// TestEveryByteCounts: whatever byte of an encoding is another, it is refused or means something else.
func TestEveryByteCounts(t *testing.T) {
	b := AppendInode(nil, fullInode())
	for i := range b {
		for _, x := range []byte{1, 0x20, 0x80, 0xff} {
			c := bytes.Clone(b)
			c[i] ^= x
			n, err := DecodeInode(c)
			if err == nil && !bytes.Equal(AppendInode(nil, n), c) {
				t.Fatalf("byte %d xor %x is read as what is written otherwise", i, x)
			}
		}
	}
}

func TestVV(t *testing.T) {
	a := VV{actor(1): 5, actor(2): 1}
	b := VV{actor(1): 5, actor(2): 2, actor(3): 0}
	if !a.LessEqual(b) || b.LessEqual(a) || !a.Covers(Dot{actor(1), 5}) || a.Covers(Dot{actor(3), 1}) {
		t.Errorf("order of %v and %v is wrong", a, b)
	}
	got, err := DecodeVV(b.Append(nil))
	if d := cmp.Diff(got, VV{actor(1): 5, actor(2): 2}); err != nil || d != "" {
		t.Errorf("%v: got - want +\n%s", err, d)
	}
	c := a.Clone()
	c.Merge(b)
	if d := cmp.Diff(c, b, cmpopts.IgnoreMapEntries(func(_ ident.Actor, s uint64) bool { return s == 0 })); d != "" || a[actor(2)] != 1 {
		t.Errorf("merge: got - want +\n%s, from %v", d, a)
	}
}

// goldenBytes are the golden file's, as a seed of fuzzing.
func goldenBytes(f *testing.F, name string) []byte {
	f.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "format", name+".hex"))
	if err != nil {
		f.Fatal(err)
	}
	return unhex(f, string(text))
}

// fuzz checks that a decoder doesn't panic, and that what it accepts is written the same.
func fuzz[T any](f *testing.F, decode func([]byte) (T, error), encode func(T) []byte, seeds ...string) {
	f.Helper()
	for _, s := range seeds {
		f.Add(goldenBytes(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(b)
		if err != nil {
			if !errors.Is(err, block.ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
			return
		}
		if again := encode(v); !bytes.Equal(again, b) {
			t.Fatalf("encoded again: %x, want %x", again, b)
		}
	})
}

func FuzzInode(f *testing.F) {
	fuzz(f, DecodeInode, func(n *Inode) []byte { return AppendInode(nil, n) }, "inode", "inode-plain", "inode-folder")
}

func FuzzInodeSet(f *testing.F) {
	fuzz(f, DecodeInodeSet, func(s VerSet[*Inode]) []byte { Fold(s); return AppendInodeSet(nil, s) }, "inode-set")
}

func FuzzWish(f *testing.F) {
	fuzz(f, DecodeWish, func(w *Wish) []byte { return AppendWish(nil, w) }, "wish")
}

func FuzzWishSet(f *testing.F) {
	fuzz(f, DecodeWishSet, func(s VerSet[*Wish]) []byte { FoldWish(s); return AppendWishSet(nil, s) }, "wish-set")
}

func FuzzSnapSet(f *testing.F) {
	fuzz(f, DecodeSnapSet, func(s VerSet[block.ID]) []byte { return AppendSnapSet(nil, s) }, "snap-set")
}

func FuzzVV(f *testing.F) {
	fuzz(f, DecodeVV, func(vv VV) []byte { return vv.Append(nil) }, "vv")
}

func FuzzCommit(f *testing.F) {
	fuzz(f, DecodeCommit, func(c *Commit) []byte { return c.Encode(func([]byte) []byte { return c.signed.sig }) }, "commit")
}

func FuzzHead(f *testing.F) {
	fuzz(f, DecodeHead, func(h *Head) []byte { return h.Encode(func([]byte) []byte { return h.signed.sig }) }, "head")
}
