package state

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// The first byte of each key but those of rows (KeyInode …): the package doc draws them.
const (
	keyDirty     = 'w'
	keyJournal   = 'j'
	keyLog       = 'c'
	keyFloor     = 'e'
	keyActor     = 'v'
	keyStatement = 's'
	keyLocal     = 'l'
	keyOwn       = 'n'
	keyContent   = 'q'
	keyIndex     = 'x'
	keyFolder    = 'd'
	keyIrregular = 'z'
	keyCopy      = 'y'
	keyDisplaced = 'm'
	keyEntryMark = 'f'
	keyRowMark   = 'r'
	keyFolderCID = 'h'
	keyComputed  = 'k'
	keyOrigin    = 'o'
	keyApart     = 'u'
	keyFork      = 'g'
	keyBranch    = 'b'
	keyRecord    = 'a'
)

// inoKey is prefix and number: 9 bytes.
func inoKey(prefix byte, ino Ino) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 9), prefix), uint64(ino))
}

// nameKey is prefix, number and name.
func nameKey(prefix byte, ino Ino, name string) []byte {
	b := binary.BigEndian.AppendUint64(append(make([]byte, 0, 9+len(name)), prefix), uint64(ino))
	return append(b, name...)
}

// textKey is prefix and text.
func textKey[T string | []byte](prefix byte, text T) []byte {
	return append(append(make([]byte, 0, 1+len(text)), prefix), text...)
}

// seqKey is prefix and a number.
func seqKey(prefix byte, n uint64) []byte { return inoKey(prefix, Ino(n)) }

// markKey is prefix, epoch and rest.
func markKey(prefix byte, epoch uint64, rest []byte) []byte {
	return append(append(make([]byte, 0, 9+len(rest)), seqKey(prefix, epoch)...), rest...)
}

func actorKey(a ident.Actor) []byte {
	return seqKey(keyActor, a.Uint())
}

func floorKey(a ident.Actor) []byte {
	return seqKey(keyFloor, a.Uint())
}

func logKey(a ident.Actor, seq uint64) []byte {
	b := binary.BigEndian.AppendUint64(append(make([]byte, 0, 17), keyLog), a.Uint())
	return binary.BigEndian.AppendUint64(b, seq)
}

// splitNameKey is the number and the name of what nameKey made.
func splitNameKey(key []byte) (Ino, string, error) {
	if len(key) < 9 {
		return 0, "", fmt.Errorf("state: key %x is short: %w", key, block.ErrCorrupt)
	}
	return Ino(binary.BigEndian.Uint64(key[1:])), string(key[9:]), nil
}

// prefixEnd is the least key after all that start with prefix, which is not all ff.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// get is a copy of the value under a key, nil if there is none; an empty value is not nil.
func get(r pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state: read %q: %w", key, damaged(err))
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

// damaged makes an error of Pebble that says that its files are damaged a block.ErrCorrupt.
func damaged(err error) error {
	if err == nil || !pebble.IsCorruptionError(err) {
		return err
	}
	return fmt.Errorf("the state's database is damaged; other pods of the network have the same state, so a pod that joins anew can take the place of this one: %w: %w", err, block.ErrCorrupt)
}

// errStop ends a scan early; scan does not return it.
var errStop = errors.New("stop")

// scan calls f with the keys from lower up to but not upper, in order. The slices are valid during the call.
func scan(r pebble.Reader, lower, upper []byte, f func(key, value []byte) error) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("state: scan: %w", damaged(err))
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := f(it.Key(), it.Value()); err != nil {
			_ = it.Close() // the error of f is the one to tell
			if errors.Is(err, errStop) {
				return nil
			}
			return err
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("state: scan: %w", damaged(err))
	}
	return nil
}

// scanPrefix is scan over all keys with a prefix.
func scanPrefix(r pebble.Reader, prefix []byte, f func(key, value []byte) error) error {
	return scan(r, prefix, prefixEnd(prefix), f)
}
