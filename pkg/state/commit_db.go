package state

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Limits of one commit that is made here; Commit makes as many as it takes. Well below those of the format.
const (
	commitRows  = 4096
	commitBytes = 4 << 20
)

// takenRow is a dirty row as it is committed.
type takenRow struct {
	key []byte
	gen uint64
	w   *dirtyValue
}

// Commit commits all rows that are dirty when it begins, or at the fence if there is one, which it takes away; n is their number. Operations go on meanwhile: rows that they
// change stay dirty for the next one. After the return what was committed is durable here, and in VV, Log and Head.
// Files that have journal records, and all rows that were changed together with theirs, are left out (I4): they are durable here, no more.
//
// Sync: BeforeCommit, before the rows are written; then one of the write-ahead log, before they are published (I2).
func (d *DB) Commit(ctx context.Context) (n int, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return 0, err
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if err := d.finishJoin(ctx); err != nil {
		return 0, err
	}
	return d.commit(ctx)
}

// commit is Commit while commitMu is held.
func (d *DB) commit(ctx context.Context) (n int, err error) {
	held, err := d.installDirty(ctx)
	d.opMu.Lock()
	head := d.ownHead()
	d.fence = nil
	d.opMu.Unlock()
	err = errors.Join(err, d.publishOwn(head, held))
	n, d.untold = d.untold, 0
	return n, err
}

// ownHead is this pod's newest commit, published or not. opMu must be held.
func (d *DB) ownHead() Dot { return Dot{d.self, d.heads[d.self].seq} }

// publishInstalled makes the pod's commits durable and tells so, before it may become another actor. commitMu must be held.
func (d *DB) publishInstalled() error {
	d.opMu.Lock()
	head := d.ownHead()
	d.opMu.Unlock()
	return d.publishOwn(head, false)
}

// settled ends what was begun, before the pod takes in something of others, or becomes another actor: its commits are published, and no join is under
// way. commitMu must be held.
func (d *DB) settled(ctx context.Context) error {
	if err := d.publishInstalled(); err != nil {
		return err
	}
	return d.finishJoin(ctx)
}

// installDirty puts the rows that are dirty when it begins into commits, which publishOwn makes durable; held: some wait for their files' journals.
// commitMu must be held.
func (d *DB) installDirty(ctx context.Context) (held bool, err error) {
	d.opMu.Lock()
	until := d.order
	d.opMu.Unlock()
	for more := true; more && err == nil; {
		held, more, err = d.installOnce(ctx, until)
	}
	return held, err
}

// installOnce makes one commit of rows that became dirty as one of the first until.
func (d *DB) installOnce(ctx context.Context, until uint64) (held, more bool, err error) {
	d.opMu.Lock()
	waiting := d.held()
	rows, more, err := d.take(until, waiting)
	var c *Commit
	chunked := d.chunked
	if err == nil && len(rows) > 0 {
		c, err = d.prepare(commitRowsOf(rows))
		d.chunked = false
	}
	d.opMu.Unlock()
	if held = len(waiting) > 0; err != nil || len(rows) == 0 {
		return held, false, err
	}
	if d.o.BeforeCommit != nil {
		if err := d.o.BeforeCommit(ctx); err != nil {
			d.opMu.Lock()
			d.chunked = d.chunked || chunked
			d.opMu.Unlock()
			return held, false, fmt.Errorf("state: before commit %d: %w", c.Seq, err)
		}
	}
	b := c.Encode(d.signer())
	d.opMu.Lock()
	defer d.opMu.Unlock()
	return held, more, d.install(c, b, rows)
}

// publishOwn makes this pod's commits up to head durable, and tells so. held: rows that are in no commit are to be durable too. So is the removal of those
// that were dirty and are gone without a trace: a crash must not bring them back. commitMu must be held.
func (d *DB) publishOwn(head Dot, held bool) error {
	if forgot := d.forgot.Swap(false); d.installed == 0 && !held && !forgot {
		return nil
	}
	if err := d.sync(); err != nil {
		d.forgot.Store(true)
		return err
	}
	if d.installed > 0 {
		d.publish(VV{head.Actor: head.Seq})
		d.untold += d.installed
		d.installed = 0
	}
	return nil
}

// publish tells that what was applied is durable.
func (d *DB) publish(vv VV) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.published.Merge(vv)
}

// take reads dirty rows, the first changed first, whole groups of them but those that are held back; more says that some are left. opMu must be held.
func (d *DB) take(until uint64, held map[*dirtyMark]bool) (rows []takenRow, more bool, err error) {
	all := slices.DeleteFunc(d.candidates(until), func(c candidate) bool { return held[c.mark.leader()] })
	first := map[*dirtyMark]uint64{}
	for _, c := range all {
		lead := c.mark.leader()
		if o, ok := first[lead]; !ok || c.order < o {
			first[lead] = c.order
		}
	}
	for i := range all {
		all[i].group = first[all[i].mark.leader()]
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.order, b.order))
	})
	size := 0
	for i, c := range all {
		full := len(rows) >= commitRows || size >= commitBytes
		if full && (c.group != all[i-1].group || len(rows) >= RowsMax/2 || size >= CommitMax/2) {
			return rows, true, nil
		}
		if c.w == nil {
			var err error
			if c.w, err = d.uncommitted(c.key); err != nil {
				return nil, false, err
			}
		}
		rows = append(rows, takenRow{key: []byte(c.key), gen: c.gen, w: c.w})
		size += len(c.w.value) + len(c.key)
	}
	return rows, false, nil
}

// uncommitted is the uncommitted change of a row that has one. opMu must be held.
func (d *DB) uncommitted(row string) (*dirtyValue, error) {
	w, err := view{d: d, r: d.db}.dirty([]byte(row))
	if err == nil && w == nil {
		err = block.ErrCorrupt
	}
	if err != nil {
		return nil, fmt.Errorf("state: uncommitted row %x: %w", row, err)
	}
	return w, nil
}

// commitRowsOf are taken rows as a commit has them.
func commitRowsOf(taken []takenRow) []Row {
	rows := make([]Row, len(taken))
	for i, r := range taken {
		rows[i] = Row{Key: r.key, Observed: r.w.observed, Value: r.w.value}
	}
	return rows
}

// prepare makes the commit of rows, without signing it. opMu and commitMu must be held.
func (d *DB) prepare(rows []Row) (*Commit, error) {
	self := d.heads[d.self]
	d.hlc = NextHLC(d.hlc, d.o.Clock.Now())
	c := &Commit{Header: Header{
		Network: d.o.Network, Actor: d.self, Seq: self.seq + 1, Prev: self.digest, HLC: d.hlc,
	}, Rows: rows}
	var err error
	if c.Skip, err = d.skipDigest(c.Actor, c.Seq); err != nil {
		return nil, err
	}
	for a, s := range d.heads {
		if a != d.self {
			dep := Dep{Dot: Dot{Actor: a, Seq: s.seq}}
			copy(dep.Digest[:], s.digest[:])
			c.Deps = append(c.Deps, dep)
		}
	}
	return c, nil
}

// install writes a commit's rows in place of the dirty ones, and the commit into the log. opMu and commitMu must be held.
func (d *DB) install(c *Commit, encoded []byte, rows []takenRow) error {
	t := d.begin()
	defer t.close()
	t.at = c.HLC
	for i := range rows {
		if err := t.installRow(c, &rows[i]); err != nil {
			return fmt.Errorf("state: commit %d: %w", c.Seq, err)
		}
	}
	if err := t.finishCommit(c, encoded); err != nil {
		return err
	}
	d.fence.taken(rows)
	return nil
}

// finishCommit writes a commit of this pod into the log, and its rows with it, which are in the change already.
func (t *tx) finishCommit(c *Commit, encoded []byte) error {
	if err := t.log(c, c.Actor, encoded); err != nil {
		return err
	}
	if err := t.finish(true); err != nil {
		return err
	}
	t.logged(c, c.Actor)
	t.d.installed += len(c.Rows)
	return nil
}

// installRow commits one row; what was changed since it was taken stays dirty, on top of it.
func (t *tx) installRow(c *Commit, r *takenRow) error {
	known := t.d.dirty[string(r.key)]
	changed := known == nil || known.gen != r.gen // not there: removed without a trace
	kind, ino, _, err := ParseKey(r.key)
	if err != nil {
		return err
	}
	old, err := get(t.d.db, r.key) // the batch has nothing of it: a row is in a commit once
	if err != nil {
		return err
	}
	// The view stays the same, but if there are several contents, they have names now, and so have copies.
	several, before := kind == KeyInode && (changed || severalContents(old, r)), (*curInode)(nil)
	if several {
		if before, err = t.inode(ino); err != nil {
			return err
		}
	}
	if err := t.applyRow(old, c.Dot(), Row{Key: r.key, Observed: r.w.observed, Value: r.w.value}); err != nil {
		return err
	}
	if changed {
		err = t.rebase(c.Dot(), r, kind)
	} else {
		err = t.del(textKey(keyDirty, r.key))
		t.cleaned = append(t.cleaned, string(r.key))
	}
	if err != nil || !several {
		return err
	}
	after, err := t.inode(ino)
	if err != nil || isFolder(after.f) {
		return err
	}
	for _, name := range copyNames(ino, before.f) {
		if name.Dot.IsZero() {
			t.renumber(CopyIno(ino, name), CopyIno(ino, ContentName{Dot: c.Dot(), K: name.K}))
		}
	}
	return t.reindexFile(ino, before.f, after.f)
}

// severalContents says whether an inode may have more than one content: it has other versions, old, or lists several.
func severalContents(old []byte, r *takenRow) bool {
	if old != nil || len(r.w.value) == 0 {
		return old != nil
	}
	n, err := DecodeInode(r.w.value)
	return err == nil && len(n.Contents) > 1
}

// rebase makes a change that was made while the row was committed one of the committed version.
func (t *tx) rebase(dot Dot, r *takenRow, kind byte) error {
	w, err := t.dirty(r.key)
	if err != nil {
		return err
	}
	if w == nil { // an uncommitted row was removed without a trace: now there is something to remove
		if w, err = t.removedMeanwhile(r, kind); err != nil {
			return err
		}
	}
	observed := []Dot{dot}
	for _, o := range w.observed {
		if !slices.Contains(r.w.observed, o) {
			observed = append(observed, o)
		}
	}
	slices.SortFunc(observed, byDot)
	if len(r.w.value) == 0 { // the commit removed it: its dot names no version
		observed = slices.DeleteFunc(observed, func(o Dot) bool { return o == dot })
	}
	w.observed = observed
	if kind == KeyInode && len(w.value) > 0 && len(r.w.value) > 0 {
		n, err := DecodeInode(w.value)
		if err != nil {
			return err
		}
		taken, err := DecodeInode(r.w.value)
		if err != nil {
			return err
		}
		rebaseContents(n, taken, dot)
		w.value = AppendInode(nil, n)
	}
	if len(w.observed) == 0 && len(w.value) == 0 {
		t.cleaned = append(t.cleaned, string(r.key))
		return t.del(textKey(keyDirty, r.key))
	}
	if t.d.dirty[string(r.key)] == nil {
		t.rows = append(t.rows, string(r.key))
	}
	return t.set(textKey(keyDirty, r.key), w.encode())
}

// removedMeanwhile is the change of a row that was removed while its first version was committed. A folder's row stays, dead: others may
// put something into the folder before they hear of it.
func (t *tx) removedMeanwhile(r *takenRow, kind byte) (*dirtyValue, error) {
	w := &dirtyValue{order: r.w.order, hlc: t.at}
	if kind != KeyInode || len(r.w.value) == 0 {
		return w, nil
	}
	n, err := DecodeInode(r.w.value)
	if err != nil || n.Kind != vfs.KindFolder || len(n.Links) != 1 {
		return w, err
	}
	n.Links[0].Dead, n.Links[0].DeadTS = true, TS{HLC: t.at, Actor: t.d.self}
	w.value = AppendInode(nil, n)
	_, ino, _, err := ParseKey(r.key)
	if err != nil {
		return nil, err
	}
	return w, t.reindex(ino, nil, t.d.fold(VerSet[*Inode]{{Value: n}}))
}

// rebaseContents gives the contents of n that were committed with taken the dot that they got.
func rebaseContents(n, taken *Inode, dot Dot) {
	seen := n.seen()
	for _, c := range taken.Contents {
		if !c.Dot.IsZero() {
			continue
		}
		seen = joinSeen(seen, []Dot{dot})
		for i := range n.Contents {
			if o := &n.Contents[i]; o.Dot.IsZero() && o.K == c.K && o.TS == c.TS {
				o.Dot = dot
			}
		}
	}
	slices.SortFunc(n.Contents, newestFirst)
	n.Seen = seen
}

// applyRow makes one row's change to its committed versions, which are old, and marks it for the checkpoint.
func (t *tx) applyRow(old []byte, dot Dot, row Row) error {
	value, err := changeVersions(old, dot, row)
	if err != nil {
		return err
	}
	if value == nil {
		err = t.del(row.Key)
	} else {
		err = t.set(row.Key, value)
	}
	if err != nil {
		return err
	}
	return t.noteRow(row.Key, len(row.Value) > 0)
}

// noteRow marks a committed row that was written (written) or removed for the checkpoint, and for those who follow contents.
func (t *tx) noteRow(key []byte, written bool) error {
	if key[0] == KeyInode && written {
		t.d.contentSeq++
		if err := t.set(seqKey(keyContent, t.d.contentSeq), key[1:]); err != nil {
			return err
		}
	}
	return t.set(markKey(keyRowMark, t.d.epoch, key), nil)
}

// changeVersions is the encoded versions of a row after a change, nil if none is left.
func changeVersions(old []byte, dot Dot, row Row) ([]byte, error) {
	switch row.Key[0] {
	case KeyInode:
		return replaceVersion(old, dot, row, DecodeInodeSet, AppendInodeSet, func(b []byte) (*Inode, error) {
			n, err := DecodeInode(b)
			if err != nil {
				return nil, err
			}
			return n.Stamp(dot), nil
		})
	case KeyWish:
		return replaceVersion(old, dot, row, DecodeWishSet, AppendWishSet, DecodeWish)
	}
	return replaceVersion(old, dot, row, DecodeSnapSet, AppendSnapSet, DecodeSnap)
}

// replaceVersion is changeVersions for one kind of row.
func replaceVersion[T any](old []byte, dot Dot, row Row, decode func([]byte) (VerSet[T], error), encode func([]byte, VerSet[T]) []byte, value func([]byte) (T, error)) ([]byte, error) {
	var set VerSet[T]
	var err error
	if old != nil {
		if set, err = decode(old); err != nil {
			return nil, err
		}
	}
	if len(row.Value) == 0 {
		set = set.Remove(row.Observed)
	} else {
		v, err := value(bytes.Clone(row.Value))
		if err != nil {
			return nil, err
		}
		set = set.Replace(row.Observed, Version[T]{Dot: dot, Value: v})
	}
	if len(set) == 0 {
		return nil, nil
	}
	return encode(nil, set), nil
}
