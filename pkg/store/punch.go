package store

import "github.com/cockroachdb/pebble/v2/vfs"

// pageBytes is the unit in which file systems give space back.
const pageBytes = 4096

// punch gives the forms of deleted records back to the file system, in whole pages. The heads
// stay, so that a scan finds the next record. The deletions are on disk already: nothing that a
// scan would believe is destroyed. Where it can't be done the bytes stay dead until Compact.
func (s *Store) punch(dead []row) {
	for _, r := range dead {
		keep := int64(recordHead)
		if r.fragment() {
			keep += nameBehind // a scan reads it, before it comes to the deletion
		}
		from := (r.off + keep + pageBytes - 1) / pageBytes * pageBytes
		to := (r.off + r.size()) / pageBytes * pageBytes
		if to <= from {
			continue
		}
		s.mu.RLock()
		g := s.segs[r.seg]
		ok := g != nil && g.acquire()
		s.mu.RUnlock()
		if !ok {
			continue
		}
		if fd := g.file.Fd(); fd != vfs.InvalidFd && punchHole(fd, shiftOf(g.file)+from, to-from) == nil {
			s.appendMu.Lock()
			s.mu.Lock()
			g.punched += to - from
			if s.segs[g.num] == g {
				s.used -= to - from
			}
			s.mu.Unlock()
			s.appendMu.Unlock()
		}
		_ = g.release() // nothing is lost when closing a removed file fails
	}
}

// shiftOf is how many bytes stand ahead of a file's own in what its descriptor tells of: an encrypted file has a head there.
func shiftOf(f vfs.File) int64 {
	if s, ok := f.(interface{ Shift() int64 }); ok {
		return s.Shift()
	}
	return 0
}
