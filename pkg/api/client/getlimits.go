package client

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// What a get takes from a tree that somebody else may have made: no more than was asked for, and no rights on this machine.

// ErrTooMuch says that a get ended because of GetOptions.FilesMax or BytesMax.
var ErrTooMuch = errors.New("the tree is larger than was asked for")

// count takes an item into account before anything is made of it.
func (g *getter) count(it api.Item) error {
	g.items++
	if vfs.Kind(it.Kind) == vfs.KindFile && it.Link == 0 {
		g.size += min(it.Size, vfs.FileMax)
	}
	switch {
	case g.o.FilesMax > 0 && g.items > g.o.FilesMax:
		return fmt.Errorf("%s comes after %d files and folders: %w", g.pathOf(it), g.o.FilesMax, ErrTooMuch)
	case g.o.BytesMax > 0 && g.size > g.o.BytesMax:
		return fmt.Errorf("with %s it is more than %d bytes: %w", g.pathOf(it), g.o.BytesMax, ErrTooMuch)
	}
	return nil
}

// setID are the mode bits that let others act as the owner. They are restored with the owner only.
const setID = 0o6000

// What a tree may bring that is a right on this machine.
var (
	errDevice = fmt.Errorf("a device file is not made unless it is asked for: %w", fs.ErrPermission)
	errRights = fmt.Errorf("its set-id bits or capabilities are left out: %w", fs.ErrPermission)
)

// dropRights takes from a file what would have others act as its owner, or as root, and says whether it would have.
func dropRights(it *api.Item) bool {
	const capability = "security.capability"
	_, capable := it.Xattrs[capability]
	dropped := it.Mode&setID != 0 && ownerIsSet(*it) || capable && asRoot
	it.Mode &^= setID
	delete(it.Xattrs, capability)
	return dropped
}
