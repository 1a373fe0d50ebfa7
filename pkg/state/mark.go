package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble takes damage in the last 32 KiB of its write-ahead log for the torn end of it, and drops without a word what stands behind.
// So syncs are numbered: the number is in the database, and, once the sync has returned, in a file beside it. A database
// with a lower number than the file's has lost what was acknowledged.
//
// The file is exact after the end of the process. It is synced by a checkpoint, which comes 200 ms after the last change, and at the close, not by each
// sync, which would then cost two. After a loss of power it may be as old as the newest checkpoint: damage to what was synced since, on top of the
// loss of power, stays silent (docs/guarantees-and-limits.md).
//
// The file has two slots, at 0 and 512, that are written in turn, so that a torn write leaves one:
//
//	 0  "whsm"  magic
//	 4  u32     version, 1
//	 8  u64     number of a sync that has returned
//	16  u32     crc32c of bytes 0 to 15
const (
	markFile  = "synced.mark"
	markMagic = "whsm"
	markSlot  = 512
	markLen   = 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// syncMark numbers the syncs of a DB.
type syncMark struct {
	mu     sync.Mutex // guards the fields below; held over a write of a few bytes to the operating system's memory
	file   vfs.File
	number uint64 // of the newest sync that was begun
	marked uint64 // the greatest that stands in the file

	durable uint64 // what marked was at the file's last sync
}

// encodeMark is a slot's bytes.
func encodeMark(number uint64) []byte {
	b := append(make([]byte, 0, markLen), markMagic...)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint64(b, number)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeMark is the greatest number in the file's slots; 0 if there is none that is whole.
func decodeMark(b []byte) uint64 {
	var greatest uint64
	for _, at := range []int{0, markSlot} {
		if len(b) < at+markLen {
			break
		}
		slot := b[at:][:markLen]
		number := binary.BigEndian.Uint64(slot[8:])
		if string(slot) == string(encodeMark(number)) {
			greatest = max(greatest, number)
		}
	}
	return greatest
}

// open reads the file, or makes it, and compares it with the number in the database. Error: block.ErrCorrupt.
func (m *syncMark) open(fs vfs.FS, path string, inDB uint64) error {
	if f, err := fs.Open(path); err == nil {
		var b [markSlot + markLen]byte
		n, err := f.ReadAt(b[:], 0)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("state: read %s: %w", path, err)
		}
		m.marked = decodeMark(b[:n])
	}
	if m.marked > inDB {
		return fmt.Errorf("state: the write-ahead log ends at sync %d, and %d were acknowledged: %w", inDB, m.marked, damaged(pebble.ErrCorruption))
	}
	m.number = inDB
	file, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("state: open %s: %w", path, err)
	}
	m.file = file
	return syncFolder(fs, fs.PathDir(path)) // the file may be new
}

// syncFolder makes the names in a folder durable.
func syncFolder(fs vfs.FS, path string) error {
	d, err := fs.OpenDir(path)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("state: sync %s: %w", path, err)
	}
	return nil
}

// begin gives the sync that comes a number, which is put into the database by set before it is synced.
func (m *syncMark) begin(set func(number uint64) error) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.number++
	return m.number, set(m.number)
}

// done notes that a sync has returned.
func (m *syncMark) done(number uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if number <= m.marked {
		return nil
	}
	m.marked = number
	_, err := m.file.WriteAt(encodeMark(number), int64(number%2)*markSlot)
	return err
}

// sync makes durable what the file says. Sync: the file's.
func (m *syncMark) sync() error {
	m.mu.Lock()
	durable := m.durable == m.marked
	marked := m.marked
	m.mu.Unlock()
	if durable {
		return nil
	}
	if err := m.file.SyncData(); err != nil {
		return fmt.Errorf("state: sync %s: %w", markFile, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.durable = max(m.durable, marked)
	return nil
}

func (m *syncMark) close() error {
	if m.file == nil {
		return nil
	}
	return errors.Join(m.sync(), m.file.Close())
}

// sync makes everything that was written before durable: one sync of the write-ahead log.
func (d *DB) sync() error {
	number, err := d.mark.begin(func(number uint64) error {
		return d.db.Set(textKey(keyOwn, ownSyncs), binary.BigEndian.AppendUint64(nil, number), pebble.NoSync)
	})
	if err == nil {
		err = d.db.LogData(nil, pebble.Sync)
	}
	if err == nil {
		err = d.mark.done(number)
	}
	if err != nil {
		return fmt.Errorf("state: sync: %w", err)
	}
	return nil
}

// logSpan is how many bytes of commits are looked for at a start: more than the memtables that Pebble may hold hold.
const logSpan = 48 << 20

// checkLog looks for the newest commits of this pod in the log, one after the other. Pebble takes damage at the end of its list of
// files for a torn end, too, and goes on without a table that holds what came before the write-ahead log. Error: block.ErrCorrupt.
func (d *DB) checkLog() error {
	own := d.heads[d.self]
	floor, err := view{d: d, r: d.db}.floor(d.self)
	if err != nil {
		return err
	}
	span := 0
	for seq := own.seq; seq > floor && span < logSpan; seq-- {
		b, err := get(d.db, logKey(d.self, seq))
		if err != nil {
			return err
		}
		if b == nil {
			return fmt.Errorf("state: commit %d of %d is not in the log: %w", seq, own.seq, damaged(pebble.ErrCorruption))
		}
		span += len(b)
	}
	return nil
}
