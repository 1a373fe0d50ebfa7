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
func (p *Pod) putSparse(ctx context.Context, r Sparse) (dag.Body, error) {
	var mem cutMemory
	defer mem.release()
	var chunks []streamChunk
	var holes int64
	for {
		hole, err := r.NextPart()
		if hole > 0 {
			holes += hole
			chunks = append(chunks, streamChunk{entry: dag.Entry{Len: uint64(hole)}})
		}
		if err == io.EOF { //nolint:errorlint // as in putStream
			break
		}
		if err != nil {
			return dag.Body{}, err
		}
		cut := p.seal.Load().table.SplitOver(r, mem.next)
		first, err := cut.Next()
		if err == io.EOF { //nolint:errorlint // as in putStream
			continue // it has become shorter
		}
		if err != nil {
			return dag.Body{}, err
		}
		part, err := p.putMany(ctx, cut, &mem, first)
		if err != nil {
			return dag.Body{}, err
		}
		chunks = append(chunks, part...)
	}
	return p.bodyOf(ctx, chunks, holes == 0)
}
