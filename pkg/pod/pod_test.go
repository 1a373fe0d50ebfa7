package pod

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/vfstest"
)

// TestConformance breaks where the pod's file system differs from what every FS promises.
func TestConformance(t *testing.T) {
	vfstest.Run(t, func(t *testing.T) vfs.FS {
		dir := filepath.Join(t.TempDir(), "pod")
		if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "only"}); err != nil {
			t.Fatal(err)
		}
		p := openPodOffline(t, dir)
		return p.fs
	})
}

// TestReopen breaks if what was synced or closed before a clean stop is not there afterwards.
func TestReopen(t *testing.T) {
	p := firstPod(t)
	big := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	p.write("/small", "a few bytes")
	p.write("/big", big)
	root, err := p.Root(quickly(t))
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	p = openPod(t, p.dir)
	p.reads("/small", "a few bytes")
	p.reads("/big", big)
	again, err := p.Root(quickly(t))
	if err != nil || again != root {
		t.Errorf("root %s, %v; want %s", again, err, root)
	}
	p.clean()
}

// TestTwoPods breaks if a change on one pod is not seen on the other, or bytes can't be read there.
func TestTwoPods(t *testing.T) {
	a := firstPod(t)
	a.write("/before", "written before the other joined")
	b := joinPod(t, a, "second")
	b.reads("/before", "written before the other joined")
	a.write("/from-a", "bytes of a")
	b.write("/from-b", "bytes of b")
	b.reads("/from-a", "bytes of a")
	a.reads("/from-b", "bytes of b")
	a.write("/from-b", "edited by a")
	b.reads("/from-b", "edited by a")
	sameRoot(t, a, b)
	a.clean()
	b.clean()
}

// TestReadsOnlyWhatIsRead breaks if a far file is fetched whole for a few bytes of it.
func TestReadsOnlyWhatIsRead(t *testing.T) {
	a := firstPod(t)
	ctx := quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "none", ""); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 32<<20)
	for i := 0; i+8 <= len(data); i += 8 {
		v := rnd.Uint64()
		for k := range 8 {
			data[i+k] = byte(v >> (8 * k))
		}
	}
	a.write("/big", string(data))
	b := joinPod(t, a, "second")
	eventually(t, "file", func() error { _, err := vfs.Resolve(ctx, b.fs, "/big"); return err })
	attr, err := vfs.Resolve(ctx, b.fs, "/big")
	if err != nil {
		t.Fatal(err)
	}
	f, err := b.fs.Open(ctx, attr.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4096)
	eventually(t, "read", func() error { _, err := f.ReadAt(ctx, got, 20<<20); return err })
	if string(got) != string(data[20<<20:][:4096]) {
		t.Error("bytes differ")
	}
	if used := b.store.Usage(); used.CachedBytes == 0 || used.CachedBytes > 9<<20 {
		t.Errorf("%d bytes cached for 4096 read", used.CachedBytes)
	}
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestSurvivesLoss breaks if replica:2 doesn't keep files when the pod that wrote them is gone.
func TestSurvivesLoss(t *testing.T) {
	a := firstPod(t)
	b, c := joinPod(t, a, "second"), joinPod(t, a, "third")
	for i := range 50 {
		a.write(fmt.Sprintf("/f%d", i), strings.Repeat(fmt.Sprint(i), 3000))
	}
	eventually(t, "connected", func() error {
		if n := len(a.connected()); n != 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if err := a.SyncWait(quickly(t), vfs.RootID); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, a, b, c)
	a.stop()
	for i := range 50 {
		c.reads(fmt.Sprintf("/f%d", i), strings.Repeat(fmt.Sprint(i), 3000))
		b.reads(fmt.Sprintf("/f%d", i), strings.Repeat(fmt.Sprint(i), 3000))
	}
}

// TestSyncWaitAlone breaks if a single pod claims redundancy.
func TestSyncWaitAlone(t *testing.T) {
	a := firstPod(t)
	a.write("/f", strings.Repeat("bytes ", 1000))
	if err := a.SyncWait(quickly(t), vfs.RootID); !errors.Is(err, ErrNotSafe) {
		t.Errorf("sync: %v, want %v", err, ErrNotSafe)
	}
	if err := a.SetPolicy(quickly(t), vfs.RootID, "none", ""); err != nil {
		t.Fatal(err)
	}
	if err := a.SyncWait(quickly(t), vfs.RootID); err != nil {
		t.Errorf("sync with policy none: %v", err)
	}
}

// TestTokens breaks if a token lets in more than it should.
func TestTokens(t *testing.T) {
	a := firstPod(t)
	ctx := quickly(t)
	token, err := a.Invite(ctx, "writer", time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	join := func(token string) error {
		_, err := Join(ctx, filepath.Join(t.TempDir(), "pod"), JoinOptions{Token: token, PodName: "x"})
		return err
	}
	if err := join(token); err != nil {
		t.Fatal(err)
	}
	if err := join(token); !errors.Is(err, member.ErrUsed) {
		t.Errorf("used token: %v", err)
	}
	if err := join("nonsense"); !errors.Is(err, member.ErrBadToken) {
		t.Errorf("nonsense: %v", err)
	}
	parsed, err := member.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Secret[0]++
	if err := join(parsed.String()); !errors.Is(err, member.ErrDenied) {
		t.Errorf("wrong secret: %v", err)
	}
	a.stop()
	if err := join(token); !errors.Is(err, p2p.ErrUnreachable) {
		t.Errorf("issuer is down: %v", err)
	}
}

// TestWatch breaks if a surface is not told of what other pods change, or is told of what it did itself.
func TestWatch(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	seen := make(chan vfs.Change, 1000)
	ctx := quickly(t)
	watched, ok := b.fs.(vfs.Watcher)
	if !ok {
		t.Fatal("no watcher")
	}
	began := make(chan struct{})
	begin := sync.OnceFunc(func() { close(began) })
	go func() {
		_ = watched.Watch(ctx, func(list []vfs.Change) {
			if len(list) == 0 { // the word with which it begins
				begin()
			}
			for _, c := range list {
				seen <- c
			}
		})
	}()
	select {
	case <-began:
	case <-ctx.Done():
		t.Fatal("it does not begin with the word that anything may have changed")
	}
	b.write("/mine", "x")
	a.write("/theirs", "y")
	for {
		select {
		case c := <-seen:
			if c.Name == "mine" {
				t.Error("told of its own change")
			}
			if c.Parent == vfs.RootID && c.Name == "theirs" {
				return
			}
		case <-time.After(waitMax):
			t.Fatal("not told")
		}
	}
}

// TestAlone breaks if a pod takes itself for the only one that stores when it is not, or never does: then what it writes is not kept in memory for the others.
func TestAlone(t *testing.T) {
	a := firstPod(t)
	if !a.reg.alone.Load() {
		t.Error("the only pod is not alone")
	}
	b := joinPod(t, a, "second")
	sameRoot(t, a, b)
	for _, p := range []*testPod{a, b} {
		eventually(t, "another one stores", func() error {
			if p.reg.alone.Load() {
				return errors.New("alone")
			}
			return nil
		})
	}
}

// TestUntold breaks if a surface is said to have been told of all while what another pod changed is seen and waits to be told, or is being told; or if it never is.
func TestUntold(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	ctx := quickly(t)
	watched, ok := b.fs.(vfs.Watcher)
	if !ok {
		t.Fatal("no watcher")
	}
	if !watched.Untold(vfs.RootID) {
		t.Error("who does not watch is said to have been told")
	}
	calls, goOn := make(chan struct{}), make(chan struct{})
	go func() {
		_ = watched.Watch(ctx, func([]vfs.Change) {
			calls <- struct{}{}
			<-goOn
		})
	}()
	for i := range 20 {
		if i > 0 {
			a.write("/f", fmt.Sprint(i))
			b.reads("/f", fmt.Sprint(i))
		}
		if !watched.Untold(vfs.RootID) { // it is seen, and its telling is held up
			t.Fatalf("change %d counts as told before it is", i)
		}
		for told := false; !told; {
			select {
			case <-calls:
				if !watched.Untold(vfs.RootID) {
					t.Fatalf("change %d counts as told while it is being told", i)
				}
				goOn <- struct{}{}
			case <-time.After(50 * time.Millisecond):
				told = !watched.Untold(vfs.RootID)
			case <-ctx.Done():
				t.Fatalf("change %d never counts as told", i)
			}
		}
	}
	b.write("/f", "mine")
	if watched.Untold(vfs.RootID) {
		t.Error("it is to be told of its own change")
	}
}

// TestUntoldWrites breaks if a surface is said to have been told of all while another one writes to a file, or is not told when that is flushed or synced, though somebody else has
// staged it.
func TestUntoldWrites(t *testing.T) {
	a := firstPod(t)
	a.write("/f", "first")
	ctx, id := quickly(t), a.at("/f")
	watched, ok := a.fs.(vfs.Watcher)
	if !ok {
		t.Fatal("no watcher")
	}
	told := make(chan vfs.NodeID, 1000)
	go func() {
		_ = watched.Watch(ctx, func(list []vfs.Change) {
			for _, c := range list {
				told <- c.Node
			}
		})
	}()
	settled := func() error {
		if watched.Untold(id) {
			return errors.New("untold")
		}
		return nil
	}
	eventually(t, "the watch has begun", settled)
	f, err := a.FS().Open(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for what, save := range map[string]func(context.Context) error{"flush": f.Flush, "sync": f.Sync} {
		if _, err := f.WriteAt(ctx, []byte(what), 0); err != nil {
			t.Fatal(err)
		}
		if !watched.Untold(id) {
			t.Errorf("%s: what another surface is writing counts as told", what)
		}
		if err := errors.Join(a.Settle(ctx), save(ctx)); err != nil {
			t.Fatal(err)
		}
		for heard := false; !heard; {
			select {
			case node := <-told:
				heard = node == id
			case <-time.After(waitMax):
				t.Fatalf("%s: not told of what was written", what)
			}
		}
		eventually(t, what, settled)
	}
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	mine, err := a.fs.Open(ctx, id)
	if err == nil {
		_, err = mine.WriteAt(ctx, []byte("mine"), 0)
	}
	if err != nil || watched.Untold(id) {
		t.Errorf("it is to be told of its own writes; %v", err)
	}
	if err := mine.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestConflict breaks if one of two edits made apart is lost.
func TestConflict(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	a.write("/f", "common")
	b.reads("/f", "common")
	b.stop()
	a.write("/f", "by a")
	offlineB := openPodOffline(t, b.dir)
	offlineB.write("/f", "by b")
	offlineB.stop()
	b = openPod(t, b.dir)
	sameRoot(t, a, b)
	entries, err := a.fs.ReadDir(quickly(t), vfs.RootID, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{}
	for _, e := range entries {
		text, err := a.read("/" + e.Name)
		if err != nil {
			t.Fatal(err)
		}
		texts[text] = true
	}
	if len(entries) != 2 || !texts["by a"] || !texts["by b"] {
		t.Errorf("entries %v hold %v", entries, texts)
	}
}

// TestEditBeatsDeletion breaks if what is written here is lost because another pod removes the file meanwhile.
func TestEditBeatsDeletion(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	a.write("/f", "common")
	b.reads("/f", "common")
	ctx := quickly(t)
	attr, err := vfs.Resolve(ctx, a.fs, "/f")
	if err != nil {
		t.Fatal(err)
	}
	f, err := a.fs.Open(ctx, attr.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, []byte("edited"), 0); err != nil {
		t.Fatal(err)
	}
	if err := b.fs.Remove(ctx, vfs.RootID, "f", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "removal", func() error {
		if _, err := a.db.Lookup(vfs.RootID, "f"); !errors.Is(err, vfs.ErrNotExist) {
			return fmt.Errorf("lookup: %w", err)
		}
		return nil
	})
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := f.ReadAt(ctx, make([]byte, 6), 0); got != 6 || err != nil {
		t.Errorf("read: %d, %v", got, err)
	}
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	a.reads("/f", "edited")
	b.reads("/f", "edited")
	sameRoot(t, a, b)
	a.clean()
}
