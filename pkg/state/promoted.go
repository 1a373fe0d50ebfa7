package state

import (
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// promotedMax is how many promotions are remembered at least; at twice as many the older half is forgotten. 16 bytes each.
const promotedMax = 1 << 12

// promoted remembers, in this life of the DB, which conflict copies got other numbers here: those that became files of their own, and those
// whose contents got their names by being committed. A surface that found the copy goes on with the number that it was told.
// It is safe for concurrent use.
type promoted struct {
	mu         sync.Mutex
	newer, old map[Ino]Ino
}

// renumber notes that a conflict copy has another number once the change is there; now 0: that a copy is shown under this number, whatever it was before.
// An inode that was removed here, with its copies as files of their own, comes back with all its copies if it was edited elsewhere.
func (t *tx) renumber(id, now Ino) {
	if t.promoted == nil {
		t.promoted = map[Ino]Ino{}
	}
	t.promoted[id] = now
}

// add remembers promotions.
func (p *promoted) add(news map[Ino]Ino) {
	if len(news) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.newer == nil || len(p.newer) >= promotedMax {
		p.newer, p.old = map[Ino]Ino{}, p.newer
	}
	for id, now := range news {
		if now != 0 {
			p.newer[id] = now
			continue
		}
		delete(p.newer, id)
		delete(p.old, id)
	}
}

// of is the number that a copy got.
func (p *promoted) of(id Ino) (Ino, bool) {
	if !IsDerived(id) {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to, ok := p.newer[id]
	if !ok {
		to, ok = p.old[id]
	}
	return to, ok
}

// Number is the number that a node has now: of a conflict copy that became a file by an operation of this life of the DB, that file's;
// else id. All methods take the number of the copy for the file's.
func (d *DB) Number(id vfs.NodeID) vfs.NodeID {
	for range 2 { // to that of the committed copy, to that of the file
		to, ok := d.promoted.of(id)
		if !ok {
			break
		}
		id = to
	}
	return id
}
