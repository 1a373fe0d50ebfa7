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
// others, once the log is over lim.Max, down to three quarters of it. It keeps all digests, by which forks are found, and the signed headers of each label's
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
	v, err := (view{d: d, r: d.db}).logs()
	if err != nil {
		return 0, err
	}
	covered := d.LastCheckpoint().VV.Clone()
	if !covered.LessEqual(d.VV()) {
		return 0, nil // it is from before a fork was known, and nobody can join it
	}
	l, err := v.lengths(covered, lim)
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
		if err := t.cut(a, cut[a], cut[a]); err != nil {
			return 0, err
		}
	}
	return dropped, t.finish(false)
}

// logView is a view of the log, with what is known of forks in it.
type logView struct {
	view

	t *branches
}

func (v view) logs() (logView, error) {
	t, err := v.branches()
	return logView{v, t}, err
}

// logLengths is how much of the log there is.
type logLengths struct {
	floors  VV    // of each label: up to these there are no rows
	covered VV    // commits up to these may be dropped
	bytes   int64 // of all commits
}

// lengths looks at the ends of the log. covered is what the newest checkpoint covers.
func (v logView) lengths(covered VV, lim LogLimits) (l logLengths, err error) {
	if l.floors, err = v.floors(); err != nil {
		return l, err
	}
	l.covered = covered
	for a, seq := range v.d.VV() {
		l.floors[a] = max(l.floors[a], v.t.floor(a))
		if a.Member == v.d.o.Actor.Member { // in all incarnations
			l.covered[a] = min(l.covered[a], lim.Known[a])
		}
		n, err := v.bytesBetween(a, l.floors[a], seq)
		if err != nil {
			return l, err
		}
		l.bytes += n
	}
	return l, nil
}

// bytesBetween is how many bytes a label's commits after one seq and up to another have.
func (v logView) bytesBetween(a ident.Actor, after, upTo uint64) (int64, error) {
	first, err := v.totalAt(v.t.at(a, after), after)
	if err != nil {
		return 0, err
	}
	last, err := v.totalAt(a, upTo)
	return max(int64(last-first), 0), err
}

// share sets in cut how far the log of each actor is cut so that at least about want bytes go, of each actor the same share of what
// upTo and l.covered allow. It returns how many bytes go.
func (v logView) share(l logLengths, cut VV, want int64, upTo VV) (dropped int64, err error) {
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
		before, err := v.totalAt(v.t.at(a, l.floors[a]), l.floors[a])
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

// cut has the log of a label begin behind a commit, whose header and those that its skip links lead to stay, as far as they are the label's. Of the other commits up to
// have it leaves the digests; those behind that are so already.
func (t *tx) cut(a ident.Actor, upTo, have uint64) error {
	begin, err := t.floor(a)
	if err != nil {
		return err
	}
	first := t.known().floor(a)
	seqs := map[uint64]bool{}
	for seq := begin; seq > first; seq = SkipSeq(seq) { // of these the log may have headers so far
		seqs[seq] = false
	}
	err = scan(t.r, logKey(a, max(begin, first)+1), logKey(a, have+1), func(key, _ []byte) error {
		seqs[binary.BigEndian.Uint64(key[len(key)-8:])] = false
		return nil
	})
	if err != nil {
		return err
	}
	for seq := upTo; seq > first; seq = SkipSeq(seq) {
		if _, ok := seqs[seq]; ok {
			seqs[seq] = true
		}
	}
	for _, seq := range sortedKeys(seqs) {
		if err := t.cutEntry(a, seq, seqs[seq]); err != nil {
			return err
		}
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
	if header && len(e.encoded) > 0 {
		h, err := headerOf(e.encoded)
		if err != nil {
			return err
		}
		rest = h.AppendSigned(nil)
	}
	e.encoded = rest
	return t.set(logKey(a, seq), e.encode())
}

// known is what this change knows of forks.
func (t *tx) known() *branches {
	if t.forks != nil {
		return t.forks
	}
	return t.d.forks
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
