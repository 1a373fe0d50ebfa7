package store

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// askedDisk tells that it is asked for its usage, and answers when it may.
type askedDisk struct {
	vfs.FS
	asked, answer chan struct{}
}

func (d *askedDisk) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if d.asked != nil {
		d.asked <- struct{}{}
		<-d.answer
	}
	return d.FS.GetDiskUsage(path)
}

// TestCloseWaits: a store that is closed does nothing more, also of a sync that nobody waited for. If it fails, a folder that somebody else has opened, or removed, is written to.
func TestCloseWaits(t *testing.T) {
	d := &askedDisk{FS: vfs.NewMem()}
	s := openAt(t, d, Options{})
	id := mustPut(t, s, 1, 100)
	mustSync(t, s)
	if err := s.Delete(t.Context(), id); err != nil { // so that there is space to give back
		t.Fatal(err)
	}
	d.asked, d.answer = make(chan struct{}, 100), make(chan struct{})
	for seed := uint64(2); seed < unsyncedRowsMax+2; seed++ {
		mustPut(t, s, seed, 100)
	}
	<-d.asked // by the sync
	d.answer <- struct{}{}
	<-d.asked // behind it
	answerAll := sync.OnceFunc(func() { close(d.answer) })
	t.Cleanup(answerAll)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("it is closed, %v, and goes on", err)
	case <-d.asked:
		t.Fatal("it is being closed beside what goes on")
	case <-time.After(200 * time.Millisecond):
	}
	answerAll()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestSyncBehindFails: whoever puts or syncs next is told that a sync has failed for which nobody waited.
func TestSyncBehindFails(t *testing.T) {
	fs, on := failing(vfs.NewMem(), syscall.EIO, func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSyncData })
	s := openAt(t, fs, Options{})
	on.On()
	var err error
	for seed := uint64(1); err == nil && seed < 2*unsyncedRowsMax+3; seed++ { // the second sync waits for the first
		id, b := testBlock(seed, 100)
		err = s.Put(t.Context(), id, b)
	}
	wantErr(t, "put", err, ErrPoisoned)
	on.Off()
	wantErr(t, "sync", s.Sync(t.Context()), ErrPoisoned)
	wantErr(t, "close", s.Close(), ErrPoisoned)
}
