package state

import (
	"fmt"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

func benchDB(b *testing.B) *DB {
	o := newPods().options(1, pebblevfs.Default)
	o.Dir, o.Clock = b.TempDir(), clock.Real{}
	d, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	return d
}

func BenchmarkCreate(b *testing.B) {
	d := benchDB(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		mkfile(b, d, RootIno, fmt.Sprintf("file-%d", i), "x")
		i++
	}
}

func BenchmarkLookup(b *testing.B) {
	d := benchDB(b)
	for i := range 10000 {
		mkfile(b, d, RootIno, fmt.Sprintf("file-%d", i), "x")
	}
	must[int](b)(d.Commit(b.Context()))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		must[Node](b)(d.Lookup(RootIno, fmt.Sprintf("file-%d", i%10000)))
		i++
	}
}

// BenchmarkCommit1000 times the commit of 1000 new files, without making them.
func BenchmarkCommit1000(b *testing.B) {
	d := benchDB(b)
	i := 0
	for b.Loop() {
		b.StopTimer()
		folder, err := d.Create(RootIno, fmt.Sprint(i), vfs.NewNode{Kind: vfs.KindFolder}, CreateOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for j := range 999 {
			mkfile(b, d, folder.ID, fmt.Sprint(j), "x")
		}
		i++
		b.StartTimer()
		must[int](b)(d.Commit(b.Context()))
	}
}

// BenchmarkCheckpoint times the checkpoint of 100 new files in a folder that has 20000.
func BenchmarkCheckpoint(b *testing.B) {
	d := benchDB(b)
	i := 0
	more := func(n int) {
		for range n {
			mkfile(b, d, RootIno, fmt.Sprint(i), "x")
			i++
		}
	}
	more(20000)
	must[CheckpointInfo](b)(d.Checkpoint(b.Context()))
	for b.Loop() {
		b.StopTimer()
		more(100)
		b.StartTimer()
		must[CheckpointInfo](b)(d.Checkpoint(b.Context()))
	}
}

// BenchmarkList times the listing of a folder of 20,000 files, a thousand at a time.
func BenchmarkList(b *testing.B) {
	d := benchDB(b)
	files := make([]NewFile, 20000)
	for i := range files {
		files[i] = newFile(RootIno, fmt.Sprintf("file-%06d", i), "x")
	}
	must[[]Imported](b)(d.Import(b.Context(), files))
	must[int](b)(d.Commit(b.Context()))
	for b.Loop() {
		n := 0
		for after := ""; ; {
			page := must[[]Entry](b)(d.List(RootIno, after, 1000))
			if len(page) == 0 {
				break
			}
			n, after = n+len(page), page[len(page)-1].Name
		}
		if n != len(files) {
			b.Fatalf("%d entries", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(files)), "ns/entry")
}
