package state

import (
	"fmt"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// BenchmarkJoin is what a new pod does with the rows of 20,000 files, beside applying their commits.
func BenchmarkJoin(b *testing.B) {
	n := newJoinPods()
	a := n.open(b, 1)
	const files = 20_000
	c := inline("hello")
	for i := range files / 1000 {
		dir := mkdir(b, a, RootIno, fmt.Sprint("d", i))
		for j := range 1000 {
			must[Node](b)(a.Create(dir.ID, fmt.Sprint("file", j), vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}, CreateOptions{Content: &c}))
		}
		must[int](b)(a.Commit(b.Context()))
	}
	must[CheckpointInfo](b)(a.Checkpoint(b.Context()))
	b.Run("tree", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := openWith(b, n.options(2, pebblevfs.NewMem()))
			joinAll(b, d, a)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*files), "us/row")
	})
	b.Run("log", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := openWith(b, n.options(2, pebblevfs.NewMem()))
			pull(b, d, a)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*files), "us/row")
	})
}
