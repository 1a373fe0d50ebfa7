package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Source is a top-level argument of an add.
type Source struct {
	Path   string    // on the host; of a Reader, how it is called in messages
	Name   string    // in a folder that receives it; "" merges a folder's contents into the target
	Reader io.Reader // streamed as a file, if not nil
	Mtime  int64     // of a Reader, ns since 1970
}

// AddOptions say what to add.
type AddOptions struct {
	To      string
	Policy  string
	Force   bool
	Move    bool // delete the sources that were added, once all is durable
	Stream  bool // send bytes even where descriptors can be passed
	Sources []Source

	Devices  map[uint64]bool               // what lies on these is streamed: the daemon must not read from its own mounts
	Skip     map[string]bool               // full paths of folders that are left out
	Problem  func(path string, err error)  // is told what can't be added; the rest is
	Progress func(files int, bytes uint64) // is told what was sent so far; may be nil
}

// adder is the client's side of an add. The walking goroutine owns all but what mu guards.
type adder struct {
	o     AddOptions
	c     *api.Conn
	slots chan struct{} // one for each batch under way

	batch  api.Batch
	opened []*os.File // of its items, nil: none; to be closed when the batch is sent
	passed int        // of them, those whose descriptors go with the batch
	small  []int      // of its items, those whose contents are to go with it
	arena  []byte     // what is read of them
	files  []*os.File // whose descriptors go with the batch
	last   io.Reader  // whose data follows it, if it is no file
	paths  []string   // of its items
	size   int
	items  int
	sent   int
	bytes  uint64
	links  map[inode]int // first item of a file that has several names
	moved  []hostFile    // with Move: what may be deleted in the end, folders before what is in them

	keeping atomic.Bool // files of the batch that was answered last were there already: those that come may be, too, and need not be read here

	mu      sync.Mutex
	pending map[int][]string // batches under way: paths of their items
	failed  map[int]bool     // with Move: items that were not added
}

// inode tells files of the host apart.
type inode struct{ dev, ino uint64 }

// hostFile is a source as it was when it was read.
type hostFile struct {
	path string
	item int
	// parent is the item of its folder, below 0 if it is an argument itself.
	parent int
	inode  inode
	size   uint64
	mtime  int64
	ctime  int64 // 0: not known here
	kind   vfs.Kind
	many   bool // it has more names
}

// Add imports sources. Problems with single files go to o.Problem, and the rest is added; the error is of the
// whole. When it returns without one, what was added is durable at the daemon.
func (c *Client) Add(ctx context.Context, o AddOptions) (api.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request := api.AddRequest{To: api.Text(o.To), Count: len(o.Sources), Policy: o.Policy, Force: o.Force}
	conn, stop, err := c.transfer(ctx, "add", request)
	if err != nil {
		return api.Result{}, err
	}
	defer stop()
	a := &adder{
		o: o, c: conn, slots: make(chan struct{}, api.Window), links: map[inode]int{}, pending: map[int][]string{},
		failed: map[int]bool{},
	}
	var result api.Result
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		var err error
		result, err = a.answers(gctx)
		return err
	})
	g.Go(func() error {
		defer a.closeFiles()
		return a.send(gctx)
	})
	if err := g.Wait(); err != nil {
		return api.Result{}, err
	}
	for _, e := range result.Errors {
		a.problem(e.Item, string(e.Path), e.Err)
	}
	if o.Move {
		a.deleteSources()
	}
	return result, nil
}

// problem tells of an item that was not added.
func (a *adder) problem(item int, path string, err error) {
	a.mu.Lock()
	a.failed[item] = true
	a.mu.Unlock()
	a.o.Problem(path, err)
}

// answers takes the daemon's answers until the Result. An error of it is the daemon's own, which says more than that of
// sending to a connection that it closed: so that comes first.
func (a *adder) answers(ctx context.Context) (api.Result, error) {
	for {
		kind, b, err := receive(ctx, a.c)
		if err != nil {
			return api.Result{}, err
		}
		switch kind {
		case api.FrameResult:
			return api.Decode[api.Result](b)
		case api.FrameDone:
			d, err := api.Decode[api.Done](b)
			if err != nil {
				return api.Result{}, err
			}
			a.mu.Lock()
			paths := a.pending[d.First]
			delete(a.pending, d.First)
			a.mu.Unlock()
			a.keeping.Store(d.Kept > 0)
			for _, e := range d.Errors {
				path := string(e.Path)
				if i := e.Item - d.First; i >= 0 && i < len(paths) {
					path = paths[i]
				}
				a.problem(e.Item, path, e.Err)
			}
			select {
			case <-a.slots:
			default:
				return api.Result{}, fmt.Errorf("api: an answer to no batch: %w", api.ErrProtocol)
			}
		default:
			return api.Result{}, fmt.Errorf("api: frame of kind %d in an add: %w", kind, api.ErrProtocol)
		}
	}
}

// send sends all sources. When sending fails, the answers tell why.
func (a *adder) send(ctx context.Context) error {
	for i, s := range a.o.Sources {
		var err error
		if s.Reader != nil {
			err = a.reader(ctx, i, s)
		} else {
			err = a.path(ctx, i, s)
		}
		if err != nil {
			return a.sendError(ctx, err)
		}
	}
	if err := a.flush(ctx); err != nil {
		return a.sendError(ctx, err)
	}
	if err := a.c.Send(api.FrameFinish, struct{}{}, nil); err != nil {
		return a.sendError(ctx, &connError{err})
	}
	return nil
}

// sendError lets the answers speak first where the connection failed.
func (a *adder) sendError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, isConn := errors.AsType[*connError](err); isConn {
		return nil
	}
	return err
}

// connError is an error of sending, which the daemon may have explained before it closed the connection.
type connError struct{ error }

// Unwrap is the error within.
func (e *connError) Unwrap() error { return e.error }

func (a *adder) reader(ctx context.Context, arg int, s Source) error {
	it := api.Item{Parent: -1 - arg, Name: api.Text(s.Name), Kind: uint8(vfs.KindFile), Mode: 0o644, Mtime: s.Mtime, Stream: true}
	it.UID, it.GID = ownIDs()
	return a.put(ctx, it, s.Path, nil, &endingReader{r: s.Reader, done: ctx.Done()})
}

func (a *adder) path(ctx context.Context, arg int, s Source) error {
	n, err := openTop(s.Path)
	if err != nil {
		a.o.Problem(s.Path, err)
		return nil
	}
	n.it.Parent, n.it.Name = -1-arg, api.Text(s.Name)
	n.it.Keep = s.Name == ""
	return a.node(ctx, n, s.Path)
}

// node sends a node of the host, whose file it closes, and all below it.
func (a *adder) node(ctx context.Context, n hostNode, path string) error {
	item := a.items
	if n.nlink > 1 && vfs.Kind(n.it.Kind) != vfs.KindFolder {
		if first, ok := a.links[n.inode]; ok {
			n.it.Link = first + 1
			n.it.Xattrs = nil
			if n.file != nil {
				_ = n.file.Close() // Only read.
				n.file = nil
			}
		} else {
			a.links[n.inode], n.it.Many = item, true
		}
	}
	if a.o.Move {
		a.moved = append(a.moved, hostFile{
			path: path, item: item, parent: n.it.Parent, inode: n.inode, size: n.it.Size, mtime: n.it.Mtime, ctime: n.ctime,
			kind: vfs.Kind(n.it.Kind), many: n.nlink > 1,
		})
	}
	if vfs.Kind(n.it.Kind) != vfs.KindFolder {
		n.it.Stream = n.file != nil && (a.o.Stream || a.o.Devices[n.inode.dev])
		return a.put(ctx, n.it, path, n.file, nil)
	}
	defer func() { _ = n.file.Close() }() // Only read.
	if err := a.put(ctx, n.it, path, nil, nil); err != nil {
		return err
	}
	return a.folder(ctx, n.file, item, path)
}

// folder sends what is in a folder.
func (a *adder) folder(ctx context.Context, dir *os.File, item int, path string) error {
	entries, err := dir.ReadDir(-1)
	if err != nil {
		a.problem(item, path, err)
	}
	slices.SortFunc(entries, func(x, y os.DirEntry) int {
		return bytes.Compare([]byte(x.Name()), []byte(y.Name()))
	})
	for _, e := range entries {
		full := filepath.Join(path, e.Name())
		if e.IsDir() && a.skip(full) {
			continue
		}
		n, err := openIn(dir, full, e)
		if errors.Is(err, os.ErrNotExist) {
			continue // Removed meanwhile.
		}
		if err != nil {
			a.problem(-1, full, err)
			continue
		}
		n.it.Parent, n.it.Name = item, api.Text(e.Name())
		if err := a.node(ctx, n, full); err != nil {
			return err
		}
	}
	return nil
}

// skip says whether a folder is left out.
func (a *adder) skip(path string) bool {
	if len(a.o.Skip) == 0 {
		return false
	}
	abs, err := filepath.Abs(path)
	return err == nil && a.o.Skip[abs]
}

// put adds an item to the batch, which is sent when it is full. file, if there is one, is closed when it was sent.
func (a *adder) put(ctx context.Context, it api.Item, path string, file *os.File, stream io.Reader) error {
	size := 2*(len(it.Name)+len(it.Target)) + 100
	for k, v := range it.Xattrs {
		size += 2 * (len(k) + len(v))
	}
	small := file != nil && !it.Stream && it.Size <= api.InlineMax && !a.keeping.Load()
	if small {
		size += int(it.Size)
	}
	if len(a.batch.Items) >= api.BatchMax || a.passed >= api.BatchFDs || len(a.small) >= smallMax || a.size+size > api.BatchSize {
		if err := a.flush(ctx); err != nil {
			if file != nil {
				_ = file.Close()
			}
			return err
		}
	}
	if len(a.batch.Items) == 0 {
		a.batch.First = a.items
	}
	switch {
	case small:
		a.small = append(a.small, len(a.batch.Items))
	case file != nil && api.CanPassFiles && !it.Stream:
		it.FD = true
		a.passed++
	case file != nil:
		it.Stream = true
	}
	a.batch.Items, a.opened, a.last = append(a.batch.Items, it), append(a.opened, file), stream
	a.paths = append(a.paths, path)
	a.size += size
	a.items++
	a.bytes += it.Size
	if stream != nil {
		return a.flush(ctx) // It may take its time.
	}
	return nil
}

// flush sends the batch.
func (a *adder) flush(ctx context.Context) error {
	if len(a.batch.Items) == 0 {
		return nil
	}
	a.readSmall()
	for i, f := range a.opened {
		if a.batch.Items[i].FD {
			a.files = append(a.files, f)
		}
	}
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	a.mu.Lock()
	a.pending[a.batch.First] = a.paths
	a.mu.Unlock()
	if err := a.c.Send(api.FrameBatch, a.batch, a.files); err != nil {
		return &connError{err}
	}
	for i, f := range a.opened {
		var r io.Reader = f
		if f == nil {
			r = a.last // the last item's
		}
		if a.batch.Items[i].Stream {
			if err := a.stream(r); err != nil {
				return err
			}
		}
	}
	a.closeFiles()
	a.sent += len(a.batch.Items)
	a.batch = api.Batch{Items: a.batch.Items[:0]}
	a.files, a.small, a.paths, a.passed, a.size, a.last = a.files[:0], a.small[:0], nil, 0, 0, nil
	if a.o.Progress != nil {
		a.o.Progress(a.sent, a.bytes)
	}
	return nil
}

func (a *adder) closeFiles() {
	for _, f := range a.opened {
		if f != nil {
			_ = f.Close() // Only read.
		}
	}
	a.opened = a.opened[:0]
}

const (
	// smallMax is how many small files are open at a time: a process has 1024 descriptors as a rule.
	smallMax = 256
	// smallReaders is how many of them are read at a time, which counts where a disk has to be waited for.
	smallReaders = 4
)

// readSmall reads the small files of the batch. One that is not as long as was told, or can't be read, is streamed: what is wrong with it is told as
// of any other.
func (a *adder) readSmall() {
	need := 0
	for _, i := range a.small {
		need += int(a.batch.Items[i].Size) + 1
	}
	if cap(a.arena) < need {
		a.arena = make([]byte, need)
	}
	bufs, rest := make([][]byte, len(a.small)), a.arena[:need]
	for k, i := range a.small {
		n := int(a.batch.Items[i].Size) + 1
		bufs[k], rest = rest[:n:n], rest[n:]
	}
	var g errgroup.Group
	share := (len(a.small) + smallReaders - 1) / smallReaders
	for from := 0; from < len(a.small); from += share {
		g.Go(func() error {
			for k := from; k < min(from+share, len(a.small)); k++ {
				it, f := &a.batch.Items[a.small[k]], a.opened[a.small[k]]
				// A byte more is asked for, and one call is enough: a file that has just become longer was this before.
				n, err := f.Read(bufs[k])
				if uint64(n) == it.Size && (err == nil || n == 0 && err == io.EOF) { // what broke off must not pass for whole
					it.Inline, it.Data = true, bufs[k][:n]
					continue
				}
				it.Stream = true
				_, _ = f.Seek(0, io.SeekStart) // What can't go back can't be read either, which streaming it will tell.
			}
			return nil
		})
	}
	_ = g.Wait() // there are no errors
}

// stream sends the bytes of a file. That they can't be read is told to the daemon, which reports it.
func (a *adder) stream(r io.Reader) error {
	buf := make([]byte, api.DataMax)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := a.c.SendBytes(api.FrameData, buf[:n]); err != nil {
				return &connError{err}
			}
		}
		switch {
		case err == io.EOF, err == io.ErrUnexpectedEOF: //nolint:errorlint // ReadFull's own; a wrapped one is no end
			err = a.c.SendBytes(api.FrameDataEnd, nil)
		case err != nil:
			err = a.c.Send(api.FrameDataEnd, api.NewError(err), nil)
		default:
			continue
		}
		if err != nil {
			return &connError{err}
		}
		return nil
	}
}

// deleteSources deletes what was added and has not changed since, what is in a folder before it. The daemon has said that all is
// durable, as the policy promises; where it says that of a folder it can't, all in it stays. A folder in which something new has come stays: it can't be removed.
func (a *adder) deleteSources() {
	for _, h := range a.moved { // folders come before what is in them
		if a.failed[h.parent] {
			a.failed[h.item] = true
		}
	}
	gone := map[inode]bool{} // files of which a name was deleted, which changes their ctime
	for _, h := range slices.Backward(a.moved) {
		if a.failed[h.item] {
			continue
		}
		if gone[h.inode] {
			h.ctime = 0
		}
		if h.kind != vfs.KindFolder && !unchanged(h) {
			a.o.Problem(h.path, errors.New("changed since it was read: not deleted"))
			continue
		}
		if err := os.Remove(h.path); err != nil {
			a.o.Problem(h.path, err)
			continue
		}
		if h.many {
			gone[h.inode] = true
		}
	}
}
