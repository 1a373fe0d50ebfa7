//go:build unix

package client_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// planted makes a node of the network as its hostile writer does.
func (w *world) planted(parent vfs.NodeID, name string, kind vfs.Kind, mode uint32, rdev uint64) vfs.Attr {
	w.t.Helper()
	a, err := w.pod.FS().Create(w.t.Context(), parent, name, vfs.NewNode{Kind: kind, Mode: mode, RDev: rdev})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// problemsAre fails the test where not exactly these paths are problems, which are all err.
func (w *world) problemsAre(err error, paths ...string) {
	w.t.Helper()
	var missing []string
	for _, p := range paths {
		found := false
		for _, said := range w.problems {
			found = found || strings.Contains(said, p+": ")
		}
		if !found {
			missing = append(missing, p)
		}
	}
	for _, e := range w.errs {
		if !errors.Is(e, err) {
			w.t.Errorf("%v is not %v", e, err)
		}
	}
	if len(missing) > 0 || len(w.problems) != len(paths) {
		w.t.Errorf("problems %q, want those of %q", w.problems, paths)
	}
	w.problems, w.errs = nil, nil
}

// TestGetRights: whoever may write in the network makes no device and no program with somebody's rights on the machine of one who gets a tree. If it fails, root's `wh get` hands out the disk.
func TestGetRights(t *testing.T) {
	if os.Geteuid() != 0 {
		testneed.Missing(t, "needs root, whom it is about")
	}
	if err := unix.Mknod(filepath.Join(t.TempDir(), "null"), unix.S_IFCHR, int(unix.Mkdev(1, 3))); err != nil {
		testneed.Missing(t, "root can't make devices here: %v", err)
	}
	w := newWorld(t)
	top := w.planted(vfs.RootID, "src", vfs.KindFolder, 0o2775, 0)
	w.planted(top.ID, "null", vfs.KindCharDev, 0o666, unix.Mkdev(1, 3))
	w.planted(top.ID, "loop", vfs.KindBlockDev, 0o666, unix.Mkdev(7, 0))
	w.planted(top.ID, "su", vfs.KindFile, 0o4755, 0)
	w.planted(top.ID, "sg", vfs.KindFile, 0o2755, 0)
	capable := w.planted(top.ID, "capable", vfs.KindFile, 0o755, 0)
	every := []byte{1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 1, 0, 0, 0, 0, 0, 0} // of VFS_CAP_REVISION_2, capability.h
	if err := w.pod.FS().SetXattr(t.Context(), capable.ID, "security.capability", every, 0); err != nil {
		t.Fatal(err)
	}
	w.planted(top.ID, "pipe", vfs.KindFIFO, 0o600, 0)
	for _, asked := range []bool{false, true} {
		dst := filepath.Join(t.TempDir(), "dst")
		w.get(client.GetOptions{Source: "/src", Dest: dst, Dev: asked, SUID: asked})
		if asked {
			w.noProblems()
		} else {
			w.problemsAre(fs.ErrPermission, "null", "loop", "su", "sg", "capable")
		}
		for name, want := range map[string]uint32{"su": 0o4755, "sg": 0o2755, "capable": 0o755, ".": 0o2775} {
			if !asked && name != "." {
				want &= 0o777
			}
			var st unix.Stat_t
			err := unix.Stat(filepath.Join(dst, name), &st)
			if mode := uint32(st.Mode) & 0o7777; err != nil || mode != want { //nolint:unconvert // 16 bits on macOS
				t.Errorf("asked for %v: %s has mode %o, not %o: %v", asked, name, mode, want, err)
			}
		}
		var room [64]byte
		if _, err := unix.Getxattr(filepath.Join(dst, "capable"), "security.capability", room[:]); (err == nil) != asked && !errors.Is(err, unix.ENOTSUP) {
			t.Errorf("asked for %v: its capabilities: %v", asked, err)
		}
		for _, name := range []string{"null", "loop"} {
			if _, err := os.Lstat(filepath.Join(dst, name)); (err == nil) != asked {
				t.Errorf("asked for %v: %s: %v", asked, name, err)
			}
		}
		if st, err := os.Lstat(filepath.Join(dst, "pipe")); err != nil || st.Mode().Type() != fs.ModeNamedPipe {
			t.Errorf("asked for %v: the pipe: %v", asked, err)
		}
	}
}

// TestGetLimits: a get stops at the first file that passes a limit, before it makes anything of it, and what was to be made is not there.
func TestGetLimits(t *testing.T) {
	w := newWorld(t)
	top := w.planted(vfs.RootID, "src", vfs.KindFolder, 0o755, 0)
	for i := range 1000 {
		f := w.planted(top.ID, fmt.Sprintf("f%04d", i), vfs.KindFile, 0o644, 0)
		size := uint64(1 << 10)
		if _, err := w.pod.FS().SetAttr(t.Context(), f.ID, vfs.SetAttr{Size: &size}); err != nil {
			t.Fatal(err)
		}
	}
	for name, o := range map[string]client.GetOptions{
		"bytes":             {BytesMax: 1<<10 - 1},
		"files":             {FilesMax: 1000}, // the folder is one more
		"bytes all but one": {BytesMax: 1000<<10 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o.Source, o.Dest, o.Problem = "/src", filepath.Join(dir, "dst"), func(string, error) {}
			if err := w.c.Get(t.Context(), o); !errors.Is(err, client.ErrTooMuch) {
				t.Errorf("%v", err)
			}
			if _, err := os.Lstat(o.Dest); err == nil {
				t.Error("it is there, as if it were complete")
			}
		})
	}
	other := w.planted(vfs.RootID, "small", vfs.KindFolder, 0o755, 0)
	w.planted(other.ID, "f", vfs.KindFile, 0o644, 0)
	w.get(client.GetOptions{Source: "/small", Dest: filepath.Join(t.TempDir(), "dst"), FilesMax: 2, BytesMax: 1})
	w.noProblems()
}

// TestGetDeep: folders far deeper than any path goes keep nobody from getting what is beside them; that they go on is a problem.
func TestGetDeep(t *testing.T) {
	w := newWorld(t)
	top := w.planted(vfs.RootID, "src", vfs.KindFolder, 0o755, 0)
	for in, i := top, 0; i < 5000; i++ {
		in = w.planted(in.ID, "a", vfs.KindFolder, 0o755, 0)
	}
	w.planted(top.ID, "ordinary", vfs.KindFile, 0o644, 0)
	dst := filepath.Join(t.TempDir(), "dst")
	w.get(client.GetOptions{Source: "/src", Dest: dst})
	if _, err := os.Lstat(filepath.Join(dst, "ordinary")); err != nil {
		t.Error(err)
	}
	if len(w.errs) == 0 || !strings.Contains(strings.Join(w.problems, ""), "folders deep") {
		t.Errorf("problems %.500q", w.problems)
	}
}
