package pod

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestDamage breaks if damaged bytes are served, go unnoticed, or are not replaced by another pod's copy.
func TestDamage(t *testing.T) {
	ctx := quickly(t)
	a, b, text := twoCopies(t)
	where := chunkOf(t, a, "/f")
	b.reads("/f", text)
	a.stop()
	rot(t, a.dir)

	alone := openPodOffline(t, a.dir)
	if _, err := alone.read("/f"); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("alone: read: %v, want %v", err, block.ErrCorrupt)
	}
	found := 0
	if err := alone.Fsck(ctx, false, func(Problem) { found++ }); err != nil || found == 0 {
		t.Errorf("alone: fsck finds %d problems, %v", found, err)
	}
	alone.stop()

	a = openPod(t, a.dir)
	a.reads("/f", text) // from b
	if owned, _ := a.store.Has(where); !owned {
		t.Error("the good copy was not kept")
	}
	if err := a.Fsck(ctx, true, func(Problem) {}); err != nil {
		t.Error(err)
	}
	b.stop()
	a.reads("/f", text)
}

// TestScrub breaks if the scrub passes over damage, doesn't mend what another pod has, or is not honest about what it can't mend.
func TestScrub(t *testing.T) {
	ctx := quickly(t)
	a, b, text := twoCopies(t)
	a.stop()
	rot(t, a.dir)
	scrub := func(p *testPod) (mended, left int) {
		got, err := p.Scrub(ctx, func(pr Problem) {
			if pr.Fixed {
				mended++
			} else {
				left++
			}
		})
		if err != nil || got.Blocks == 0 || got.Bytes == 0 {
			t.Errorf("scrub: %+v, %v", got, err)
		}
		return mended, left
	}
	alone := openPodOffline(t, a.dir)
	if mended, left := scrub(alone); mended != 0 || left == 0 {
		t.Errorf("alone: %d mended, %d left", mended, left)
	}
	if st, err := alone.Status(ctx); err != nil || st.Healthy {
		t.Errorf("alone: status %+v, %v", st, err)
	}
	alone.stop()
	a = openPod(t, a.dir)
	eventually(t, "the other pod is there", func() error { return a.reachable(b) })
	if mended, left := scrub(a); mended == 0 || left != 0 {
		t.Errorf("%d mended, %d left", mended, left)
	}
	if mended, left := scrub(a); mended != 0 || left != 0 {
		t.Errorf("again: %d mended, %d left", mended, left)
	}
	b.stop()
	a.forget()
	a.reads("/f", text)
}

// reachable says whether another pod is connected.
func (p *testPod) reachable(other *testPod) error {
	if !p.net.Connected(other.id) {
		return errors.New("not connected")
	}
	return nil
}

// twoCopies are two pods that both hold the file /f.
func twoCopies(t *testing.T) (a, b *testPod, text string) {
	t.Helper()
	a = firstPod(t)
	b = joinPod(t, a, "second")
	text = strings.Repeat("bytes that rot; ", 20_000)
	a.write("/f", text)
	if err := a.SyncWait(quickly(t), vfs.RootID); err != nil {
		t.Fatal(err)
	}
	return a, b, text
}

// chunkOf is a file's only chunk.
func chunkOf(t *testing.T, p *testPod, path string) block.ID {
	t.Helper()
	ctx := quickly(t)
	attr, err := vfs.Resolve(ctx, p.fs, path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.Where(ctx, attr.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Chunks {
		if c.ID.Codec() == block.Raw {
			return c.ID
		}
	}
	t.Fatalf("%s has no chunk", path)
	return block.ID{}
}

// rot flips bits in the middle of every zstd frame of a stopped pod's segments: each record but the smallest is hit.
func rot(t *testing.T, dir string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "segments", "*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments: %v, %v", segments, err)
	}
	hit := 0
	for _, path := range segments {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+4 < len(data); i++ {
			if string(data[i:i+4]) == "\x28\xb5\x2f\xfd" && i+40 < len(data) { // zstd's magic number
				data[i+30] ^= 0x55
				hit++
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if hit == 0 {
		t.Fatal("nothing was damaged")
	}
}

// TestFull breaks if a full disk takes what was there before, or is not told.
func TestFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "small"}); err != nil {
		t.Fatal(err)
	}
	p := runPod(t, Options{Dir: dir, Offline: true, CapacityBytes: reserveBytes + 2<<20})
	ctx := quickly(t)
	p.write("/kept", strings.Repeat("before the disk was full; ", 1000))
	if err := p.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	rnd := rand.NewChaCha8([32]byte{3})
	_, err := p.PutFile(ctx, vfs.RootID, "big", FileMeta{Mode: 0o644}, 16<<20, io.LimitReader(rnd, 16<<20))
	if !errors.Is(err, vfs.ErrNoSpace) {
		t.Errorf("import of too much: %v, want %v", err, vfs.ErrNoSpace)
	}
	a, err := p.fs.Create(ctx, vfs.RootID, "written", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 1<<20)
	var failed error
	for off := int64(0); off < 16<<20 && failed == nil; off += int64(len(data)) {
		if _, err := rnd.Read(data); err != nil {
			t.Fatal(err)
		}
		_, failed = f.WriteAt(ctx, data, off)
	}
	if failed == nil {
		failed = f.Sync(ctx)
	}
	if !errors.Is(failed, vfs.ErrNoSpace) {
		t.Errorf("write of too much: %v, want %v", failed, vfs.ErrNoSpace)
	}
	if err := f.Close(ctx); !errors.Is(err, vfs.ErrNoSpace) {
		t.Errorf("close of what does not fit: %v, want %v", err, vfs.ErrNoSpace)
	}
	if err := p.fs.Remove(ctx, vfs.RootID, "written", false); err != nil {
		t.Errorf("a file can't be removed from a full disk: %v", err)
	}
	p.reads("/kept", strings.Repeat("before the disk was full; ", 1000))
	p.clean()
}
