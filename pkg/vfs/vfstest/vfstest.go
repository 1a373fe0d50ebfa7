// Package vfstest is the suite that every vfs.FS must pass: rules of POSIX one by one, and a model test
// that does random operations on the FS and on memfs and compares all that can be seen.
//
// The model test prints its seed; -vfstest.seed=N replays it and -vfstest.ops=N sets its length.
package vfstest

import (
	"context"
	"errors"
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

var (
	seedFlag = flag.Uint64("vfstest.seed", 0, "seed of the model test; 0: a new one")
	opsFlag  = flag.Int("vfstest.ops", 0, "operations of the model test; 0: as the test says")
)

// caseMax is how long one case may take before its context ends.
const caseMax = 30 * time.Second

// Limit is something that an FS can't do or show; the suite leaves it out.
type Limit uint

// The limits.
const (
	NoRenameFlags Limit = 1 << iota // Rename with a flag is ErrNotSupported: FUSE through jacobsa/fuse
	NoBlocks                        // Attr.Blocks doesn't know holes: the same
	NoSetID                         // writes and changes of owner clear set-id bits, as a kernel does
)

// Run runs the suite. open makes an FS that is empty but for its root folder; what it needs to end,
// it registers with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) vfs.FS, limits ...Limit) {
	t.Helper()
	var limit Limit
	for _, l := range limits {
		limit |= l
	}
	for _, c := range slices.Concat(nameCases, renameCases, fileCases, attrCases) {
		t.Run(c.name, func(t *testing.T) {
			if c.needs&limit != 0 {
				t.Skipf("limit of this file system: %b", c.needs&limit)
			}
			ctx, cancel := context.WithTimeout(t.Context(), caseMax)
			defer cancel()
			c.run(&tester{T: t, ctx: ctx, fs: open(t), limit: limit})
		})
	}
	t.Run("model", func(t *testing.T) { runModel(t, open(t), limit) })
}

// testCase is one rule.
type testCase struct {
	name  string
	needs Limit // left out if the FS has one of these limits
	run   func(t *tester)
}

// tester is the FS of one case, with calls that end the test on an error that was not expected.
type tester struct {
	*testing.T
	ctx   context.Context //nolint:containedctx // it lives as long as one case
	fs    vfs.FS
	limit Limit
}

// create makes a node in a folder.
func (t *tester) create(parent vfs.NodeID, name string, n vfs.NewNode) vfs.Attr {
	t.Helper()
	a, err := t.fs.Create(t.ctx, parent, name, n)
	if err != nil {
		t.Fatalf("create %q: %v", name, err)
	}
	return a
}

// folder makes a folder.
func (t *tester) folder(parent vfs.NodeID, name string) vfs.NodeID {
	t.Helper()
	return t.create(parent, name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}).ID
}

// file makes a file that holds text.
func (t *tester) file(parent vfs.NodeID, name, text string) vfs.NodeID {
	t.Helper()
	id := t.create(parent, name, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}).ID
	if text != "" {
		f := t.open(id)
		t.write(f, 0, text)
		t.close(f)
	}
	return id
}

func (t *tester) open(id vfs.NodeID) vfs.File {
	t.Helper()
	f, err := t.fs.Open(t.ctx, id)
	if err != nil {
		t.Fatalf("open node %d: %v", id, err)
	}
	return f
}

// allocator is an open file's ability to allocate.
func (t *tester) allocator(f vfs.File) vfs.Allocator {
	t.Helper()
	a, ok := f.(vfs.Allocator)
	if !ok {
		t.Fatalf("a %T allocates nothing", f)
	}
	return a
}

func (t *tester) close(f vfs.File) {
	t.Helper()
	if err := f.Close(t.ctx); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func (t *tester) write(f vfs.File, off int64, text string) {
	t.Helper()
	if n, err := f.WriteAt(t.ctx, []byte(text), off); n != len(text) || err != nil {
		t.Fatalf("write %d bytes at %d: %d, %v", len(text), off, n, err)
	}
}

// content is all that a file holds, at most 1 MiB of it.
func (t *tester) content(id vfs.NodeID) string {
	t.Helper()
	f := t.open(id)
	defer t.close(f)
	return string(readAll(t.ctx, t, f))
}

func (t *tester) attr(id vfs.NodeID) vfs.Attr {
	t.Helper()
	a, err := t.fs.GetAttr(t.ctx, id)
	if err != nil {
		t.Fatalf("attributes of node %d: %v", id, err)
	}
	return a
}

func (t *tester) lookup(parent vfs.NodeID, name string) vfs.Attr {
	t.Helper()
	a, err := t.fs.Lookup(t.ctx, parent, name)
	if err != nil {
		t.Fatalf("lookup %q: %v", name, err)
	}
	return a
}

// rename moves an entry within the root folder or out of and into others.
func (t *tester) rename(parent vfs.NodeID, name string, newParent vfs.NodeID, newName string, f vfs.RenameFlag) {
	t.Helper()
	if err := t.fs.Rename(t.ctx, parent, name, newParent, newName, f); err != nil {
		t.Fatalf("rename %q to %q: %v", name, newName, err)
	}
}

// names is all names of a folder.
func (t *tester) names(id vfs.NodeID) []string {
	t.Helper()
	list, err := t.fs.ReadDir(t.ctx, id, "", 1<<20)
	if err != nil {
		t.Fatalf("list node %d: %v", id, err)
	}
	names := make([]string, 0, len(list))
	for _, e := range list {
		names = append(names, e.Name)
	}
	return names
}

// wantNames checks what is in a folder.
func (t *tester) wantNames(id vfs.NodeID, want ...string) {
	t.Helper()
	if got := t.names(id); !slices.Equal(got, want) {
		t.Fatalf("names: got %q, want %q", got, want)
	}
}

// wantErr checks that an error is one of want.
func (t *tester) wantErr(what string, err error, want ...error) {
	t.Helper()
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		t.Fatalf("%s: got error %v, want %v", what, err, want)
	}
}

// equal checks one value.
func equal[T comparable](t *tester, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// later checks that a time has moved on.
func (t *tester) later(what string, after, before int64) {
	t.Helper()
	if after <= before {
		t.Fatalf("%s did not move on: %d, then %d", what, before, after)
	}
}
