package state

import (
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// recentMax is how many nodes are remembered at least, if that many were read: two pages of a folder. Who lists one asks for each entry's
// attributes next, and opens it.
const recentMax = 2048

// A recent remembers the nodes that were read since the last change of the state. A change forgets all of them, so what is
// remembered is what the state holds.
type recent struct {
	mu       sync.Mutex // guards the fields below
	version  uint64     // of DB.version: the state that the nodes are of
	now, old map[vfs.NodeID]known
}

// known is what a row tells of a node. The slices are shared and must not be changed.
type known struct {
	node   Node
	xattrs []Xattr
}

// get is a node of the state of a version, if it is remembered.
func (r *recent) get(id vfs.NodeID, version uint64) (known, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version != version {
		return known{}, false
	}
	k, ok := r.now[id]
	if !ok {
		k, ok = r.old[id]
	}
	return k, ok
}

// put remembers nodes that were read when the state was of this version when the reading began, or later. While a
// change becomes visible, as an odd one says, that is not known to be the state before the change or after it.
func (r *recent) put(version uint64, all ...known) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if version%2 == 1 || version < r.version {
		return
	}
	if version > r.version {
		r.version = version
		clear(r.now)
		r.old = nil
	}
	for _, k := range all {
		if len(r.now) >= recentMax || r.now == nil {
			r.old, r.now = r.now, make(map[vfs.NodeID]known)
		}
		r.now[k.node.ID] = k
	}
}

// known is a node, from memory or read. Error: vfs.ErrNotExist.
func (d *DB) known(id vfs.NodeID) (known, error) {
	if k, ok, err := d.remembered(id); ok || err != nil {
		return k, err
	}
	return readAs(d, func(v view) (known, error) {
		s, err := v.byNumber(id)
		if err != nil {
			return known{}, err
		}
		k, err := v.known(s)
		if err == nil {
			d.recent.put(v.version, k)
		}
		return k, err
	})
}

func (d *DB) remembered(id vfs.NodeID) (k known, ok bool, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return k, false, vfs.ErrClosed
	}
	k, ok = d.recent.get(id, d.version.Load())
	return k, ok, nil
}

func (v view) known(s shown) (known, error) {
	n, err := v.node(s)
	return known{node: n, xattrs: s.f.Inode.Xattrs}, err
}
