package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// depthMax is how deep folders of a get may lie in one another.
const depthMax = 4096

// getter sends a tree out: one goroutine walks and sends batches, one receives what the client opened, the workers
// write.
type getter struct {
	fs      vfs.FS
	c       *api.Conn
	slots   chan struct{} // one for each batch under way
	jobs    chan getJob
	streams chan streamJob

	// Of the walking goroutine.
	items int
	batch api.Batch
	nodes map[int]getNode    // the files of the batch
	bytes int                // names and attributes in the batch
	links map[vfs.NodeID]int // first item of a file that has, or in a tree may have, several names
	tree  bool               // the source is a tree, which doesn't count the names of a file
	late  []api.ItemError

	mu   sync.Mutex
	sent map[int]map[int]getNode // batches under way: first item -> its files
}

// getNode is a file of a batch.
type getNode struct {
	attr vfs.Attr
	path string
}

// getJob is a file to be written to a descriptor.
type getJob struct {
	item int
	node getNode
	to   *os.File
	b    *batch
}

// streamJob is a batch whose files are to be streamed.
type streamJob struct {
	items []int
	nodes map[int]getNode
	b     *batch
}

// get runs the daemon's side of `wh get`.
func (s *Server) get(ctx context.Context, p Pod, c *api.Conn) error {
	q, err := receiveRequest[api.GetRequest](c)
	if err != nil {
		return err
	}
	fs, n, err := openSource(ctx, p, string(q.Path), string(q.At))
	if err != nil {
		return err
	}
	g := &getter{
		fs: fs, c: c, slots: make(chan struct{}, api.Window), jobs: make(chan getJob, api.Window*api.BatchFDs),
		streams: make(chan streamJob, api.Window), nodes: map[int]getNode{}, links: map[vfs.NodeID]int{},
		sent: map[int]map[int]getNode{}, tree: q.At != "" || !strings.HasPrefix(string(q.Path), "/"),
	}
	group, gctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(gctx, func() { _ = c.Close() }) // Something failed; nothing is sent after Wait then.
	for range getWorkers {
		group.Go(func() error { return g.work(gctx) })
	}
	group.Go(func() error { return g.stream(gctx) })
	group.Go(func() error {
		defer close(g.jobs)
		defer close(g.streams)
		return g.receive(gctx)
	})
	group.Go(func() error { return g.send(gctx, n) })
	err = group.Wait()
	stop()
	return err
}

// send walks the tree, and when all batches are done sends the Result.
func (g *getter) send(ctx context.Context, n node) error {
	if err := g.walk(ctx, -1, "", n.path, n.attr, 0); err != nil {
		return g.tell(err)
	}
	if err := g.flush(ctx); err != nil {
		return err
	}
	for range api.Window { // Every slot is free again when every batch is done.
		select {
		case g.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return g.c.Send(api.FrameResult, api.Result{Added: []api.Added{}, Items: g.items, Errors: append([]api.ItemError{}, g.late...)}, nil)
}

// tell sends a failure before the connection is closed for it.
func (g *getter) tell(err error) error {
	_ = g.c.Send(api.FrameFail, api.NewError(err), nil) // The client may have gone.
	return err
}

// walk sends a node and all below it. What can't be read is noted, and the walk goes on.
func (g *getter) walk(ctx context.Context, parent int, name, full string, a vfs.Attr, depth int) error {
	if depth > depthMax {
		g.late = append(g.late, itemError(parent, full, fmt.Errorf("more than %d folders deep: %w", depthMax, vfs.ErrInvalid)))
		return nil
	}
	it := api.Item{
		Parent: parent, Name: api.Text(name), Kind: uint8(a.Kind), Mode: a.Mode, UID: a.UID, GID: a.GID, RDev: a.RDev,
		Mtime: a.Mtime, Size: a.Size,
	}
	number := g.items
	err := g.fill(ctx, &it, number, a)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		g.late = append(g.late, itemError(number, full, err))
		if a.Kind == vfs.KindSymlink {
			return nil
		}
	}
	if err := g.put(ctx, it, getNode{attr: a, path: full}); err != nil {
		return err
	}
	if a.Kind != vfs.KindFolder {
		return nil
	}
	err = eachEntry(ctx, g.fs, a.ID, func(d vfs.DirEntry) error {
		if err := vfs.CheckName(d.Name); err != nil { // It came from peers; the client checks too.
			g.late = append(g.late, itemError(number, full, err))
			return nil
		}
		if err := g.walk(ctx, number, d.Name, path.Join(full, d.Name), d.Attr, depth+1); err != nil {
			return &walkError{err}
		}
		return nil
	})
	if w, ok := errors.AsType[*walkError](err); ok {
		return w.err
	}
	if err != nil && ctx.Err() == nil { // The folder can't be listed to its end.
		g.late = append(g.late, itemError(number, full, err))
		return nil
	}
	return err
}

// walkError is an error that ends the walk, told apart from one of listing a folder.
type walkError struct{ err error }

// Error is the text of the error within.
func (w *walkError) Error() string { return w.err.Error() }

// Unwrap is the error within.
func (w *walkError) Unwrap() error { return w.err }

// fill adds what the attributes don't tell.
func (g *getter) fill(ctx context.Context, it *api.Item, number int, a vfs.Attr) error {
	var err error
	if (a.NLink > 1 || g.tree) && a.Kind != vfs.KindFolder {
		if first, ok := g.links[a.ID]; ok {
			it.Link = first + 1
			return nil
		}
		g.links[a.ID], it.Many = number, true
	}
	if a.Kind == vfs.KindSymlink {
		var t string
		t, err = g.fs.ReadLink(ctx, a.ID)
		it.Target = api.Text(t)
		return err
	}
	it.Xattrs, err = xattrs(ctx, g.fs, a.ID)
	if errors.Is(err, vfs.ErrNotSupported) {
		return nil
	}
	return err
}

// put adds an item to the batch, which is sent when it is full.
func (g *getter) put(ctx context.Context, it api.Item, n getNode) error {
	size := itemSize(it)
	if len(g.batch.Items) >= api.BatchMax || len(g.nodes) >= api.BatchFDs || g.bytes+size > api.BatchSize {
		if err := g.flush(ctx); err != nil {
			return err
		}
	}
	if len(g.batch.Items) == 0 {
		g.batch.First = g.items
	}
	if n.attr.Kind == vfs.KindFile && it.Link == 0 {
		g.nodes[g.items] = n
	}
	g.batch.Items = append(g.batch.Items, it)
	g.bytes += size
	g.items++
	return nil
}

// itemSize is about how many bytes an item takes in a frame.
func itemSize(it api.Item) int {
	size := 2 * (len(it.Name) + len(it.Target))
	for k, v := range it.Xattrs {
		size += 2 * (len(k) + len(v))
	}
	return size
}

// flush sends the batch.
func (g *getter) flush(ctx context.Context) error {
	if len(g.batch.Items) == 0 {
		return nil
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	g.sent[g.batch.First] = g.nodes
	g.mu.Unlock()
	err := g.c.Send(api.FrameBatch, g.batch, nil)
	g.batch, g.nodes, g.bytes = api.Batch{}, map[int]getNode{}, 0
	return err
}

// receive takes the answers to batches in, until the client finishes.
func (g *getter) receive(ctx context.Context) error {
	for {
		kind, b, err := receiveFrame(g.c)
		if err != nil {
			return err
		}
		switch kind {
		case api.FrameFinish:
			return nil
		case api.FrameOpened:
			o, err := api.Decode[api.Opened](b)
			if err != nil {
				return err
			}
			if err := g.opened(ctx, o); err != nil {
				return err
			}
		default:
			return fmt.Errorf("api: frame of kind %d in a get: %w", kind, api.ErrProtocol)
		}
	}
}

// opened hands what the client opened for one batch to the workers.
func (g *getter) opened(ctx context.Context, o api.Opened) error {
	g.mu.Lock()
	nodes, ok := g.sent[o.First]
	delete(g.sent, o.First)
	g.mu.Unlock()
	if !ok || len(o.Write) > len(nodes) {
		return fmt.Errorf("api: answer to batch %d with %d files: %w", o.First, len(o.Write), api.ErrProtocol)
	}
	for _, item := range o.Write {
		if _, ok := nodes[item]; !ok {
			return fmt.Errorf("api: item %d is no file of batch %d: %w", item, o.First, api.ErrProtocol)
		}
	}
	b := newBatch(g.c, o.First)
	if o.Stream {
		g.streams <- streamJob{items: o.Write, nodes: nodes, b: b} // There is room for all batches under way.
		return nil
	}
	files, err := g.c.TakeFiles(len(o.Write))
	if err != nil {
		return err
	}
	for i, item := range o.Write {
		b.add()
		g.jobs <- getJob{item: item, node: nodes[item], to: files[i], b: b} // As above.
	}
	return g.done(b)
}

// done ends a job of a batch and frees its slot with the last.
func (g *getter) done(b *batch) error {
	last, err := b.done()
	if last {
		<-g.slots
	}
	return err
}

// work writes files until there are no more.
func (g *getter) work(ctx context.Context) error {
	bufs := [2][]byte{make([]byte, copySize), make([]byte, copySize)}
	defer func() {
		for j := range g.jobs {
			_ = j.to.Close() // Given up.
		}
	}()
	for j := range g.jobs {
		err := g.write(ctx, j.node.attr, j.to, bufs)
		if cerr := j.to.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			j.b.fail(j.item, j.node.path, err)
		}
		if err := g.done(j.b); err != nil {
			return err
		}
	}
	return nil
}

// aheadFrom is the size from which a file is read by a goroutine of its own.
const aheadFrom = 4 * copySize

// stream sends the data of batches whose client can't pass descriptors.
func (g *getter) stream(ctx context.Context) error {
	buf := make([]byte, api.DataMax)
	for s := range g.streams {
		for _, item := range s.items {
			if err := g.streamFile(ctx, s.nodes[item], buf); err != nil {
				return err
			}
		}
		if err := g.done(s.b); err != nil {
			return err
		}
	}
	return nil
}

// streamFile sends one file; that it can't be read is told to the client, and no error.
func (g *getter) streamFile(ctx context.Context, n getNode, buf []byte) error {
	var gone error
	ctx = exporting(ctx, n.attr.Size)
	f, err := g.fs.Open(ctx, n.attr.ID)
	if err == nil {
		err = eachPart(ctx, f, buf, func(b []byte, _ int64) error {
			gone = g.c.SendBytes(api.FrameData, b)
			return gone
		})
		_ = f.Close(context.WithoutCancel(ctx)) // Only read.
	}
	switch {
	case gone != nil:
		return gone
	case err == nil:
		return g.c.SendBytes(api.FrameDataEnd, nil)
	}
	return g.c.Send(api.FrameDataEnd, itemError(0, n.path, err).Err, nil)
}
