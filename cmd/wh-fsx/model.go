//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// runModel does the same schedules of operations on a mount and in a local folder.
func runModel(ctx context.Context, s *settings) (err error) {
	dir := s.dir
	if dir == "" {
		n, err := s.newNetwork(ctx, 1)
		if err != nil {
			return n.close(ctx, err)
		}
		dir = n.machines[0].Mount
		defer func() { err = n.close(ctx, err) }()
		return s.schedules(ctx, dir)
	}
	return s.schedules(ctx, dir)
}

func (s *settings) schedules(ctx context.Context, dir string) (err error) {
	local, err := os.MkdirTemp("", "wormhole-model-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(local)) }()
	old := unix.Umask(0)
	defer unix.Umask(old)
	begin, end, done := time.Now(), s.end(), 0
	for ; done < s.examples && time.Now().Before(end); done++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		sides := [2]string{filepath.Join(dir, fmt.Sprint("tree", done)), filepath.Join(local, fmt.Sprint("tree", done))}
		if err := schedule(sides, s.seed+uint64(done), s.steps); err != nil {
			return fmt.Errorf("example %d (seed %d): %w", done, s.seed+uint64(done), err)
		}
		if err := errors.Join(os.RemoveAll(sides[0]), os.RemoveAll(sides[1])); err != nil {
			return err
		}
	}
	fmt.Printf("%d schedules of %d steps in %s, no difference\n", done, s.steps, time.Since(begin).Round(time.Second))
	return nil
}

// pair is a tree on each of two file systems, and random choices for both.
type pair struct {
	rnd   *rand.Rand
	sides [2]string
	ops   []string
}

// schedule does steps on both sides, and compares each step's errors and the trees.
func schedule(sides [2]string, seed uint64, steps int) error {
	p := &pair{rnd: rand.New(rand.NewPCG(seed, 3)), sides: sides}
	for _, side := range sides {
		if err := os.Mkdir(side, 0o755); err != nil {
			return err
		}
	}
	for range steps {
		if err := p.step(); err != nil {
			return p.failure(err)
		}
		if p.rnd.IntN(100) == 0 {
			if err := p.compare(); err != nil {
				return p.failure(err)
			}
		}
	}
	if err := p.compare(); err != nil {
		return p.failure(err)
	}
	return nil
}

func (p *pair) failure(err error) error {
	return fmt.Errorf("step %d: %w; the last steps:\n%s", len(p.ops), err, strings.Join(p.ops[max(0, len(p.ops)-keptOps):], "\n"))
}

// both does a step on both sides, which must end alike.
func (p *pair) both(f func(side string) error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	p.ops = append(p.ops, what)
	var ends [2]error
	for i, side := range p.sides {
		ends[i] = bare(f(side))
	}
	if !errors.Is(ends[0], ends[1]) {
		return fmt.Errorf("%s: here %w, locally %w", what, orNone(ends[0]), orNone(ends[1]))
	}
	return nil
}

var errNone = errors.New("no error")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// bare is the errno in an error.
func bare(err error) error {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	return err
}

// some is a path that may be there: names are few, so that operations meet.
func (p *pair) some() string {
	depth := 1 + p.rnd.IntN(3)
	var names []string
	for range depth {
		names = append(names, string(rune('a'+p.rnd.IntN(5))))
	}
	return strings.Join(names, "/")
}

// step does one operation on both sides.
func (p *pair) step() error {
	a, b := p.some(), p.some()
	at := func(side, name string) string { return side + "/" + name }
	switch p.rnd.IntN(22) {
	case 0, 1, 2:
		data := bytes.Repeat([]byte{byte(len(p.ops))}, p.rnd.IntN(3000))
		flags := os.O_CREATE | os.O_WRONLY | []int{0, os.O_TRUNC, os.O_EXCL, os.O_APPEND}[p.rnd.IntN(4)]
		return p.both(func(side string) error { return writeTo(at(side, a), flags, data) }, "write %s flags %#x, %d bytes", a, flags, len(data))
	case 3:
		off, data := int64(p.rnd.IntN(200_000)), bytes.Repeat([]byte{byte(len(p.ops))}, 1+p.rnd.IntN(9000))
		return p.both(func(side string) error { return writeAt(at(side, a), data, off) }, "write %s at %d, %d bytes", a, off, len(data))
	case 4:
		size := int64(p.rnd.IntN(150_000))
		return p.both(func(side string) error { return unix.Truncate(at(side, a), size) }, "truncate %s to %d", a, size)
	case 5, 6, 7:
		mode := []uint32{0o755, 0o700, 0o1777, 0o2775}[p.rnd.IntN(4)]
		return p.both(func(side string) error { return unix.Mkdir(at(side, a), mode) }, "mkdir %s %o", a, mode)
	case 8:
		return p.both(func(side string) error { return unix.Rmdir(at(side, a)) }, "rmdir %s", a)
	case 9, 10:
		return p.both(func(side string) error { return unix.Unlink(at(side, a)) }, "unlink %s", a)
	case 11, 12, 13:
		return p.both(func(side string) error { return unix.Rename(at(side, a), at(side, b)) }, "rename %s to %s", a, b)
	case 14, 15:
		return p.both(func(side string) error { return unix.Link(at(side, a), at(side, b)) }, "link %s to %s", a, b)
	case 16:
		return p.both(func(side string) error { return unix.Symlink(b, at(side, a)) }, "symlink %s to %s", a, b)
	case 17:
		mode := uint32(p.rnd.IntN(0o10000)) | 0o600
		return p.both(func(side string) error { return unix.Chmod(at(side, a), mode) }, "chmod %s %o", a, mode)
	case 18:
		uid, gid := p.rnd.IntN(4)-1, p.rnd.IntN(4)-1
		return p.both(func(side string) error { return unix.Lchown(at(side, a), uid, gid) }, "chown %s %d %d", a, uid, gid)
	case 19:
		return p.xattr(a)
	case 20:
		times := []unix.Timespec{{Sec: p.rnd.Int64N(4e9)}, {Sec: p.rnd.Int64N(4e9), Nsec: p.rnd.Int64N(1e9)}}
		return p.both(func(side string) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, at(side, a), times, unix.AT_SYMLINK_NOFOLLOW)
		}, "utimes %s %d.%09d", a, times[1].Sec, times[1].Nsec)
	default:
		return p.both(func(side string) error { return unix.Mknod(at(side, a), unix.S_IFIFO|0o640, 0) }, "mkfifo %s", a)
	}
}

func (p *pair) xattr(name string) error {
	key := "user." + string(rune('x'+p.rnd.IntN(3)))
	if p.rnd.IntN(3) == 0 {
		return p.both(func(side string) error { return unix.Lremovexattr(side+"/"+name, key) }, "removexattr %s %s", name, key)
	}
	value := bytes.Repeat([]byte{'v'}, p.rnd.IntN(100))
	flags := []int{0, unix.XATTR_CREATE, unix.XATTR_REPLACE}[p.rnd.IntN(3)]
	return p.both(func(side string) error { return unix.Lsetxattr(side+"/"+name, key, value, flags) }, "setxattr %s %s flags %d", name, key, flags)
}

func writeTo(name string, flags int, data []byte) error {
	fd, err := unix.Open(name, flags|unix.O_NONBLOCK, 0o644) // a FIFO without a reader is an error, no wait
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, data)
	return errors.Join(err, unix.Close(fd))
}

func writeAt(name string, data []byte, off int64) error {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = unix.Pwrite(fd, data, off)
	return errors.Join(err, unix.Close(fd))
}

// compare walks both trees.
func (p *pair) compare() error {
	var trees [2][]string
	for i, side := range p.sides {
		var err error
		if trees[i], err = describe(side); err != nil {
			return err
		}
	}
	for i := range max(len(trees[0]), len(trees[1])) {
		var lines [2]string
		for k := range trees {
			if i < len(trees[k]) {
				lines[k] = trees[k][i]
			}
		}
		if lines[0] != lines[1] {
			return fmt.Errorf("here    %s\nlocally %s", lines[0], lines[1])
		}
	}
	return nil
}

// describe says of each node below a folder all that must be equal, a line each. Names of one file are told by the first of them.
func describe(top string) ([]string, error) {
	var out []string
	first := map[uint64]string{}
	err := filepath.WalkDir(top, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		rel := strings.TrimPrefix(name, top)
		if first[st.Ino] == "" {
			first[st.Ino] = rel
		}
		line := fmt.Sprintf("%q mode %o owner %d:%d of %q", rel, st.Mode, st.Uid, st.Gid, first[st.Ino])
		rest, err := contents(name, &st)
		attrs, attrErr := attributes(name)
		if set := time.Unix(st.Mtim.Unix()); time.Since(set).Abs() > 24*time.Hour && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			rest += fmt.Sprintf(" mtime %d", set.UnixNano()) // that a step has set, not the clock
		}
		out = append(out, line+rest+attrs)
		return errors.Join(err, attrErr)
	})
	return out, err
}

// contents says what a node holds.
func contents(name string, st *unix.Stat_t) (string, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		data, err := os.ReadFile(name)
		return fmt.Sprintf(" links %d size %d bytes %x", st.Nlink, st.Size, short(data)), err
	case unix.S_IFLNK:
		target, err := os.Readlink(name)
		return fmt.Sprintf(" links %d size %d to %q", st.Nlink, st.Size, target), err
	case unix.S_IFDIR:
		return "", nil // sizes and links of folders differ between file systems
	}
	return fmt.Sprintf(" links %d", st.Nlink), nil
}

func attributes(name string) (string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(name, list)
	if err != nil {
		return "", err
	}
	names := slices.DeleteFunc(strings.Split(string(list[:n]), "\x00"), func(s string) bool { return !strings.HasPrefix(s, "user.") })
	slices.Sort(names)
	var s strings.Builder
	for _, key := range names {
		value := make([]byte, 1000)
		n, err := unix.Lgetxattr(name, key, value)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&s, " %s=%q", key, value[:n])
	}
	return s.String(), nil
}

// short is bytes, or their hash if they are many.
func short(data []byte) []byte {
	if len(data) <= 32 {
		return data
	}
	sum := blake3.Sum256(data)
	return sum[:]
}
