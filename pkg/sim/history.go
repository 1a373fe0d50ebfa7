package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/state"
)

// history is every commit that was published: what the rows must be follows from it.
type history struct {
	digests map[state.Dot][32]byte
	commits []*state.Commit
	inos    map[state.Ino]bool // that have, or had, a row
}

func newHistory() *history {
	return &history{digests: map[state.Dot][32]byte{}, inos: map[state.Ino]bool{}}
}

// add notes commits that a pod published.
func (h *history) add(commits [][]byte) error {
	for _, b := range commits {
		c, err := state.DecodeCommit(b)
		if err != nil {
			return err
		}
		digest, known := h.digests[c.Dot()]
		switch {
		case known && digest != c.Digest():
			return fmt.Errorf("commit %d of actor %s was published twice, with different contents", c.Seq, c.Actor)
		case !known:
			h.digests[c.Dot()] = c.Digest()
			h.commits = append(h.commits, c)
			for i := range c.Rows {
				if kind, ino, _, err := state.ParseKey(c.Rows[i].Key); err == nil && kind == state.KeyInode {
					h.inos[ino] = true
				}
			}
		}
	}
	return nil
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
