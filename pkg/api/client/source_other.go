//go:build !unix

package client

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// hostNode is a node of the host that is to be added; file is open if it is a file or folder.
type hostNode struct {
	it    api.Item
	file  *os.File
	inode inode
	nlink uint64
	ctime int64 // ns since 1970; 0: not known here
}

func ownIDs() (uid, gid uint32) { return 0, 0 }

// openTop opens a top-level argument.
func openTop(path string) (hostNode, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return hostNode{}, err
	}
	n := hostNode{nlink: 1}
	n.it.Mode, n.it.Mtime = uint32(st.Mode().Perm()), st.ModTime().UnixNano()
	switch {
	case st.Mode().IsRegular():
		n.it.Kind, n.it.Size = uint8(vfs.KindFile), uint64(st.Size())
	case st.IsDir():
		n.it.Kind = uint8(vfs.KindFolder)
	case st.Mode()&os.ModeSymlink != 0:
		t, err := os.Readlink(path)
		n.it.Kind, n.it.Target = uint8(vfs.KindSymlink), api.Text(filepath.ToSlash(t))
		return n, err
	default:
		return n, fmt.Errorf("%s: a kind of file that is not known", path)
	}
	n.file, err = os.Open(path)
	return n, err
}

// openIn opens an entry of a folder.
func openIn(_ *os.File, path string, _ os.DirEntry) (hostNode, error) { return openTop(path) }

// Device tells nothing here, where nothing is mounted.
func Device(string) (uint64, bool) { return 0, false }

// unchanged says whether a source is still as it was when it was read.
func unchanged(h hostFile) bool {
	st, err := os.Lstat(h.path)
	if err != nil {
		return false
	}
	return !st.Mode().IsRegular() || uint64(st.Size()) == h.size && st.ModTime().UnixNano() == h.mtime
}
