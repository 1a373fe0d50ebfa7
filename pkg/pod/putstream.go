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

// cutBufferBytes is the size of the memory in which a stream is cut: three chunks of the largest size, so that the part of a
// chunk that goes on in the next is a small part of it.
const cutBufferBytes = 3 * chunker.MaxSize

// cutBuffers are for streams that are cut.
var cutBuffers = sync.Pool{New: func() any {
	b := make([]byte, cutBufferBytes)
	return &b
}}

// cutMemory is where a stream is cut: two buffers in turn, so that the chunks in one are put while the next is read.
// Whoever cuts it uses it alone.
type cutMemory struct {
	now    int // the buffer in use
	bufs   [2]*[]byte
	chunks [2]sync.WaitGroup // those in each buffer that are on their way to the store
}

// next turns to the other buffer, when what was in it is put.
func (m *cutMemory) next() []byte {
	m.now = 1 - m.now
	m.chunks[m.now].Wait()
	if m.bufs[m.now] == nil {
		m.bufs[m.now] = cutBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // the pool has only these
	}
	return *m.bufs[m.now]
}

// release gives the buffers back; no chunk is on its way any more.
func (m *cutMemory) release() {
	for _, b := range m.bufs {
		if b != nil {
			cutBuffers.Put(b)
		}
	}
}

// putStream puts what r has and returns the body of it. size is a hint, below 0 where it is not known.
func (p *Pod) putStream(ctx context.Context, size int64, r io.Reader, m making) (dag.Body, error) {
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
	var mem cutMemory
	defer mem.release()
	cut := m.cut.SplitOver(r, mem.next, 0)
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
		chunks, err = p.putFew(ctx, cut, first, m)
	} else {
		chunks, err = p.putMany(ctx, cut, &mem, first, m)
	}
	if err != nil {
		return dag.Body{}, err
	}
	return p.bodyOf(ctx, chunks, true, m)
}

// bodyOf builds the body of chunks. One with holes that were not read has no sum, which tells the bytes of chunks that were all cut alike.
func (p *Pod) bodyOf(ctx context.Context, chunks []streamChunk, summed bool, m making) (dag.Body, error) {
	s := p.seal.Load()
	sums := s.sums.Get().(*dag.SumHasher) //nolint:errcheck,forcetypeassert // the pool has only these
	defer s.sums.Put(sums)
	sums.Reset()
	entries := make([]dag.Entry, len(chunks))
	for i, c := range chunks {
		entries[i] = c.entry
		sums.Add(c.entry.Len, c.sum)
	}
	var sum [32]byte
	if summed {
		sum = sums.Sum()
	}
	return dag.BuildBody(ctx, blocks{p}, entries, sum, m.params())
}

// streamChunk is a chunk of a stream that was put.
type streamChunk struct {
	sum   block.ID // of its plain bytes
	entry dag.Entry
}

// putOne puts a chunk; one of zeros becomes a hole.
func (p *Pod) putOne(ctx context.Context, chunk []byte, m making) (c streamChunk, err error) {
	c.entry.Len = uint64(len(chunk))
	if isZero(chunk) {
		c.sum = block.Sum(block.Raw, chunk)
		return c, nil
	}
	c.entry.ID, c.sum, err = p.putChunk(ctx, chunk, m)
	return c, err
}

// putFew puts a stream's chunks one after the other.
func (p *Pod) putFew(ctx context.Context, cut *chunker.Splitter, chunk []byte, m making) ([]streamChunk, error) {
	var chunks []streamChunk
	for {
		c, err := p.putOne(ctx, chunk, m)
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
	i     int
	chunk []byte
	on    *sync.WaitGroup // of its memory
}

// putMany puts a stream's chunks several at once, while the next are read and cut.
func (p *Pod) putMany(ctx context.Context, cut *chunker.Splitter, mem *cutMemory, chunk []byte, m making) ([]streamChunk, error) {
	var mu sync.Mutex // guards chunks
	var chunks []streamChunk
	jobs := make(chan putJob) // no room: what waits is in the splitter
	group, ctx := errgroup.WithContext(ctx)
	for range putWorkers {
		group.Go(func() error {
			for j := range jobs {
				c, err := p.putOne(ctx, j.chunk, m)
				j.on.Done()
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
		on := &mem.chunks[mem.now]
		on.Add(1)
		select {
		case jobs <- putJob{i, chunk, on}:
			chunk, err = cut.Next()
		case <-ctx.Done():
			on.Done()
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
