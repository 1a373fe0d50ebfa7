package pod

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestPutFiles breaks if files that are put at a time do not all become what they should be, or have each other's errors.
func TestPutFiles(t *testing.T) {
	p := firstPod(t)
	ctx := quickly(t)
	p.write("/taken", "old")
	folder, err := p.fs.Create(ctx, vfs.RootID, "folder", vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) (vfs.Attr, error) {
		return p.PutFile(ctx, vfs.RootID, name, FileMeta{Mode: 0o600, Mtime: 42}, int64(len(text)), strings.NewReader(text))
	}
	const count = 300
	text := func(i int) string { return strings.Repeat(fmt.Sprint(i, " "), 1+i*3) }
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			at, err := put(fmt.Sprint("f", i), text(i))
			if err != nil || at.Size != uint64(len(text(i))) || at.Mtime != 42 || at.Mode != 0o600 {
				t.Errorf("file %d: %+v, %v", i, at, err)
				return
			}
			if got, err := p.read(fmt.Sprint("/f", i)); err != nil || got != text(i) {
				t.Errorf("file %d holds %q, %v", i, shorten(got), err)
			}
		})
		wg.Go(func() {
			if _, err := put("same", text(i)); err != nil {
				t.Errorf("the same name, time %d: %v", i, err)
			}
		})
	}
	wg.Go(func() {
		if _, err := put("folder", "x"); !errors.Is(err, vfs.ErrIsDir) {
			t.Errorf("a file where a folder is: %v", err)
		}
	})
	wg.Go(func() {
		if _, err := put("taken", "new"); err != nil {
			t.Errorf("a file where a file is: %v", err)
		}
	})
	wg.Wait()
	p.reads("/taken", "new")
	if at, err := vfs.Resolve(ctx, p.fs, "/folder"); err != nil || at.ID != folder.ID {
		t.Errorf("the folder is %d, %v; want %d", at.ID, err, folder.ID)
	}
	if err := p.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if _, err := put("late", "x"); !errors.Is(err, vfs.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	p = openPod(t, p.dir)
	for _, i := range []int{0, 1, count - 1} {
		p.reads(fmt.Sprint("/f", i), text(i))
	}
	p.clean()
}
