package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/chunker"
	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	benchMiB      = 256 // default of --size
	benchFiles    = 1000
	benchSyncs    = 100
	benchFileSize = 4 << 10 // of each of many files, and of each small sync
	benchBatch    = 256     // files that are told at once
)

// figure is something that was measured.
type figure struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // MB/s, ms, files/s
	Text  string  `json:"text"`
}

type benchOptions struct {
	mib   int64
	files int
}

func newBench(e *env) *cobra.Command {
	o := benchOptions{}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine's disk and processor, a pod on them, and its links",
		Long: "Measure this machine: how fast its disk takes bytes and syncs, how fast one processor cuts and hashes, and how fast a pod takes and gives files with that." +
			" The pod is one of a network of its own, below this machine's folder (WH_HOME), and is removed at the end; nothing else is touched, and no daemon is needed." +
			" If one runs, the round trips to the other pods stand below. What else the machine does meanwhile makes the figures smaller." + exits(exitNotEnough),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runBench(ctx, e, o) }),
	}
	c.Flags().Int64Var(&o.mib, "size", benchMiB, "MiB of the large file")
	c.Flags().IntVar(&o.files, "files", benchFiles, fmt.Sprintf("how many files of %d bytes", benchFileSize))
	return c
}

func runBench(ctx context.Context, e *env, o benchOptions) (err error) {
	if o.mib < 1 || o.mib > 1<<20 || o.files < 1 || o.files > 1<<20 {
		return usage("bench: --size and --files have to be from 1 to %d", 1<<20)
	}
	if err := os.MkdirAll(string(e.home), 0o700); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	dir, err := os.MkdirTemp(string(e.home), "bench-")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{benchOptions: o, dir: dir, source: filepath.Join(dir, "source")}
	e.say("measuring: a file of %s and %d small ones, in %s", size(o.mib<<20), o.files, e.home)
	if err := b.measure(ctx); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	b.links(ctx, e)
	if e.json {
		return e.document(b.figures)
	}
	rows := make([][]string, 0, len(b.figures))
	for _, f := range b.figures {
		rows = append(rows, []string{e.name(f.What), strconv.FormatFloat(f.Value, 'f', decimals(f.Value), 64) + " " + f.Unit, f.Text})
	}
	return e.table(rows)
}

// decimals is how many digits behind the point a figure needs.
func decimals(v float64) int {
	if v < 10 {
		return 2
	}
	return 0
}

// bench is a measurement under way.
type bench struct {
	benchOptions

	dir     string
	source  string // the large file
	figures []figure
}

func (b *bench) note(what string, value float64, unit, text string) {
	b.figures = append(b.figures, figure{what, value, unit, text})
}

// noteRate notes how fast so many bytes went.
func (b *bench) noteRate(what string, n int64, d time.Duration, text string) {
	b.note(what, float64(n)/1e6/max(d.Seconds(), 1e-9), "MB/s", text)
}

func (b *bench) measure(ctx context.Context) error {
	for _, step := range []func(context.Context) error{b.disk, b.syncs, b.processor, b.pod} {
		if err := errors.Join(ctx.Err(), step(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// random is bytes that nothing compresses or has met.
func random() *rand.ChaCha8 {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32()) //nolint:gosec // nothing secret
	}
	return rand.NewChaCha8(seed)
}

// disk writes the large file.
func (b *bench) disk(ctx context.Context) (err error) {
	f, err := os.Create(b.source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf, from := make([]byte, 1<<20), random()
	took := time.Duration(0) // without what it takes to make the bytes
	for range b.mib {
		_, _ = from.Read(buf) // it can't fail
		start := time.Now()
		if _, err := f.Write(buf); err != nil {
			return err
		}
		took += time.Since(start)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	start := time.Now()
	if err := f.Sync(); err != nil {
		return err
	}
	b.noteRate("disk, write and sync", b.mib<<20, took+time.Since(start), "one file, in pieces of 1 MiB")
	return nil
}

// syncs writes a little and syncs it, again and again.
func (b *bench) syncs(ctx context.Context) (err error) {
	f, err := os.Create(filepath.Join(b.dir, "syncs"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := bytes.Repeat([]byte{1}, benchFileSize)
	took := make([]time.Duration, 0, benchSyncs)
	for range benchSyncs {
		start := time.Now()
		if _, err := f.Write(buf); err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), ctx.Err()); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.note("disk, small sync", float64(took[len(took)/2].Microseconds())/1e3, "ms", fmt.Sprintf("the median of %d; a saved file waits for one or two", benchSyncs))
	return nil
}

// processor cuts and hashes bytes in memory.
func (b *bench) processor(context.Context) error {
	const n = 64 << 20
	buf := make([]byte, n)
	_, _ = random().Read(buf)
	table := chunker.NewTable([32]byte{1})
	start := time.Now()
	for rest := buf; len(rest) > 0; {
		cut := table.Cut(rest)
		block.Sum(block.Raw, rest[:cut])
		rest = rest[cut:]
	}
	b.noteRate("processor, cut and hash", n, time.Since(start), "on one core; bytes that come in pass this")
	return nil
}

// pod imports the large file and small ones into a pod, and reads them again.
func (b *bench) pod(ctx context.Context) (err error) {
	dir := filepath.Join(b.dir, "pod")
	if _, err := pod.Create(ctx, dir, pod.CreateOptions{NetworkName: "bench", PodName: "bench"}); err != nil {
		return err
	}
	p, err := pod.Open(ctx, pod.Options{Dir: dir, Offline: true, NoHistory: true})
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- p.Run(run) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended, p.Close())
	}()
	large, err := b.addLarge(ctx, p)
	if err != nil {
		return err
	}
	if err := b.read(ctx, p, large); err != nil {
		return err
	}
	return b.addSmall(ctx, p)
}

func (b *bench) addLarge(ctx context.Context, p *pod.Pod) (vfs.NodeID, error) {
	f, err := os.Open(b.source)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // it is only read
	start := time.Now()
	a, err := p.PutFile(ctx, vfs.RootID, "large", pod.FileMeta{Mode: 0o600, Mtime: start.UnixNano()}, b.mib<<20, f)
	if err == nil {
		err = p.Settle(ctx)
	}
	if err != nil {
		return 0, err
	}
	b.noteRate("pod, add a large file", b.mib<<20, time.Since(start), "until it is durable here")
	return a.ID, nil
}

func (b *bench) read(ctx context.Context, p *pod.Pod, id vfs.NodeID) error {
	f, err := p.FS().Open(ctx, id)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close(ctx) }() // it is only read
	source, err := os.Open(b.source)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // it is only read
	same := bufio.NewReaderSize(source, 1<<20)
	buf, want := make([]byte, 1<<20), make([]byte, 1<<20)
	took := time.Duration(0)
	for off := int64(0); off < b.mib<<20; off += int64(len(buf)) {
		start := time.Now()
		if _, err := f.ReadAt(ctx, buf, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		took += time.Since(start)
		if _, err := io.ReadFull(same, want); err != nil {
			return err
		}
		if !bytes.Equal(buf, want) {
			return fmt.Errorf("what was read at %d is not what was added: %w", off, block.ErrCorrupt)
		}
	}
	b.noteRate("pod, read it", b.mib<<20, took, "verified; its bytes may still be in the system's memory")
	return nil
}

func (b *bench) addSmall(ctx context.Context, p *pod.Pod) error {
	from := random()
	var batches [][]pod.SmallFile
	for i := range b.files {
		data := make([]byte, benchFileSize)
		_, _ = from.Read(data)
		if i%benchBatch == 0 {
			batches = append(batches, nil)
		}
		last := &batches[len(batches)-1]
		*last = append(*last, pod.SmallFile{Parent: vfs.RootID, Name: "small-" + strconv.Itoa(i), Meta: pod.FileMeta{Mode: 0o600}, Data: data})
	}
	start := time.Now()
	for _, files := range batches {
		put, err := p.PutFiles(ctx, files)
		for i := range put {
			err = errors.Join(err, put[i].Err)
		}
		if err != nil {
			return err
		}
	}
	if err := p.Settle(ctx); err != nil {
		return err
	}
	b.note("pod, add small files", float64(b.files)/max(time.Since(start).Seconds(), 1e-9), "files/s", fmt.Sprintf("of %d bytes, until they are durable here", benchFileSize))
	return nil
}

// links notes the round trips that a daemon knows, if there is one.
func (b *bench) links(ctx context.Context, e *env) {
	peers, err := call[[]api.Peer](ctx, e, "peers", struct{}{})
	if err != nil {
		return // no daemon runs, or it has other pods than the one that was asked for: there is nothing to say
	}
	for _, p := range peers {
		if p.Connected && p.RTTMS > 0 {
			b.note("link to "+string(p.Name), p.RTTMS, "ms", "round trip, "+by(p))
		}
	}
}
