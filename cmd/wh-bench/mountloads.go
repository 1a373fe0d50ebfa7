//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

// Names of loads.
const (
	loadCreate = "create, write 4 KiB, close"
	loadWrite  = "writes of 1 MiB"
	loadSmall  = "writes of 4 KiB"
	loadRandom = "random writes of 4 KiB, then fsync"
	loadCold   = "sequential read, cold"
	loadWarm   = "sequential read, warm"
	loadMine   = "sequential read of what was just written"
	loadStat   = "stat"
	loadUntar  = "untar of the Go source"
	loadClone  = "git clone"
	loadListed = "ls -l of 20000 entries, cold"
	loadAgain  = "ls -l of 20000 entries, warm"
)

// Sizes of loads.
const (
	createFiles = 3000
	writeBytes  = 256 << 20
	smallBytes  = 32 << 20
	randomOps   = 4000
	statFiles   = 2000
	statTimes   = 20
	listFiles   = 20_000
	cloneFiles  = 500 // of the Go source, that are committed to what is cloned
)

// load is something that is done in a folder.
type load struct {
	name    string
	unit    string
	digits  int      // of its rate
	seconds bool     // its rate is the time that it takes
	null    bool     // the empty file system can do it
	asked   []string // of it alone
	prepare func(ctx context.Context, p *place, dir string) error
	run     func(ctx context.Context, dir string) (amount float64, err error)
}

// loads are all, and what they need.
type loads struct {
	list  []load
	data  []byte // random
	tar   string // the Go source
	clone string // a repository
}

func newLoads(ctx context.Context, dir string) (*loads, error) {
	l := &loads{data: make([]byte, 64<<20), tar: filepath.Join(dir, "go.tar"), clone: filepath.Join(dir, "repository")}
	_, _ = rand.NewChaCha8([32]byte{5}).Read(l.data) // it never fails
	source, err := fleet.GoSource(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := output(exec.CommandContext(ctx, "tar", "-C", source, "-cf", l.tar, ".")); err != nil {
		return nil, err
	}
	script := `git init -q "$1" && cp -r "$2/cmd" "$1/" && cd "$1" && git add . && git -c user.name=bench -c user.email=bench@localhost commit -qm all`
	if _, err := output(exec.CommandContext(ctx, "sh", "-c", script, "sh", l.clone, source)); err != nil {
		return nil, err
	}
	l.list = []load{
		{name: loadCreate, unit: "files/s", null: true, run: l.creates},
		{name: loadWrite, unit: "MB/s", null: true, run: func(_ context.Context, dir string) (float64, error) { return l.write(dir, writeBytes, 1<<20) }},
		{name: loadSmall, unit: "MB/s", null: true, run: func(_ context.Context, dir string) (float64, error) { return l.write(dir, smallBytes, 4<<10) }},
		{name: loadRandom, unit: "writes/s", prepare: l.file, run: l.random},
		{name: loadCold, unit: "MB/s", prepare: l.coldFile, run: readAll},
		{name: loadWarm, unit: "MB/s", null: true, prepare: l.warmFile, run: readAll},
		{name: loadMine, unit: "MB/s", prepare: l.file, run: readAll},
		{name: loadStat, unit: "/s", prepare: l.files, run: stats},
		{name: loadUntar, unit: "s", digits: 2, seconds: true, run: l.untar},
		{name: loadClone, unit: "s", digits: 2, seconds: true, run: l.cloned},
		{name: loadListed, unit: "s", digits: 2, seconds: true, asked: []string{"0.5 s at most"}, prepare: l.coldFolder, run: list},
		{name: loadAgain, unit: "s", digits: 2, seconds: true, asked: []string{"0.15 s at most"}, prepare: l.warmFolder, run: list},
	}
	return l, nil
}

// creates makes files of 4 KiB, of which no two are equal.
func (l *loads) creates(ctx context.Context, dir string) (float64, error) {
	for i := range createFiles {
		at := i * (4 << 10) % len(l.data)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%d", i)), l.data[at:at+4<<10], 0o644); err != nil {
			return 0, err
		}
	}
	return createFiles, ctx.Err()
}

// write writes a file front to back, without an fsync.
func (l *loads) write(dir string, size, piece int) (mb float64, err error) {
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return 0, err
	}
	for off := 0; off < size && err == nil; off += piece {
		at := off % len(l.data)
		_, err = f.Write(l.data[at : at+piece])
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return float64(size) / 1e6, err
}

// file makes a file whose bytes are on the disk.
func (l *loads) file(ctx context.Context, p *place, dir string) error {
	if _, err := l.write(dir, writeBytes, 1<<20); err != nil {
		return err
	}
	return p.sync(ctx)
}

func (l *loads) random(_ context.Context, dir string) (n float64, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for i := 0; i < randomOps && err == nil; i++ {
		_, err = f.WriteAt(l.data[i*4096:][:4096], rng.Int64N(writeBytes/4096)*4096)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return randomOps, err
}

func (l *loads) coldFile(ctx context.Context, p *place, dir string) error {
	if err := l.file(ctx, p, dir); err != nil {
		return err
	}
	return p.cold(ctx)
}

// warmFile makes a file that the kernel has, and has read twice: at the second time it moves pages among those in use (folio_mark_accessed, mm/swap.c), which is part of becoming warm.
func (l *loads) warmFile(ctx context.Context, p *place, dir string) error {
	if err := l.file(ctx, p, dir); err != nil {
		return err
	}
	for range 2 {
		if _, err := readAll(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

func readAll(_ context.Context, dir string) (mb float64, err error) {
	f, err := os.Open(filepath.Join(dir, "file"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	if err == nil && n != writeBytes {
		err = fmt.Errorf("%d bytes were read of %d", n, writeBytes)
	}
	return float64(n) / 1e6, err
}

// files makes files and asks for each once.
func (l *loads) files(ctx context.Context, _ *place, dir string) error {
	if err := makeFiles(dir, statFiles); err != nil {
		return err
	}
	_, err := stats(ctx, dir)
	return err
}

func makeFiles(dir string, n int) error {
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%d", i)), fmt.Appendf(nil, "file %d\n", i), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func stats(_ context.Context, dir string) (float64, error) {
	for range statTimes {
		for i := range statFiles {
			if _, err := os.Lstat(filepath.Join(dir, fmt.Sprintf("file-%d", i))); err != nil {
				return 0, err
			}
		}
	}
	return statTimes * statFiles, nil
}

func (l *loads) untar(ctx context.Context, dir string) (float64, error) {
	_, err := output(exec.CommandContext(ctx, "tar", "-C", dir, "-xf", l.tar))
	return 1, err
}

func (l *loads) cloned(ctx context.Context, dir string) (float64, error) {
	_, err := output(exec.CommandContext(ctx, "git", "clone", "-q", "--no-local", l.clone, filepath.Join(dir, "clone")))
	return 1, err
}

func (l *loads) coldFolder(ctx context.Context, p *place, dir string) error {
	if err := makeFiles(dir, listFiles); err != nil {
		return err
	}
	if err := p.sync(ctx); err != nil {
		return err
	}
	return p.cold(ctx)
}

func (l *loads) warmFolder(ctx context.Context, _ *place, dir string) error {
	if err := makeFiles(dir, listFiles); err != nil {
		return err
	}
	_, err := list(ctx, dir)
	return err
}

func list(ctx context.Context, dir string) (float64, error) {
	_, err := output(exec.CommandContext(ctx, "ls", "-l", dir))
	return listFiles, err
}
