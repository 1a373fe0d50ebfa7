package store

import (
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// ProblemKind says what is wrong.
type ProblemKind uint8

// The kinds of problems.
const (
	// Damaged: a block's record fails its checksum or hash, or can't be read. The block is set aside.
	Damaged ProblemKind = iota + 1
	// Missing: the index names a block or a segment, and it is not there.
	Missing
	// Garbage: bytes that were on disk once are no records. What they were can't be said; blocks of
	// theirs that the index names are reported as Damaged or Missing, too.
	Garbage
	// Unindexed: a good record of a block that the index doesn't know. RebuildIndex brings it back.
	Unindexed
)

// String names the kind.
func (k ProblemKind) String() string {
	switch k {
	case Damaged:
		return "damaged"
	case Missing:
		return "missing"
	case Garbage:
		return "garbage"
	case Unindexed:
		return "unindexed"
	}
	return fmt.Sprintf("problem %d", uint8(k))
}

// Problem is one thing that Open, Check or RebuildIndex found wrong.
type Problem struct {
	Kind     ProblemKind
	ID       block.ID       // zero: not known, or no block
	Fragment block.Fragment // of the block, that has the problem; zero: the block itself
	Cached   bool           // the block is a cached copy: no promise is broken
	Segment  uint64
	Offset   int64 // in the segment
	Bytes    int64
	Err      error // may be nil
}

// named has the ID of the block in the place of a fragment's name.
func (p Problem) named() Problem {
	if isFragment(p.ID) {
		p.ID = p.Fragment.ID
	}
	return p
}

// String says it in a line.
func (p Problem) String() string {
	text := fmt.Sprintf("%s: segment %d, offset %d, %d bytes", p.Kind, p.Segment, p.Offset, p.Bytes)
	if !p.ID.IsZero() {
		text += ", block " + p.ID.String()
	}
	if p.Fragment != (block.Fragment{}) {
		text += fmt.Sprintf(", fragment %d of rs:%d+%d", p.Fragment.I, p.Fragment.K, p.Fragment.M)
	}
	if p.Cached {
		text += " (cached)"
	}
	if p.Err != nil {
		text += ": " + p.Err.Error()
	}
	return text
}

// Recovery is what Open found and did.
type Recovery struct {
	IndexRebuilt bool  // there was no usable index: it was made anew from the segments
	Records      int   // read from the end of the log, because the index lagged behind it
	CutBytes     int64 // torn bytes beyond all that is known to have been synced: no damage
	Problems     []Problem
}
