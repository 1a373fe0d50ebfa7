package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// history is every commit that was published: what the rows must be follows from it.
type history struct {
	digests map[state.Dot][32]byte
	commits []*state.Commit    // of each dot the first
	inos    map[state.Ino]bool // that have, or had, a row
	all     map[[32]byte]*told // by digest: of a fork those of both sides
}

// told is a commit that was published.
type told struct {
	commit *state.Commit
	by     map[int]bool // which lives of pods published it (statePod.who)
}

func newHistory() *history {
	return &history{digests: map[state.Dot][32]byte{}, inos: map[state.Ino]bool{}, all: map[[32]byte]*told{}}
}

// add notes commits that a life of a pod published. An error says that a dot has two.
func (h *history) add(who int, commits [][]byte) (err error) {
	for _, b := range commits {
		c, decodeErr := state.DecodeCommit(b)
		if decodeErr != nil {
			return decodeErr
		}
		if t := h.all[c.Digest()]; t != nil {
			t.by[who] = true
			continue
		}
		h.all[c.Digest()] = &told{commit: c, by: map[int]bool{who: true}}
		for i := range c.Rows {
			if kind, ino, _, err := state.ParseKey(c.Rows[i].Key); err == nil && kind == state.KeyInode {
				h.inos[ino] = true
			}
		}
		if _, known := h.digests[c.Dot()]; known {
			err = fmt.Errorf("commit %d of actor %s was published twice, with different contents", c.Seq, c.Actor)
			continue
		}
		h.digests[c.Dot()] = c.Digest()
		h.commits = append(h.commits, c)
	}
	return err
}

// version is one of an inode that a commit wrote.
type version struct {
	commit *told
	digest [32]byte
	inode  *state.Inode
}

// versions are all that these commits ever wrote of each inode; none where one of them is not known: its pod lost its power before the world looked, and others had it.
func (h *history) versions(commits map[[32]byte]bool) (map[state.Ino][]version, error) {
	out := map[state.Ino][]version{}
	for digest := range commits {
		t := h.all[digest]
		if t == nil {
			return map[state.Ino][]version{}, nil
		}
		for i := range t.commit.Rows {
			row := &t.commit.Rows[i]
			kind, ino, _, err := state.ParseKey(row.Key)
			if err != nil || kind != state.KeyInode || len(row.Value) == 0 {
				continue
			}
			n, err := state.DecodeInode(slices.Clone(row.Value))
			if err != nil {
				return nil, err
			}
			out[ino] = append(out[ino], version{commit: t, digest: digest, inode: n})
		}
	}
	return out, nil
}

// digestsOf are the digests of the commits that count for a DB, of the labels that are asked for. Under one that is a branch they begin later.
func digestsOf(ctx context.Context, db *state.DB, asked func(label ident.Actor) bool) (map[[32]byte]bool, error) {
	out := map[[32]byte]bool{}
	for a, last := range db.VV() {
		if !asked(a) {
			continue
		}
		var digests []byte
		err := block.ErrNotFound
		for from := uint64(1); from <= last && errors.Is(err, block.ErrNotFound); from++ {
			digests, err = db.Digests(ctx, a, from)
		}
		if err != nil {
			return nil, err
		}
		for d := range slices.Chunk(digests, 32) {
			out[[32]byte(d)] = true
		}
	}
	return out, nil
}

// rowHistory is all that ever happened to one row.
type rowHistory struct {
	versions map[state.Dot]*state.Row // those that were written
	replaced map[state.Dot]bool       // somebody who observed them wrote another, or removed the row
	removed  bool                     // somebody did
}

// rows is the history of each row.
func (h *history) rows() map[string]*rowHistory {
	out := map[string]*rowHistory{}
	for _, c := range h.commits {
		for i := range c.Rows {
			row := &c.Rows[i]
			r := out[string(row.Key)]
			if r == nil {
				r = &rowHistory{versions: map[state.Dot]*state.Row{}, replaced: map[state.Dot]bool{}}
				out[string(row.Key)] = r
			}
			for _, d := range row.Observed {
				r.replaced[d] = true
			}
			if len(row.Value) > 0 {
				r.versions[c.Dot()] = row
			} else {
				r.removed = true
			}
		}
	}
	return out
}

// alive are the dots of the versions that nobody replaced, sorted.
func (r *rowHistory) alive() []state.Dot {
	var out []state.Dot
	for d := range r.versions {
		if !r.replaced[d] {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, state.Dot.Compare)
	return out
}

// inodes are the versions of an inode's row, all that were ever written, by dot.
func (r *rowHistory) inodes() (map[state.Dot]*state.Inode, error) {
	out := map[state.Dot]*state.Inode{}
	for d, row := range r.versions {
		n, err := state.DecodeInode(slices.Clone(row.Value))
		if err != nil {
			return nil, err
		}
		out[d] = n.Stamp(d)
	}
	return out, nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
