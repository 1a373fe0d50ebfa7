package server

import (
	"context"
	"io"
	"os"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// putters is how many files are put at a time: most of them wait for the sync that they share.
const putters = 1024

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
		if err := a.smallFiles(ctx, group.jobs); err != nil {
			return err
		}
		batchBuffers.Put(group.bytes)
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
