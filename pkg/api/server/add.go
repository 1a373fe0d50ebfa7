package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// adder takes an add in. The goroutine that receives owns all but what mu guards; it makes folders, symlinks and
// special files itself, in order, and hands files to the workers.
type adder struct {
	p       Pod
	fs      vfs.FS
	c       *api.Conn
	request api.AddRequest
	to      receiver
	jobs    chan addJob
	groups  chan smallGroup
	small   []addJob // small files of the batch that is received

	items   int            // received
	folders map[int]folder // by item
	links   []addLink      // hard links, to be made at the end
	tops    map[int]top    // by top-level argument
	late    []api.ItemError

	mu    sync.Mutex
	files map[int]vfs.NodeID // by item: those that have several names, or are top-level
	bytes map[int]uint64     // by top-level argument
}

// smallGroup is the small files of a batch, and the memory that their contents lie in.
type smallGroup struct {
	jobs  []addJob
	bytes *[]byte
}

// batchBuffers hold batches while their small files are put.
var batchBuffers = sync.Pool{New: func() any { return new([]byte) }}

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

// add runs the daemon's side of `wh add`.
func (s *Server) add(ctx context.Context, p Pod, c *api.Conn) error {
	q, err := receiveRequest[api.AddRequest](c)
	if err != nil {
		return err
	}
	if q.Policy != "" { // before anything is there without it
		if _, err := placement.ParsePolicy(q.Policy); err != nil {
			return err
		}
	}
	a := &adder{
		p: p, fs: p.FS(), c: c, request: q, jobs: make(chan addJob, (api.Window+1)*api.BatchMax), groups: make(chan smallGroup, api.Window),
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
			if err := a.batch(ctx, b); err != nil {
				return err
			}
		default:
			return fmt.Errorf("api: frame of kind %d in an add: %w", kind, api.ErrProtocol)
		}
	}
}

// batch handles the items of a batch. Its bytes are valid until the next frame; small files take longer.
func (a *adder) batch(ctx context.Context, frame []byte) error {
	buf := batchBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool has only these
	*buf = append((*buf)[:0], frame...)
	m, err := api.DecodeBatch(*buf)
	if err != nil {
		return err
	}
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
	if len(a.small) == 0 {
		batchBuffers.Put(buf)
	} else {
		select {
		case a.groups <- smallGroup{a.small, buf}:
			a.small = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	_, err = b.done()
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

// eofReader has no bytes.
type eofReader struct{}

// Read returns io.EOF.
func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }
