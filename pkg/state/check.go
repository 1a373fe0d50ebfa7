package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// checkRows is how many rows a replay of the log is held in memory for: some tens of megabytes.
const checkRows = 100_000

// Check calls f with everything that is wrong: the index and what else is derived against the rows, both ways; the committed rows against a
// replay of the log or, where that does not reach back to the beginning or makes more than checkRows rows, against the newest checkpoint; the log's chain of digests, its signatures and their authors; what uncommitted rows observed; journal records. It reads one
// moment, while everything goes on, and holds what it knows of all folders in memory. An error says that Check itself could not go on.
func (d *DB) Check(ctx context.Context, f func(problem string)) error {
	published := VV{}
	return d.read(func(v view) error {
		err := scanPrefix(v.r, []byte{keyActor}, func(key, value []byte) error {
			a, s, err := decodeHeadRow(key, value)
			published[a] = s.seq
			return err
		})
		if err != nil {
			return err
		}
		joining, err := v.joinRecord()
		if err != nil {
			return err
		}
		c := &checker{view: v, joining: joining, report: func(format string, args ...any) { f(fmt.Sprintf(format, args...)) }, vv: published}
		for _, step := range []func(context.Context) error{c.log, c.dirtyRows, c.journal, c.derive, c.compare} {
			if err := errors.Join(ctx.Err(), step(ctx)); err != nil {
				return err
			}
		}
		return nil
	})
}

// checker makes everything that is derived again from rows and log.
type checker struct {
	view

	report  func(format string, args ...any)
	vv      VV
	joining *joinRecord // nil: no join is under way

	// What the rows make of the index; of all that is as large as the tree only how much there has to be.
	folders   map[Ino]*folderRec
	displaced map[Ino]bool
	links     int // places of links
	copies    int // conflict copies
}

// log replays the log and compares the rows with what comes out.
func (c *checker) log(ctx context.Context) error {
	floors, err := c.floors()
	if err != nil {
		return err
	}
	rows := map[string][]byte{}
	p, err := c.logPage(floors.Clone(), c.vv.Clone(), 0)
	if err != nil {
		return err
	}
	for a, floor := range floors {
		if err := c.dropped(p.t, a, floor); err != nil {
			return err
		}
	}
	for progress := true; progress; {
		progress = false
		for _, a := range c.vv.Actors() {
			p.left, p.out = 4<<20, nil
			if _, err := p.advance(ctx, a); err != nil {
				c.report("log of actor %s after commit %d: %v", a, p.at[a], err)
				p.upTo[a] = p.at[a]
			}
			for _, next := range p.out {
				progress = true
				c.commit(p, next, rows)
			}
			if len(rows) > c.d.checkRows {
				rows = nil
			}
		}
	}
	for _, a := range c.vv.Actors() {
		if p.at[a] < c.vv[a] {
			c.report("log of actor %s: commit %d rests on one that is not there", a, p.at[a]+1)
		}
	}
	if rows == nil || len(floors) > 0 || c.joining != nil {
		return c.sameAsTree(ctx)
	}
	return c.sameRows(rows)
}

// commit checks one commit and adds its rows to the replay; nil: there is none.
func (c *checker) commit(p *logPage, next *nextCommit, rows map[string][]byte) {
	commit, err := c.d.open(next.encoded)
	if err != nil {
		c.report("log: %v", err)
		return
	}
	r := &next.reading
	dot := Dot{r.label, commit.Seq}
	stored, _, err := c.commitAt(dot.Actor, dot.Seq)
	if err != nil || stored != commit.Digest() {
		c.report("log: commit %d of actor %s has another digest than the log says: %v", commit.Seq, commit.Actor, err)
	}
	if commit.Seq > 1 {
		if digest, _, err := c.commitAt(r.parent, commit.Seq-1); err != nil || digest != commit.Prev {
			c.report("log: commit %d of actor %s does not follow the one before it: %v", commit.Seq, commit.Actor, err)
		}
	}
	if skip := SkipSeq(commit.Seq); skip > 0 {
		if digest, _, err := c.commitAt(p.t.at(r.parent, skip), skip); err != nil || digest != commit.Skip {
			c.report("log: commit %d of actor %s names another commit %d: %v", commit.Seq, commit.Actor, skip, err)
		}
	}
	for _, dep := range commit.Deps {
		tip := r.m.dot(dep.Dot)
		digest, _, err := c.commitAt(tip.Actor, tip.Seq)
		if err != nil || !bytes.Equal(digest[:len(dep.Digest)], dep.Digest[:]) {
			c.report("log: commit %d of actor %s rests on another commit %d of actor %s: %v", commit.Seq, commit.Actor, dep.Seq, dep.Actor, err)
		}
	}
	if rows == nil {
		return
	}
	for _, row := range commit.Rows {
		if !r.identity() {
			row = r.row(row)
		}
		value, err := changeVersions(rows[string(row.Key)], dot, row)
		if err != nil {
			c.report("log: commit %d of actor %s, row %x: %v", commit.Seq, commit.Actor, row.Key, err)
		}
		rows[string(row.Key)] = value
	}
}

// sameRows compares the committed rows with a replay.
func (c *checker) sameRows(rows map[string][]byte) error {
	for _, prefix := range []byte{KeyInode, KeyWish, KeySnap} {
		err := scanPrefix(c.r, []byte{prefix}, func(key, value []byte) error {
			if want := rows[string(key)]; want == nil {
				c.report("row %x is there, the log does not make it", key)
			} else if !bytes.Equal(value, want) {
				c.report("row %x is not what the log makes", key)
			}
			delete(rows, string(key))
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, key := range sortedKeys(rows) {
		if rows[key] != nil {
			c.report("row %x is missing", key)
		}
	}
	return nil
}

// dirtyRows checks uncommitted rows.
func (c *checker) dirtyRows(context.Context) error {
	return scanPrefix(c.r, []byte{keyDirty}, func(key, value []byte) error {
		row := key[1:]
		w, err := decodeDirty(value)
		if err != nil {
			c.report("uncommitted row %x: %v", row, err)
			return nil // it is reported
		}
		for _, d := range w.observed {
			if !c.vv.Covers(d) && c.joining == nil {
				c.report("uncommitted row %x observed commit %d of actor %s, which is not here", row, d.Seq, d.Actor)
			}
		}
		if len(w.value) == 0 && len(w.observed) == 0 {
			c.report("uncommitted row %x says nothing", row)
		}
		if kind, _, _, err := ParseKey(row); err != nil || (kind == KeyInode && len(w.value) > 0 && !decodes(w.value)) {
			c.report("uncommitted row %x can't be decoded: %v", row, err)
		}
		return nil
	})
}

// journal checks the records of what was written to files.
func (c *checker) journal(context.Context) error {
	return c.journaled(func(_ Ino, _ uint64, _ *JournalRecord, err error) error {
		if err != nil {
			c.report("%v", err)
		}
		return nil // it is reported
	})
}

func decodes(inode []byte) bool {
	_, err := DecodeInode(inode)
	return err == nil
}
