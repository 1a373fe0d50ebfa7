package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
	"github.com/wormhole-fs/wormhole/p2p"
)

const (
	betweenWithin = 20 * time.Minute // one transfer
	firstFiles    = 100
	firstSize     = 64 << 10
)

// couple is two nodes of a program on this machine, connected over loopback: one has something, the other fetches it.
type couple interface {
	// start starts both, empty, in a folder.
	start(ctx context.Context, dir string) error
	// have puts a file or folder on the first node. The second may hear of it, and has none of its bytes.
	have(ctx context.Context, path string) error
	// fetch has the second node write what the first has got last to a path at which nothing is.
	fetch(ctx context.Context, to string, s source) error
	stop(ctx context.Context) error
}

// readingCouple is one whose second node can read a file of the first to its end without writing it anywhere but where it keeps what it has.
type readingCouple interface {
	couple
	read(ctx context.Context, s source) error
}

// couples are the programs that are compared, Wormhole first.
var couples = []struct {
	name, program string // "": Wormhole's own
	version       []string
	make          func(b *bench) couple
}{
	{self, "", nil, func(b *bench) couple { return &whCouple{wh: b.wh} }},
	{"Kubo", "ipfs", []string{"version"}, func(*bench) couple { return &kuboCouple{} }},
	{"Syncthing", "syncthing", []string{"--version"}, func(*bench) couple { return &syncthingCouple{} }},
}

// between measures how fast what one node has comes to another that has nothing, each on a disk, with a sync at the end.
func (b *bench) between(ctx context.Context) error {
	if b.rounds == 0 {
		b.rounds = 3
	}
	b.row("# From one node to another\n")
	b.head(ctx, fmt.Sprintf("wh-bench -what %s -rounds %d -bytes %d between", b.what, b.rounds, b.bigBytes))
	var names []string
	made := map[string]func(b *bench) couple{}
	for _, c := range couples {
		if c.program != "" {
			if _, err := exec.LookPath(c.program); err != nil {
				continue
			}
			said, err := output(exec.CommandContext(ctx, c.program, c.version...))
			if err != nil {
				return err
			}
			line, _, _ := strings.Cut(said, "\n")
			b.row("- %s: %s", c.name, strings.TrimSpace(line))
		}
		names = append(names, c.name)
		made[c.name] = c.make
	}
	b.row("\nTwo nodes of each on this machine, connected over loopback, both on its disk; they share its processors. Each figure has a sync of the disk in it." +
		" Seconds are the median of the rounds, with the least and the most; the programs take turns, there and back again.")
	var first []float64
	for what := range strings.SplitSeq(b.what, ",") {
		if what != "d1" && what != "d2" {
			continue
		}
		s, err := b.makeSource(ctx, what)
		if err != nil {
			return err
		}
		took, read := map[string][]float64{}, map[string][]float64{}
		for i := range b.rounds {
			turn := slices.Clone(names)
			if i%2 == 1 {
				slices.Reverse(turn)
			}
			for _, name := range turn {
				seconds, firsts, err := b.transfer(ctx, made[name](b), s)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				took[name] = append(took[name], seconds)
				first = append(first, firsts...)
				if c, ok := made[name](b).(readingCouple); ok && what == "d1" {
					if seconds, err = b.readThrough(ctx, c, s, c.read); err != nil {
						return fmt.Errorf("%s: %w", name, err)
					}
					read[name] = append(read[name], seconds)
				}
				if c, ok := made[name](b).(*whCouple); ok && what == "d1" {
					if seconds, err = b.readThrough(ctx, c, s, c.print); err != nil {
						return fmt.Errorf("%s: %w", printName, err)
					}
					read[printName] = append(read[printName], seconds)
				}
			}
			if what == "d1" {
				for _, bare := range bareStreams {
					begin := time.Now()
					if err := bare.run(ctx, s.bytes); err != nil {
						return fmt.Errorf("%s: %w", bare.name, err)
					}
					read[bare.name] = append(read[bare.name], time.Since(begin).Seconds())
				}
			}
		}
		b.row("\n## %s: %s\n\n%d files, %d bytes.", strings.ToUpper(s.name), s.title, s.files, s.bytes)
		b.betweenTable(s, names, took)
		if what == "d1" {
			b.row("\nRead to the end by nodes that are new, in the same turns, and written nowhere but where the second node keeps what it has, or, by wh cat, nowhere at all; without a sync:")
			b.betweenTable(s, append(slices.Clone(names), printName, bareStreams[0].name, bareStreams[1].name), read)
		}
	}
	if len(first) > 0 {
		b.row("\nThe first byte of a file of %d bytes that the second node never saw, opened and read through its mount: median %.1f ms, p95 %.1f ms, of %d.",
			firstSize, quantile(first, 0.5)*1e3, quantile(first, 0.95)*1e3, len(first))
	}
	return nil
}

// printName is the row of what the command line prints, in place of a read through the mount.
const printName = "wh cat"

// bareStreams are the rows of streams that nothing is done with.
var bareStreams = [...]struct {
	name string
	run  func(ctx context.Context, size int64) error
}{
	{"a bare libp2p stream (TLS 1.3, yamux)", func(ctx context.Context, size int64) error {
		n, err := p2p.BareStream(ctx, io.Discard, io.LimitReader(repeated(), size))
		if err == nil && n != size {
			err = fmt.Errorf("%d bytes came of %d", n, size)
		}
		return err
	}},
	{"a bare TLS 1.3 stream", bareStream},
}

func (b *bench) betweenTable(s source, names []string, took map[string][]float64) {
	b.row("\n| program | s | MB/s | files/s | wh faster |\n|---|---|---|---|---|")
	for _, name := range names {
		if len(took[name]) == 0 {
			continue
		}
		faster := ""
		if name != self {
			var all []float64
			for i, seconds := range took[name] {
				all = append(all, seconds/took[self][i])
			}
			faster = times(median(all))
		}
		m := median(took[name])
		b.row("| %s | %s | %.0f | %.0f | %s |", name, spread(took[name]), float64(s.bytes)/1e6/m, float64(s.files)/m, faster)
	}
}

// transfer has new nodes of a program take a source from one to the other.
func (b *bench) transfer(ctx context.Context, c couple, s source) (seconds float64, first []float64, err error) {
	err = b.coupled(ctx, c, func(ctx context.Context, dir string) (err error) {
		if w, ok := c.(*whCouple); ok && w.second.Mount != "" && s.name == "d2" {
			if first, err = w.firstBytes(ctx, dir); err != nil {
				return err
			}
		}
		if err := c.have(ctx, s.path); err != nil {
			return err
		}
		to := filepath.Join(dir, "got")
		if seconds, err = timed(ctx, func() error { return c.fetch(ctx, to, s) }); err != nil {
			return err
		}
		return s.same(to)
	})
	return seconds, first, err
}

// readThrough has the second of two new nodes read what the first has.
func (b *bench) readThrough(ctx context.Context, c couple, s source, read func(ctx context.Context, s source) error) (seconds float64, err error) {
	err = b.coupled(ctx, c, func(ctx context.Context, _ string) error {
		if err := errors.Join(c.have(ctx, s.path), syncDisks(ctx)); err != nil {
			return err
		}
		begin := time.Now()
		err := read(ctx, s)
		seconds = time.Since(begin).Seconds()
		return err
	})
	return seconds, err
}

// coupled starts two nodes in a folder of their own, does something with them, and ends them.
func (b *bench) coupled(ctx context.Context, c couple, f func(ctx context.Context, dir string) error) (err error) {
	dir := filepath.Join(b.dir, "couple")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, betweenWithin)
	defer cancel()
	defer func() { err = errors.Join(err, c.stop(context.WithoutCancel(ctx)), os.RemoveAll(dir)) }()
	if err := c.start(ctx, dir); err != nil {
		return err
	}
	return f(ctx, dir)
}

// whCouple is two pods that keep what is theirs: policy none.
type whCouple struct {
	wh            string
	first, second *fleet.Machine
	path          string
}

func (w *whCouple) start(ctx context.Context, dir string) error {
	w.first = &fleet.Machine{Name: "first", WH: w.wh, Home: filepath.Join(dir, "first")}
	w.second = &fleet.Machine{Name: "second", WH: w.wh, Home: filepath.Join(dir, "second")}
	if fleet.CanMount() {
		w.second.Mount = filepath.Join(dir, "mnt")
	}
	if err := w.first.Init(ctx, "bench"); err != nil {
		return err
	}
	if _, err := w.first.Run(ctx, "policy", "set", "/", "none"); err != nil {
		return err
	}
	if err := w.second.Join(ctx, w.first); err != nil {
		return err
	}
	return fleet.AllUp(ctx, []*fleet.Machine{w.first, w.second})
}

func (w *whCouple) have(ctx context.Context, path string) error {
	w.path = "/" + filepath.Base(path)
	if _, err := w.first.Run(ctx, "add", path, "--to", "/", "--quiet"); err != nil {
		return err
	}
	return w.heard(ctx)
}

// heard waits until the second pod has the tree of the first.
func (w *whCouple) heard(ctx context.Context) error {
	return fleet.Eventually(ctx, time.Minute, func() error {
		var roots [2]string
		for i, m := range []*fleet.Machine{w.first, w.second} {
			said, err := m.Run(ctx, "root")
			if err != nil {
				return err
			}
			roots[i] = said
		}
		if roots[0] != roots[1] {
			return errors.New("the pods have two trees")
		}
		return nil
	})
}

func (w *whCouple) fetch(ctx context.Context, to string, _ source) error {
	_, err := w.second.Run(ctx, "get", w.path, "-o", to, "--quiet")
	return err
}

// read reads through the mount of the second pod, where it can have one.
func (w *whCouple) read(ctx context.Context, s source) error {
	if w.second.Mount == "" {
		return w.print(ctx, s)
	}
	f, err := os.Open(filepath.Join(w.second.Mount, filepath.FromSlash(w.path)))
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, readBuffer))
	if err = errors.Join(err, f.Close()); err == nil && n != s.bytes {
		err = fmt.Errorf("%d bytes came of %d", n, s.bytes)
	}
	return err
}

// print has the command line print it, to nowhere.
func (w *whCouple) print(ctx context.Context, _ source) error {
	return w.second.Command(ctx, "cat", w.path).Run()
}

func (w *whCouple) stop(ctx context.Context) error {
	var errs []error
	for _, m := range []*fleet.Machine{w.second, w.first} {
		if m != nil {
			errs = append(errs, m.Stop(ctx))
		}
	}
	return errors.Join(errs...)
}

// firstBytes is how many seconds it takes to open a file of the first pod's on the second, and to read its first byte, for many.
func (w *whCouple) firstBytes(ctx context.Context, dir string) ([]float64, error) {
	from := filepath.Join(dir, "firsts")
	if err := os.Mkdir(from, 0o755); err != nil {
		return nil, err
	}
	data := make([]byte, firstSize)
	for i := range firstFiles {
		_, _ = rand.Read(data) // it never fails
		if err := os.WriteFile(filepath.Join(from, fmt.Sprint(i)), data, 0o644); err != nil {
			return nil, err
		}
	}
	if err := w.have(ctx, from); err != nil {
		return nil, err
	}
	var took []float64
	for i := range firstFiles {
		begin := time.Now()
		f, err := os.Open(filepath.Join(w.second.Mount, "firsts", fmt.Sprint(i)))
		if err != nil {
			return nil, err
		}
		_, err = f.Read(data[:1])
		took = append(took, time.Since(begin).Seconds())
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	return took, nil
}
