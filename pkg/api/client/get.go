package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// GetOptions say what to get, and where to.
type GetOptions struct {
	Source string // "/PATH" or a CID
	At     string // a time or a snapshot: what the path was then; "": what it is
	Dest   string // an existing folder receives; else it is the name to take
	Stream bool   // receive bytes even where descriptors can be passed

	// What of the tree is a right on this machine is left out, and a problem, unless it is asked for: whoever may write in the network could have put it there.
	Dev  bool // device files are made
	SUID bool // files keep their set-id bits and capabilities

	FilesMax uint64 // so many files, folders and others at most; 0: any number
	BytesMax uint64 // so many bytes of files at most, holes included; 0: any number

	Problem  func(path string, err error)  // is told what can't be had; the rest is written
	Progress func(files int, bytes uint64) // is told what was written so far; may be nil
}

// getter is the client's side of a get: one goroutine that receives, makes, and answers. Nothing outside the
// destination can be touched: every name is one that a folder may hold, and is used in an open folder (os.Root) only.
type getter struct {
	o      GetOptions
	c      *api.Conn
	name   string // of the top-level item; "" merges it into the receiving folder
	stage  *stage // where it is written, if it is a folder of which nothing is there yet
	top    *destFolder
	stack  []*destFolder // the folders that items now come for, each in the one before
	failed map[int]bool  // folders that could not be made

	batches map[int][]*destFile // what is being written, by batch
	stream  []*destFile         // files whose data are to come as frames, in order
	many    map[int]string      // items that have several names: their paths below top
	links   []destLink
	files   int
	bytes   uint64

	items, size uint64 // that came, of which no more than o.FilesMax and o.BytesMax may
}

// destLink is a hard link, made when all files are there.
type destLink struct {
	dir  *destFolder
	name string
	to   string
	path string
}

// Get exports a file or tree. Problems with single files go to o.Problem, and the rest is written; the error is of
// the whole.
func (c *Client) Get(ctx context.Context, o GetOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := &getter{o: o, failed: map[int]bool{}, batches: map[int][]*destFile{}, many: map[int]string{}}
	if err := g.openDest(); err != nil {
		return err
	}
	defer g.close()
	conn, stop, err := c.transfer(ctx, "get", api.GetRequest{Path: api.Text(o.Source), At: api.Text(o.At)})
	if err != nil {
		return err
	}
	defer stop()
	g.c = conn
	if err := g.receive(ctx); err != nil {
		if g.stage != nil {
			err = api.WithHint(err, fmt.Sprintf("what is there so far is in %s; the same get goes on with it", filepath.Join(g.top.path, g.stage.name)))
		}
		return err
	}
	return nil
}

// openDest opens the folder that receives the top-level item and finds the item's name in it.
func (g *getter) openDest() error {
	dest := g.o.Dest
	st, err := os.Stat(dest) // Symlinks in what the user names are the user's.
	switch {
	case err == nil && st.IsDir():
		if g.name = strings.TrimSuffix(path.Base(path.Clean(g.o.Source)), "/"); g.name == "" {
			break
		}
		if err := vfs.CheckName(g.name); err != nil {
			return fmt.Errorf("%s: %w", g.o.Source, err)
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		dest, g.name = filepath.Dir(filepath.Clean(dest)), filepath.Base(filepath.Clean(dest))
	}
	top := &destFolder{path: dest, item: -1, refs: 1}
	g.top, err = top.use(os.OpenRoot(dest))
	return err
}

// close gives up what is open after a failure.
func (g *getter) close() {
	for _, b := range g.batches {
		for _, f := range b {
			f.discard()
		}
	}
	for _, f := range g.stack {
		f.close()
	}
	if g.stage != nil {
		_ = g.stage.lock.Close() // Only a handle.
	}
	g.top.close()
}

// receive takes frames until the Result.
func (g *getter) receive(ctx context.Context) error {
	for {
		kind, b, err := receive(ctx, g.c)
		if err != nil {
			return err
		}
		switch kind {
		case api.FrameBatch:
			m, err := api.DecodeBatch(b)
			if err != nil {
				return err
			}
			if err := g.batch(ctx, m); err != nil {
				return err
			}
		case api.FrameData, api.FrameDataEnd:
			if err := g.data(kind, b); err != nil {
				return err
			}
		case api.FrameDone:
			d, err := api.Decode[api.Done](b)
			if err != nil {
				return err
			}
			g.done(d)
		case api.FrameResult:
			r, err := api.Decode[api.Result](b)
			if err != nil {
				return err
			}
			g.finish(r)
			_ = g.c.Send(api.FrameFinish, struct{}{}, nil) // All is here.
			return nil
		default:
			return fmt.Errorf("api: frame of kind %d in a get: %w", kind, api.ErrProtocol)
		}
	}
}

// makers is how many files are made at once.
const makers = 2

// wantFile is a file of a batch that is to be made.
type wantFile struct {
	dir  *destFolder
	item int
	name string
	it   api.Item
	path string

	made *destFile // nil: it is there already, complete
	err  error
}

// batch makes what a batch holds and answers with the files that are to be written.
func (g *getter) batch(ctx context.Context, m api.Batch) error {
	var wanted []*wantFile
	for i, it := range m.Items {
		if err := g.count(it); err != nil {
			return err
		}
		w, err := g.item(m.First+i, it)
		if err != nil {
			delete(g.many, m.First+i)
			g.o.Problem(g.pathOf(it), err)
			continue
		}
		if w != nil {
			wanted = append(wanted, w)
		}
	}
	makeFiles(wanted)
	answer := api.Opened{First: m.First, Write: []int{}, Stream: g.o.Stream || !api.CanPassFiles}
	var files []*os.File
	for _, w := range wanted {
		if w.err != nil {
			delete(g.many, w.item)
			g.o.Problem(w.path, w.err)
		}
		if w.err != nil || w.made == nil {
			g.release(w.dir)
			continue
		}
		g.batches[m.First] = append(g.batches[m.First], w.made)
		answer.Write, files = append(answer.Write, w.item), append(files, w.made.file)
	}
	if answer.Stream {
		g.stream, files = append(g.stream, g.batches[m.First]...), nil
	}
	if err := g.c.Send(api.FrameOpened, answer, files); err != nil {
		return cut(ctx, err)
	}
	return nil
}

// makeFiles makes files, some at once: most of the time goes into waiting for the file system.
func makeFiles(wanted []*wantFile) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(makers, len(wanted)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(wanted) {
					return
				}
				w := wanted[i]
				w.made, w.err = w.dir.file(w.item, w.name, w.it)
			}
		})
	}
	wg.Wait()
}

// item makes one item, or returns the file that is to be made.
func (g *getter) item(n int, it api.Item) (*wantFile, error) {
	kind := vfs.Kind(it.Kind)
	dir, err := g.enter(it.Parent)
	name := string(it.Name)
	if err == nil && it.Parent < 0 {
		name = g.name
		if name == "" && kind != vfs.KindFolder {
			err = fmt.Errorf("only a folder can be merged: %w", vfs.ErrNotDir)
		}
	}
	if err == nil && name != "" || it.Parent >= 0 {
		err = errors.Join(err, vfs.CheckName(name))
	}
	if err == nil && strings.ContainsRune(name, filepath.Separator) {
		err = fmt.Errorf("%w: %q", vfs.ErrBadName, name)
	}
	if err != nil {
		g.failed[n] = kind == vfs.KindFolder
		return nil, err
	}
	if dir.seen != nil {
		dir.seen[name] = true
	}
	if it.Link > 0 {
		to, ok := g.many[it.Link-1]
		if !ok {
			return nil, errors.New("the file that it is a link to could not be had")
		}
		dir.refs++
		g.links = append(g.links, destLink{dir: dir, name: name, to: to, path: filepath.Join(dir.path, name)})
		return nil, nil
	}
	if it.Many {
		g.many[n] = path.Join(dir.below, name)
	}
	switch kind {
	case vfs.KindFolder:
		d, err := g.folder(dir, n, name, it)
		if err != nil {
			g.failed[n] = true
			return nil, err
		}
		g.stack = append(g.stack, d)
		return nil, nil
	case vfs.KindFile:
		dir.refs++
		w := &wantFile{dir: dir, item: n, name: name, it: it, path: filepath.Join(dir.path, name)}
		if !g.o.SUID && dropRights(&w.it) {
			g.o.Problem(w.path, api.WithHint(errRights, "--suid keeps them"))
		}
		return w, nil
	case vfs.KindSymlink:
		return nil, dir.symlink(name, it)
	case vfs.KindCharDev, vfs.KindBlockDev:
		if !g.o.Dev {
			return nil, api.WithHint(errDevice, "--dev makes them")
		}
	}
	return nil, dir.special(name, it)
}

// done ends the files of a batch.
func (g *getter) done(d api.Done) {
	failed := map[int]*api.Error{}
	for _, e := range d.Errors {
		failed[e.Item] = e.Err
	}
	for _, f := range g.batches[d.First] {
		var err error
		switch e := failed[f.item]; {
		case e != nil:
			err = e
			f.discard()
		case f.broken != nil:
			err = f.broken
			f.discard()
		default:
			err = f.finish()
		}
		if err != nil {
			delete(g.many, f.item)
			g.o.Problem(filepath.Join(f.dir.path, f.name), err)
		}
		g.files++
		g.bytes += f.it.Size
		g.release(f.dir)
	}
	delete(g.batches, d.First)
	if g.o.Progress != nil {
		g.o.Progress(g.files, g.bytes)
	}
}

// finish makes the hard links and ends all folders.
func (g *getter) finish(r api.Result) {
	for _, l := range g.links {
		if err := g.link(l); err != nil {
			g.o.Problem(l.path, err)
		}
		g.release(l.dir)
	}
	for len(g.stack) > 0 {
		g.leave()
	}
	if g.stage != nil {
		if err := g.complete(r); err != nil {
			g.o.Problem(filepath.Join(g.top.path, g.stage.name), err)
		}
	}
	for _, e := range r.Errors {
		g.o.Problem(string(e.Path), e.Err)
	}
}

// complete gives the stage the name of what was to be got. What an earlier get left and this one did not bring is removed first; if
// not all could be listed it stays.
func (g *getter) complete(r api.Result) error {
	if len(r.Errors) == 0 {
		for _, l := range g.stage.left {
			if err := l.remove(g.top.root); err != nil {
				return err
			}
		}
	}
	return g.top.root.Rename(g.stage.name, g.name)
}

// link makes a hard link; what else stands at its name, but a folder, is replaced.
func (g *getter) link(l destLink) error {
	name := path.Join(l.dir.below, l.name)
	err := g.top.root.Link(l.to, name)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	there, err := g.top.root.Lstat(name)
	if err != nil {
		return err
	}
	if same, err := g.top.root.Lstat(l.to); err == nil && os.SameFile(there, same) {
		return nil
	}
	if l.dir.fresh {
		return errSameName
	}
	if there.IsDir() {
		return fmt.Errorf("a folder is in the way: %w", fs.ErrExist)
	}
	if err := g.top.root.Remove(name); err != nil {
		return err
	}
	return g.top.root.Link(l.to, name)
}

// data takes a data frame in; a file's last one makes the next file the current one.
func (g *getter) data(kind api.FrameKind, b []byte) error {
	if len(g.stream) == 0 {
		return fmt.Errorf("api: data of no file: %w", api.ErrProtocol)
	}
	f := g.stream[0]
	if kind == api.FrameData {
		if f.broken == nil {
			_, f.broken = f.file.Write(b)
		}
		return nil
	}
	g.stream = g.stream[1:]
	if len(b) == 0 {
		return nil
	}
	e, err := api.Decode[api.Error](b)
	if err != nil {
		return err
	}
	f.broken = &e
	return nil
}
