package store

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestRoom breaks if a write of the index fails though there comes to be room, or does not fail after shut. Writers at the
// same time find the disk full again and again, as where others write to it, too.
func TestRoom(t *testing.T) {
	on := newTightFS(vfs.NewMem())
	r := newRoom(on, &hurriedClock{}, func() bool { return false })
	full := r.isFull()
	stop := make(chan struct{})
	var turner, writers sync.WaitGroup
	turner.Go(func() {
		for {
			on.fill()
			select {
			case <-stop:
				return
			case <-full: // somebody waits
				on.free()
				full = r.isFull()
			}
		}
	})
	for _, name := range []string{"a", "b", "c"} {
		writers.Go(func() {
			f, err := r.Create(name, vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 300 {
				if n, err := f.Write(bytes.Repeat([]byte{byte(i)}, 100)); n != 100 || err != nil {
					t.Errorf("write %d: %d, %v", i, n, err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	turner.Wait()
	for _, name := range []string{"a", "b", "c"} {
		info, err := on.Stat(name)
		if err != nil || info.Size() != 300*100 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	on.fill()
	r.shut()
	_, err := r.Create("d", vfs.WriteCategoryUnspecified)
	if err == nil {
		f, ferr := r.OpenReadWrite("a", vfs.WriteCategoryUnspecified)
		if ferr != nil {
			t.Fatal(ferr)
		}
		_, err = f.WriteAt(make([]byte, 100), 300*100)
	}
	if !diskFull(err) {
		t.Errorf("a write after shut: %v", err)
	}
}

// TestCloseFull breaks if a store can't be closed on a full disk, or not be opened again by the same process.
func TestCloseFull(t *testing.T) {
	mem := vfs.NewMem()
	on := newTightFS(mem)
	o := Options{Clock: &hurriedClock{}}
	s := openAt(t, on, o)
	for seed := range uint64(50) {
		mustPut(t, s, seed, 1000)
	}
	mustSync(t, s)
	on.fill()
	mustClose(t, s)
	_, err := Open(on, testDir, o)
	wantErr(t, "open", err, ErrNoSpace)
	on.free()
	s = openAt(t, on, o)
	for seed := range uint64(50) {
		wantBlock(t, s, seed, 1000)
	}
	wantCheck(t, s, nil)
	mustClose(t, s)
}

// TestRottenTable: damage in a table of the index, which Open does not read, ends nothing: what can't be looked up is an
// error and never absent, and the next life has all again.
func TestRottenTable(t *testing.T) {
	const blocks = 4000
	ctx := context.Background()
	fs := vfs.NewMem()
	s := openAt(t, fs, Options{})
	for seed := range uint64(blocks) {
		mustPut(t, s, seed, 10)
	}
	mustClose(t, s)
	names, err := fs.List(testDir + "/index")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		name = testDir + "/index/" + name
		info, err := fs.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".sst") && info.Size() > 10_000 {
			overwrite(t, fs, name, info.Size()/2, []byte{0xee, 0x11, 0xee})
		}
	}
	for life := range 3 {
		s := openAt(t, fs, Options{})
		unread := 0
		for seed := range uint64(blocks) {
			id, want := testBlock(seed, 10)
			got, err := s.Get(ctx, id)
			switch {
			case pebble.IsCorruptionError(err):
				unread++
			case err != nil || !bytes.Equal(got, want):
				t.Fatalf("life %d, seed %d: %v", life, seed, err)
			}
		}
		if (unread > 0) != (life == 0) || s.Recovered().IndexRebuilt != (life == 1) {
			t.Errorf("life %d: %d can't be looked up, recovered %+v", life, unread, s.Recovered())
		}
		if err := s.Close(); err != nil && !errors.Is(err, ErrPoisoned) {
			t.Errorf("life %d: close: %v", life, err)
		}
	}
}

// refusingFS refuses writes to segments: the first it makes all the same, the others not.
type refusingFS struct {
	vfs.FS
	refuse bool
	made   int
}

func (f *refusingFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return &refusingFile{file, f}, err
}

type refusingFile struct {
	vfs.File
	fs *refusingFS
}

func (f *refusingFile) WriteAt(b []byte, off int64) (int, error) {
	if !f.fs.refuse {
		return f.File.WriteAt(b, off)
	}
	if f.fs.made++; f.fs.made == 1 {
		if _, err := f.File.WriteAt(b, off); err != nil {
			return 0, err
		}
	}
	return 0, syscall.ENOSPC
}

// TestRefusedRecordStands breaks if a store goes on when a deletion that it refused stands in the log for good: a block
// that was put again and acknowledged would go with the next crash.
func TestRefusedRecordStands(t *testing.T) {
	ctx := context.Background()
	mem := vfs.NewMem()
	on := &refusingFS{FS: mem}
	s := openAt(t, on, Options{})
	id := mustPut(t, s, 1, 1000)
	mustSync(t, s)
	on.refuse = true
	wantErr(t, "delete", s.Delete(ctx, id), ErrNoSpace)
	on.refuse = false
	_, b := testBlock(1, 1000)
	wantErr(t, "put", s.Put(ctx, id, b), ErrPoisoned)
	wantBlock(t, s, 1, 1000)
}
