//go:build linux || darwin

package mountfs

import (
	"math"
	"os"
	"time"

	"github.com/jacobsa/fuse/fuseops"
	"github.com/jacobsa/fuse/fuseutil"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// kinds are the ways to say what kind a node is.
var kinds = map[vfs.Kind]struct {
	mode   os.FileMode
	dirent fuseutil.DirentType
}{
	vfs.KindFile:     {0, fuseutil.DT_File},
	vfs.KindFolder:   {os.ModeDir, fuseutil.DT_Directory},
	vfs.KindSymlink:  {os.ModeSymlink, fuseutil.DT_Link},
	vfs.KindFIFO:     {os.ModeNamedPipe, fuseutil.DT_FIFO},
	vfs.KindSocket:   {os.ModeSocket, fuseutil.DT_Socket},
	vfs.KindCharDev:  {os.ModeDevice | os.ModeCharDevice, fuseutil.DT_Char},
	vfs.KindBlockDev: {os.ModeDevice, fuseutil.DT_Block},
}

// setIDs are the bits of a mode above the permissions.
var setIDs = []struct {
	unix uint32
	mode os.FileMode
}{
	{0o4000, os.ModeSetuid},
	{0o2000, os.ModeSetgid},
	{0o1000, os.ModeSticky},
}

// goMode is a node's mode as the library wants it.
func goMode(kind vfs.Kind, mode uint32) os.FileMode {
	m := kinds[kind].mode | os.FileMode(mode&0o777)
	for _, b := range setIDs {
		if mode&b.unix != 0 {
			m |= b.mode
		}
	}
	return m
}

// unixMode is the 07777 bits of a mode.
func unixMode(m os.FileMode) uint32 {
	mode := uint32(m.Perm())
	for _, b := range setIDs {
		if m&b.mode != 0 {
			mode |= b.unix
		}
	}
	return mode
}

// kindOf is the kind in a mode; 0 for one that is unknown.
func kindOf(m os.FileMode) vfs.Kind {
	for kind, k := range kinds {
		if k.mode == m.Type() {
			return kind
		}
	}
	return 0
}

// attributes is what the kernel is told of a node.
func attributes(a vfs.Attr) fuseops.InodeAttributes {
	return fuseops.InodeAttributes{
		Size: a.Size, Nlink: a.NLink, Mode: goMode(a.Kind, a.Mode), Rdev: uint32(a.RDev), //nolint:gosec // FUSE has 32 bits
		Atime: unixTime(a.Atime), Mtime: unixTime(a.Mtime), Ctime: unixTime(a.Ctime), Crtime: unixTime(a.Btime), Uid: a.UID, Gid: a.GID,
	}
}

// unixTime is a time that the library encodes rightly: it can't do parts of seconds before 1970.
func unixTime(ns int64) time.Time {
	const second = int64(time.Second)
	if part := ns % second; part < 0 {
		ns -= second + part
	}
	return time.Unix(0, ns)
}

// unixNano is a time that a program sets: the nearest one that 64 bits of ns hold, of the years 1677 to 2262.
func unixNano(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	ns := t.UnixNano()
	switch lo, hi := time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64); {
	case t.Before(lo):
		ns = math.MinInt64
	case t.After(hi):
		ns = math.MaxInt64
	}
	return &ns
}
