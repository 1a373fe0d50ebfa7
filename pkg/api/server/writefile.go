package server

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// holey is what a vfs.File can be besides: one that knows its holes.
type holey interface {
	NextData(ctx context.Context, off int64) (from, to int64, err error)
}

// onceFrom is the size from which on an exported file is not kept in the cache, too: it is where the user wants it, and would take the place of what
// is read often.
const onceFrom = 64 << 20

// exporting is the context of reading a file of this size for an export.
func exporting(ctx context.Context, bytes uint64) context.Context {
	if bytes < onceFrom {
		return ctx
	}
	return vfs.WithReuse(ctx, vfs.ReadOnce)
}

// write copies a file to an empty one.
func (g *getter) write(ctx context.Context, a vfs.Attr, to *os.File, bufs [2][]byte) error {
	ctx = exporting(ctx, a.Size)
	f, err := g.fs.Open(ctx, a.ID)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close(context.WithoutCancel(ctx)) }() // Only read.
	out := writer{to: to, forgets: int64(a.Size) >= forgetFrom()}
	if a.Size < copySize && a.Blocks*512 >= a.Size {
		return eachPart(ctx, f, bufs[0][:a.Size+1], out.writeAt) // One more finds the end.
	}
	if h, knows := f.(holey); knows {
		return writeData(ctx, h, f, &out, bufs, int64(a.Size))
	}
	if a.Size >= aheadFrom {
		return eachPartAhead(ctx, f, bufs, out.writeAt)
	}
	return eachPart(ctx, f, bufs[0], out.writeAt)
}

// writeData copies the parts of a file that are no holes, and makes the copy as long.
func writeData(ctx context.Context, h holey, f vfs.File, out *writer, bufs [2][]byte, size int64) error {
	end := int64(0)
	for {
		from, till, err := h.NextData(ctx, end)
		if err == io.EOF { //nolint:errorlint // NextData's own
			break
		}
		if err != nil {
			return err
		}
		part := section{f, from, till}
		write := func(b []byte, off int64) error { return out.writeAt(b, from+off) }
		if till-from >= aheadFrom {
			err = eachPartAhead(ctx, part, bufs, write)
		} else {
			err = eachPart(ctx, part, bufs[0], write)
		}
		if err != nil {
			return err
		}
		end = till
	}
	if end >= size {
		return nil // It ends with data.
	}
	return setSize(out.to, size)
}

// setSize makes a file with holes as long as it is to be. The client takes a file for complete by its size and time: one whose size doesn't come
// from its bytes must have them on the disk before it gets its time, or a loss of power could leave zeros that pass for it.
func setSize(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

const (
	// earlyBytes is how much of a large file is written before the disk is told to begin with it, in bytes: so it works while the rest is
	// read and checked, not only when all is written.
	earlyBytes = 8 << 20

	// lateBytes is how far behind what is written a file is looked through again for bytes that the disk has by then, to be forgotten.
	lateBytes = 4 * earlyBytes

	// forgetShare is the share of the machine's memory from which on it is not filled with a file that was exported: other programs' files would go for it.
	forgetShare = 16
)

// forgetFrom is the size from which on an exported file is not kept in the operating system's memory, in bytes.
var forgetFrom = sync.OnceValue(func() int64 { return max(onceFrom, memoryBytes()/forgetShare) })

// writer writes a file in order.
type writer struct {
	to         *os.File
	begun, end int64 // what the disk was told to begin with, and what is written
	forgets    bool  // the file's bytes leave the operating system's memory when they are on disk
}

func (w *writer) writeAt(b []byte, off int64) error {
	if _, err := w.to.WriteAt(b, off); err != nil {
		return err
	}
	if off != w.end {
		w.begun = max(w.begun, off) // Behind a hole.
	}
	w.end = off + int64(len(b))
	if w.end-w.begun < earlyBytes {
		return nil
	}
	if w.forgets {
		from := max(0, w.end-lateBytes)
		forgetWritten(w.to, from, w.end-from)
	} else {
		beginWriting(w.to, w.begun, w.end-w.begun)
	}
	w.begun = w.end
	return nil
}

// section is the bytes [from, till) of a file, as a file to be read.
type section struct {
	vfs.File
	from, till int64
}

// ReadAt is vfs.File's.
func (s section) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	left := s.till - s.from - off
	if left <= 0 {
		return 0, io.EOF
	}
	n, err := s.File.ReadAt(ctx, p[:min(int64(len(p)), left)], s.from+off)
	if err == nil && int64(n) == left {
		err = io.EOF
	}
	return n, err
}

// ReadShared is vfs.SharedReader's.
func (s section) ReadShared(ctx context.Context, off int64) ([]byte, vfs.Lent, error) {
	f, ok := s.File.(vfs.SharedReader)
	if !ok {
		return nil, nil, vfs.ErrNotSupported
	}
	left := s.till - s.from - off
	if left <= 0 {
		return nil, nil, io.EOF
	}
	b, lent, err := f.ReadShared(ctx, s.from+off)
	return b[:min(int64(len(b)), left)], lent, err
}
