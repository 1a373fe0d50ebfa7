package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Held is a block or a fragment that is held: the pod's own, or in the trash.
type Held struct {
	Key   block.ID  // of a block its ID; of a fragment a name that means something to this store alone. Trash, Drop and Own take it
	ID    block.ID  // the block's, also of a fragment
	Since time.Time // when it came to the trash, in whole seconds; zero: it is in use
}

// KeyLen is how many bytes a Key has.
const KeyLen = block.IDLen

// ReadKey reads a Key of Held as its Append writes it. The error is block.ErrBadID.
func ReadKey(b []byte) (block.ID, error) { return readID(b) }

var errEnough = errors.New("enough")

// List lists at most so many blocks, and then fragments, that are held behind a key; the zero Key begins. Cached copies are left out, and what was found damaged. A change that is made
// meanwhile may be seen or not. Errors: ErrClosed, those of reading the index.
func (s *Store) List(ctx context.Context, behind block.ID, most int) ([]Held, error) {
	var out []Held
	err := s.eachRow(ctx, behind, func(key block.ID, r row) error {
		if len(out) == most {
			return errEnough
		}
		if r.bad() || r.cached() {
			return nil
		}
		h := Held{Key: key, ID: key}
		if isFragment(key) {
			h.ID = r.of.ID
		}
		if r.trashed() {
			h.Since = time.Unix(r.since, 0)
		}
		out = append(out, h)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("store: list: %w", err)
	}
	return out, nil
}

// Untrash brings a block and all its fragments back from the trash, and says whether there was one of them. Durable after Sync. Errors are those of Own.
func (s *Store) Untrash(ctx context.Context, id block.ID) (found bool, err error) {
	var keys []block.ID
	if s.InTrash(id) {
		keys = append(keys, id)
	}
	err = s.family(id, func(r row) error {
		if r.trashed() && !r.bad() {
			keys = append(keys, nameOf(r.of))
		}
		return nil
	})
	for _, key := range keys {
		err = errors.Join(err, s.Own(ctx, key))
	}
	return len(keys) > 0, err
}
