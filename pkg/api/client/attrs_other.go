//go:build !unix

package client

import (
	"fmt"
	"os"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// asRoot says that owners can't be restored here.
const asRoot = false

// ownerIsSet says so of an item.
func ownerIsSet(api.Item) bool { return false }

// createIn makes a new file in an open folder.
func createIn(d *destFolder, name string, mode uint32) (*os.File, error) {
	return d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, os.FileMode(mode))
}

// setAttrs gives a file its time.
func setAttrs(f *os.File, it api.Item) error {
	t := time.Unix(0, it.Mtime)
	return os.Chtimes(f.Name(), t, t)
}

// setLinkAttrs does nothing here.
func (d *destFolder) setLinkAttrs(string, api.Item) error { return nil }

// mknod makes no special files here.
func (d *destFolder) mknod(name string, _ api.Item) error {
	return fmt.Errorf("%s: a special file: %w", name, api.ErrUnsupported)
}

// lockFolder locks nothing here.
func lockFolder(root *os.Root) (*os.File, error) { return root.Open(".") }

// alive can't be told here.
func alive(int) bool { return true }
