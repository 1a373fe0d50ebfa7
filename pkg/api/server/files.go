package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// pageSize is how many entries of a folder are read at once.
const pageSize = 1024

// copySize is how many bytes of a file are read at once.
const copySize = 1 << 20

func utc(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// entry is a node as ls shows it.
func entry(ctx context.Context, fs vfs.FS, p, name string, a vfs.Attr) (api.Entry, error) {
	e := api.Entry{
		Path: api.Text(p), Name: api.Text(name), Kind: kindNames[a.Kind], Mode: fmt.Sprintf("%04o", a.Mode), UID: a.UID,
		GID: a.GID, NLink: a.NLink, SizeBytes: a.Size, DiskBytes: a.Blocks * 512, Mtime: utc(a.Mtime), ID: uint64(a.ID),
	}
	if a.Kind != vfs.KindSymlink {
		return e, nil
	}
	t, err := fs.ReadLink(ctx, a.ID)
	if err != nil && !errors.Is(err, vfs.ErrNotExist) { // Gone meanwhile: shown without a target.
		return e, pathError(p, err)
	}
	e.Target = api.Text(t)
	return e, nil
}

func stat(ctx context.Context, p Pod, q api.PathRequest) (api.Stat, error) {
	n, err := resolve(ctx, p.FS(), string(q.Path))
	if err != nil {
		return api.Stat{}, err
	}
	e, err := entry(ctx, p.FS(), n.path, path.Base(n.path), n.attr)
	if err != nil {
		return api.Stat{}, err
	}
	return api.Stat{
		Entry: e, CID: cidOf(ctx, p, n.attr.ID), RDev: n.attr.RDev, Ctime: utc(n.attr.Ctime), Btime: utc(n.attr.Btime),
	}, nil
}

// eachEntry calls f for the entries of a folder, in order, a page at a time.
func eachEntry(ctx context.Context, fs vfs.FS, id vfs.NodeID, f func(vfs.DirEntry) error) error {
	return eachAfter(ctx, fs, id, "", f)
}

// eachAfter is eachEntry for names that are greater than after.
func eachAfter(ctx context.Context, fs vfs.FS, id vfs.NodeID, after string, f func(vfs.DirEntry) error) error {
	for {
		page, err := fs.ReadDir(ctx, id, after, pageSize)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		for _, e := range page {
			if err := f(e); err != nil {
				return err
			}
		}
		after = page[len(page)-1].Name
	}
}

func ls(ctx context.Context, p Pod, q api.PathRequest, f func(api.Entry) error) error {
	fs := p.FS()
	n, err := resolve(ctx, fs, string(q.Path))
	if err != nil {
		return err
	}
	if n.attr.Kind != vfs.KindFolder {
		e, err := entry(ctx, fs, n.path, path.Base(n.path), n.attr)
		if err != nil {
			return err
		}
		return f(e)
	}
	if q.Prefix != "" {
		return pathError(n.path, lsPrefix(ctx, fs, n, string(q.Prefix), f))
	}
	return lsFolder(ctx, fs, n.path, n.attr.ID, q.Recursive, f)
}

// lsPrefix lists what in a folder has a name that begins with prefix: that is first, if it is there, and all others follow it.
func lsPrefix(ctx context.Context, fs vfs.FS, n node, prefix string, f func(api.Entry) error) error {
	one := func(name string, a vfs.Attr) error {
		e, err := entry(ctx, fs, path.Join(n.path, name), name, a)
		if err != nil {
			return err
		}
		return f(e)
	}
	a, err := fs.Lookup(ctx, n.attr.ID, prefix)
	if err == nil {
		err = one(prefix, a)
	}
	if err != nil && !errors.Is(err, vfs.ErrNotExist) && !errors.Is(err, vfs.ErrBadName) && !errors.Is(err, vfs.ErrNameTooLong) { // "." is no name, but begins many
		return err
	}
	err = eachAfter(ctx, fs, n.attr.ID, prefix, func(d vfs.DirEntry) error {
		if !strings.HasPrefix(d.Name, prefix) {
			return errPast
		}
		return one(d.Name, d.Attr)
	})
	if errors.Is(err, errPast) {
		return nil
	}
	return err
}

// errPast ends a listing: what follows begins otherwise.
var errPast = errors.New("past the prefix")

// names lists the names in a folder alone, a page at a time; of what is no folder its own.
func names(ctx context.Context, p Pod, q api.PathRequest, f func([]api.Text) error) error {
	fs := p.FS()
	n, err := resolve(ctx, fs, string(q.Path))
	if err != nil {
		return err
	}
	if n.attr.Kind != vfs.KindFolder {
		return f([]api.Text{api.Text(path.Base(n.path))})
	}
	return pathError(n.path, eachPage(ctx, fs, n.attr.ID, f))
}

// eachPage calls f for the names in a folder, in order, a page at a time.
func eachPage(ctx context.Context, fs vfs.FS, id vfs.NodeID, f func([]api.Text) error) error {
	for after := ""; ; {
		list, err := readNames(ctx, fs, id, after)
		if err != nil || len(list) == 0 {
			return err
		}
		page := make([]api.Text, len(list))
		for i, name := range list {
			page[i] = api.Text(name)
		}
		if err := f(page); err != nil {
			return err
		}
		after = list[len(list)-1]
	}
}

// readNames is a page of the names in a folder.
func readNames(ctx context.Context, fs vfs.FS, id vfs.NodeID, after string) ([]string, error) {
	if r, ok := fs.(vfs.NameReader); ok {
		return r.ReadNames(ctx, id, after, pageSize)
	}
	list, err := fs.ReadDir(ctx, id, after, pageSize)
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	return names, err
}

// lsFolder lists a folder and then, if told so, those in it.
func lsFolder(ctx context.Context, fs vfs.FS, p string, id vfs.NodeID, recursive bool, f func(api.Entry) error) error {
	var folders []vfs.DirEntry
	err := eachEntry(ctx, fs, id, func(d vfs.DirEntry) error {
		if d.Attr.Kind == vfs.KindFolder && recursive {
			folders = append(folders, d)
		}
		e, err := entry(ctx, fs, path.Join(p, d.Name), d.Name, d.Attr)
		if err != nil {
			return err
		}
		return f(e)
	})
	if err != nil {
		return pathError(p, err)
	}
	for _, d := range folders {
		err := lsFolder(ctx, fs, path.Join(p, d.Name), d.Attr.ID, true, f)
		if err != nil && !errors.Is(err, vfs.ErrNotExist) { // Removed meanwhile.
			return err
		}
	}
	return nil
}

// newFolder is a folder as the CLI makes it; it takes the owner of the one that it is in.
func newFolder(in vfs.Attr) vfs.NewNode {
	return vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755, UID: in.UID, GID: in.GID}
}

func mkdir(ctx context.Context, p Pod, q api.PathRequest) (struct{}, error) {
	full, err := cleanPath(string(q.Path))
	if err != nil {
		return struct{}{}, err
	}
	fs := p.FS()
	if !q.Parents {
		t, err := findTarget(ctx, fs, full)
		if err != nil {
			return struct{}{}, err
		}
		in, err := fs.GetAttr(ctx, t.parent)
		if err != nil {
			return struct{}{}, pathError(full, err)
		}
		if _, err := fs.Create(ctx, t.parent, t.name, newFolder(in)); err != nil {
			return struct{}{}, pathError(full, plainly(err))
		}
		return struct{}{}, p.Settle(ctx)
	}
	a, err := fs.GetAttr(ctx, vfs.RootID)
	if err != nil {
		return struct{}{}, pathError(full, err)
	}
	for name := range strings.SplitSeq(strings.TrimPrefix(full, "/"), "/") {
		if name == "" {
			break // The root.
		}
		if a, err = makeFolder(ctx, fs, a, name); err != nil {
			return struct{}{}, pathError(full, err)
		}
	}
	return struct{}{}, p.Settle(ctx)
}

// makeFolder finds or makes a folder in another.
func makeFolder(ctx context.Context, fs vfs.FS, in vfs.Attr, name string) (vfs.Attr, error) {
	a, err := fs.Lookup(ctx, in.ID, name)
	if errors.Is(err, vfs.ErrNotExist) {
		a, err = fs.Create(ctx, in.ID, name, newFolder(in))
		if errors.Is(err, vfs.ErrExist) { // Somebody was faster.
			a, err = fs.Lookup(ctx, in.ID, name)
		}
	}
	if err == nil && a.Kind != vfs.KindFolder {
		err = fmt.Errorf("%q: %w", name, vfs.ErrExist)
	}
	return a, err
}

func remove(ctx context.Context, p Pod, q api.PathRequest) (struct{}, error) {
	fs := p.FS()
	n, err := resolve(ctx, fs, string(q.Path))
	if errors.Is(err, vfs.ErrNotExist) && q.Force {
		return struct{}{}, nil
	}
	if err != nil {
		return struct{}{}, err
	}
	if n.path == "/" {
		return struct{}{}, fmt.Errorf("the root folder can't be removed: %w", vfs.ErrInvalid)
	}
	if n.attr.Kind == vfs.KindFolder && !q.Recursive {
		return struct{}{}, api.WithHint(fmt.Errorf("%s: %w", n.path, vfs.ErrIsDir), "wh rm -r removes folders")
	}
	t, err := findTarget(ctx, fs, n.path)
	if err != nil {
		return struct{}{}, err
	}
	err = removeAll(ctx, fs, t, n.attr)
	if serr := p.Settle(ctx); err == nil {
		err = serr
	}
	return struct{}{}, err
}

// removeAll removes an entry and, if it is a folder, all that is in it. What is gone already is no error.
func removeAll(ctx context.Context, fs vfs.FS, t target, a vfs.Attr) error {
	if a.Kind == vfs.KindFolder {
		err := eachEntry(ctx, fs, a.ID, func(d vfs.DirEntry) error {
			return removeAll(ctx, fs, target{a.ID, d.Name, path.Join(t.path, d.Name)}, d.Attr)
		})
		if err != nil && !errors.Is(err, vfs.ErrNotExist) {
			return pathError(t.path, err)
		}
	}
	err := fs.Remove(ctx, t.parent, t.name, a.Kind == vfs.KindFolder)
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return pathError(t.path, err)
	}
	return nil
}

// openSource finds what a path, now or at another moment, or a CID names: the FS and the node in it.
func openSource(ctx context.Context, p Pod, source, at string) (vfs.FS, node, error) {
	if at != "" {
		fs, n, _, err := openAt(ctx, p, source, at)
		return fs, n, err
	}
	if strings.HasPrefix(source, "/") {
		n, err := resolve(ctx, p.FS(), source)
		return p.FS(), n, err
	}
	id, err := block.Parse(source)
	if err != nil {
		return nil, node{}, api.WithHint(err, "name a path that begins with /, or a CID")
	}
	fs, err := p.OpenTree(ctx, id)
	if err != nil {
		return nil, node{}, pathError(source, err)
	}
	a, err := fs.GetAttr(ctx, vfs.RootID)
	return fs, node{path: source, attr: a}, pathError(source, err)
}

// cat streams a file's bytes; how it ended stands in the trailer.
func (s *Server) cat(w http.ResponseWriter, r *http.Request) {
	q, err := decode[api.GetRequest](w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p, err := s.pod(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx := r.Context()
	fs, n, err := openSource(ctx, p, string(q.Path), string(q.At))
	if err == nil && n.attr.Kind == vfs.KindFolder {
		err = fmt.Errorf("%s: %w", n.path, vfs.ErrIsDir)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	f, err := fs.Open(ctx, n.attr.ID)
	if err != nil {
		s.fail(w, r, pathError(n.path, err))
		return
	}
	defer func() { _ = f.Close(context.WithoutCancel(ctx)) }() // Only read.
	w.Header().Set("Trailer", api.ErrorTrailer)
	w.Header().Set("Content-Type", "application/octet-stream")
	end := "ok"
	err = eachPartOf(exporting(ctx, n.attr.Size), f, n.attr.Size, func(b []byte, _ int64) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		b, jerr := json.Marshal(api.NewError(pathError(n.path, err)))
		if jerr != nil {
			b = nil // Can't be: an Error is plain.
		}
		end = base64.StdEncoding.EncodeToString(b)
	}
	w.Header().Set(api.ErrorTrailer, end)
}

// eachPartOf is eachPart with memory of its own, and reads ahead where the file is large.
func eachPartOf(ctx context.Context, f vfs.File, size uint64, do func(b []byte, off int64) error) error {
	if size < aheadFrom {
		return eachPart(ctx, f, make([]byte, copySize), do)
	}
	return eachPartAhead(ctx, f, [2][]byte{make([]byte, copySize), make([]byte, copySize)}, do)
}

// eachPart reads a file from the start to the end.
func eachPart(ctx context.Context, f vfs.File, buf []byte, do func(b []byte, off int64) error) error {
	for off := int64(0); ; {
		b, end, err := readPart(ctx, f, buf, off)
		if err == nil && len(b) > 0 {
			err = do(b, off)
		}
		if err != nil || end {
			return err
		}
		off += int64(len(b))
	}
}

// readPart reads at an offset, and tells whether that was the end.
func readPart(ctx context.Context, f vfs.File, buf []byte, off int64) (b []byte, end bool, err error) {
	n, err := f.ReadAt(ctx, buf, off)
	if end = err == io.EOF; end { //nolint:errorlint // a wrapped one is a connection's, and not the end of the file
		err = nil
	}
	return buf[:n], end || n == 0, err
}

// part is what was read ahead.
type part struct {
	b    []byte
	lent vfs.Lent // nil: b is of buf
	buf  []byte   // for the next one
	off  int64
	end  bool // it is the last one
	err  error
}

// readAt reads the part at off: without a copy where the file needs none.
func (p *part) readAt(ctx context.Context, f vfs.File) {
	if s, ok := f.(vfs.SharedReader); ok {
		p.b, p.lent, p.err = s.ReadShared(ctx, p.off)
		if p.end = p.err == io.EOF; p.end { //nolint:errorlint // as for readPart
			p.err = nil
		}
		if !errors.Is(p.err, vfs.ErrNotSupported) {
			return
		}
	}
	p.b, p.end, p.err = readPart(ctx, f, p.buf, p.off)
}

// giveBack ends the use of what was lent.
func (p *part) giveBack() {
	if p.lent != nil {
		p.lent.GiveBack()
	}
}

// eachPartAhead is eachPart with a goroutine that reads one part while do works on another. do must not change what it is given.
func eachPartAhead(ctx context.Context, f vfs.File, bufs [2][]byte, do func(b []byte, off int64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	parts := make(chan part)
	free := make(chan []byte, len(bufs))
	for _, b := range bufs {
		free <- b
	}
	defer func() {
		cancel()
		for range parts { // Until the reader has ended: the buffers and the file are not ours alone before.
		}
	}()
	go func() {
		defer close(parts)
		for off, end := int64(0), false; !end; {
			select {
			case buf := <-free:
				p := part{buf: buf, off: off}
				p.readAt(ctx, f)
				end = p.end || p.err != nil
				off += int64(len(p.b))
				select {
				case parts <- p:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	for p := range parts {
		if p.err != nil {
			return p.err
		}
		if len(p.b) > 0 {
			if err := do(p.b, p.off); err != nil {
				return err
			}
		}
		p.giveBack()
		free <- p.buf
	}
	return ctx.Err()
}
