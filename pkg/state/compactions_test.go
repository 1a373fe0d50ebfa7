package state

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
)

// mergingDB is a DB with some merges to do.
type mergingDB struct {
	t     *testing.T
	due   atomic.Int32
	began atomic.Int32
	hold  chan struct{} // GetWaitingCompaction waits for it; nil: it doesn't
}

func (m *mergingDB) GetAllowedWithoutPermission() int { return 1 }

func (m *mergingDB) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	if m.hold != nil {
		<-m.hold
	}
	return m.due.Load() > 0, pebble.WaitingCompaction{}
}

func (m *mergingDB) Schedule(pebble.CompactionGrantHandle) bool {
	if m.due.Load() == 0 {
		return false
	}
	m.due.Add(-1)
	m.began.Add(1)
	return true
}

// refused is that a merge is due now, and has to wait.
func (m *mergingDB) refused(c *compactions) {
	m.t.Helper()
	if ok, _ := c.TrySchedule(); ok {
		m.t.Fatal("a merge began at once")
	}
	m.due.Add(1)
}

// did is how many merges began behind their time.
func (m *mergingDB) did(want int32, why string) {
	m.t.Helper()
	synctest.Wait()
	if got := m.began.Load(); got != want {
		m.t.Fatalf("%d merges began, want %d: %s", got, want, why)
	}
}

func TestMergesWaitForCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newCompactions(calmAfter), &mergingDB{t: t}
		c.Register(2, m)
		defer c.Unregister()
		c.UpdateGetAllowedWithoutPermission()
		m.refused(c)
		time.Sleep(calmAfter / 2)
		c.UpdateGetAllowedWithoutPermission()
		time.Sleep(calmAfter * 3 / 4)
		m.did(0, "another table was written since")
		time.Sleep(calmAfter)
		m.did(1, "none was written for a second")
		m.refused(c)
		time.Sleep(3 * calmAfter)
		m.did(1, "one still runs")
		c.Done()
		m.did(2, "the next one begins when it ends")
		c.Done()
		time.Sleep(3 * calmAfter)
		if ok, _ := c.TrySchedule(); !ok {
			t.Fatal("a merge has to wait at rest")
		}
	})
}

func TestMergesWaitNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newCompactions(calmAfter), &mergingDB{t: t}
		c.Register(2, m)
		defer c.Unregister()
		c.UpdateGetAllowedWithoutPermission()
		m.refused(c)
		for i := range behindMax {
			m.did(0, fmt.Sprintf("after %d tables", i))
			c.UpdateGetAllowedWithoutPermission()
		}
		m.did(1, "too many tables wait")
	})
}

func TestMergesEndWithTheDB(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newCompactions(calmAfter), &mergingDB{t: t, hold: make(chan struct{})}
		c.Register(2, m)
		c.UpdateGetAllowedWithoutPermission()
		m.refused(c)
		time.Sleep(2 * calmAfter) // the DB is asked what is to be done
		var closed atomic.Bool
		go func() {
			c.Unregister()
			closed.Store(true)
		}()
		synctest.Wait()
		if closed.Load() {
			t.Fatal("the DB was left while it was used")
		}
		close(m.hold)
		synctest.Wait()
		if !closed.Load() {
			t.Fatal("the DB is used for ever")
		}
		m.refused(c)
		began := m.began.Load()
		c.Done()
		time.Sleep(5 * calmAfter)
		m.did(began, "it was used when it was closed")
	})
}

// TestMergesOfPebble writes many tables at once, and then none: in the end they are merged.
func TestMergesOfPebble(t *testing.T) {
	const calm = 500 * time.Millisecond
	var merges atomic.Int32
	o := &pebble.Options{
		FS: pebblevfs.NewMem(), MemTableSize: 64 << 10, L0CompactionThreshold: newTables, L0StopWritesThreshold: newTablesMax, Logger: quiet{slog.New(slog.DiscardHandler)},
		EventListener: &pebble.EventListener{
			CompactionBegin: func(pebble.CompactionInfo) { merges.Add(1) },
		},
	}
	o.Experimental.CompactionScheduler = newCompactions(calm)
	db, err := pebble.Open("db", o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's
	value := make([]byte, 1000)
	write := func(tables int) {
		for range tables {
			for range 30 {
				if err := db.Set(fmt.Appendf(nil, "%016x", r.Uint64()), value, pebble.NoSync); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	merged := func() {
		for end := time.Now().Add(20 * time.Second); db.Metrics().Levels[0].Sublevels >= newTables; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d tables wait to be merged", db.Metrics().Levels[0].Sublevels)
			}
		}
	}
	began := time.Now()
	write(newTables + behindMax/2)
	if n := merges.Load(); n > 0 && time.Since(began) < calm {
		t.Fatalf("%d merges while tables were written", n)
	}
	merged()
	before := merges.Load()
	write(4 * newTablesMax)
	if merges.Load() == before {
		t.Error("no table was merged in all the time that some were written")
	}
	merged()
}
