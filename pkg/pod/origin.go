package pod

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// racyFor is how much older than the moment at which its reading begins a file's times must be for an Origin to be
// noted: a write right after the reading may leave the times as they are. File systems stamp with the time of the last
// tick, 10 ms at most, FAT with 2 s; git calls such entries racily clean.
const racyFor = 2 * time.Second

// Origin is the file of the host that bytes are imported from, as stat(2) told of it before it was read. While it tells the
// same, the file holds the same.
type Origin struct {
	Dev, Ino     uint64
	Size         uint64
	Mtime, Ctime int64 // ns since 1970
}

// encode is what the state compares: five numbers of 8 bytes.
func (o *Origin) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 40), o.Dev)
	for _, n := range []uint64{o.Ino, o.Size, uint64(o.Mtime), uint64(o.Ctime)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// settled is the encoded origin of a file whose reading begins at now; nil if it may change and keep its times.
func (o *Origin) settled(now time.Time) []byte {
	if o == nil || max(o.Mtime, o.Ctime) >= now.Add(-racyFor).UnixNano() {
		return nil
	}
	return o.encode()
}

// KeepFile gives the file at a name what m says of it but for its contents, if those are the ones that PutFile gave it for this same m.Origin, and no
// other has taken their place since. It returns false if the file must be put, and has changed nothing then.
// Errors: vfs.ErrNotDir and the like of the folder.
func (p *Pod) KeepFile(ctx context.Context, parent vfs.NodeID, name string, m FileMeta) (vfs.Attr, bool, error) {
	if m.Origin == nil {
		return vfs.Attr{}, false, ctx.Err()
	}
	if err := p.writable(); err != nil {
		return vfs.Attr{}, false, err
	}
	origin := m.Origin.encode()
	for {
		named := p.nodes.named.Load()
		row, same, err := p.db.FromOrigin(parent, name, origin)
		if err != nil || !same || p.writtenHere(row.ID) {
			return vfs.Attr{}, false, ctx.Err() // a name that is free, or an error that PutFile will tell
		}
		if p.nodes.named.Load() != named {
			continue // what was written here may have been named since the row was read
		}
		set := m.differs(row.Attr)
		if set == (vfs.SetAttr{}) {
			showBlocks(&row)
			return row.Attr, true, nil
		}
		a, err := p.self.SetAttr(ctx, row.ID, set)
		if err != nil {
			return vfs.Attr{}, false, fmt.Errorf("pod: keep %q: %w", name, err)
		}
		return a, true, nil
	}
}

// writtenHere says whether an open file holds, or is about to hold, other contents than the state tells.
func (p *Pod) writtenHere(id vfs.NodeID) bool {
	n := p.inUse(id)
	if n == nil {
		return false
	}
	defer p.release(n)
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.changed()
}

// differs is what must be set for a to be as m says.
func (m *FileMeta) differs(a vfs.Attr) (set vfs.SetAttr) {
	if mode := m.Mode & 0o7777; mode != a.Mode {
		set.Mode = &mode
	}
	if m.UID != a.UID || m.GID != a.GID {
		set.UID, set.GID = &m.UID, &m.GID
	}
	if m.Mtime != a.Mtime {
		set.Mtime = &m.Mtime
	}
	return set
}
