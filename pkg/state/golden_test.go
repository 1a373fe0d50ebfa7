package state

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares bytes with testdata/format/name.hex: if they differ, the format has changed.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "format", name+".hex")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(wrapHex(got)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := unhex(t, string(text))
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the format changed:\ngot  %x\nwant %x", name, got, want)
	}
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wrapHex(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(len(b), 32)
		s.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	return s.String()
}

// actor is the actor with this member number, in incarnation 0.
func actor(member uint32) ident.Actor { return ident.Actor{Member: member} }

func at(ms, member int) TS { return TS{HLC: HLC(ms) << 16, Actor: actor(uint32(member))} }

// testNet is a network of tests.
var testNet = ident.NetworkOf(bytes.Repeat([]byte{7}, ed25519.PublicKeySize))

// testKey is the key of an actor in tests.
func testKey(a ident.Actor) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(a.Member)}, ed25519.SeedSize))
}

func testSign(a ident.Actor) func([]byte) []byte {
	return func(msg []byte) []byte { return ed25519.Sign(testKey(a), msg) }
}

// fullInode has every field set.
func fullInode() *Inode {
	return &Inode{
		Kind:  vfs.KindFile,
		Mode:  Reg[uint32]{Value: 0o4755, TS: at(1000, 1)},
		Owner: Reg[Owner]{Value: Owner{UID: 1000, GID: 100}, TS: at(1000, 1)},
		Xattrs: []Xattr{
			{Name: "user.a", Value: []byte("one"), TS: at(1001, 2)},
			{Name: "user.b", Gone: true, TS: at(1002, 2)},
		},
		RDev:  259,
		Btime: -5,
		Ext:   []Ext{{Field: 1, TS: at(1003, 1), Value: []byte{0, 0, 0, 0, 0, 0, 0, 9}}, {Field: 900, TS: at(1003, 1), Value: []byte("later")}},
		Links: []Link{
			{Parent: RootIno, Name: "a\xff.txt", TS: at(1004, 1), PrevParent: RootIno, PrevName: "b", Over: &Over{Ino: InoOf(actor(2), 8), Since: at(900, 2), TS: at(1004, 1)}},
			{ID: uint64(InoOf(actor(1), 77)), Parent: DeriveFolderIno(testNet, RootIno, "docs", 0), Name: "c", TS: at(1000, 1), Dead: true, DeadTS: at(1005, 3)},
		},
		Contents: []Content{
			{TS: at(1007, 1), Size: 5, Mtime: 1e18, MtimeTS: at(1008, 1), Body: []byte("body1")},
			{Dot: Dot{actor(2), 3}, K: 1, TS: at(1006, 2), Size: 300, Mtime: -1, MtimeTS: at(1006, 2), Body: []byte("body2")},
			{Dot: Dot{actor(2), 3}, TS: at(1005, 2)},
		},
		Seen: []Dot{{actor(1), 1}, {actor(2), 4}},
	}
}

func plainInode() *Inode {
	return &Inode{
		Kind:     vfs.KindFile,
		Mode:     Reg[uint32]{Value: 0o644, TS: at(1764158400000, 1)},
		Owner:    Reg[Owner]{TS: at(1764158400000, 1)},
		Btime:    1764158400000000000,
		Links:    []Link{{Parent: RootIno, Name: "notes.txt", TS: at(1764158400000, 1)}},
		Contents: []Content{{TS: at(1764158400000, 1), Size: 12, Mtime: 1764158400000000000, MtimeTS: at(1764158400000, 1), Body: []byte("hello world\n")}},
	}
}

func plainFolder() *Inode {
	return &Inode{
		Kind:  vfs.KindFolder,
		Mode:  Reg[uint32]{Value: 0o755, TS: at(1000, 1)},
		Owner: Reg[Owner]{TS: at(1000, 1)},
		Links: []Link{{Parent: RootIno, Name: "docs"}},
	}
}

func fullWish() *Wish {
	pod := func(n byte) ident.Pod { return ident.Pod(bytes.Repeat([]byte{n}, 32)) }
	return &Wish{
		Policy:     Reg[string]{Value: "rs:4+2", TS: at(1000, 1)},
		Durability: Reg[string]{Value: "quorum", TS: at(1000, 1)},
		Homes:      Reg[[]ident.Pod]{Value: []ident.Pod{pod(9), pod(2)}, TS: at(1001, 1)},
		Pins:       []Pin{{Pod: pod(1), TS: at(1002, 1)}, {Pod: pod(3), Gone: true, TS: at(1002, 2)}},
		Ext:        []Ext{{Field: 7, TS: at(1003, 1), Value: []byte{1}}},
	}
}

func testRoot(s string) block.ID { return block.Sum(block.DagCBOR, []byte(s)) }

// fullCommit has a row of every kind, a removal, and deps.
func fullCommit() *Commit {
	return &Commit{
		Header: Header{
			Network: testNet, Actor: actor(1), Seq: 6, Prev: [32]byte{1}, Skip: [32]byte{2},
			Deps: []Dep{{Dot{actor(2), 4}, [8]byte{3}}, {Dot{actor(3), 1}, [8]byte{4}}},
			HLC:  at(2000, 1).HLC + 3,
		},
		Rows: []Row{
			{Key: InodeKey(InoOf(actor(1), 76)), Observed: []Dot{{actor(1), 5}, {actor(2), 4}}, Value: AppendInode(nil, fullInode())},
			{Key: InodeKey(InoOf(actor(2), 9)), Observed: []Dot{{actor(2), 1}}},
			{Key: InodeKey(DeriveFolderIno(testNet, RootIno, "docs", 0)), Value: AppendInode(nil, plainFolder())},
			{Key: WishKey(RootIno), Value: AppendWish(nil, fullWish())},
			{Key: SnapKey("auto-2025"), Value: AppendSnap(nil, testRoot("snap"))},
		},
	}
}

func fullHead() *Head {
	return &Head{
		Network: testNet, Actor: actor(1), Seq: 6, CommitDigest: [32]byte{5}, VV: VV{actor(1): 6, actor(2): 4},
		Checkpoint: testRoot("state"), TreeRoot: testRoot("tree"), HLC: 77,
	}
}

func fullSet() VerSet[*Inode] {
	a, b := Dot{actor(1), 6}, Dot{actor(2), 9}
	plain := plainInode().Stamp(b)
	return VerSet[*Inode]{{Dot: a, Value: fullInode().Stamp(a)}, {Dot: b, Value: plain}}
}

// TestGolden pins the bytes of each format.
func TestGolden(t *testing.T) {
	golden(t, "inode", AppendInode(nil, fullInode()))
	golden(t, "inode-plain", AppendInode(nil, plainInode()))
	golden(t, "inode-folder", AppendInode(nil, plainFolder()))
	golden(t, "inode-set", AppendInodeSet(nil, fullSet()))
	golden(t, "wish", AppendWish(nil, fullWish()))
	golden(t, "wish-set", AppendWishSet(nil, VerSet[*Wish]{{Dot: Dot{actor(1), 2}, Value: fullWish()}}))
	golden(t, "snap-set", AppendSnapSet(nil, VerSet[block.ID]{{Dot: Dot{actor(1), 2}, Value: testRoot("snap")}}))
	golden(t, "vv", VV{actor(1): 6, actor(300): 1 << 40, {Member: 2, Incarnation: 3}: 9}.Append(nil))
	golden(t, "commit", fullCommit().Encode(testSign(actor(1))))
	c := fullCommit()
	c.Encode(testSign(c.Actor))
	golden(t, "header", c.AppendSigned(nil))
	golden(t, "head", fullHead().Encode(testSign(actor(1))))
}

// fullFork is a fork of two commits.
func fullFork(t testing.TB) *Fork {
	t.Helper()
	a, b := fullCommit(), fullCommit()
	b.Rows = b.Rows[:1]
	a.Encode(testSign(a.Actor))
	b.Encode(testSign(b.Actor))
	f, err := NewFork(&a.Header, &b.Header)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// exampleWord is an author's word.
func exampleWord() *Fork {
	return newForkWord(testNet, forkPoint{actor: actor(1), seq: 3, digest: [32]byte{1}}, testSign(actor(1)))
}

// TestGoldenForks pins the bytes of what says that commits are told apart by branches.
func TestGoldenForks(t *testing.T) {
	golden(t, "fork", fullFork(t).Encode())
	golden(t, "fork-word", exampleWord().Encode())
	branchActor := ident.BranchOf(1, [32]byte{0xab, 0xcd, 0xef, 0x01})
	golden(t, "tips", AppendTips(nil, []Tip{{Dot{actor(1), 3}, [32]byte{1}}, {Dot{branchActor, 9}, [32]byte{2}}}))
	b := branch{point: forkPoint{actor: actor(1), seq: 3, digest: [32]byte{1}}, parent: actor(1), first: [32]byte{0xab, 0xcd, 0xef, 0x01}}
	golden(t, "branch", append(branchKey(branchActor), b.encode()...))
}

// FuzzFork fuzzes fork statements.
func FuzzFork(f *testing.F) {
	fuzz(f, DecodeFork, func(k *Fork) []byte { return k.Encode() }, "fork", "fork-word")
}

// FuzzBranch fuzzes what is kept of a branch.
func FuzzBranch(f *testing.F) {
	b := branch{point: forkPoint{actor: actor(1), seq: 3, digest: [32]byte{1}}, parent: actor(1), first: [32]byte{1}}
	name := ident.BranchOf(1, b.first)
	f.Add(branchKey(name), b.encode())
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if name, got, err := decodeBranch(key, value); err == nil && (string(got.encode()) != string(value) || string(branchKey(name)[1:]) != string(key[1:])) {
			t.Fatal("written again it is something else")
		}
	})
}
