package store

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// segment is one file of records. Its file is open as long as anybody holds a reference.
type segment struct {
	num   uint64 // from 1, never used again
	nonce uint64 // stands in the name and in each record: a record copied elsewhere is none there
	path  string
	file  vfs.File
	refs  atomic.Int32 // one is the Store's own, until the segment is removed

	// Store.appendMu guards the fields below for writing, Store.mu for reading.
	end     int64        // behind the last record
	synced  int64        // bytes that are on disk
	live    int64        // bytes of block records that the index names
	punched int64        // bytes given back to the file system
	junk    int64        // behind what a failed write may have left after end; 0: nothing
	saved   segmentStats // as the index has them

	// Store.compacting guards it: blocks of the segment were not found when it was rewritten, because their heads are rotten.
	hides bool
}

// reclaimable is how many bytes rewriting the segment would give back.
func (g *segment) reclaimable() int64 { return g.end - g.live - g.punched }

// acquire takes a reference; false means that the segment is closed already.
func (g *segment) acquire() bool {
	for {
		n := g.refs.Load()
		if n == 0 {
			return false
		}
		if g.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a reference back; the last one closes the file.
func (g *segment) release() error {
	if g.refs.Add(-1) == 0 {
		return g.file.Close()
	}
	return nil
}

func segmentName(num, nonce uint64) string { return fmt.Sprintf("%016x-%016x.seg", num, nonce) }

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (num, nonce uint64, ok bool) {
	if len(name) != 16+1+16+4 || !strings.HasSuffix(name, ".seg") {
		return 0, 0, false
	}
	if _, err := fmt.Sscanf(name, "%016x-%016x.seg", &num, &nonce); err != nil {
		return 0, 0, false
	}
	return num, nonce, num != 0 && segmentName(num, nonce) == name
}

// createSegment makes an empty segment. Its entry in the directory is durable after the
// directory's next sync.
func createSegment(fs vfs.FS, dir string, num uint64) (*segment, error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	g := &segment{num: num, nonce: binary.BigEndian.Uint64(b[:])}
	g.path = fs.PathJoin(dir, segmentName(num, g.nonce))
	var err error
	if g.file, err = fs.Create(g.path, vfs.WriteCategoryUnspecified); err != nil {
		return nil, fmt.Errorf("segment %d: %w", num, err)
	}
	g.refs.Store(1)
	return g, nil
}

// openSegments opens all the segments of dir, in the order of their numbers; end is the length of
// the file. Other files are left alone.
func openSegments(fs vfs.FS, dir string) ([]*segment, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var segs []*segment
	for _, name := range names {
		num, nonce, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		g := &segment{num: num, nonce: nonce, path: fs.PathJoin(dir, name)}
		if err := g.open(fs); err != nil {
			closeSegments(segs)
			return nil, fmt.Errorf("segment %d: %w", num, err)
		}
		segs = append(segs, g)
	}
	slices.SortFunc(segs, func(a, b *segment) int { return cmp.Compare(a.num, b.num) })
	for i := 1; i < len(segs); i++ {
		if segs[i].num == segs[i-1].num {
			closeSegments(segs)
			return nil, fmt.Errorf("segment %d: two files, %s and %s", segs[i].num, segs[i-1].path, segs[i].path)
		}
	}
	return segs, nil
}

func (g *segment) open(fs vfs.FS) error {
	file, err := fs.OpenReadWrite(g.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close() // nothing was written
		return err
	}
	g.file, g.end = file, info.Size()
	g.refs.Store(1)
	return nil
}

func closeSegments(segs []*segment) {
	for _, g := range segs {
		_ = g.release() // nothing was written
	}
}

// syncDir makes the entries of a directory durable.
func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
