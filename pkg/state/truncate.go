package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// LogLimits say what Truncate may drop.
type LogLimits struct {
	// Passed is what every member has that may still ask for commits; nil: not known.
	Passed VV
	// Known is what one other member at least has: own commits beyond it are never dropped.
	Known VV
	// Keep is about how many bytes of commits stay although all members have them. Max is about how many stay at the most: what is
	// beyond it can be had by joining the newest checkpoint.
	Keep, Max int64
}

// Truncate drops old commits from the log, of what the newest checkpoint covers: those that all members have, down to lim.Keep, and
// others, once the log is over lim.Max, down to three quarters of it. It keeps all digests, and the signed headers of each actor's
// last dropped commit and of those that its skip links lead to, which later commits and offers need. dropped is about how many bytes went.
//
// It needs no sync: a truncation that is lost is made again, and the checkpoint was written before it.
func (d *DB) Truncate(ctx context.Context, lim LogLimits) (dropped int64, err error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if err := d.usable(ctx); err != nil {
		return 0, err
	}
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	if d.joining != nil {
		return 0, nil // it is rare, and ends soon
	}
	v := view{d: d, r: d.db}
	if t, err := v.branches(); err != nil || !t.none() {
		return 0, err // who lacks commits can't have a tree instead (errParted)
	}
	l, err := v.lengths(d.LastCheckpoint().VV.Clone(), lim)
	if err != nil || l.bytes <= lim.Keep {
		return 0, err
	}
	cut := VV{}
	if lim.Passed != nil {
		dropped, err = v.share(l, cut, l.bytes-lim.Keep, lim.Passed)
	}
	if err == nil && l.bytes-dropped > lim.Max {
		dropped, err = v.share(l, cut, l.bytes-lim.Max*3/4, l.covered)
	}
	if err != nil || len(cut) == 0 {
		return 0, err
	}
	d.opMu.Lock()
	defer d.opMu.Unlock()
	t := d.begin()
	defer t.close()
	for _, a := range cut.Actors() {
		if err := t.cut(a, cut[a]); err != nil {
			return 0, err
		}
	}
	return dropped, t.finish(false)
}

// logLengths is how much of the log there is.
type logLengths struct {
	floors  VV
	covered VV    // commits up to these may be dropped
	bytes   int64 // of all commits
}

// lengths looks at the ends of the log. covered is what the newest checkpoint covers.
func (v view) lengths(covered VV, lim LogLimits) (l logLengths, err error) {
	if l.floors, err = v.floors(); err != nil {
		return l, err
	}
	l.covered = covered
	if known := lim.Known[v.d.o.Actor]; l.covered[v.d.o.Actor] > known {
		l.covered[v.d.o.Actor] = known
	}
	for a, seq := range v.d.VV() {
		n, err := v.bytesBetween(a, l.floors[a], seq)
		if err != nil {
			return l, err
		}
		l.bytes += n
	}
	return l, nil
}

// bytesBetween is how many bytes an actor's commits after one seq and up to another have.
func (v view) bytesBetween(a ident.Actor, after, upTo uint64) (int64, error) {
	first, err := v.totalAt(a, after)
	if err != nil {
		return 0, err
	}
	last, err := v.totalAt(a, upTo)
	return max(int64(last-first), 0), err
}

// share sets in cut how far the log of each actor is cut so that at least about want bytes go, of each actor the same share of what
// upTo and l.covered allow. It returns how many bytes go.
func (v view) share(l logLengths, cut VV, want int64, upTo VV) (dropped int64, err error) {
	ends, sizes, all := VV{}, map[ident.Actor]int64{}, int64(0)
	for _, a := range l.covered.Actors() {
		end := min(l.covered[a], upTo[a])
		if end <= l.floors[a] {
			continue
		}
		if sizes[a], err = v.bytesBetween(a, l.floors[a], end); err != nil {
			return 0, err
		}
		ends[a] = end
		all += sizes[a]
	}
	for _, a := range ends.Actors() {
		least := uint64(float64(sizes[a]) * min(1, float64(want)/float64(max(all, 1))))
		before, err := v.totalAt(a, l.floors[a])
		if err != nil {
			return 0, err
		}
		// The first commit with which enough of this actor's are gone.
		n := sort.Search(int(ends[a]-l.floors[a])-1, func(i int) bool {
			total, totalErr := v.totalAt(a, l.floors[a]+1+uint64(i))
			err = errors.Join(err, totalErr)
			return total-before >= least
		})
		if err != nil {
			return 0, err
		}
		cut[a] = l.floors[a] + 1 + uint64(n)
		size, err := v.bytesBetween(a, l.floors[a], cut[a])
		if err != nil {
			return 0, err
		}
		dropped += size
	}
	return dropped, nil
}

// cut drops the commits of an actor up to one: of those on the way along its skip links, which must be in the log, their signed headers stay, of the others their
// digests.
func (t *tx) cut(a ident.Actor, upTo uint64) error {
	floor, err := t.floor(a)
	if err != nil {
		return err
	}
	var seqs []uint64
	for seq := floor; seq > 0; seq = SkipSeq(seq) { // of these the log has headers so far
		seqs = append(seqs, seq)
	}
	err = scan(t.r, logKey(a, floor+1), logKey(a, upTo+1), func(key, _ []byte) error {
		seqs = append(seqs, binary.BigEndian.Uint64(key[len(key)-8:]))
		return nil
	})
	if err != nil {
		return err
	}
	kept := map[uint64]bool{}
	for seq := upTo; seq > 0; seq = SkipSeq(seq) {
		kept[seq] = true
	}
	for _, seq := range seqs {
		if err := t.cutEntry(a, seq, kept[seq]); err != nil {
			return err
		}
		delete(kept, seq)
	}
	if len(kept) > 0 {
		return fmt.Errorf("state: %d commits of actor %s, which skip links from %d lead to, are not in the log: %w", len(kept), a, upTo, block.ErrCorrupt)
	}
	return t.set(floorKey(a), binary.BigEndian.AppendUint64(nil, upTo))
}

// cutEntry leaves of a commit in the log its signed header, or its digest alone.
func (t *tx) cutEntry(a ident.Actor, seq uint64, header bool) error {
	e, ok, err := t.entryAt(a, seq)
	if err == nil && !ok {
		err = fmt.Errorf("state: commit %d of actor %s is not in the log: %w", seq, a, block.ErrCorrupt)
	}
	if err != nil {
		return err
	}
	var rest []byte
	if header {
		h, err := headerOf(e.encoded)
		if err != nil {
			return err
		}
		rest = h.AppendSigned(nil)
	}
	e.encoded = rest
	return t.set(logKey(a, seq), e.encode())
}

// floor is the last commit of an actor of which the log has no rows, 0 if there is none.
func (v view) floor(a ident.Actor) (uint64, error) {
	b, err := get(v.r, floorKey(a))
	if err != nil || b == nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("state: begin of the log of actor %s: %d bytes: %w", a, len(b), block.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(b), nil
}

// floors are those of all actors.
func (v view) floors() (VV, error) {
	out := VV{}
	return out, scanPrefix(v.r, []byte{keyFloor}, func(key, value []byte) error {
		if len(key) != 9 || len(value) != 8 {
			return fmt.Errorf("state: begin of a log: key of %d, value of %d bytes: %w", len(key), len(value), block.ErrCorrupt)
		}
		a, err := ident.ActorOf(binary.BigEndian.Uint64(key[1:]))
		if err != nil {
			return corrupt("begin of a log", err)
		}
		out[a] = binary.BigEndian.Uint64(value)
		return nil
	})
}

// reaches says whether the log has all that somebody who has seen have lacks of upTo. Error: ErrTruncated.
func (v view) reaches(have, upTo VV) error {
	floors, err := v.floors()
	if err != nil {
		return err
	}
	for a, floor := range floors {
		if have[a] < floor && have[a] < upTo[a] {
			return fmt.Errorf("state: commits of actor %s from %d on: the log begins at %d: %w", a, have[a]+1, floor+1, ErrTruncated)
		}
	}
	return nil
}
