package state

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// LoggedWhat says what a change in the log did.
type LoggedWhat string

// What changes do.
const (
	LoggedCreated    LoggedWhat = "created"
	LoggedEdited     LoggedWhat = "edited" // it has new contents
	LoggedRenamed    LoggedWhat = "renamed"
	LoggedLinked     LoggedWhat = "linked" // it has one more name
	LoggedRemoved    LoggedWhat = "removed"
	LoggedAttributes LoggedWhat = "attributes"
	LoggedPolicy     LoggedWhat = "policy"
	LoggedSnapshot   LoggedWhat = "snapshot" // one was made, or with a zero Body removed; Path is its name
)

// Logged is a change of one inode, wish or snapshot, as the log has it.
type Logged struct {
	Dot  Dot // whose
	HLC  HLC // when it was committed
	What LoggedWhat
	Ino  Ino
	// Path is where it was after the change, or before a removal, with the folders above it where they are now, or were last. "": not known
	// any more.
	Path string
	From string // the path before a rename
	Kind vfs.Kind
	Size uint64   // of a file, with the change
	Body block.ID // of a file: the CID of its body; zero: no bytes. Of a snapshot: its tree root
}

// cachedCommits is how many decoded commits are kept for those that changed what they made.
const cachedCommits = 16

// depthMax bounds the way up from a folder: rows can have loops.
const depthMax = 4096

// Changes calls f with the changes in the log, of the newest commit first (by its stamp), as of one moment. An error of f ends it and is
// returned. It ends early, with whole, where an actor's log is cut off: those before are not known any more.
func (d *DB) Changes(ctx context.Context, f func(Logged) error) (whole bool, err error) {
	upTo := d.VV()
	err = d.read(func(v view) error {
		l := logReader{view: v, commits: map[Dot]*Commit{}, paths: map[Ino]string{RootIno: "/"}}
		whole, err = l.run(ctx, upTo, f)
		return err
	})
	return whole, err
}

// logReader reads the log backwards.
type logReader struct {
	view

	commits map[Dot]*Commit
	order   []Dot // of commits, the oldest in memory first
	paths   map[Ino]string
}

func (l *logReader) run(ctx context.Context, upTo VV, f func(Logged) error) (whole bool, err error) {
	next := map[ident.Actor]*Header{}
	whole = true
	step := func(a ident.Actor, seq uint64) error {
		delete(next, a)
		if seq == 0 {
			return nil
		}
		h, err := l.headerAt(Dot{Actor: a, Seq: seq})
		if errors.Is(err, block.ErrNotFound) {
			whole = false
			return nil
		}
		next[a] = h
		return err
	}
	for _, a := range upTo.Actors() {
		if err := step(a, upTo[a]); err != nil {
			return false, err
		}
	}
	for len(next) > 0 {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		var newest *Header
		var label ident.Actor
		for a, h := range next {
			if newest == nil || h.HLC > newest.HLC || h.HLC == newest.HLC && a.Compare(label) > 0 {
				newest, label = h, a
			}
		}
		err := l.tell(Dot{Actor: label, Seq: newest.Seq}, f)
		if errors.Is(err, block.ErrNotFound) { // the log dropped it, and all before it
			whole = false
			delete(next, label)
			continue
		}
		if err != nil {
			return false, err
		}
		if err := step(label, newest.Seq-1); err != nil {
			return false, err
		}
	}
	return whole, nil
}

// commit is a decoded commit of the log. Error: block.ErrNotFound.
func (l *logReader) commit(dot Dot) (*Commit, error) {
	if c := l.commits[dot]; c != nil {
		return c, nil
	}
	e, found, err := l.entryAt(dot.Actor, dot.Seq)
	if err == nil && (!found || !e.whole()) {
		err = fmt.Errorf("state: commit %d of actor %s: %w", dot.Seq, dot.Actor, block.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	c, err := DecodeCommit(e.encoded)
	if err != nil {
		return nil, err
	}
	if len(l.order) >= cachedCommits {
		delete(l.commits, l.order[0])
		l.order = l.order[1:]
	}
	l.commits[dot], l.order = c, append(l.order, dot)
	return c, nil
}

// tell calls f with the changes of one commit.
func (l *logReader) tell(dot Dot, f func(Logged) error) error {
	c, err := l.commit(dot)
	if err != nil {
		return err
	}
	for i := range c.Rows {
		changes, err := l.row(c, i)
		if err != nil {
			return fmt.Errorf("state: commit %d of actor %s: %w", dot.Seq, dot.Actor, err)
		}
		for _, e := range changes {
			e.Dot, e.HLC = dot, c.HLC
			if err := f(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// row is what a row of a commit changed.
func (l *logReader) row(c *Commit, i int) ([]Logged, error) {
	row := &c.Rows[i]
	kind, ino, name, err := ParseKey(row.Key)
	if err != nil {
		return nil, err
	}
	switch kind {
	case KeySnap:
		return []Logged{{What: LoggedSnapshot, Path: name, Body: c.Snap(i)}}, nil
	case KeyWish:
		e := Logged{What: LoggedPolicy, Ino: ino}
		e.Path, err = l.pathOf(ino)
		return []Logged{e}, err
	}
	before, err := l.observed(row)
	if err != nil {
		return nil, err
	}
	return l.inodeChanges(ino, before, row.inode, len(row.Observed) > 0)
}

// observed is what the versions said together that a row replaced; nil if there were none, or the log has them no more.
func (l *logReader) observed(row *Row) (*Inode, error) {
	var set VerSet[*Inode]
	for _, dot := range row.Observed {
		c, err := l.commit(dot)
		if errors.Is(err, block.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(c.Rows, func(r Row) bool { return string(r.Key) == string(row.Key) })
		if i >= 0 && c.Rows[i].inode != nil {
			set = append(set, Version[*Inode]{Dot: dot, Value: c.Inode(i)})
		}
	}
	return Fold(set).Inode, nil
}

// inodeChanges are the changes from one version of an inode to the next; was says that there was one.
func (l *logReader) inodeChanges(ino Ino, before, after *Inode, was bool) ([]Logged, error) {
	n := after
	if n == nil {
		n = before
	}
	if n == nil { // removed, and the log has no more of it
		return []Logged{{What: LoggedRemoved, Ino: ino}}, nil
	}
	d := inodeDiff{l: l, e: Logged{Ino: ino, Kind: n.Kind}}
	if len(n.Contents) > 0 {
		d.e.Size, d.e.Body = n.Contents[0].Size, bodyID(n.Contents[0].Body)
	}
	if ino == RootIno {
		d.e.Path = "/"
	}
	var first *Link // to tell of what is no link's
	for i := range n.Links {
		if first == nil || first.Dead && !n.Links[i].Dead {
			first = &n.Links[i]
		}
	}
	switch {
	case after == nil:
		d.add(LoggedRemoved, first, nil)
		return d.out, d.err
	case !was && first != nil:
		d.add(LoggedCreated, &n.Links[0], nil)
		for i := range n.Links[1:] {
			d.add(LoggedLinked, &n.Links[1+i], nil)
		}
		return d.out, d.err
	case slices.ContainsFunc(after.Contents, func(c Content) bool { return c.Dot.IsZero() }):
		d.add(LoggedEdited, first, nil)
	}
	if before != nil {
		d.links(before, after)
	}
	if len(d.out) == 0 {
		d.add(LoggedAttributes, first, nil)
	}
	return d.out, d.err
}

// inodeDiff collects the changes of one row.
type inodeDiff struct {
	l   *logReader
	e   Logged // what all of them have
	out []Logged
	err error
}

// add adds a change of what stands at a link; from is where that was before.
func (d *inodeDiff) add(what LoggedWhat, link, from *Link) {
	x := d.e
	x.What = what
	if link != nil && d.err == nil {
		x.Path, d.err = d.l.placePath(link.Parent, link.Name)
	}
	if from != nil && d.err == nil {
		x.From, d.err = d.l.placePath(from.Parent, from.Name)
	}
	d.out = append(d.out, x)
}

// links adds what happened to the names.
func (d *inodeDiff) links(before, after *Inode) {
	for i := range after.Links {
		is := &after.Links[i]
		k := slices.IndexFunc(before.Links, func(o Link) bool { return o.ID == is.ID })
		if k < 0 {
			d.add(LoggedLinked, is, nil)
			continue
		}
		switch was := &before.Links[k]; {
		case is.Dead && !was.Dead:
			d.add(LoggedRemoved, is, nil)
		case !is.Dead && was.Dead:
			d.add(LoggedCreated, is, nil)
		case is.Parent != was.Parent || is.Name != was.Name:
			d.add(LoggedRenamed, is, was)
		}
	}
}

// placePath is the path of a name in a folder; "" if it is not known where that was.
func (l *logReader) placePath(parent Ino, name string) (string, error) {
	above, err := l.pathOf(parent)
	switch {
	case err != nil || above == "":
		return "", err
	case above == "/":
		return "/" + name, nil
	}
	return above + "/" + name, nil
}

// pathOf is where an inode is, or was last.
func (l *logReader) pathOf(ino Ino) (string, error) {
	var way []Ino
	var names []string
	base := ""
	for range depthMax {
		if known, ok := l.paths[ino]; ok {
			base = known
			break
		}
		parent, name, err := l.rawPlace(ino)
		if err != nil || parent == 0 || slices.Contains(way, ino) {
			if err != nil {
				return "", err
			}
			break
		}
		way, names = append(way, ino), append(names, name)
		ino = parent
	}
	for i, w := range slices.Backward(way) {
		switch base {
		case "":
		case "/":
			base += names[i]
		default:
			base += "/" + names[i]
		}
		l.paths[w] = base
	}
	return base, nil
}

// rawPlace is where an inode is shown, or, if it is not, what its row says; 0: there is none.
func (l *logReader) rawPlace(ino Ino) (Ino, string, error) {
	rec, err := l.folder(ino)
	if err != nil {
		return 0, "", err
	}
	if rec.attached {
		return rec.parent, rec.name, nil
	}
	c, err := l.inode(ino)
	if err != nil || c.f == nil || len(c.f.Inode.Links) == 0 {
		return 0, "", err
	}
	links := c.f.Shown()
	if len(links) == 0 {
		links = c.f.Inode.Links
	}
	return links[0].Parent, links[0].Name, nil
}
