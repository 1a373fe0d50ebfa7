package vfstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// contentMax bounds what readAll reads, in bytes.
const contentMax = 1 << 20

// readAll is what a file holds, at most contentMax bytes. It checks that a short read comes with io.EOF.
func readAll(ctx context.Context, t testing.TB, f vfs.File) []byte {
	t.Helper()
	p := bytes.Repeat([]byte{0xee}, contentMax)
	n, err := f.ReadAt(ctx, p, 0)
	if n < len(p) && !errors.Is(err, io.EOF) || n == len(p) && err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("read: %d bytes, %v", n, err)
	}
	return p[:n]
}

// fileCases are the rules of contents.
var fileCases = []testCase{
	{name: "file/write_and_read", run: func(t *tester) {
		id := t.file(root, "f", "")
		f := t.open(id)
		t.write(f, 0, "hello")
		t.write(f, 3, "p me")
		equal(t, "content", string(readAll(t.ctx, t, f)), "help me")
		equal(t, "size", t.attr(id).Size, 7)
		p := make([]byte, 3)
		n, err := f.ReadAt(t.ctx, p, 4)
		if string(p[:n]) != " me" || (err != nil && !errors.Is(err, io.EOF)) {
			t.Fatalf("read up to the end: %q, %v", p[:n], err)
		}
		n, err = f.ReadAt(t.ctx, p, 7)
		if n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("read at the end: %d, %v", n, err)
		}
		n, err = f.ReadAt(t.ctx, p, 1<<40)
		if n != 0 || !errors.Is(err, io.EOF) {
			t.Fatalf("read beyond the end: %d, %v", n, err)
		}
		t.close(f)
		equal(t, "content", t.content(id), "help me")
	}},
	{name: "file/write_keeps_nothing", run: func(t *tester) {
		f := t.open(t.file(root, "f", ""))
		p := []byte("before")
		if _, err := f.WriteAt(t.ctx, p, 0); err != nil {
			t.Fatal(err)
		}
		copy(p, "after!")
		equal(t, "content", string(readAll(t.ctx, t, f)), "before")
		t.close(f)
	}},
	{name: "file/write_moves_mtime", run: func(t *tester) {
		id := t.file(root, "f", "")
		before := t.attr(id)
		f := t.open(id)
		t.write(f, 0, "x")
		if err := f.Flush(t.ctx); err != nil {
			t.Fatal(err)
		}
		after := t.attr(id)
		t.later("mtime", after.Mtime, before.Mtime)
		t.later("ctime", after.Ctime, before.Ctime)
		t.close(f)
		equal(t, "mtime after close", t.attr(id).Mtime, after.Mtime)
		t.content(id)
		equal(t, "mtime after a read", t.attr(id).Mtime, after.Mtime)
	}},
	{name: "file/mtime_set_after_write_stays", run: func(t *tester) { // cp -p, tar, rsync
		id := t.file(root, "f", "")
		f := t.open(id)
		t.write(f, 0, "x")
		mtime := int64(1_000_000_000_123_456_789)
		if _, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Mtime: &mtime}); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(t.ctx); err != nil {
			t.Fatal(err)
		}
		t.close(f)
		equal(t, "mtime", t.attr(id).Mtime, mtime)
	}},
	{name: "file/holes", run: func(t *tester) {
		id := t.file(root, "f", "")
		f := t.open(id)
		const off = 300_000
		t.write(f, off, "end")
		equal(t, "size", t.attr(id).Size, off+3)
		if !bytes.Equal(readAll(t.ctx, t, f), append(make([]byte, off), "end"...)) {
			t.Fatal("a hole does not read as zeros")
		}
		t.write(f, 100_000, "middle")
		want := append(make([]byte, off), "end"...)
		copy(want[100_000:], "middle")
		if !bytes.Equal(readAll(t.ctx, t, f), want) {
			t.Fatal("a write into a hole changed more than its bytes")
		}
		t.close(f)
	}},
	{name: "file/holes_take_no_blocks", needs: NoBlocks, run: func(t *tester) {
		id := t.file(root, "f", "")
		size := uint64(1 << 40)
		a, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Size: &size})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "size", a.Size, size)
		if a.Blocks > 2048 {
			t.Fatalf("a hole of 1 TiB takes %d blocks", a.Blocks)
		}
		f := t.open(id)
		p := bytes.Repeat([]byte{1}, 100)
		if n, err := f.ReadAt(t.ctx, p, 1<<39); n != 100 || err != nil || !bytes.Equal(p, make([]byte, 100)) {
			t.Fatalf("read in the hole: %d, %v", n, err)
		}
		t.close(f)
	}},
	{name: "file/allocate", run: func(t *tester) {
		id := t.file(root, "f", strings.Repeat("x", 100))
		f := t.open(id)
		a := t.allocator(f)
		for _, c := range []struct {
			off, n int64
			flags  vfs.AllocFlag
			size   uint64
		}{{0, 50, 0, 100}, {50, 5000, vfs.AllocKeepSize, 100}, {90, 20_000, 0, 20_090}, {20_000, 10_000, vfs.AllocZero, 30_000}, {25_000, 10_000, vfs.AllocZero | vfs.AllocKeepSize, 30_000}} {
			if err := a.Allocate(t.ctx, c.off, c.n, c.flags); err != nil {
				t.Fatalf("allocate %d bytes at %d, flags %d: %v", c.n, c.off, c.flags, err)
			}
			equal(t, "size", t.attr(id).Size, c.size)
		}
		if !bytes.Equal(readAll(t.ctx, t, f), append(bytes.Repeat([]byte("x"), 100), make([]byte, 29_900)...)) {
			t.Fatal("what was allocated does not read as zeros, or what was there has changed")
		}
		t.wantErr("no bytes", a.Allocate(t.ctx, 0, 0, 0), vfs.ErrInvalid)
		t.wantErr("a hole that makes the file longer", a.Allocate(t.ctx, 0, 1, vfs.AllocPunch), vfs.ErrInvalid)
		t.wantErr("too large", a.Allocate(t.ctx, vfs.FileMax, 1, 0), vfs.ErrTooLarge)
		t.close(f)
		equal(t, "size after close", t.attr(id).Size, 30_000)
	}},
	{name: "file/punch", run: func(t *tester) {
		data := []byte(strings.Repeat("0123456789abcdef", 16<<10))
		id := t.file(root, "f", string(data))
		f := t.open(id)
		a := t.allocator(f)
		for _, c := range []struct {
			off, n int64
			flags  vfs.AllocFlag
		}{
			{8192, 16_384, vfs.AllocPunch | vfs.AllocKeepSize},
			{100_001, 3, vfs.AllocPunch | vfs.AllocKeepSize},
			{150_001, 50_000, vfs.AllocZero},
			{262_000, 4096, vfs.AllocPunch | vfs.AllocKeepSize},
			{300_000, 1 << 40, vfs.AllocPunch | vfs.AllocKeepSize},
		} {
			before := t.attr(id)
			if err := a.Allocate(t.ctx, c.off, c.n, c.flags); err != nil {
				t.Fatalf("punch %d bytes at %d, flags %d: %v", c.n, c.off, c.flags, err)
			}
			if c.off < int64(len(data)) {
				clear(data[c.off:min(c.off+c.n, int64(len(data)))])
				t.later("mtime", t.attr(id).Mtime, before.Mtime)
			}
			if !bytes.Equal(readAll(t.ctx, t, f), data) {
				t.Fatalf("%d bytes at %d, flags %d: the file is not what it should be", c.n, c.off, c.flags)
			}
		}
		t.write(f, 10_000, "again")
		copy(data[10_000:], "again")
		if err := f.Sync(t.ctx); err != nil {
			t.Fatal(err)
		}
		t.close(f)
		equal(t, "content after close", t.content(id), string(data))
	}},
	{name: "file/punched_takes_no_blocks", needs: NoBlocks, run: func(t *tester) {
		id := t.file(root, "f", strings.Repeat("x", 1<<20))
		f := t.open(id)
		if err := t.allocator(f).Allocate(t.ctx, 4096, 1<<20-4096, vfs.AllocPunch|vfs.AllocKeepSize); err != nil {
			t.Fatal(err)
		}
		t.close(f)
		if a := t.attr(id); a.Blocks > 64 || a.Size != 1<<20 {
			t.Fatalf("%d blocks of %d bytes", a.Blocks, a.Size)
		}
	}},
	{name: "file/truncate", run: func(t *tester) {
		id := t.file(root, "f", strings.Repeat("x", 10_000))
		f := t.open(id)
		for _, size := range []uint64{5_000, 8_000, 0, 3} {
			before := t.attr(id)
			a, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Size: &size})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "size", a.Size, size)
			t.later("mtime", a.Mtime, before.Mtime)
		}
		equal(t, "what was cut off and grown again", string(readAll(t.ctx, t, f)), "\x00\x00\x00")
		t.close(f)
		size := uint64(vfs.FileMax + 1)
		_, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Size: &size})
		t.wantErr("too large", err, vfs.ErrTooLarge)
		_, err = t.fs.SetAttr(t.ctx, root, vfs.SetAttr{Size: &size})
		t.wantErr("size of a folder", err, vfs.ErrIsDir)
	}},
	{name: "file/truncate_keeps_front", run: func(t *tester) {
		id := t.file(root, "f", strings.Repeat("abcdefgh", 4096))
		size := uint64(12_345)
		if _, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Size: &size}); err != nil {
			t.Fatal(err)
		}
		equal(t, "content", t.content(id), strings.Repeat("abcdefgh", 4096)[:12_345])
	}},
	{name: "file/all_opens_see_one_content", run: func(t *tester) {
		id := t.file(root, "f", "old")
		a, b := t.open(id), t.open(id)
		t.write(a, 0, "new")
		equal(t, "content", string(readAll(t.ctx, t, b)), "new")
		t.close(a)
		t.write(b, 3, "er")
		t.close(b)
		equal(t, "content", t.content(id), "newer")
	}},
	{name: "file/unlinked_lives_while_open", run: func(t *tester) {
		id := t.file(root, "f", "text")
		f := t.open(id)
		if err := t.fs.Remove(t.ctx, root, "f", false); err != nil {
			t.Fatal(err)
		}
		t.wantNames(root)
		equal(t, "links", t.attr(id).NLink, 0)
		t.write(f, 4, " goes on")
		equal(t, "content", string(readAll(t.ctx, t, f)), "text goes on")
		equal(t, "size", t.attr(id).Size, 12)
		size := uint64(4)
		if _, err := t.fs.SetAttr(t.ctx, id, vfs.SetAttr{Size: &size}); err != nil {
			t.Fatal(err)
		}
		equal(t, "content", string(readAll(t.ctx, t, f)), "text")
		if err := f.Sync(t.ctx); err != nil {
			t.Fatal(err)
		}
		if other := t.file(root, "f", "other"); other == id {
			t.Fatal("the number of a file that is open was given again")
		}
		t.close(f)
		_, err := t.fs.GetAttr(t.ctx, id)
		t.wantErr("attributes after close", err, vfs.ErrNotExist)
		equal(t, "new file of the name", t.content(t.lookup(root, "f").ID), "other")
	}},
	{name: "file/open_errors", run: func(t *tester) {
		_, err := t.fs.Open(t.ctx, root)
		t.wantErr("a folder", err, vfs.ErrIsDir)
		fifo := t.create(root, "fifo", vfs.NewNode{Kind: vfs.KindFIFO, Mode: 0o600}).ID
		_, err = t.fs.Open(t.ctx, fifo)
		t.wantErr("a FIFO", err, vfs.ErrInvalid)
		_, err = t.fs.Open(t.ctx, 1<<40)
		t.wantErr("nothing", err, vfs.ErrNotExist)
	}},
	{name: "file/large", run: func(t *tester) {
		id := t.file(root, "f", "")
		f := t.open(id)
		want := make([]byte, 3<<20)
		for i := range want {
			want[i] = byte(i>>12 ^ i)
		}
		for off := 0; off < len(want); off += 100_001 {
			t.write(f, int64(off), string(want[off:min(off+100_001, len(want))]))
		}
		if err := f.Flush(t.ctx); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if n, err := f.ReadAt(t.ctx, got, 0); n != len(got) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("read: %d, %v", n, err)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("other bytes than were written")
		}
		t.close(f)
	}},
	{name: "file/writes_side_by_side", run: func(t *tester) {
		const writers, each = 8, 20_000
		id := t.file(root, "f", "")
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				f, err := t.fs.Open(t.ctx, id)
				if err != nil {
					t.Error(err)
					return
				}
				p := bytes.Repeat([]byte{byte('a' + w)}, each)
				for off := 0; off < each; off += each / 4 {
					if _, err := f.WriteAt(t.ctx, p[:each/4], int64(w*each+off)); err != nil {
						t.Error(err)
					}
				}
				if err := f.Close(t.ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var want strings.Builder
		for w := range writers {
			want.WriteString(strings.Repeat(string(rune('a'+w)), each))
		}
		if t.content(id) != want.String() {
			t.Fatal("writes to different ranges disturbed one another")
		}
	}},
	{name: "file/sync", run: func(t *tester) {
		f := t.open(t.file(root, "f", "text"))
		if err := errors.Join(f.Sync(t.ctx), f.Flush(t.ctx), t.fs.SyncFS(t.ctx)); err != nil {
			t.Fatal(err)
		}
		t.close(f)
		if _, err := t.fs.StatFS(t.ctx); err != nil {
			t.Fatal(err)
		}
	}},
}
