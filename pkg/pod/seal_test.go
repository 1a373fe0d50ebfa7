package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/seal"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/vfstest"
)

// createEncrypted makes an encrypted network and its first pod, and returns the pod's folder.
func createEncrypted(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "first", Encrypt: true}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// noise is n bytes that don't compress.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // it never fails
	return b
}

// put adds a file as an import does.
func (p *testPod) put(path string, data []byte) {
	p.t.Helper()
	ctx := quickly(p.t)
	parent, name, err := vfs.ResolveParent(ctx, p.fs, path)
	if err == nil {
		_, err = p.PutFile(ctx, parent, name, FileMeta{Mode: 0o644}, int64(len(data)), bytes.NewReader(data))
	}
	if err == nil {
		err = p.Settle(ctx)
	}
	if err != nil {
		p.t.Fatalf("put %s: %v", path, err)
	}
}

// cid is the CID of a file.
func (p *testPod) cid(path string) block.ID {
	p.t.Helper()
	ctx := quickly(p.t)
	a, err := vfs.Resolve(ctx, p.fs, path)
	if err != nil {
		p.t.Fatal(err)
	}
	id, err := p.CID(ctx, a.ID)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// onDisk says whether the segments of a pod hold some bytes.
func onDisk(t *testing.T, dir string, marker []byte) bool {
	t.Helper()
	found, files := false, 0
	err := filepath.WalkDir(filepath.Join(dir, "segments"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, marker)
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("%d segments, %v", files, err)
	}
	return found
}

// TestEncryptedConformance breaks where an encrypted pod's file system differs from what every FS promises.
func TestEncryptedConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	vfstest.Run(t, func(t *testing.T) vfs.FS { return openPodOffline(t, createEncrypted(t)).fs })
}

// TestEncryptedPods breaks if pods of an encrypted network can't read what another wrote, with the writer gone too, or if bytes
// of files lie readable in a segment of any of them.
func TestEncryptedPods(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	b, c := joinPod(t, a, "second"), joinPod(t, a, "third")
	put, edited := noise(1, 3<<20), noise(2, 1<<20)
	text := strings.Repeat("a line of text that compresses\n", 5000)
	a.put("/put", put)
	a.write("/written", string(edited))
	b.write("/text", text)
	c.reads("/text", text)
	c.write("/small", "inline")
	all := map[string]string{"/put": string(put), "/written": string(edited), "/text": text, "/small": "inline"}
	for path, want := range all {
		for _, p := range []*testPod{a, b, c} {
			p.reads(path, want)
		}
	}
	// The largest chunk there is goes over the wire, too.
	largest, _, err := a.putChunk(quickly(t), noise(9, block.ChunkMax), making{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.getBlock(quickly(t), largest); err != nil || !bytes.Equal(got, noise(9, block.ChunkMax)) {
		t.Errorf("the largest chunk: %d bytes, %v", len(got), err)
	}
	if err := b.SyncWait(quickly(t), vfs.RootID); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, a, b, c)
	if !a.Info().Encrypted || !c.Info().Encrypted {
		t.Error("pods don't say that they are encrypted")
	}
	for _, p := range []*testPod{a, b, c} {
		p.clean()
	}
	a.stop()
	for path, want := range all {
		b.reads(path, want)
		c.reads(path, want)
	}
	for _, p := range []*testPod{a, b, c} {
		p.stop()
		for _, data := range [][]byte{put[1<<20:], edited[1<<19:], []byte(text)} {
			if onDisk(t, p.dir, data[:64]) {
				t.Errorf("%s: plain bytes on the disk", p.dir)
			}
		}
	}
	// The search itself finds what is there.
	plain := firstPod(t)
	plain.put("/put", put)
	plain.stop()
	if !onDisk(t, plain.dir, put[1<<20:][:64]) {
		t.Error("plain bytes are not found where they are")
	}
}

// TestEncryptedEdits breaks if edits inside sealed chunks, cuts, holes or a fold of many small writes lose or mix bytes.
func TestEncryptedEdits(t *testing.T) {
	dir := createEncrypted(t)
	p := openPodOffline(t, dir)
	ctx := quickly(t)
	want := noise(3, 5<<20)
	p.put("/f", want)
	a, err := vfs.Resolve(ctx, p.fs, "/f")
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 150 {
		at, piece := rnd.IntN(1<<20), noise(byte(i), 1+rnd.IntN(9000))
		if i%10 == 0 {
			at = rnd.IntN(len(want) - len(piece))
		}
		if _, err := f.WriteAt(ctx, piece, int64(at)); err != nil {
			t.Fatal(err)
		}
		copy(want[at:], piece)
		if err := f.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	size := uint64(len(want) - 100_000)
	if _, err := p.fs.SetAttr(ctx, a.ID, vfs.SetAttr{Size: &size}); err != nil {
		t.Fatal(err)
	}
	want = append(want[:size], make([]byte, 200_000)...)
	if _, err := f.WriteAt(ctx, []byte("end"), int64(len(want))); err != nil {
		t.Fatal(err)
	}
	want = append(want, "end"...)
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	p.reads("/f", string(want))
	p.stop()
	p = openPodOffline(t, dir)
	p.reads("/f", string(want))
	p.clean()
}

// TestEncryptedDedup breaks if equal bytes are stored twice, by one pod or two.
func TestEncryptedDedup(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	b := joinPod(t, a, "second")
	data := noise(4, 3<<20)
	a.put("/one", data)
	before := a.store.Usage().OwnedBytes
	a.put("/two", data)
	a.write("/three", string(data))
	if grown := a.store.Usage().OwnedBytes - before; grown > 1<<20 {
		t.Errorf("%d bytes more for the same bytes", grown)
	}
	b.put("/four", data)
	if one, two, four := a.cid("/one"), a.cid("/two"), b.cid("/four"); one != two || one != four {
		t.Errorf("CIDs %s, %s, on the other pod %s", one, two, four)
	}
	// Another network has another key, and shares nothing.
	other := openPodOffline(t, createEncrypted(t))
	other.put("/one", data)
	if other.cid("/one") == a.cid("/one") {
		t.Error("two networks have one CID")
	}
}

// TestOpenTreeSealed breaks if a chunk is not shown as its plain bytes by its CID, or if what was not sealed under the
// network's key is served.
func TestOpenTreeSealed(t *testing.T) {
	p := openPodOffline(t, createEncrypted(t))
	ctx := quickly(t)
	plain := noise(5, 10_000)
	read := func(id block.ID) ([]byte, error) {
		tree, err := p.OpenTree(ctx, id)
		if err != nil {
			return nil, err
		}
		f, err := tree.Open(ctx, vfs.RootID)
		if err != nil {
			return nil, err
		}
		got := make([]byte, len(plain))
		n, err := f.ReadAt(ctx, got, 0)
		return got[:n], err
	}
	id, sum, err := p.putChunk(ctx, plain, making{})
	if err != nil || sum != block.Sum(block.Raw, plain) || id == sum {
		t.Fatalf("%s, %s, %v", id, sum, err)
	}
	if got, err := read(id); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	sealed, err := p.store.Get(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	sealed[len(sealed)-1]++
	other, _, err := seal.New([seal.SecretLen]byte{9}).Seal(nil, plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"plain bytes", plain, block.ErrCorrupt},
		{"tampered with", sealed, block.ErrCorrupt},
		{"cut short", sealed[:40], block.ErrCorrupt},
		{"under another key", other, ErrNoKey},
	} {
		id := block.Sum(block.Raw, row.bytes)
		if err := p.store.Put(ctx, id, row.bytes); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second is not served from memory either
			if got, err := read(id); !errors.Is(err, row.want) {
				t.Errorf("%s: %d bytes, %v; want %v", row.name, len(got), err, row.want)
			}
		}
	}
}

// TestLostKeyFile breaks if a pod whose key file is gone, damaged or of another network can't read any more, although its
// own statement has the key.
func TestLostKeyFile(t *testing.T) {
	dir := createEncrypted(t)
	p := openPodOffline(t, dir)
	p.put("/f", noise(7, 5000))
	p.stop()
	path := filepath.Join(dir, fileDataKey)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"gone":    func() error { return os.Remove(path) },
		"damaged": func() error { return os.WriteFile(path, good[:40], 0o600) },
		"empty":   func() error { return os.WriteFile(path, nil, 0o600) },
		"beside one half made": func() error {
			return errors.Join(os.Remove(path), os.WriteFile(path+".new", []byte("x"), 0o600))
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		p := openPodOffline(t, dir)
		p.reads("/f", string(noise(7, 5000)))
		p.stop()
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, good) {
			t.Errorf("%s: the file is not made again: %v", name, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	// Another network's key may be the last copy of it.
	foreign, err := os.ReadFile(filepath.Join(createEncrypted(t), fileDataKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	p = openPodOffline(t, dir)
	p.reads("/f", string(noise(7, 5000)))
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, foreign) {
		t.Errorf("another network's key was written over: %v", err)
	}
}

// TestNoKey breaks if a pod without a key serves sealed bytes for plain ones, stores plain ones, or lets others in who would get none.
func TestNoKey(t *testing.T) {
	dir := createEncrypted(t)
	p := openPodOffline(t, dir)
	p.put("/f", noise(8, 5000))
	p.stop()
	q, err := Open(quickly(t), Options{Dir: dir, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	q.seal.Store(newSealing(q.reg, nil))
	ctx := quickly(t)
	tree := &testPod{Pod: q, t: t, dir: dir, fs: q.FS()}
	if got, err := tree.read("/f"); !errors.Is(err, ErrNoKey) {
		t.Errorf("read: %q, %v", shorten(got), err)
	}
	if err := writeFS(ctx, tree.fs, "/g", "text"); !errors.Is(err, ErrNoKey) {
		t.Errorf("write: %v", err)
	}
	if _, _, err := q.putChunk(ctx, []byte("text"), making{}); !errors.Is(err, ErrNoKey) {
		t.Errorf("put a chunk: %v", err)
	}
	if _, err := q.Invite(ctx, "writer", time.Hour, 1); !errors.Is(err, ErrNoKey) {
		t.Errorf("invite: %v", err)
	}
	st, err := q.Status(ctx)
	if err != nil || !strings.Contains(fmt.Sprint(st.Warnings), "no_key") {
		t.Errorf("status: %+v, %v", st.Warnings, err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// TestJoinWithoutKey breaks if a pod that may read is made without the key.
func TestJoinWithoutKey(t *testing.T) {
	dir := createEncrypted(t)
	p := openPodOffline(t, dir)
	statements, err := p.currentStatements()
	if err != nil {
		t.Fatal(err)
	}
	var without [][]byte
	for _, s := range statements {
		if kind, _, err := member.DecodeStatement(s); err == nil && kind != member.KindKey {
			without = append(without, s)
		}
	}
	if len(without) == len(statements) {
		t.Fatal("no statement with a key")
	}
	for _, row := range []struct {
		statements [][]byte
		want       error
	}{{without, ErrNoKey}, {statements, nil}} {
		reg, err := registryOf(p.reg.network, row.statements)
		if err == nil {
			err = seed(context.Background(), folder{dir: t.TempDir()}, p.own.key, p.own.chain, reg, row.statements, nil)
		}
		if !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
			t.Errorf("%d statements: %v, want %v", len(row.statements), err, row.want)
		}
	}
}
