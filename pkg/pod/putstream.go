package pod

import (
	"bytes"
	"context"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/chunker"
	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
)

// putWorkers is how many chunks of one stream are hashed, compressed and written at once, beside the reading and cutting.
const putWorkers = 2

// cutBuffers are for streams that are cut: two chunks of the largest size each.
var cutBuffers = sync.Pool{New: func() any {
	b := make([]byte, 2*chunker.MaxSize)
	return &b
}}

// chunkBuffers hold chunks on their way to the store.
var chunkBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, chunker.MaxSize)
	return &b
}}

// putStream puts what r has and returns the body of it. size is a hint, below 0 where it is not known.
func (p *Pod) putStream(ctx context.Context, size int64, r io.Reader) (dag.Body, error) {
	if size >= 0 && size <= dag.InlineMax {
		head, err := io.ReadAll(io.LimitReader(r, dag.InlineMax+1))
		switch {
		case err != nil:
			return dag.Body{}, err
		case len(head) == 0:
			return dag.Body{}, nil
		case len(head) <= dag.InlineMax:
			return dag.InlineBody(head), nil
		}
		r = io.MultiReader(bytes.NewReader(head), r) // it has grown
	}
	buf := cutBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool has only these
	defer cutBuffers.Put(buf)
	cut := p.table.Split(r, *buf)
	first, err := cut.Next()
	switch {
	case err == io.EOF: //nolint:errorlint // an error that wraps it is no end: what broke off must not pass for whole
		return dag.Body{}, nil
	case err != nil:
		return dag.Body{}, err
	case len(first) <= dag.InlineMax: // only a whole stream is that short
		return dag.InlineBody(bytes.Clone(first)), nil
	}
	var chunks []streamChunk
	if size >= 0 && size <= int64(len(first)) {
		chunks, err = p.putFew(ctx, cut, first)
	} else {
		chunks, err = p.putMany(ctx, cut, first)
	}
	if err != nil {
		return dag.Body{}, err
	}
	sums := dag.NewSum(p.sumKey)
	entries := make([]dag.Entry, len(chunks))
	for i, c := range chunks {
		entries[i] = c.entry
		sums.Add(c.entry.Len, c.sum)
	}
	return dag.BuildBody(ctx, blocks{p}, entries, sums.Sum(), nil)
}

// streamChunk is a chunk of a stream that was put.
type streamChunk struct {
	sum   block.ID // of its plain bytes
	entry dag.Entry
}

// putOne puts a chunk; one of zeros becomes a hole.
func (p *Pod) putOne(ctx context.Context, chunk []byte) (c streamChunk, err error) {
	c.entry.Len = uint64(len(chunk))
	if isZero(chunk) {
		c.sum = block.Sum(block.Raw, chunk)
		return c, nil
	}
	c.entry.ID, c.sum, err = p.putChunk(ctx, chunk)
	return c, err
}

// putFew puts a stream's chunks one after the other.
func (p *Pod) putFew(ctx context.Context, cut *chunker.Splitter, chunk []byte) ([]streamChunk, error) {
	var chunks []streamChunk
	for {
		c, err := p.putOne(ctx, chunk)
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, c)
		chunk, err = cut.Next()
		if err == io.EOF { //nolint:errorlint // as in putStream
			return chunks, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// putJob is a chunk of a stream on its way.
type putJob struct {
	i   int
	buf *[]byte // of chunkBuffers
}

// putMany puts a stream's chunks several at once, while the next are read and cut.
func (p *Pod) putMany(ctx context.Context, cut *chunker.Splitter, chunk []byte) ([]streamChunk, error) {
	var mu sync.Mutex // guards chunks
	var chunks []streamChunk
	jobs := make(chan putJob) // no room: what waits is in the splitter
	group, ctx := errgroup.WithContext(ctx)
	for range putWorkers {
		group.Go(func() error {
			for j := range jobs {
				c, err := p.putOne(ctx, *j.buf)
				chunkBuffers.Put(j.buf)
				if err != nil {
					return err
				}
				mu.Lock()
				for len(chunks) <= j.i {
					chunks = append(chunks, streamChunk{})
				}
				chunks[j.i] = c
				mu.Unlock()
			}
			return nil
		})
	}
	var err error
	for i := 0; err == nil; i++ {
		buf := chunkBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool has only these
		*buf = append((*buf)[:0], chunk...) // the splitter's own changes with the next
		select {
		case jobs <- putJob{i, buf}:
			chunk, err = cut.Next()
		case <-ctx.Done():
			chunkBuffers.Put(buf)
			err = ctx.Err()
		}
	}
	close(jobs)
	if waitErr := group.Wait(); waitErr != nil {
		return nil, waitErr
	}
	if err != io.EOF { //nolint:errorlint // as in putStream
		return nil, err
	}
	return chunks, nil
}

func isZero(b []byte) bool {
	for len(b) >= len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

var zeros [4096]byte
