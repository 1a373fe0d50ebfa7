package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// editing is one save of a document, in the root, by an editor.
type editing struct {
	ctx  context.Context //nolint:containedctx // of one save
	fs   vfs.FS
	text []byte
}

const document = "document"

// editors save as programs do, as strace shows them. What backs up, if any, is the name at which the old text is while the new one is
// being written in place.
var editors = []struct {
	name   string
	backup string
	save   func(e editing) error
}{
	{"vim", document + "~", func(e editing) error { // writebackup, backupcopy=no
		return errors.Join(e.rename(document, document+"~"), e.write(document, true), e.remove(document+"~"))
	}},
	{"emacs", document + "~", func(e editing) error { // the backup stays
		return errors.Join(e.rename(document, document+"~"), e.write(document, true))
	}},
	{"emacs, precious", "", func(e editing) error {
		return errors.Join(e.write(".#tmp", true), e.rename(".#tmp", document))
	}},
	{"glib", "", func(e editing) error { // gedit and others, on file systems that it takes to be safe without fsync
		return errors.Join(e.write(".goutputstream-XA3B", false), e.rename(".goutputstream-XA3B", document))
	}},
	{"LibreOffice", "", func(e editing) error {
		return errors.Join(e.write(".~lock."+document+"#", false), e.write("lu123.tmp", true), e.rename("lu123.tmp", document), e.remove(".~lock."+document+"#"))
	}},
	{"sed -i", "", func(e editing) error {
		mode := uint32(0o640)
		err := e.write("sedAbCdEf", false)
		a, lookErr := e.fs.Lookup(e.ctx, vfs.RootID, "sedAbCdEf")
		_, setErr := e.fs.SetAttr(e.ctx, a.ID, vfs.SetAttr{Mode: &mode})
		return errors.Join(err, lookErr, setErr, e.rename("sedAbCdEf", document))
	}},
}

// write makes a file with the new text.
func (e editing) write(name string, synced bool) error {
	a, err := e.fs.Create(e.ctx, vfs.RootID, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		return err
	}
	f, err := e.fs.Open(e.ctx, a.ID)
	if err != nil {
		return err
	}
	for off := 0; off < len(e.text) && err == nil; off += 8192 {
		_, err = f.WriteAt(e.ctx, e.text[off:min(off+8192, len(e.text))], int64(off))
	}
	if synced && err == nil {
		err = f.Sync(e.ctx)
	}
	return errors.Join(err, f.Close(e.ctx))
}

func (e editing) rename(from, to string) error {
	return e.fs.Rename(e.ctx, vfs.RootID, from, vfs.RootID, to, 0)
}

func (e editing) remove(name string) error { return e.fs.Remove(e.ctx, vfs.RootID, name, false) }

// shows reads a name in the root; there is false where it is not. A file that is replaced between two steps is looked up again, as
// the kernel does.
func shows(ctx context.Context, fs vfs.FS, name string) (text string, there bool, err error) {
	for {
		a, err := fs.Lookup(ctx, vfs.RootID, name)
		if errors.Is(err, vfs.ErrNotExist) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		text, err := readOpened(ctx, fs, a.ID)
		if !errors.Is(err, vfs.ErrNotExist) {
			return text, true, err
		}
	}
}

// readOpened is what a file holds while it is open.
func readOpened(ctx context.Context, fs vfs.FS, id vfs.NodeID) (text string, err error) {
	f, err := fs.Open(ctx, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close(ctx)) }()
	a, err := fs.GetAttr(ctx, id)
	if err != nil {
		return "", err
	}
	data := make([]byte, a.Size)
	n, err := f.ReadAt(ctx, data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if n != len(data) {
		return "", fmt.Errorf("%d bytes of %d", n, len(data))
	}
	return string(data), nil
}

// wholeDocument says why neither the old nor the new text is there whole. While an editor with a backup writes in place, the
// document itself may be missing or partly written.
func wholeDocument(ctx context.Context, fs vfs.FS, old, text, backup string) error {
	doc, there, err := shows(ctx, fs, document)
	if err == nil && there && (doc == old || doc == text) {
		return nil
	}
	found := fmt.Errorf("the document is there: %t, with %d bytes (old %d, new %d), %w", there, len(doc), len(old), len(text), err)
	if err == nil {
		found = fmt.Errorf("the document is there: %t, with %d bytes, the old one has %d, the new one %d", there, len(doc), len(old), len(text))
	}
	if backup == "" {
		return found
	}
	if kept, there, err := shows(ctx, fs, backup); err != nil || !there || kept != old {
		return fmt.Errorf("%w; the backup is there: %t, with %d bytes, %v", found, there, len(kept), err) //nolint:errorlint // of several
	}
	return nil
}

// TestEditorsSaves cuts the power of a pod while an editor saves there, and breaks if the document is not the old or the new one, whole,
// on that pod after it has started again, or on another, which went on, at any time.
func TestEditorsSaves(t *testing.T) {
	rng := testRand(t)
	texts := 1
	if *fullFlag {
		texts = 10
	}
	base := newPair(t)
	for _, ed := range editors {
		t.Run(ed.name, func(t *testing.T) {
			run := saveRun{t: t, pair: base, backup: ed.backup, save: ed.save, rng: rng}
			for range texts {
				boundaries := run.crashAt(0, powerCut{})
				for n := 1; n <= boundaries; n++ {
					for _, cut := range powerCuts(rng, rng.IntN(5)) {
						if !testing.Short() || n%3 == 0 {
							run.crashAt(n, cut)
						}
					}
				}
				t.Logf("%d boundaries", boundaries)
			}
		})
	}
}

// pair is two pods of a network, at rest.
type pair struct {
	dirA, dirB   string
	diskA, diskB *pebblevfs.MemFS
}

func newPair(t *testing.T) pair {
	t.Helper()
	return pairOf(t, firstPod(t))
}

// pairOf is a pod, which runs, and another one that joins its network.
func pairOf(t *testing.T, a *testPod) pair {
	t.Helper()
	b := joinPod(t, a, "second")
	sameRoot(t, a, b)
	a.stop()
	b.stop()
	return pair{a.dir, b.dir, diskOf(t, a.dir), diskOf(t, b.dir)}
}

type saveRun struct {
	t      *testing.T
	pair   pair
	backup string
	save   func(editing) error
	rng    *rand.Rand
}

func (r saveRun) open(net *memNet, dir string, fs pebblevfs.FS) (*testPod, *memPeer) {
	r.t.Helper()
	p, err := Open(quickly(r.t), Options{Dir: dir, Offline: true, FS: fs, Log: testLog(r.t)})
	if err != nil {
		r.t.Fatal(err)
	}
	peer := net.attach(p)
	return started(r.t, p, dir), peer
}

// crashAt cuts the power of the first pod before the n-th boundary of its disk since the save began; 0: after it. It returns how many
// boundaries there were.
func (r saveRun) crashAt(n int, cut powerCut) int {
	t, ctx := r.t, quickly(r.t)
	old, text := r.text(), r.text()
	what := fmt.Sprintf("%d bytes over %d, crash at boundary %d, %v", len(text), len(old), n, cut)
	net := newMemNet()
	memA := r.pair.diskA.CrashClone(pebblevfs.CrashCloneCfg{})
	disk := newCrashDisk(memA)
	a, peer := r.open(net, r.pair.dirA, disk.fs)
	b, _ := r.open(net, r.pair.dirB, r.pair.diskB.CrashClone(pebblevfs.CrashCloneCfg{}))
	defer b.stop()
	a.write("/"+document, string(old))
	b.reads("/"+document, string(old))

	var crashed *pebblevfs.MemFS
	var boundaries atomic.Int64
	var once sync.Once
	disk.set(func(errorfs.Op) error {
		if at := boundaries.Add(1); n > 0 && at >= int64(n) {
			once.Do(func() {
				net.cut(peer)
				crashed = cut.of(t, memA, r.pair.dirA)
			})
		}
		return nil
	})
	watching := r.watch(b, old, text)
	if err := r.save(editing{ctx, a.fs, text}); err != nil {
		t.Errorf("%s: save: %v", what, err)
	}
	if err := a.Settle(ctx); err != nil {
		t.Errorf("%s: settle: %v", what, err)
	}
	if n == 0 {
		b.reads("/"+document, string(text))
	}
	count := int(boundaries.Load())
	disk.set(nil)
	if err := watching(); err != nil {
		t.Errorf("%s: the other pod shows: %v", what, err)
	}
	told := b.db.VV()[a.actor]
	a.stop()
	if crashed == nil {
		return count
	}
	r.after(net, b, crashed, old, text, told, what)
	return count
}

// text is of a size at which contents are inline, one chunk or many.
func (r saveRun) text() []byte {
	n := []int{1 + r.rng.IntN(1000), 1025 + r.rng.IntN(30_000), 1<<20 + r.rng.IntN(1<<20)}[r.rng.IntN(10)*3/10]
	text := make([]byte, n)
	for i := range text {
		text[i] = 'a' + byte(r.rng.IntN(26))
	}
	return text
}

// watch looks at the document on a pod again and again, until the function that it returns is called.
func (r saveRun) watch(p *testPod, old, text []byte) (stop func() error) {
	ctx := quickly(r.t)
	end, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			// Twice: an editor that keeps a backup takes it away between two looks.
			err := wholeDocument(ctx, p.fs, string(old), string(text), r.backup)
			if first := err; first != nil && r.backup != "" {
				if err = wholeDocument(ctx, p.fs, string(old), string(text), r.backup); err != nil {
					err = fmt.Errorf("%w; in the look before: %v; commits %v", err, first, p.db.VV()) //nolint:errorlint // the last one counts
				}
			}
			if errors.Is(err, block.ErrUnavailable) {
				err = nil // the pod that has the bytes is down
			}
			if err != nil {
				ended <- err
				return
			}
			select {
			case <-end:
				ended <- nil
				return
			default:
			}
		}
	}()
	return func() error {
		close(end)
		return <-ended
	}
}

// after starts the pod again, checks what it shows, and that both come together and go on.
func (r saveRun) after(net *memNet, b *testPod, crashed *pebblevfs.MemFS, old, text []byte, told uint64, what string) {
	t, ctx := r.t, quickly(r.t)
	p, err := Open(ctx, Options{Dir: r.pair.dirA, Offline: true, FS: crashed, Log: testLog(t)})
	if err != nil {
		t.Fatalf("%s: open: %v", what, err)
	}
	if has := p.db.VV()[p.actor]; has < told {
		t.Errorf("%s: the pod has %d commits, the other one heard of %d", what, has, told)
	}
	if err := wholeDocument(ctx, p.FS(), string(old), string(text), r.backup); err != nil {
		t.Errorf("%s: after the crash: %v", what, err)
	}
	net.attach(p)
	a := started(t, p, r.pair.dirA)
	defer a.stop()
	sameRoot(t, a, b)
	for _, pod := range []*testPod{a, b} {
		if err := wholeDocument(ctx, pod.fs, string(old), string(text), r.backup); err != nil {
			t.Errorf("%s: both together: %v", what, err)
		}
		pod.clean()
	}
	a.write("/next", "after the crash")
	b.reads("/next", "after the crash")
}
