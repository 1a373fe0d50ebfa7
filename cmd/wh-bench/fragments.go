package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	fragmentPods   = 6
	fragmentPolicy = "rs:4+2"
	fragmentWithin = 20 * time.Minute
	readBuffer     = 1 << 20
	putsAtOnce     = 128
	smallCache     = 8 << 20 // of whole copies: nothing to speak of is read twice from it
)

// ring is the pods of the measurement of fragments, all in this process: six that store, and a portal that reads and keeps nothing.
type ring struct {
	b      *bench
	pods   []*benchPod
	reader *benchPod
	bare   float64 // bytes a second of a bare stream
	big    source
	tree   source
}

// fragments measures how fast bytes become fragments on six pods, what these take, and how fast they are read, with two pods off too.
func (b *bench) fragments(ctx context.Context) (err error) {
	r := &ring{b: b}
	defer func() { err = errors.Join(err, r.stop()) }() //nolint:contextcheck // closing takes no context
	if r.big, err = b.makeSource(ctx, "d1"); err != nil {
		return err
	}
	if r.tree, err = b.makeSource(ctx, "d2"); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	b.row("# Fragments\n")
	b.head(ctx, fmt.Sprintf("wh-bench -bytes %d -rounds %d fragments", b.bigBytes, max(b.rounds, 1)))
	b.row("%s, six pods and a portal that reads, all in one process, over TCP with TLS 1.3 on loopback. The file: %s. The tree: %s, %d files, %d bytes.\n",
		fragmentPolicy, r.big.title, r.tree.title, r.tree.files, r.tree.bytes)
	if err := b.codec(ctx); err != nil {
		return err
	}
	b.row("\n## Bytes on their way\n\nThe processor's time is that of all pods together; it tells more than seconds do where other programs run.\n")
	b.row("| what | s | MB/s | of the bare stream | CPU s | MB/CPU s |\n|---|---|---|---|---|---|")
	begin := now()
	if err := bareStream(ctx, r.big.bytes); err != nil {
		return err
	}
	r.row("a bare TLS 1.3 stream of the file's bytes, on loopback", begin, r.big.bytes)
	if err := r.writes(ctx); err != nil {
		return err
	}
	if err := r.reads(ctx); err != nil {
		return err
	}
	return r.space(ctx)
}

func (r *ring) stop() error {
	var errs []error
	for _, p := range append(r.pods, r.reader) {
		errs = append(errs, p.stop())
	}
	return errors.Join(errs...)
}

func (r *ring) start(ctx context.Context) error {
	dir := filepath.Join(r.b.dir, "pod1")
	if _, err := pod.Create(ctx, dir, pod.CreateOptions{NetworkName: "bench", PodName: "pod1"}); err != nil {
		return err
	}
	first, err := runPod(ctx, dir, 0)
	if err != nil {
		return err
	}
	r.pods = append(r.pods, first)
	for i := 1; i < fragmentPods; i++ {
		p, err := joinPod(ctx, first, filepath.Join(r.b.dir, fmt.Sprintf("pod%d", i+1)))
		if err != nil {
			return err
		}
		r.pods = append(r.pods, p)
	}
	r.reader = &benchPod{dir: filepath.Join(r.b.dir, "reader"), portal: true}
	token, err := first.Invite(ctx, "writer", time.Hour, 1)
	if err == nil {
		_, err = pod.Join(ctx, r.reader.dir, pod.JoinOptions{Token: token, PodName: "reader"})
	}
	if err == nil {
		err = r.reader.restart(ctx)
	}
	if err == nil {
		err = errors.Join(first.SetRule(ctx, "policy", "none"), first.SetRule(ctx, "lower", "1ms"), r.together(ctx))
	}
	if err == nil {
		r.reader.Tune(ctx, pod.Tuning{CacheBytes: smallCache}) // all reads are of bytes that it has never seen
	}
	return err
}

// together waits until all pods that run are connected.
func (r *ring) together(ctx context.Context) error {
	return fleet.Eventually(ctx, fragmentWithin, func() error {
		for _, p := range append(r.pods, r.reader) {
			for _, peer := range p.Peers() {
				if !peer.Connected {
					return fmt.Errorf("%s is not connected with %s", p.Info().Name, peer.Name)
				}
			}
		}
		return nil
	})
}

// writes measures how fast the file is kept on one pod, and on six in fragments.
func (r *ring) writes(ctx context.Context) error {
	first := r.pods[0]
	begin := now()
	if err := errors.Join(r.put(ctx, vfs.RootID, "whole", r.big.path), first.Settle(ctx)); err != nil {
		return err
	}
	r.row("file kept whole on the pod that wrote it, synced", begin, r.big.bytes)
	node, err := first.FS().Create(ctx, vfs.RootID, "cut", vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
	if err == nil {
		err = first.SetPolicy(ctx, node.ID, fragmentPolicy, "")
	}
	if err != nil {
		return err
	}
	begin = now()
	if err := errors.Join(r.put(ctx, node.ID, "file", r.big.path), first.Settle(ctx)); err != nil {
		return err
	}
	r.row("file written under "+fragmentPolicy+", synced on the pod that wrote it", begin, r.big.bytes)
	if err := first.SyncWait(ctx, node.ID); err != nil {
		return err
	}
	r.row("the same until all six fragments of each chunk are acknowledged", begin, r.big.bytes)
	begin = now()
	if err := errors.Join(r.putTree(ctx, node.ID), first.SyncWait(ctx, node.ID)); err != nil {
		return err
	}
	r.row("the tree under "+fragmentPolicy+", until all is acknowledged", begin, r.tree.bytes)
	return nil
}

// reads measures the reader, of the whole copy and of fragments.
func (r *ring) reads(ctx context.Context) error {
	if err := settled(ctx, append(r.pods, r.reader)...); err != nil {
		return err
	}
	if err := r.collect(ctx); err != nil { // the writer's whole copies are cache, and go
		return err
	}
	for range max(r.b.rounds, 1) {
		for _, row := range []struct{ path, what string }{{"/whole", "the reader: the file, from one whole copy"}, {"/cut/file", "the reader: the file, from fragments on six pods"}} {
			if err := r.read(ctx, row.path, row.what); err != nil {
				return err
			}
		}
	}
	for _, p := range r.pods[fragmentPods-2:] {
		if err := p.stop(); err != nil { //nolint:contextcheck // closing takes no context
			return err
		}
	}
	for range max(r.b.rounds, 1) {
		if err := r.read(ctx, "/cut/file", "the reader: the file, from fragments on four pods, two being off"); err != nil {
			return err
		}
	}
	for _, p := range r.pods[fragmentPods-2:] {
		if err := p.restart(ctx); err != nil {
			return err
		}
	}
	return r.together(ctx)
}

// space tells what all that is under the policy takes on the six pods, without cache, trash and metadata.
func (r *ring) space(ctx context.Context) error {
	if err := r.pods[0].FS().Remove(ctx, vfs.RootID, "whole", false); err != nil {
		return err
	}
	if err := errors.Join(r.pods[0].Settle(ctx), settled(ctx, append(r.pods, r.reader)...)); err != nil {
		return err
	}
	var kept, disk int64
	for range 2 { // what the first finds surplus the second has given up
		if err := r.collect(ctx); err != nil {
			return err
		}
	}
	for _, p := range r.pods {
		u, err := p.Usage(ctx)
		if err != nil {
			return err
		}
		n, err := allocated(filepath.Join(p.dir, "segments"))
		if err != nil {
			return err
		}
		kept, disk = kept+u.Live, disk+n
	}
	logical := r.big.bytes + r.tree.bytes
	r.b.row("\n## Space\n\nFile and tree, %d bytes:\n\n| what | bytes | of the files' |\n|---|---|---|", logical)
	r.b.row("| kept on the six pods: fragments, whole copies of what is small, nodes, with the heads of their records | %d | %.3f |", kept, float64(kept)/float64(logical))
	r.b.row("| taken on their disks by segments, with what is cached, in the trash, or dead | %d | %.3f |", disk, float64(disk)/float64(logical))
	return nil
}

// collect has all pods look at everything, and give up what is too much.
func (r *ring) collect(ctx context.Context) error {
	for _, p := range r.pods {
		p.Tune(ctx, pod.Tuning{CacheBytes: smallCache})
		if _, err := p.Collect(ctx, pod.CollectOptions{Now: true}); err != nil {
			return err
		}
	}
	return nil
}

// moment is a time, and what this process had used of the processor by then.
type moment struct {
	at  time.Time
	cpu time.Duration
}

func now() moment { return moment{time.Now(), cpuTime()} }

func (r *ring) row(what string, begin moment, size int64) {
	took, cpu := time.Since(begin.at).Seconds(), (cpuTime() - begin.cpu).Seconds()
	rate := float64(size) / took
	if r.bare == 0 {
		r.bare = rate
	}
	r.b.row("| %s | %.2f | %.0f | %.2f | %.2f | %.0f |", what, took, rate/1e6, rate/r.bare, cpu, float64(size)/cpu/1e6)
}

// put puts a file of the host.
func (r *ring) put(ctx context.Context, in vfs.NodeID, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = r.pods[0].PutFile(ctx, in, name, pod.FileMeta{Mode: 0o644, Mtime: info.ModTime().UnixNano()}, info.Size(), f)
	return err
}

// putTree puts the files of the tree, many at a time.
func (r *ring) putTree(ctx context.Context, in vfs.NodeID) error {
	folders := map[string]vfs.NodeID{".": in}
	group, work := errgroup.WithContext(ctx)
	group.SetLimit(putsAtOnce)
	err := filepath.WalkDir(r.tree.path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(r.tree.path, name)
		if err != nil || rel == "." {
			return err
		}
		parent := folders[filepath.Dir(rel)]
		switch {
		case d.IsDir():
			a, err := r.pods[0].FS().Create(ctx, parent, d.Name(), vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
			folders[rel] = a.ID
			return err
		case !d.Type().IsRegular():
			return nil
		}
		group.Go(func() error { return r.put(work, parent, d.Name(), name) })
		return nil
	})
	return errors.Join(err, group.Wait(), r.pods[0].Settle(ctx))
}

// read reads a file through the reader, from the front to the end.
func (r *ring) read(ctx context.Context, path, what string) error {
	a, err := vfs.Resolve(ctx, r.reader.FS(), path)
	if err != nil {
		return err
	}
	begin := now()
	f, err := r.reader.FS().Open(ctx, a.ID)
	if err != nil {
		return err
	}
	buf := make([]byte, readBuffer)
	var got int64
	for err == nil && got < int64(a.Size) {
		var n int
		n, err = f.ReadAt(ctx, buf, got)
		got += int64(n)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, f.Close(ctx)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	r.row(what, begin, got)
	return nil
}

// codec prints what the benchmarks of package erasure say, where the go command and the source are.
func (b *bench) codec(ctx context.Context) error {
	c := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "Encode|Cut|Decode|Join", "./erasure")
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test ./erasure, which is run in the source tree: %w: %s", err, out)
	}
	b.row("## Cutting and joining\n\n`go test -run ^$ -bench 'Encode|Cut|Decode|Join' ./erasure`, MB of the form a second:\n")
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Benchmark") {
			b.row("    %s", strings.Join(strings.Fields(line), " "))
		}
	}
	return nil
}
