package pod

import (
	"context"
	"io"

	"github.com/wormhole-fs/wormhole/dag"
)

// Sparse is a file with holes, as PutFile takes it in without reading them: its parts that hold data, in order.
type Sparse interface {
	// NextPart goes to the next part and returns how many bytes of hole lie before it; Read then reads up to the part's end. io.EOF: after
	// that hole the file ends.
	NextPart() (hole int64, err error)
	io.Reader
}

// putSparse puts what r has and returns the body of it. The cuts begin anew after each hole.
func (p *Pod) putSparse(ctx context.Context, r Sparse, m making) (dag.Body, error) {
	var mem cutMemory
	defer mem.release()
	var chunks []streamChunk
	var holes, at int64
	for {
		hole, err := r.NextPart()
		if hole > 0 {
			holes += hole
			at += hole
			chunks = append(chunks, streamChunk{entry: dag.Entry{Len: uint64(hole)}})
		}
		if err == io.EOF { //nolint:errorlint // as in putStream
			break
		}
		if err != nil {
			return dag.Body{}, err
		}
		cut := m.cut.SplitOver(r, mem.next, at)
		first, err := cut.Next()
		if err == io.EOF { //nolint:errorlint // as in putStream
			continue // it has become shorter
		}
		if err != nil {
			return dag.Body{}, err
		}
		part, err := p.putMany(ctx, cut, &mem, first, m)
		if err != nil {
			return dag.Body{}, err
		}
		chunks = append(chunks, part...)
		for _, c := range part {
			at += int64(c.entry.Len) //nolint:gosec // a part has at most vfs.FileMax
		}
	}
	return p.bodyOf(ctx, chunks, holes == 0, m)
}
