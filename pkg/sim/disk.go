package sim

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// sector is how many bytes of a file a loss of power keeps or loses as one.
const sector = 4096

// Disk is a disk in memory that ends, and that loses power: at once, or before a sync that is named in advance. What was synced stays; of what was not,
// a share that depends on the seed alone. Of a file that was synced, and whose folder was not, the name may stay: then the bytes do that were synced, as on
// a file system that keeps a journal. It is safe for concurrent use.
type Disk struct {
	mem *pebblevfs.MemFS
	fs  pebblevfs.FS

	mu     sync.Mutex       // guards the fields below
	synced map[string]int64 // how many bytes of a file were synced since it was made, by path
	until  int              // syncs until the power fails; 0: it stays
	keep   int
	seed   uint64
	onFail func()
	after  *pebblevfs.MemFS // as the loss of power left it; nil: there was none

	roomMu    sync.Mutex // guards the fields below, and makes writes wait for each other; mu is not taken with it
	others    int64      // bytes that other programs take; 0: all is free, and nobody looks
	fullUntil time.Time  // when they give them back
}

// NewDisk is an empty disk.
func NewDisk() *Disk { return diskOf(pebblevfs.NewCrashableMem()) }

func diskOf(mem *pebblevfs.MemFS) *Disk {
	d := &Disk{mem: mem, synced: make(map[string]int64)}
	d.fs = &roomFS{FS: errorfs.Wrap(mem, errorfs.InjectorFunc(d.before)), d: d}
	return d
}

// FS is the disk's file system.
func (d *Disk) FS() pebblevfs.FS { return d.fs }

// FailAt has the power fail before the n-th sync from now, n being 1 at least. keep is how much of what is not synced then stays, in percent. Who uses the
// disk goes on and does not see it, as the last thing that it does: see Failed.
func (d *Disk) FailAt(n, keep int, seed uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until, d.keep, d.seed = n, keep, seed
}

// OnFail sets what is called when the power fails, before who uses the disk goes on. It must not use the disk.
func (d *Disk) OnFail(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onFail = f
}

// Failed says whether the power has failed: all that was done since then never happened.
func (d *Disk) Failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.after != nil
}

// After is the disk after the loss of power, or, if there was none yet, after one now that keeps nothing but what was synced.
func (d *Disk) After() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := d.after
	if after == nil {
		after = d.mem.CrashClone(pebblevfs.CrashCloneCfg{})
	}
	return diskOf(after)
}

// Copy is a copy of the whole disk, as a backup made while nobody writes.
func (d *Disk) Copy() *Disk {
	return diskOf(d.mem.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))}))
}

// before is called before each operation of the disk.
func (d *Disk) before(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return d.beforeSync(op)
	case errorfs.OpCreate, errorfs.OpRemove, errorfs.OpRename, errorfs.OpReuseForWrite: // what has the name then is another file
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.synced, path.Join("/", op.Path))
	default:
	}
	return nil
}

// beforeSync has the power fail if it is to.
func (d *Disk) beforeSync(op errorfs.Op) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until == 0 || d.after != nil {
		return d.noteSync(op)
	}
	if d.until--; d.until > 0 {
		return d.noteSync(op)
	}
	after, err := d.fail()
	if err != nil {
		return fmt.Errorf("sim: loss of power: %w", err)
	}
	d.after = after
	if d.onFail != nil {
		d.onFail()
	}
	return nil
}

// noteSync notes that a file is synced now. d.mu is held.
func (d *Disk) noteSync(op errorfs.Op) error {
	if op.Kind == errorfs.OpFileSyncTo {
		return nil // it promises nothing
	}
	info, err := d.mem.Stat(op.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was removed while it is open
	}
	if err == nil && !info.IsDir() {
		d.synced[path.Join("/", op.Path)] = info.Size()
	}
	return err
}

// fail makes what a loss of power leaves now. Pebble's own CrashClone takes random numbers in the order of a map, so it would leave something
// else each time; of its two extremes, all and nothing of what was not synced, this takes parts. The first one is taken first: a sync that others had begun may
// end in between, and what they do after it must not be there without what they synced.
func (d *Disk) fail() (*pebblevfs.MemFS, error) {
	all := d.mem.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
	if d.keep >= 100 {
		return all, nil
	}
	synced := d.mem.CrashClone(pebblevfs.CrashCloneCfg{})
	if d.keep == 0 {
		return synced, nil
	}
	m := mixer{synced: synced, all: all, bytes: d.synced, keep: d.keep, seed: d.seed}
	if err := m.folder("/"); err != nil {
		return nil, err
	}
	return synced.CrashClone(pebblevfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))}), nil
}

// mixer adds to a disk some of what was not synced.
type mixer struct {
	synced, all *pebblevfs.MemFS
	bytes       map[string]int64 // Disk.synced
	keep        int              // percent
	seed        uint64
}

// kept decides by what it is about alone.
func (m *mixer) kept(name string, at int) bool {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %s %d", m.seed, name, at) // a hash takes everything
	return int(h.Sum64()>>7%100) < m.keep
}

// folder mixes what is in a folder that is on both disks.
func (m *mixer) folder(dir string) error {
	names, err := m.all.List(dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		full := path.Join(dir, name)
		info, err := m.all.Stat(full)
		if err != nil {
			return err
		}
		_, missing := m.synced.Stat(full)
		_, isSynced := m.bytes[full]
		switch {
		case missing != nil && !isSynced && !m.kept(full, -1):
		case info.IsDir():
			if err := m.synced.MkdirAll(full, 0o755); err != nil {
				return err
			}
			if err := m.folder(full); err != nil {
				return err
			}
		default:
			if err := m.file(full, missing == nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// file adds some sectors to a file. A file that replaced another is taken whole or not at all.
func (m *mixer) file(name string, there bool) error {
	now, err := readAll(m.all, name)
	if err != nil {
		return err
	}
	was := now[:min(m.bytes[name], int64(len(now)))]
	if there {
		if was, err = readAll(m.synced, name); err != nil {
			return err
		}
		if bytes.HasPrefix(was, now) {
			return nil // nothing of it is not synced
		}
		if !bytes.HasPrefix(now, was) {
			if m.kept(name, -2) {
				return writeAll(m.synced, name, now)
			}
			return nil
		}
	}
	out := slices.Clone(was)
	for at := 0; at < len(now); at += sector {
		end := min(at+sector, len(now))
		if end <= len(was) || !m.kept(name, at) {
			continue
		}
		if grow := end - len(out); grow > 0 {
			out = append(out, make([]byte, grow)...) // what is lost before it reads as zeros
		}
		copy(out[at:end], now[at:end])
	}
	return writeAll(m.synced, name, out)
}

func readAll(on pebblevfs.FS, name string) (b []byte, err error) {
	f, err := on.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(f)
}

func writeAll(on pebblevfs.FS, name string, b []byte) error {
	f, err := on.Create(name, pebblevfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}
