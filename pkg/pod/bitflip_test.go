package pod

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestStateBitFlips damages the files of the state's database, a bit at a time, and breaks if the pod then shows anything else than
// what was acknowledged without saying so: an error at the start or at the read, which is block.ErrCorrupt.
func TestStateBitFlips(t *testing.T) {
	rng := testRand(t)
	flips := 80
	switch {
	case *fullFlag:
		flips = 5000
	case testing.Short():
		flips = 25
	}
	dir, mem := crashPod(t, nil)
	disk, want := settledDisk(t, rng, dir, mem)
	files := stateFiles(t, disk, dir)
	told, unharmed := 0, 0
	for range flips {
		name := files[rng.IntN(len(files))]
		clone := disk.CrashClone(pebblevfs.CrashCloneCfg{})
		what := flip(t, clone, name, rng)
		switch err := showsRight(t, clone, dir, want); {
		case err == nil:
			unharmed++
		case errors.Is(err, block.ErrCorrupt):
			told++
		default:
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Logf("%d flips in %d files: %d told, %d without effect", flips, len(files), told, unharmed)
	if told == 0 {
		t.Error("no flip was told of")
	}
}

// settledDisk is the disk of a pod that was stopped, with tables and a log, and what it shows.
func settledDisk(t *testing.T, rng *rand.Rand, dir string, mem *pebblevfs.MemFS) (*pebblevfs.MemFS, map[string]dumped) {
	t.Helper()
	var found map[string]dumped
	for range 3 { // a start makes a table of the log of the last one
		p, err := Open(quickly(t), Options{Dir: dir, Offline: true, FS: mem, Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		tp := started(t, p, dir)
		_, u := fullWorld(t, tp, rng)
		for range 60 {
			if err := u.step(); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(u.closeAll(), u.settle(p.Settle), u.checkpoint(), p.Settle(u.ctx)); err != nil {
			t.Fatal(err)
		}
		if found, err = dump(u.ctx, u.fs, nil); err != nil {
			t.Fatal(err)
		}
		tp.stop()
		mem = mem.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
	}
	return mem, found
}

// stateFiles are the files of the state's database that hold something.
func stateFiles(t *testing.T, mem *pebblevfs.MemFS, dir string) []string {
	t.Helper()
	names, err := mem.List(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range names {
		path := filepath.Join(dir, "state", name)
		if info, err := mem.Stat(path); err != nil {
			t.Fatal(err)
		} else if info.Size() > 0 && !info.IsDir() && !strings.HasPrefix(name, "OPTIONS") {
			out = append(out, path)
		}
	}
	return out
}

// flip turns one bit of a file.
func flip(t *testing.T, mem *pebblevfs.MemFS, name string, rng *rand.Rand) string {
	t.Helper()
	f, err := mem.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	at := rng.IntN(len(data))
	data[at] ^= 1 << rng.IntN(8)
	out, err := mem.Create(name, pebblevfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = out.Write(data)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("bit of byte %d of %d of %s", at, len(data), filepath.Base(name))
}

// showsRight opens a disk and says what is wrong, or what the pod says is.
func showsRight(t *testing.T, mem *pebblevfs.MemFS, dir string, want map[string]dumped) (err error) {
	ctx := quickly(t)
	p, err := Open(ctx, Options{Dir: dir, Offline: true, FS: mem, Log: testLog(t)})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := p.Close(); err == nil {
			err = closeErr
		}
	}()
	found, err := dump(ctx, p.FS(), nil)
	if err == nil && !maps.Equal(found, want) {
		return fmt.Errorf("it shows %d nodes, not the %d that it should, and says nothing", len(found), len(want))
	}
	return err
}
