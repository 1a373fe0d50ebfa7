package state

import (
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// NewFile is a file that Import makes.
type NewFile struct {
	Parent vfs.NodeID
	Name   string
	Node   vfs.NewNode // of kind vfs.KindFile
	CreateOptions
}

// Imported is what Import made of a NewFile.
type Imported struct {
	Node Node
	Err  error // one of Create's: it was not made
}

// Import makes files with their contents, as Create does for each, but in one change: all of them have one time, and one batch
// writes them. A file that can't be made does not hinder the others. An error says that none was made. Errors: vfs.ErrReadOnly, vfs.ErrClosed.
func (d *DB) Import(files []NewFile) ([]Imported, error) {
	out, all, err := d.importAll(files)
	if err != nil || all {
		return out, err
	}
	for i := range files { // something is wrong with one of them, and what it left in the batch was dropped with the batch
		f := &files[i]
		out[i].Node, out[i].Err = d.Create(f.Parent, f.Name, f.Node, f.CreateOptions)
	}
	return out, nil
}

// importAll is Import for files whose names are free or not, and which are else without fault; all says that they were.
func (d *DB) importAll(files []NewFile) (out []Imported, all bool, err error) {
	out = make([]Imported, len(files))
	faulty := false
	err = d.op(func(t *tx) error {
		for i := range files {
			f := &files[i]
			if out[i].Err = t.free(f.Parent, f.Name); out[i].Err != nil {
				continue // nothing was written
			}
			n, err := t.importFile(f)
			if err != nil {
				faulty = true
				return err
			}
			out[i].Node = n
		}
		return nil
	})
	if faulty {
		return out, false, nil
	}
	return out, true, err
}

// importFile makes one file at a free name. After an error the change must be dropped.
func (t *tx) importFile(f *NewFile) (Node, error) {
	if f.Node.Kind != vfs.KindFile {
		return Node{}, fmt.Errorf("import of kind %d: %w", f.Node.Kind, vfs.ErrInvalid)
	}
	if err := t.enter(f.Parent); err != nil {
		return Node{}, err
	}
	s, err := t.mknod(f.Parent, f.Name, f.Node, f.CreateOptions)
	if err != nil {
		return Node{}, err
	}
	return t.node(s)
}
