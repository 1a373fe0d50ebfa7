//go:build linux || darwin

package mountfs

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestEverySentinelHasErrno: an error of vfs that is not in the table would be shown as EIO, wrongly.
func TestEverySentinelHasErrno(t *testing.T) {
	table, err := os.ReadFile("errno.go")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../pkg/vfs/vfs.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Err") {
			found++
			if name := "vfs." + spec.Names[0].Name; !strings.Contains(string(table), "{"+name+", ") {
				t.Errorf("no errno for %s", name)
			}
		}
		return true
	})
	if found < 10 {
		t.Errorf("found only %d errors in vfs.go", found)
	}
}

func TestErrno(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{fmt.Errorf("a: %w", vfs.ErrNotEmpty), syscall.ENOTEMPTY},
		{fmt.Errorf("read: %w", context.Canceled), syscall.EINTR},
		{errors.New("not known"), syscall.EIO},
		{fmt.Errorf("disk: %w", syscall.EDQUOT), syscall.EDQUOT},
		{vfs.ErrNoXattr, errNoXattr},
	} {
		if got := errnoOf(c.err); got != c.want {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
	}
}

// TestUnixTime: the library shows times wrongly that have parts of seconds before 1970.
func TestUnixTime(t *testing.T) {
	for ns, want := range map[int64]int64{0: 0, 1: 1, 1_500_000_000: 1_500_000_000, -1: -1_000_000_000, -1_000_000_000: -1_000_000_000, -1_500_000_000: -2_000_000_000} {
		if got := unixTime(ns).UnixNano(); got != want {
			t.Errorf("%d: got %d, want %d", ns, got, want)
		}
	}
}

// TestModes: every kind and bit comes back as it was.
func TestModes(t *testing.T) {
	for kind := vfs.KindFile; kind <= vfs.KindBlockDev; kind++ {
		for _, mode := range []uint32{0, 0o644, 0o7777, 0o1777, 0o2750, 0o4711} {
			m := goMode(kind, mode)
			if gotKind, got := kindOf(m), unixMode(m); gotKind != kind || got != mode {
				t.Errorf("kind %d, mode %o: got %d, %o", kind, mode, gotKind, got)
			}
		}
	}
}
