// Package store keeps blocks and fragments on disk: in append-only segment files, found by an index.
//
// The segments are the log of all changes and the only truth. The index is a Pebble database
// without a write-ahead log, derived from them: block ID to place, length and flags. Its last
// memtable goes with a crash, so Open reads the log again from the place up to which the index on
// disk goes. An index that is lost or corrupt is made anew from the segments.
//
// # Promises
//
//   - What was put, owned, disowned or deleted before a Sync that returned nil is so after any
//     crash. The one sync for it is the segments' fdatasync (and their directory's, when a segment
//     is new), which concurrent Syncs share; only after that are rows written that name the bytes.
//   - Bytes that fail the record's checksum or the block's hash are never served. The block is set
//     aside: Has denies it, Get is block.ErrCorrupt, Check reports it, Put stores it anew.
//   - A full disk or capacity is ErrNoSpace before anything is acknowledged. The index, which is written in the background,
//     waits for room then, and what needs it durable (Compact, RebuildIndex) is ErrNoSpace.
//   - After a failed sync there are no more writes (ErrPoisoned): the kernel may have dropped the
//     bytes and call the next sync good (Rebello et al., "Can Applications Recover from fsync
//     Failures?", USENIX ATC 2020). Blocks that were acknowledged before are not touched by it.
//
// Not promised: that a change made before a crash and not synced is undone. It may be there.
//
// # Layout
//
//	DIR/lock                     held while the store is open
//	DIR/segments/NUM-NONCE.seg   16 hex digits each; NUM counts from 1 and is never used again
//	DIR/index/                   Pebble; its keys stand in row.go
//	DIR/index-rotten             an empty file: the index was found damaged, the next Open makes it anew
//	DIR/ballast                  a part of the reserve that is taken already (ballast.go)
//
// A segment is a sequence of records with nothing before, between or behind them. A record is a
// head of 96 bytes and, for blocks, the form; integers are big-endian:
//
//	 0  f7 "whr"     magic
//	 4  u8           version, 1
//	 5  u8           kind: 1 block, owned · 2 block, cached · 3 gone · 4 own · 5 disown · 6 cut
//	                 7 trash · 8 block, in the trash · 9 fragment · 10 fragment, in the trash
//	 6  u16          zero
//	 8  u64          nonce of the segment
//	16  u64          offset of this record in the segment
//	24  u64          synced: bytes of the segment that were known to be on disk when this was written
//	32  u32          length of what follows the head
//	36  u32          crc32c of what follows the head
//	40  36 bytes     block ID, binary CIDv1; of a fragment its name (name.go); zero in a cut
//	76  u32          crc32c of bytes 0 to 75 and 80 to 95
//	80  16 bytes     kinds 1, 2, 8: block.Header; 9, 10: block.FragmentHeader; the others: the target,
//	                 segment u64 and offset u64
//	96  length       kinds 1, 2, 8: the form; 9, 10: the fragment from its ID on (block.AppendWire);
//	                 6: end offset of the cut, u64; 7: unix seconds of the trashing, u64; the others: nothing
//
// Bytes 80 to the end of a block record are the block as it is sent, and so are a fragment's. Kinds 3 to 5 and 7 speak of the
// block record that stands at the target, and of no other: a deletion never hits a block that was
// put again, wherever the log is read from. A later record of the same block replaces an earlier.
//
// A record copied to another place, as into a chunk that holds a backup of a store, is none there:
// nonce and offset don't fit.
//
// # Fragments
//
// A fragment is treated as a block in all that follows, under a name that is made like an ID: so it is found, put in the trash, moved,
// scrubbed and buried as a block is. It is never cached. Its row holds what its name is made of, so that the
// fragments of a block are listed from the index alone.
//
// # Damage and torn writes
//
// The highest synced offset that records or the index tell bounds what a crash may have torn: only
// beyond it are bytes that are no good records cut, silently but for a log line and
// Recovery.CutBytes. Below it they are damage and reported. In both cases reading goes on at the
// next magic, so that nothing good behind is lost. A cut is written to the log (kind 6), so that
// it is no damage to a later reader either. The log never goes on in a torn segment.
//
// # Deleting
//
// A deletion is a record of its own. Only when that is on disk are the whole pages of the form
// given back by punching a hole; the head stays. Compact rewrites segments that are mostly dead,
// and carries along what still speaks of records elsewhere. Before it removes a segment it makes
// the index durable, because an older one could name blocks of the segment whose deletions are
// dropped from the log from then on.
//
// A record that a later one of its block replaced is dead without a deletion, but only as long as
// the later one is in the log. So a segment from which Compact copied goes before the next is
// begun, and a replaced record that stays gets a deletion (bury.go): where a crash took the one it
// had, where it was damaged when its block was put anew, where a rotten head keeps its segment. The
// later record is on disk before that.
//
// A block in the trash is out of use and can still be read; one put again is brought back by a mark.
// Compact copies it as kind 8, and says the time again in a mark (7) behind it. Until that is on
// disk, too, the time is the one of the record that the copy replaces: so it is never in use
// in between.
//
// # Concurrency
//
// A Store is safe for concurrent use. Puts compress and sum in parallel and append one after the
// other; reads take no lock over disk access. Each block ID is changed by one caller at a time.
//
// Open starts a goroutine, and so does a Sync now and then, that reads the index for the filter of absent IDs (filter.go);
// Close waits for it. The filter takes 1.4 bytes of memory for each block, twice that while it is made anew.
package store
