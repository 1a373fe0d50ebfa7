package store

import (
	"fmt"
	"time"
)

// roomPoll is how often a full disk is looked at, and roomBytes what it must have free before the index goes on: an
// index that can't write its manifest is beyond use until it is opened anew.
const (
	roomPoll  = time.Second
	roomBytes = 1 << 20
)

// roomForIndex is ErrNoSpace when the disk has no room for the index to be opened, not even with the ballast.
func (s *Store) roomForIndex() error {
	free := s.disk.refresh()
	if free < roomBytes && s.ballast.release() {
		free = s.disk.refresh()
	}
	if free < roomBytes {
		return fmt.Errorf("%d bytes are free, the index needs %d: %w", free, roomBytes, ErrNoSpace)
	}
	return nil
}

// awaitRoom is called when a write of the index finds the disk full. It gives it the ballast, and waits until there is
// room.
func (s *Store) awaitRoom(x *index) {
	s.ballast.release()
	probe := ballast{fs: s.fs, path: s.ballast.path + ".probe", bytes: roomBytes}
	for {
		err := probe.create()
		if cerr := s.fs.Remove(probe.path); err == nil && cerr == nil {
			x.full.Store(false)
			return
		}
		if !x.full.Swap(true) {
			s.o.Log.Error("the disk is full: the store index waits for room")
		}
		<-s.o.Clock.NewTimer(roomPoll).C
	}
}
