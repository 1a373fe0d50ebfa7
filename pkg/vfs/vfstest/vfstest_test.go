package vfstest_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/vfstest"
)

// faultEnv names the fault that TestFaulty, run as a child, puts into its FS.
const faultEnv = "VFSTEST_FAULT"

// faulty is memfs with one fault.
type faulty struct {
	*memfs.FS
	fault string
}

func (f faulty) Rename(ctx context.Context, parent vfs.NodeID, name string, newParent vfs.NodeID, newName string, flags vfs.RenameFlag) error {
	if f.fault == "rename keeps the old name" && flags == 0 {
		a, err := f.Lookup(ctx, parent, name)
		if err == nil && a.Kind == vfs.KindFile {
			if _, err := f.Link(ctx, a.ID, newParent, newName); err == nil {
				return nil
			}
		}
	}
	return f.FS.Rename(ctx, parent, name, newParent, newName, flags)
}

func (f faulty) SetAttr(ctx context.Context, id vfs.NodeID, set vfs.SetAttr) (vfs.Attr, error) {
	if f.fault == "chown is ignored" {
		set.GID = nil
	}
	return f.FS.SetAttr(ctx, id, set)
}

func (f faulty) ReadDir(ctx context.Context, id vfs.NodeID, after string, limit int) ([]vfs.DirEntry, error) {
	list, err := f.FS.ReadDir(ctx, id, after, limit)
	if f.fault == "the 51st entry is lost" && len(list) > 50 {
		list = append(list[:50], list[51:]...)
	}
	return list, err
}

func (f faulty) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	file, err := f.FS.Open(ctx, id)
	if err == nil && f.fault == "a write drops its last byte at times" {
		file = lossy{file}
	}
	return file, err
}

// lossy loses a byte of writes of 777 bytes and more.
type lossy struct{ vfs.File }

func (l lossy) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if len(p) > 777 {
		n, err := l.File.WriteAt(ctx, p[:len(p)-1], off)
		return n + 1, err
	}
	return l.File.WriteAt(ctx, p, off)
}

// TestFaulty is the child of TestSuiteFindsFaults.
func TestFaulty(t *testing.T) {
	fault := os.Getenv(faultEnv)
	if fault == "" {
		t.Skip("runs as a child of TestSuiteFindsFaults")
	}
	vfstest.Run(t, func(*testing.T) vfs.FS { return faulty{memfs.New(memfs.Options{}), fault} })
}

// TestSuiteFindsFaults: a suite that can't fail proves nothing. Each fault must fail it, the model test
// included, and the output must name the seed.
func TestSuiteFindsFaults(t *testing.T) {
	for _, fault := range []string{"rename keeps the old name", "chown is ignored", "a write drops its last byte at times", "the 51st entry is lost", "no fault"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaulty$", "-test.v", "-vfstest.seed=1")
			cmd.Env = append(os.Environ(), faultEnv+"="+fault)
			out, err := cmd.CombinedOutput()
			switch want := fault != "no fault"; {
			case (err != nil) != want:
				t.Errorf("the suite failed: %v, want %v\n%.2000s", err, want, out)
			case want && fault != "the 51st entry is lost" && !strings.Contains(string(out), "--- FAIL: TestFaulty/model"):
				t.Error("the model test did not fail")
			case !strings.Contains(string(out), "-vfstest.seed=1 "):
				t.Error("no seed in the output")
			}
		})
	}
}
