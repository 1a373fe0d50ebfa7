//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	fileMax  = 1 << 20 // bytes of the file: a chunk or a few
	pieceMax = 32 << 10

	// Of the kind large.
	largeMax      = 48 << 20
	largePieceMax = 3 << 20

	pageBytes = 4096
	keptOps   = 60 // of the newest, to show after a failure
)

// exerciser does random operations on a file, and knows what the file must hold.
type exerciser struct {
	rnd     *rand.Rand
	path    string
	max     int      // bytes of the file
	piece   int      // bytes of one operation
	f       *os.File // nil: closed
	want    []byte
	done    int
	ops     []string // the newest
	skipped map[string]error
}

func newExerciser(path string, seed uint64) *exerciser {
	return &exerciser{rnd: rand.New(rand.NewPCG(seed, 1)), path: path, max: fileMax, piece: pieceMax, skipped: map[string]error{}}
}

// weighted are the operations, and how often each is done among all.
var weighted = []struct {
	name   string
	weight int
	f      func(*exerciser) error
}{
	{"read", 20, (*exerciser).read},
	{"mapread", 12, (*exerciser).mapRead},
	{"write", 20, (*exerciser).write},
	{"mapwrite", 12, (*exerciser).mapWrite},
	{"append", 4, (*exerciser).append},
	{"truncate", 6, (*exerciser).truncate},
	{"punch", 4, (*exerciser).punch},
	{"zero", 2, (*exerciser).zero},
	{"allocate", 2, (*exerciser).allocate},
	{"copy", 3, (*exerciser).copyRange},
	{"fsync", 1, (*exerciser).fsync},
	{"reopen", 3, (*exerciser).reopen},
	{"forget", 1, (*exerciser).forget},
	{"whole", 1, (*exerciser).whole},
}

// step does one operation.
func (x *exerciser) step() error {
	if x.f == nil {
		if err := x.open(); err != nil {
			return err
		}
	}
	total := 0
	for _, w := range weighted {
		total += w.weight
	}
	at := x.rnd.IntN(total)
	for _, w := range weighted {
		if at -= w.weight; at >= 0 {
			continue
		}
		if err := w.f(x); err != nil {
			return x.failure(w.name, err)
		}
		break
	}
	x.done++
	return nil
}

func (x *exerciser) failure(what string, err error) error {
	return fmt.Errorf("operation %d, %s: %w; the last operations:\n%s", x.done, what, err, strings.Join(x.ops, "\n"))
}

// note remembers what is done now.
func (x *exerciser) note(format string, args ...any) {
	if len(x.ops) == keptOps {
		x.ops = x.ops[1:]
	}
	x.ops = append(x.ops, fmt.Sprintf("%8d  ", x.done)+fmt.Sprintf(format, args...))
}

func (x *exerciser) open() (err error) {
	x.f, err = os.OpenFile(x.path, os.O_RDWR|os.O_CREATE, 0o644)
	return err
}

func (x *exerciser) close() error {
	if x.f == nil {
		return nil
	}
	f := x.f
	x.f = nil
	return f.Close()
}

// differs compares bytes at an offset.
func differs(got, want []byte, off int) error {
	if bytes.Equal(got, want) {
		return nil
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Errorf("byte %d (of %d from %d) is %#x, should be %#x", off+i, len(want), off, got[i], want[i])
		}
	}
	return fmt.Errorf("%d bytes from %d, should be %d", len(got), off, len(want))
}

// place is a random piece of the file that may begin, with beyond set, at its end at the latest.
func (x *exerciser) place(beyond bool) (off, n int) {
	limit := len(x.want)
	if beyond {
		limit = x.max - x.piece
	}
	if limit == 0 {
		return 0, 0
	}
	off = x.rnd.IntN(limit)
	switch x.rnd.IntN(4) {
	case 0:
		off -= off % pageBytes
	case 1:
		off = min(off, len(x.want)) // often at the end
	}
	n = 1 + x.rnd.IntN(x.piece)
	if x.rnd.IntN(3) == 0 {
		n = 1 + x.rnd.IntN(200)
	}
	if !beyond {
		n = min(n, len(x.want)-off)
	}
	return off, n
}

// data is bytes that tell which operation wrote them.
func (x *exerciser) data(n int) []byte {
	p := make([]byte, n)
	tag := byte(x.done)
	for i := range p {
		p[i] = tag + byte(i)
	}
	if n > 16 && x.rnd.IntN(2) == 0 {
		_, _ = rand.NewChaCha8([32]byte{tag, byte(x.done >> 8), byte(x.done >> 16)}).Read(p) // never fails
	}
	return p
}

// put puts bytes into what the file must hold.
func (x *exerciser) put(off int, p []byte) {
	if end := off + len(p); end > len(x.want) {
		x.want = append(x.want, make([]byte, end-len(x.want))...)
	}
	copy(x.want[off:], p)
}

func (x *exerciser) read() error {
	off, n := x.place(false)
	n += x.rnd.IntN(2) * 1000 // beyond the end sometimes
	x.note("read %d at %d", n, off)
	p := make([]byte, n)
	got, err := x.f.ReadAt(p, int64(off))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return differs(p[:got], x.want[off:min(off+n, len(x.want))], off)
}

func (x *exerciser) write() error {
	off, n := x.place(true)
	x.note("write %d at %d (size %d)", n, off, len(x.want))
	p := x.data(n)
	if _, err := x.f.WriteAt(p, int64(off)); err != nil {
		return err
	}
	x.put(off, p)
	return nil
}

func (x *exerciser) append() error {
	if len(x.want) > x.max-x.piece {
		return nil
	}
	f, err := os.OpenFile(x.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	p := x.data(1 + x.rnd.IntN(5000))
	x.note("append %d (size %d)", len(p), len(x.want))
	_, err = f.Write(p)
	if err = errors.Join(err, f.Close()); err == nil {
		x.put(len(x.want), p)
	}
	return err
}

func (x *exerciser) truncate() error {
	size := x.rnd.IntN(x.max)
	if x.rnd.IntN(3) > 0 && len(x.want) > 0 {
		size = len(x.want) - x.rnd.IntN(min(len(x.want), x.piece)) // cut a bit off
	}
	x.note("truncate to %d (size %d)", size, len(x.want))
	var err error
	if x.rnd.IntN(2) == 0 {
		err = x.f.Truncate(int64(size))
	} else {
		err = os.Truncate(x.path, int64(size))
	}
	if err != nil {
		return err
	}
	if size > len(x.want) {
		x.put(size-1, []byte{0})
	}
	x.want = x.want[:size:size]
	return nil
}

func (x *exerciser) fsync() error {
	x.note("fsync")
	return x.f.Sync()
}

func (x *exerciser) reopen() error {
	x.note("reopen")
	if err := x.close(); err != nil {
		return err
	}
	return x.open()
}

// forget takes the file out of the kernel's page cache.
func (x *exerciser) forget() error {
	x.note("forget pages")
	return errors.Join(x.f.Sync(), unix.Fadvise(int(x.f.Fd()), 0, 0, unix.FADV_DONTNEED))
}

// whole reads all of the file, opened anew.
func (x *exerciser) whole() error { return x.wholeAt(x.path) }

func (x *exerciser) wholeAt(path string) error {
	x.note("read all of %s", path)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != int64(len(x.want)) {
		err = fmt.Errorf("%s: size %d, should be %d", path, info.Size(), len(x.want))
	}
	got, readErr := io.ReadAll(f)
	if readErr == nil {
		readErr = differs(got, x.want, 0)
	}
	return errors.Join(err, readErr, f.Close())
}
