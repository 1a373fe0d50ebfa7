package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// destFolder is an open folder of the destination. It is used as long as items come for it, and files in it are
// written, or links wait (refs); then it gets its attributes: after its contents, whose making changes its time.
type destFolder struct {
	root  *os.Root
	self  *os.File // the same folder
	path  string   // on the host, for messages
	below string   // below the top folder
	item  int
	refs  int
	it    api.Item
	keep  bool // it is the receiving folder itself, whose attributes stay
	fresh bool // this get made it, so that all in it came from this get

	sweep  sync.Once       // of dropParts
	staged bool            // it is in a stage
	seen   map[string]bool // of a folder that an interrupted get left in a stage: what is in it now
}

// finish sets the attributes and closes the folder.
func (d *destFolder) finish() error {
	var err error
	if !d.keep {
		err = setAttrs(d.self, d.it)
	}
	d.close()
	return err
}

// use makes an open folder the one.
func (d *destFolder) use(root *os.Root, err error) (*destFolder, error) {
	if err != nil {
		return nil, err
	}
	if d.self, err = root.Open("."); err != nil {
		_ = root.Close() // Only a handle.
		return nil, err
	}
	d.root = root
	return d, nil
}

func (d *destFolder) close() {
	_ = d.self.Close() // Only handles.
	_ = d.root.Close()
}

// folder makes a folder or merges into one; a name "" is this one itself.
func (d *destFolder) folder(item int, name string, it api.Item) (*destFolder, error) {
	sub := &destFolder{path: d.path, below: d.below, item: item, refs: 1, it: it, keep: name == ""}
	if name == "" {
		return sub.use(d.root.OpenRoot("."))
	}
	sub.path, sub.below = filepath.Join(d.path, name), path.Join(d.below, name)
	sub.staged = d.staged
	err := d.root.Mkdir(name, 0o700)
	sub.fresh = err == nil
	if errors.Is(err, fs.ErrExist) {
		if d.fresh {
			return nil, errSameName
		}
		if sub.staged {
			sub.seen = map[string]bool{}
		}
		var st fs.FileInfo
		st, err = d.root.Lstat(name)
		if err == nil && !st.IsDir() {
			err = fmt.Errorf("something that is no folder is in the way: %w", fs.ErrExist)
		}
		if err == nil && sub.staged {
			err = d.root.Chmod(name, 0o700) // It may have been complete.
		}
	}
	if err != nil {
		return nil, err
	}
	return sub.use(d.root.OpenRoot(name))
}

// errSameName says that what came before has the name that this is to have. It is not replaced: the tree has both.
var errSameName = fmt.Errorf("it has the name of another one on this disk, to which letters in upper and lower case, or the forms of Unicode, may be the same: %w", fs.ErrExist)

// destFile is a file that is being written: a new one, or one beside it that takes the place of what is there when it is
// complete, so that what can't be had destroys nothing.
type destFile struct {
	dir    *destFolder
	name   string
	as     string // the name that it is written under
	item   int
	it     api.Item
	file   *os.File
	broken error // what went wrong with its data
}

// file makes a file. It returns nil where a complete one is there already: an interrupted get that is repeated goes
// on so, since a file gets its time last.
func (d *destFolder) file(item int, name string, it api.Item) (*destFile, error) {
	f := &destFile{dir: d, name: name, as: name, item: item, it: it}
	var err error
	f.file, err = d.create(name, it)
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	if d.fresh {
		return nil, errSameName
	}
	st, err := d.root.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		return nil, fmt.Errorf("a folder is in the way: %w", fs.ErrExist)
	case st.Mode().IsRegular() && uint64(st.Size()) == it.Size && st.ModTime().UnixNano() == it.Mtime:
		return nil, d.refresh(name, it)
	}
	d.sweep.Do(d.dropParts)
	for i := range 1000 {
		f.as = partMark + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(i)
		if f.file, err = d.create(f.as, it); !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, err
}

// partMark begins the names of files that are to take the place of others; then come the process and a number.
const partMark = ".wh-get-"

// dropParts removes parts that gets which were killed have left in the folder.
func (d *destFolder) dropParts() {
	f, err := d.root.Open(".")
	if err != nil {
		return
	}
	names, _ := f.Readdirnames(-1) // What can't be listed stays.
	_ = f.Close()                  // Only a handle.
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, partMark)
		pid, number, dash := strings.Cut(rest, "-")
		process, err := strconv.Atoi(pid)
		if _, nerr := strconv.Atoi(number); !ok || !dash || err != nil || nerr != nil || alive(process) {
			continue
		}
		if st, err := d.root.Lstat(name); err == nil && st.Mode().IsRegular() {
			_ = d.root.Remove(name) // It may have gone meanwhile.
		}
	}
}

// create makes a new, empty file. Nobody else gets at it before it is complete: by its mode, or because it is in a stage, where
// it has the mode at once that it is to have, unless attributes need another to be set.
func (d *destFolder) create(name string, it api.Item) (*os.File, error) {
	mode := uint32(0o600)
	if d.staged && len(it.Xattrs) == 0 {
		mode = it.Mode & 0o777
	}
	return createIn(d, name, mode)
}

// refresh sets the attributes of a file whose contents are as they should be.
func (d *destFolder) refresh(name string, it api.Item) error {
	f, err := d.root.Open(name)
	if err != nil {
		return nil // Not readable for us: the contents are what counts.
	}
	defer func() { _ = f.Close() }() // Only a handle.
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return err
	}
	return setAttrs(f, it)
}

// finish sets the attributes of a complete file and gives it its name.
func (f *destFile) finish() error {
	err := setAttrs(f.file, f.it)
	if cerr := f.file.Close(); err == nil {
		err = cerr
	}
	if f.as == f.name {
		return err
	}
	if rerr := f.dir.root.Rename(f.as, f.name); rerr != nil {
		_ = f.dir.root.Remove(f.as) // It is ours.
		return rerr
	}
	return err
}

// discard removes a file that is not complete.
func (f *destFile) discard() {
	_ = f.file.Close() // It is removed.
	_ = f.dir.root.Remove(f.as)
}

// clear makes way for a symlink or special file.
func (d *destFolder) clear(name string) error {
	st, err := d.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case d.fresh:
		return errSameName
	case st.IsDir():
		return fmt.Errorf("a folder is in the way: %w", fs.ErrExist)
	}
	return d.root.Remove(name)
}

func (d *destFolder) symlink(name string, it api.Item) error {
	err := d.root.Symlink(string(it.Target), name)
	if errors.Is(err, fs.ErrExist) {
		if err = d.clear(name); err == nil {
			err = d.root.Symlink(string(it.Target), name)
		}
	}
	if err != nil {
		return err
	}
	return d.setLinkAttrs(name, it)
}

func (d *destFolder) special(name string, it api.Item) error {
	if k := vfs.Kind(it.Kind); k < vfs.KindFIFO || k > vfs.KindBlockDev {
		return fmt.Errorf("a node of kind %d: %w", k, api.ErrProtocol)
	}
	if err := d.clear(name); err != nil {
		return err
	}
	if err := d.mknod(name, it); err != nil {
		return err
	}
	return d.setLinkAttrs(name, it)
}
