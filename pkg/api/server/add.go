package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// putters is how many files are put at a time: most of them wait for the sync that they share.
const putters = 1024

// adder takes an add in. The goroutine that receives owns all but what mu guards; it makes folders, symlinks and
// special files itself, in order, and hands files to the workers.
type adder struct {
	p       Pod
	fs      vfs.FS
	c       *api.Conn
	request api.AddRequest
	to      receiver
	jobs    chan addJob
	groups  chan []addJob // small files of a batch
	small   []addJob      // those of the batch that is received

	items   int            // received
	folders map[int]folder // by item
	links   []addLink      // hard links, to be made at the end
	tops    map[int]top    // by top-level argument
	late    []api.ItemError

	mu    sync.Mutex
	files map[int]vfs.NodeID // by item: those that have several names, or are top-level
	bytes map[int]uint64     // by top-level argument
}

// folder is a folder of the add.
type folder struct {
	id    vfs.NodeID
	path  string
	fresh bool // made by this add: nothing can be in it that the add didn't put there, but for others at work
	mtime int64
	keep  bool // its attributes stay
	arg   int  // top-level argument
}

// top is a top-level argument that has come.
type top struct {
	item   int
	target target
}

// addLink is a hard link to be made.
type addLink struct {
	item, to int
	target   target
	arg      int // top-level argument
}

// addJob is a file for a worker.
type addJob struct {
	item   int
	it     api.Item
	target target
	fresh  bool          // nothing is in its folder but what this add put there
	arg    int           // top-level argument
	r      io.ReadCloser // nil: it.Data has the contents
	b      *batch
}

// add runs the daemon's side of `wh add`.
func (s *Server) add(ctx context.Context, p Pod, c *api.Conn) error {
	q, err := receiveRequest[api.AddRequest](c)
	if err != nil {
		return err
	}
	a := &adder{
		p: p, fs: p.FS(), c: c, request: q, jobs: make(chan addJob, (api.Window+1)*api.BatchMax), groups: make(chan []addJob, api.Window),
		folders: map[int]folder{}, tops: map[int]top{}, files: map[int]vfs.NodeID{}, bytes: map[int]uint64{},
	}
	if a.to, err = receive(ctx, a.fs, string(q.To), q.Count); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for range putters {
		g.Go(func() error { return a.work(gctx) })
	}
	for range api.Window {
		g.Go(func() error { return a.workGroups(gctx) })
	}
	g.Go(func() error {
		defer close(a.groups)
		defer close(a.jobs)
		return a.receive(gctx)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return a.finish(ctx)
}

// receive takes batches in until the Finish.
func (a *adder) receive(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = a.c.Close() }) // A worker failed.
	defer stop()
	for {
		kind, b, err := receiveFrame(a.c)
		if err != nil {
			return err
		}
		switch kind {
		case api.FrameFinish:
			return nil
		case api.FrameBatch:
			m, err := api.DecodeBatch(b)
			if err != nil {
				return err
			}
			if err := a.batch(ctx, m); err != nil {
				return err
			}
		default:
			return fmt.Errorf("api: frame of kind %d in an add: %w", kind, api.ErrProtocol)
		}
	}
}

func (a *adder) batch(ctx context.Context, m api.Batch) error {
	if m.First != a.items || len(m.Items) > api.BatchMax {
		return fmt.Errorf("api: batch of %d items from %d, after %d: %w", len(m.Items), m.First, a.items, api.ErrProtocol)
	}
	b := newBatch(a.c, m.First)
	a.items += len(m.Items)
	for i, it := range m.Items {
		if err := a.item(ctx, b, m.First+i, it); err != nil {
			return err
		}
	}
	if len(a.small) > 0 {
		select {
		case a.groups <- a.small:
			a.small = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	_, err := b.done()
	return err
}

// item handles one item. An error is of the connection; what goes wrong with the item stands in its batch.
func (a *adder) item(ctx context.Context, b *batch, n int, it api.Item) error {
	var content io.ReadCloser
	var feed func() error
	switch {
	case it.Inline:
	case it.FD:
		files, err := a.c.TakeFiles(1)
		if err != nil {
			return err
		}
		content = files[0]
	case it.Stream:
		pr, pw := io.Pipe()
		content, feed = pr, func() error { return a.feed(pw) }
	default:
		content = io.NopCloser(eofReader{})
	}
	t, arg, fresh, err := a.place(n, it)
	if err == nil {
		err = a.put(ctx, b, n, it, t, arg, fresh, content)
	}
	if err != nil {
		b.fail(n, t.path, err)
		if content != nil {
			_ = content.Close() // Only read.
		}
	}
	if feed != nil {
		return feed()
	}
	return nil
}

// errFolder says that an item's folder failed.
var errFolder = errors.New("the folder that it is in was not added")

// place is where an item goes, and to which top-level argument it belongs.
func (a *adder) place(n int, it api.Item) (t target, arg int, fresh bool, err error) {
	if it.Parent < 0 {
		arg = -1 - it.Parent
		if arg >= a.request.Count {
			return t, 0, false, fmt.Errorf("api: argument %d of %d: %w", arg, a.request.Count, api.ErrProtocol)
		}
		t = a.to.target(string(it.Name))
		a.tops[arg] = top{item: n, target: t}
		return t, arg, false, nil
	}
	f, ok := a.folders[it.Parent]
	if !ok {
		return target{path: string(it.Name)}, 0, false, errFolder
	}
	return target{parent: f.id, name: string(it.Name), path: path.Join(f.path, string(it.Name))}, f.arg, f.fresh, nil
}

// put makes an item, or hands it to the workers, who close content then.
func (a *adder) put(ctx context.Context, b *batch, n int, it api.Item, t target, arg int, fresh bool, content io.ReadCloser) error {
	kind := vfs.Kind(it.Kind)
	if kind == vfs.KindFolder {
		return a.folder(ctx, n, it, t, arg, fresh)
	}
	if t.name == "" {
		return fmt.Errorf("only a folder can be merged: %w", vfs.ErrNotDir)
	}
	if it.Link > 0 {
		a.links = append(a.links, addLink{item: n, to: it.Link - 1, target: t, arg: arg})
		return nil
	}
	if kind != vfs.KindFile {
		return a.other(ctx, n, it, t, fresh)
	}
	b.add()
	j := addJob{item: n, it: it, target: t, fresh: fresh, arg: arg, r: content, b: b}
	if content == nil {
		a.small = append(a.small, j)
		return nil
	}
	select {
	case a.jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clear makes way for an item of a kind; a file stays where a file comes, which edits it.
func (a *adder) clear(ctx context.Context, kind vfs.Kind, t target) error {
	old, err := a.fs.Lookup(ctx, t.parent, t.name)
	switch {
	case errors.Is(err, vfs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case old.Kind == vfs.KindFolder:
		return fmt.Errorf("a folder is in the way: %w", vfs.ErrExist)
	case old.Kind == kind && kind == vfs.KindFile:
		return nil
	case old.Kind != kind && !a.request.Force:
		return api.WithHint(fmt.Errorf("a %s is in the way: %w", kindNames[old.Kind], vfs.ErrExist),
			"--force replaces what is in the way, but for folders")
	}
	return a.fs.Remove(ctx, t.parent, t.name, false)
}

// folder makes a folder or merges into one.
func (a *adder) folder(ctx context.Context, n int, it api.Item, t target, arg int, fresh bool) error {
	f := folder{path: t.path, mtime: it.Mtime, keep: it.Keep, arg: arg}
	if t.name == "" { // The target itself.
		f.id, f.keep = t.parent, true
		a.folders[n] = f
		return nil
	}
	at, err := vfs.Attr{}, vfs.ErrNotExist
	if !fresh {
		at, err = a.fs.Lookup(ctx, t.parent, t.name)
	}
	if err == nil && at.Kind != vfs.KindFolder && a.request.Force {
		if err = a.fs.Remove(ctx, t.parent, t.name, false); err == nil {
			err = vfs.ErrNotExist
		}
	}
	if errors.Is(err, vfs.ErrNotExist) {
		f.fresh = true
		at, err = a.fs.Create(ctx, t.parent, t.name, vfs.NewNode{Kind: vfs.KindFolder, Mode: it.Mode, UID: it.UID, GID: it.GID})
		if errors.Is(err, vfs.ErrExist) { // Somebody was faster.
			f.fresh = false
			at, err = a.fs.Lookup(ctx, t.parent, t.name)
		}
	}
	if err == nil && at.Kind != vfs.KindFolder {
		err = fmt.Errorf("a %s is in the way: %w", kindNames[at.Kind], vfs.ErrExist)
	}
	if err == nil && !f.fresh && !f.keep {
		err = setDiffering(ctx, a.fs, at, vfs.SetAttr{Mode: &it.Mode, UID: &it.UID, GID: &it.GID})
	}
	if err == nil {
		err = setXattrs(ctx, a.fs, at.ID, it.Xattrs)
	}
	if err == nil && it.Parent < 0 && a.request.Policy != "" {
		err = a.p.SetPolicy(ctx, at.ID, a.request.Policy, "")
	}
	if err != nil {
		return err
	}
	f.id = at.ID
	a.folders[n] = f
	return nil
}

// other makes a symlink or special file, if no equal one is there.
func (a *adder) other(ctx context.Context, n int, it api.Item, t target, fresh bool) error {
	var at vfs.Attr
	var err error
	same := false
	if !fresh {
		if at, same, err = a.equal(ctx, it, t); err != nil {
			return err
		}
	}
	if !same {
		if at, err = a.makeOther(ctx, it, t, fresh); err != nil {
			return err
		}
	}
	if it.Many || it.Parent < 0 {
		a.mu.Lock()
		a.files[n] = at.ID
		a.mu.Unlock()
	}
	if err := setXattrs(ctx, a.fs, at.ID, it.Xattrs); err != nil {
		return err
	}
	return setDiffering(ctx, a.fs, at, vfs.SetAttr{Mode: &it.Mode, UID: &it.UID, GID: &it.GID, Mtime: &it.Mtime})
}

// makeOther makes a symlink or special file in the place of what is there.
func (a *adder) makeOther(ctx context.Context, it api.Item, t target, fresh bool) (vfs.Attr, error) {
	kind := vfs.Kind(it.Kind)
	if !fresh {
		if err := a.clear(ctx, kind, t); err != nil {
			return vfs.Attr{}, err
		}
	}
	return a.fs.Create(ctx, t.parent, t.name, vfs.NewNode{
		Kind: kind, Mode: it.Mode, UID: it.UID, GID: it.GID, RDev: it.RDev, Target: string(it.Target),
	})
}

// equal says whether a symlink or special file is there that leads to the same.
func (a *adder) equal(ctx context.Context, it api.Item, t target) (vfs.Attr, bool, error) {
	at, err := a.fs.Lookup(ctx, t.parent, t.name)
	switch {
	case errors.Is(err, vfs.ErrNotExist):
		return at, false, nil
	case err != nil:
		return at, false, err
	case at.Kind != vfs.Kind(it.Kind) || at.RDev != it.RDev:
		return at, false, nil
	case at.Kind != vfs.KindSymlink:
		return at, true, nil
	}
	old, err := a.fs.ReadLink(ctx, at.ID)
	return at, err == nil && old == string(it.Target), nil // one that can't be read is replaced
}

// setDiffering sets those attributes that are not so already: what is equal is no change, which other pods had to hear of.
func setDiffering(ctx context.Context, fs vfs.FS, at vfs.Attr, set vfs.SetAttr) error {
	if set.Mode != nil && *set.Mode == at.Mode {
		set.Mode = nil
	}
	if set.UID != nil && *set.UID == at.UID {
		set.UID = nil
	}
	if set.GID != nil && *set.GID == at.GID {
		set.GID = nil
	}
	if set.Mtime != nil && *set.Mtime == at.Mtime {
		set.Mtime = nil
	}
	if set == (vfs.SetAttr{}) {
		return nil
	}
	_, err := fs.SetAttr(ctx, at.ID, set)
	return err
}

// feed passes the data frames of an item on.
func (a *adder) feed(pw *io.PipeWriter) error {
	for {
		kind, b, err := receiveFrame(a.c)
		switch {
		case err != nil:
			pw.CloseWithError(err)
			return err
		case kind == api.FrameData:
			_, _ = pw.Write(b) // A worker that failed wants no more of it.
		case kind == api.FrameDataEnd && len(b) == 0:
			return pw.Close()
		case kind == api.FrameDataEnd:
			e, err := api.Decode[api.Error](b)
			if err != nil {
				e = *api.NewError(err)
			}
			pw.CloseWithError(&e)
			return nil
		default:
			err := fmt.Errorf("api: frame of kind %d within a file's data: %w", kind, api.ErrProtocol)
			pw.CloseWithError(err)
			return err
		}
	}
}

// work puts files until there are no more.
func (a *adder) work(ctx context.Context) error {
	defer func() { // Only after a failure is anything left; then the receiver may wait for room.
		for j := range a.jobs {
			_ = j.r.Close()
		}
	}()
	for j := range a.jobs {
		err := a.file(ctx, j)
		_ = j.r.Close() // Only read.
		if err != nil {
			j.b.fail(j.item, j.target.path, err)
		}
		if _, err := j.b.done(); err != nil {
			return err
		}
	}
	return nil
}

// file puts a file, unless what is there came from it and neither has changed since.
func (a *adder) file(ctx context.Context, j addJob) error {
	m := j.meta()
	at, kept, err := a.keep(ctx, &j, m)
	if err == nil && !kept {
		at, err = a.putFile(ctx, j, m)
	}
	if err != nil {
		return err
	}
	a.came(&j, at)
	return nil
}

// meta is what the item says of its file.
func (j *addJob) meta() pod.FileMeta {
	m := pod.FileMeta{Mode: j.it.Mode, UID: j.it.UID, GID: j.it.GID, Mtime: j.it.Mtime, Xattrs: j.it.Xattrs}
	if j.it.Ctime != 0 {
		m.Origin = &pod.Origin{Dev: j.it.Dev, Ino: j.it.Ino, Size: j.it.Size, Mtime: j.it.Mtime, Ctime: j.it.Ctime}
	}
	return m
}

// keep says whether what is there came from the item's file, and neither has changed since; if not, the way is clear for it.
func (a *adder) keep(ctx context.Context, j *addJob, m pod.FileMeta) (at vfs.Attr, kept bool, err error) {
	if j.fresh {
		return at, false, nil
	}
	if !a.request.Force {
		if at, kept, err = a.p.KeepFile(ctx, j.target.parent, j.target.name, m); kept || err != nil {
			if kept {
				j.b.keep()
			}
			return at, kept, err
		}
	}
	return at, false, a.clear(ctx, vfs.KindFile, j.target)
}

// came remembers what is asked for at the end.
func (a *adder) came(j *addJob, at vfs.Attr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bytes[j.arg] += at.Size
	if j.it.Many || j.it.Parent < 0 {
		a.files[j.item] = at.ID
	}
}

// workGroups puts small files until there are no more.
func (a *adder) workGroups(ctx context.Context) error {
	for group := range a.groups {
		if ctx.Err() != nil {
			continue // the receiver may wait for room
		}
		if err := a.smallFiles(ctx, group); err != nil {
			return err
		}
	}
	return nil
}

// smallFiles is file for those of one batch whose contents have come with it.
func (a *adder) smallFiles(ctx context.Context, group []addJob) error {
	done := func(j *addJob, at vfs.Attr, err error) error {
		if err != nil {
			j.b.fail(j.item, j.target.path, err)
		} else {
			a.came(j, at)
		}
		_, err = j.b.done()
		return err
	}
	files, jobs := make([]pod.SmallFile, 0, len(group)), make([]*addJob, 0, len(group))
	for i := range group {
		j := &group[i]
		m := j.meta()
		if at, kept, err := a.keep(ctx, j, m); kept || err != nil {
			if err := done(j, at, err); err != nil {
				return err
			}
			continue
		}
		files = append(files, pod.SmallFile{Parent: j.target.parent, Name: j.target.name, Meta: m, Data: j.it.Data})
		jobs = append(jobs, j)
	}
	out, err := a.p.PutFiles(ctx, files)
	if err != nil {
		return err
	}
	for i, j := range jobs {
		if err := done(j, out[i].Attr, out[i].Err); err != nil {
			return err
		}
	}
	return nil
}

// putFile reads a file.
func (a *adder) putFile(ctx context.Context, j addJob, m pod.FileMeta) (vfs.Attr, error) {
	size := int64(j.it.Size)
	if j.it.Stream {
		size = -1 // Not known.
	}
	var r io.Reader = j.r
	if f, ok := j.r.(*os.File); ok {
		adviseSequential(f, size)
		r = withHoles(f)
	}
	return a.p.PutFile(ctx, j.target.parent, j.target.name, m, size, r)
}

// eofReader has no bytes.
type eofReader struct{}

// Read returns io.EOF.
func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }
