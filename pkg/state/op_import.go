package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

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

// Import makes files with their contents, as Create does for each, but in one change, which is a commit at once: what was dirty is committed before it, so that
// nobody hears of a file before its folder; a file whose folder waits for a journal waits with it. They are there when Import returns; the next Commit makes them durable and publishes them. What
// their contents name must be durable before the call.
//
// A file that can't be made does not hinder the others. An error says that none was made. Errors: vfs.ErrReadOnly, vfs.ErrClosed, those of BeforeCommit.
func (d *DB) Import(ctx context.Context, files []NewFile) ([]Imported, error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if err := d.readOnly(); err != nil {
		return nil, err
	}
	if err := d.finishJoin(ctx); err != nil {
		return nil, err
	}
	if _, err := d.installDirty(ctx); err != nil {
		return nil, err
	}
	out := make([]Imported, len(files))
	faulty, err := d.importAll(files, out)                    //nolint:contextcheck // operations of the state take no context
	for i := 0; i < len(files) && faulty && err == nil; i++ { // what a faulty one left in the change was dropped with it, and with all the others
		_, err = d.importAll(files[i:i+1], out[i:i+1]) //nolint:contextcheck // operations of the state take no context
	}
	for i := range files {
		if err == nil && errors.Is(out[i].Err, errUnheard) {
			out[i].Node, out[i].Err = d.importDirty(&files[i]) //nolint:contextcheck // operations of the state take no context
		}
	}
	return out, err
}

// errUnheard says that a file can't be in the commit: nobody has heard of its folder yet, since that one's row waits for the journal of a file, and nobody
// may hear of what is in it before; or the folder has to be looked at as other operations do.
var errUnheard = errors.New("the folder is in no commit yet, or an unusual one")

// importDirty makes a file as Create does, in no commit yet. commitMu must be held.
func (d *DB) importDirty(f *NewFile) (out Node, err error) {
	first, err := d.runOp(func(t *tx) error {
		err := t.free(f.Parent, f.Name)
		if err == nil {
			err = t.enter(f.Parent)
		}
		if err != nil {
			return err
		}
		s, err := t.mknod(f.Parent, f.Name, f.Node, f.CreateOptions)
		if err == nil {
			out, err = t.node(s)
		}
		return err
	})
	if first != nil {
		first()
	}
	return out, err
}

// importer is the change that makes files. Nothing that it writes is read again before it is there: the batch is no index.
type importer struct {
	*tx

	it    *pebble.Iterator // over the names in all folders
	plain map[Ino]error    // folders that were looked at: nil, or why they take none
	gap   gap              // where the last name was looked for
	taken map[place]bool   // names that the change takes
}

// gap is a stretch of names in a folder without any link: those behind from and before to.
type gap struct {
	folder   Ino
	from, to string
	end      bool // there is no to: all names behind from
}

// importAll makes files and their commit. faulty: something is wrong with one of them, which out tells, and none was made.
func (d *DB) importAll(files []NewFile, out []Imported) (faulty bool, err error) {
	d.opMu.Lock()
	defer d.opMu.Unlock()
	t := &importer{tx: d.beginBlind(), plain: map[Ino]error{}, taken: make(map[place]bool, len(files))}
	defer t.close()
	t.stamp()
	if t.it, err = d.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyIndex}, UpperBound: []byte{keyIndex + 1}}); err != nil {
		return false, fmt.Errorf("state: import: %w", damaged(err))
	}
	defer func() { _ = t.it.Close() }() // it only reads, and its errors were told
	dot := d.ownHead()
	dot.Seq++
	rows := make([]Row, 0, len(files))
	for i := range files {
		f, o := &files[i], &out[i]
		if o.Err = t.free(f.Parent, f.Name); o.Err != nil {
			continue // nothing was written
		}
		var row Row
		if row, o.Node, o.Err = t.importFile(f, dot); o.Err != nil {
			return true, nil
		}
		rows = append(rows, row)
		t.taken[place{f.Parent, f.Name}] = true
	}
	if len(rows) == 0 {
		return false, nil
	}
	c, err := d.prepare(rows)
	if err != nil {
		return false, err
	}
	return false, t.finishCommit(c, c.Encode(d.signer()))
}

// free says whether a name may be taken. Errors: those of tx.free, errUnheard.
func (t *importer) free(folder Ino, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	err, known := t.plain[folder]
	if !known {
		err = t.plainFolder(folder)
		t.plain[folder] = err
	}
	if err != nil {
		return err
	}
	taken := t.taken[place{folder, name}]
	if !taken {
		if taken, err = t.linked(folder, name); err != nil {
			return err
		}
	}
	if taken {
		return fmt.Errorf("%q in folder %d: %w", name, folder, vfs.ErrExist)
	}
	t.bare = place{folder, name}
	return nil
}

// plainFolder says whether a folder is in a commit, alive, and shows no computed names. Errors: errUnheard, those of shownFolder.
func (t *importer) plainFolder(folder Ino) error {
	rec, err := t.shownFolder(folder)
	switch {
	case err != nil:
		return err
	case rec.dead || rec.irregular > 0:
		return errUnheard
	case folder == RootIno:
		return nil
	}
	row, err := get(t.r, InodeKey(folder))
	if err == nil && row == nil {
		err = errUnheard
	}
	return err
}

// linked says whether a link stood at a name before the change. Names that come in their order cost one look into the index for all that lie between two links.
func (t *importer) linked(folder Ino, name string) (bool, error) {
	g := &t.gap
	if g.folder == folder && name > g.from && (g.end || name < g.to) {
		return false, nil
	}
	prefix, key := inoKey(keyIndex, folder), nameKey(keyIndex, folder, name)
	*g = gap{folder: folder, from: name, end: true}
	if t.it.SeekGE(key) && bytes.HasPrefix(t.it.Key(), prefix) {
		if bytes.Equal(t.it.Key(), key) {
			g.folder = 0 // no gap
			return true, nil
		}
		g.to, g.end = string(t.it.Key()[len(prefix):]), false
	}
	if err := t.it.Error(); err != nil {
		return false, fmt.Errorf("state: import: %w", damaged(err))
	}
	return false, nil
}

// importFile makes one file at a free name, as the commit with this dot brings it. After an error the change must be dropped.
func (t *tx) importFile(f *NewFile, dot Dot) (row Row, node Node, err error) {
	if f.Node.Kind != vfs.KindFile {
		return row, node, fmt.Errorf("import of kind %d: %w", f.Node.Kind, vfs.ErrInvalid)
	}
	n, err := t.newInode(f.Parent, f.Name, f.Node, f.CreateOptions)
	if err != nil {
		return row, node, err
	}
	number, err := t.number()
	if err != nil {
		return row, node, err
	}
	ino := Ino(number)
	row = Row{Key: InodeKey(ino), Value: AppendInode(make([]byte, 0, n.roughLen()), n)}
	if err := n.FitsOp(len(row.Value)); err != nil {
		return row, node, fmt.Errorf("state: inode %d: %w", ino, err)
	}
	set := VerSet[*Inode]{{Dot: dot, Value: n.Stamp(dot)}}
	if err := t.set(row.Key, AppendInodeSet(nil, set)); err != nil {
		return row, node, err
	}
	if err := t.noteRow(row.Key, true); err != nil {
		return row, node, err
	}
	after := t.d.fold(set)
	if err := t.reindex(ino, nil, after); err != nil {
		return row, node, err
	}
	if err := t.originOf(ino, n, f.CreateOptions); err != nil {
		return row, node, err
	}
	node, err = t.node(shown{name: f.Name, ino: ino, f: after})
	return row, node, err
}
