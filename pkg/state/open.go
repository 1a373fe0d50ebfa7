package state

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// The DB's own values, under keyOwn.
const (
	ownNetwork    = "network"    // 32 bytes
	ownActor      = "actor"      // u64: who commits here; none: Options.Actor
	ownCopy       = "copy"       // Options.Copy of the last Open
	ownEpoch      = "epoch"      // u64: marks of older epochs are in a checkpoint, or were meant for one
	ownCheckpoint = "checkpoint" // the newest checkpoint
	ownSyncs      = "syncs"      // u64: the number of the newest sync; see syncMark
	ownJoining    = "joining"    // a join that is under way; see joinRecord
)

const (
	pebbleCacheBytes = 64 << 20
	// openCacheBytes of it are used by Open, which reads the end of the log once: a daemon that idles would keep that in memory.
	openCacheBytes = 4 << 20
	// restCacheBytes of it are kept by Rest.
	restCacheBytes = 1 << 20
	// memtableBytes are kept twice, once in use and once to be used next, and never given back. So many of them as memtablesMax wait for the disk
	// before writers do.
	memtableBytes = 8 << 20
	memtablesMax  = 4
	// The tables that they become are small: more of them wait until they are merged with what was there, and before writers wait for that. behindMax more may
	// wait, and some are written meanwhile.
	newTables    = 8
	newTablesMax = 48
)

// DB is the state of one network on one pod. All methods are safe for concurrent use.
//
// LOCK ORDER: checkpointMu, commitMu, opMu, mu; life is held, shared, by every method and taken before all of them.
type DB struct {
	o     Options
	db    *pebble.DB
	cache *pebble.Cache
	slog  *slog.Logger

	joinRows  int // rows in one batch of a join
	checkRows int // rows that Check replays the log for

	life   sync.RWMutex // held exclusively by Close alone
	closed bool         // guarded by life

	checkpointMu sync.Mutex // held by Checkpoint

	joining *joinRecord // written under commitMu and opMu, read under either: a join that was begun, and has to be ended before anything else; nil: none

	commitMu  sync.Mutex // held by Commit, Import and Apply, over their syncs, and at the beginning of a checkpoint
	installed int        // rows of own commits that are not published yet; guarded by commitMu
	untold    int        // rows that were published since the last Commit told how many it was; guarded by commitMu

	opMu       sync.Mutex  // the one writer. It guards the fields below, and every write of rows and index
	hlc        HLC         // highest value given out or met
	self       ident.Actor // who commits here; written while mu is held, too
	lot        lot         // of numbers of inodes
	epoch      uint64
	contentSeq uint64
	order      uint64                     // counts dirty rows, in the order of their first change
	gen        uint64                     // counts changes of dirty rows
	dirty      map[string]*dirtyMark      // by row key: what 'w' holds
	fence      *fence                     // of the next Commit; nil: none
	journal    map[Ino][]uint64           // by file: the numbers of its journal records, rising; no empty ones
	heads      map[ident.Actor]actorState // what was applied, durable or not
	forks      *branches                  // never changed, but replaced
	refused    map[ident.Actor]bool       // incarnations whose commits here and elsewhere parted
	cuts       map[uint32][]Dep           // of SetCuts
	pending    map[ident.Actor]*Header    // commits that are not applied, and rest on what is cut
	reach      *reach                     // how far cut members' commits count; nil: to be computed
	chunked    bool                       // rows may name what went through PutChunk since the last BeforeCommit
	onDirty    func()
	onFork     func(statement []byte)
	watchers   []func(changes []vfs.Change, local bool)
	telling    atomic.Int32 // changes made elsewhere of which the watchers are still to be told

	sign     atomic.Pointer[func(msg []byte) []byte] // nil: operations are refused
	isDirty  atomic.Bool
	forgot   atomic.Bool   // dirty rows were removed without a trace since the last sync of a commit
	version  atomic.Uint64 // odd while a change becomes visible
	recent   recent
	promoted promoted
	mark     syncMark

	mu         sync.Mutex // guards the fields below
	published  VV         // what was applied and is durable
	checkpoint checkpointState
}

// dirtyMark is what memory knows of an uncommitted row.
type dirtyMark struct {
	order uint64     // of its first change
	gen   uint64     // of its last change: no two are equal
	lead  *dirtyMark // rows with one leader go into one commit
}

// actorState is the last commit of an actor that was applied.
type actorState struct {
	seq    uint64
	digest [32]byte
	hlc    HLC
}

// Open opens a DB, or makes an empty one. Errors: ErrForeign (the directory is another network's), block.ErrCorrupt.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.PutChunk == nil {
		o.PutChunk = func(ctx context.Context, plain []byte) (block.ID, error) {
			id := block.Sum(block.Raw, plain)
			return id, o.Blocks.Put(ctx, id, plain)
		}
	}
	cache := pebble.NewCache(pebbleCacheBytes)
	defer cache.Reserve(pebbleCacheBytes - openCacheBytes)()
	po := &pebble.Options{
		FS: o.FS, Cache: cache, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{o.Log},
		MemTableSize:                memtableBytes,
		MemTableStopWritesThreshold: memtablesMax,
		L0CompactionThreshold:       newTables,
		L0StopWritesThreshold:       newTablesMax,
		DisableAutomaticCompactions: o.Quiet,

		EventListener: &pebble.EventListener{DataCorruption: quiet{o.Log}.damage},
	}
	po.Experimental.CompactionScheduler = newCompactions(o.Clock, calmAfter)
	po.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	po.EnsureDefaults()
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	pdb, err := pebble.Open(o.Dir, po)
	if err != nil {
		cache.Unref()
		return nil, fmt.Errorf("state: open %s: %w", o.Dir, damaged(err))
	}
	d := &DB{
		o: o, db: pdb, cache: cache, slog: o.Log, forks: newBranches(), refused: map[ident.Actor]bool{}, joinRows: applyRows, checkRows: checkRows,
		dirty: map[string]*dirtyMark{}, journal: map[Ino][]uint64{}, heads: map[ident.Actor]actorState{}, published: VV{},
	}
	if o.JoinRows > 0 {
		d.joinRows = o.JoinRows
	}
	if o.Sign != nil {
		d.sign.Store(&d.o.Sign)
	}
	if err := errors.Join(ctx.Err(), d.load()); err != nil {
		err = errors.Join(err, pdb.Close(), d.mark.close())
		cache.Unref()
		return nil, err
	}
	return d, nil
}

// load reads into memory what stands in Pebble.
func (d *DB) load() error {
	b, err := get(d.db, textKey(keyOwn, ownNetwork))
	if err != nil {
		return err
	}
	if b == nil {
		if err := d.initialise(); err != nil {
			return err
		}
	} else if ident.Network(b) != d.o.Network {
		return fmt.Errorf("state: %s is of network %x: %w", d.o.Dir, b, ErrForeign)
	}
	if d.epoch, err = d.ownUint(ownEpoch); err != nil {
		return err
	}
	if err := errors.Join(d.loadHeads(), d.loadDirty(), d.loadJournal(), d.loadContentSeq(), d.loadCheckpoint(), d.loadJoining()); err != nil {
		return err
	}
	if d.forks, err = (view{d: d, r: d.db}).branches(); err != nil {
		return err
	}
	if d.joining == nil {
		if err := d.dropBeyond(); err != nil {
			return err
		}
	}
	syncs, err := d.ownUint(ownSyncs)
	if err != nil {
		return err
	}
	if err := d.mark.open(d.o.FS, d.o.FS.PathJoin(d.o.Dir, markFile), syncs); err != nil {
		return err
	}
	if err := d.loadSelf(); err != nil {
		return err
	}
	return d.checkLog()
}

// initialise writes what an empty DB has. Sync: the one of its batch.
func (d *DB) initialise() error {
	b := d.db.NewBatch()
	root := folderRec{exists: true}
	for _, kv := range []struct{ k, v []byte }{
		{textKey(keyOwn, ownNetwork), d.o.Network[:]},
		{inoKey(keyFolder, RootIno), root.encode()},
		{markKey(keyEntryMark, 0, nameKey(0, RootIno, "")[1:]), nil},
	} {
		if err := b.Set(kv.k, kv.v, nil); err != nil {
			return errors.Join(fmt.Errorf("state: initialise: %w", err), b.Close())
		}
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("state: initialise: %w", err)
	}
	return nil
}

func (d *DB) ownUint(name string) (uint64, error) {
	b, err := get(d.db, textKey(keyOwn, name))
	if err != nil || b == nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("state: own value %s of %d bytes: %w", name, len(b), block.ErrCorrupt)
	}
	return binary.BigEndian.Uint64(b), nil
}

func (s actorState) encode() []byte {
	b := cbor.AppendArray(nil, 3)
	b = cbor.AppendUint(b, s.seq)
	b = cbor.AppendBytes(b, s.digest[:])
	return cbor.AppendUint(b, uint64(s.hlc))
}

func (d *DB) loadHeads() error {
	return scanPrefix(d.db, []byte{keyActor}, func(key, value []byte) error {
		a, s, err := decodeHeadRow(key, value)
		if err != nil {
			return err
		}
		d.heads[a], d.published[a] = s, s.seq
		d.hlc = max(d.hlc, s.hlc)
		return nil
	})
}

// decodeHeadRow reads what is kept of an actor's last commit.
func decodeHeadRow(key, value []byte) (ident.Actor, actorState, error) {
	r := cbor.NewReader(value)
	r.Tuple(3)
	s := actorState{seq: r.Uint(), digest: readDigest(r), hlc: HLC(r.Uint())}
	if len(key) != 9 {
		r.Fail("key of %d bytes", len(key))
	}
	if err := r.Done(); err != nil {
		return ident.Actor{}, s, corrupt(fmt.Sprintf("last commit of actor %x", key), err)
	}
	a, err := ident.ActorOf(binary.BigEndian.Uint64(key[1:]))
	if err != nil {
		return a, s, corrupt("last commit of an actor", err)
	}
	return a, s, nil
}

func (d *DB) loadDirty() error {
	var first *dirtyMark
	err := scanPrefix(d.db, []byte{keyDirty}, func(key, value []byte) error {
		w, err := decodeDirty(value)
		if err != nil {
			return err
		}
		row := string(key[1:])
		d.gen++
		dirty := &dirtyMark{order: w.order, gen: d.gen}
		if first == nil {
			first = dirty
		}
		dirty.joinGroup(first) // which belong together is not kept: all do
		d.dirty[row] = dirty
		d.order = max(d.order, w.order)
		d.hlc = max(d.hlc, w.hlc)
		return nil
	})
	d.isDirty.Store(len(d.dirty) > 0)
	return err
}

func (d *DB) loadContentSeq() error {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyContent}, UpperBound: []byte{keyContent + 1}})
	if err != nil {
		return fmt.Errorf("state: open: %w", err)
	}
	if it.Last() && len(it.Key()) == 9 {
		d.contentSeq = binary.BigEndian.Uint64(it.Key()[1:])
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return fmt.Errorf("state: open: %w", damaged(err))
	}
	return nil
}

// Close waits for what runs and ends the use; uncommitted rows are kept for the next Open. Sync: Pebble's own.
func (d *DB) Close() error {
	d.life.Lock()
	defer d.life.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	// The write-ahead log is synced first: operations wrote to it without a sync.
	err := d.sync()
	err = errors.Join(err, d.db.Close(), d.mark.close())
	d.cache.Unref()
	if err != nil {
		return fmt.Errorf("state: close: %w", err)
	}
	return nil
}

// Rest gives back memory that makes reads faster, for one that is likely not read soon.
func (d *DB) Rest() {
	d.life.RLock()
	defer d.life.RUnlock()
	if !d.closed {
		d.cache.Reserve(pebbleCacheBytes - restCacheBytes)()
	}
}

// quiet passes Pebble's messages on: its chatter as debug.
type quiet struct{ log *slog.Logger }

func (q quiet) Infof(format string, args ...any) {
	q.log.Debug("pebble", "text", fmt.Sprintf(format, args...))
}

func (q quiet) Errorf(format string, args ...any) {
	q.log.Error("pebble", "text", fmt.Sprintf(format, args...))
}

// damage hears of a damaged table. What reads it gets an error; by default Pebble would end the process.
func (q quiet) damage(info pebble.DataCorruptionInfo) {
	q.log.Error("the state's database is damaged", "path", info.Path, "err", info.Details)
}

// Fatalf is what Pebble calls when it can't go on, for example on a failed sync of its manifest. It must not return: the process ends,
// as by a crash, which loses nothing that was acknowledged. The panic is in a goroutine of its own, since one that an
// edge recovers from would leave Pebble's locks held.
func (q quiet) Fatalf(format string, args ...any) {
	text := fmt.Sprintf("pebble: "+format, args...)
	q.log.Error("pebble cannot go on", "text", text)
	go panic(text)
	select {}
}
