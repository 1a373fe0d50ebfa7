package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// Errors of the store, beside those of package block.
var (
	// ErrNoSpace says that the capacity, the reserve or the disk leaves no room. Nothing was
	// stored; reads, deletions and, once there is room, writes go on.
	ErrNoSpace = errors.New("no space left in the store")
	// ErrLocked says that another Store, perhaps of another process, has the directory open.
	ErrLocked = errors.New("store is open already")
	// ErrPoisoned says that a sync failed. What the kernel did with the bytes is unknown and a
	// second sync would not tell, so nothing is written any more until the store is opened anew.
	ErrPoisoned = errors.New("store takes no writes after a failed sync")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store is closed")
)

// Options are the settings of a Store; the zero value is usable.
type Options struct {
	CapacityBytes int64       // most bytes of segments on disk; 0: no limit but the disk's
	ReserveBytes  int64       // kept free, of the capacity and of the disk, for deleting and rewriting
	SegmentBytes  int64       // length at which the next segment begins; 0: 512 MiB
	Clock         clock.Clock // for the last use of cached copies; nil: clock.Real
	Log           *slog.Logger
	// NeverResume has each Open begin a new segment rather than append to one that an earlier life wrote. It is for a disk that is encrypted by a
	// keystream: where power was lost, other bytes may have stood behind the end.
	NeverResume bool
	// ReadBack says whether what is appended now will be read from here soon, as it is where it goes to other pods. If not, the operating system need not keep it in memory. It
	// is called from any goroutine, and must not block or call the Store. nil: it will.
	ReadBack func() bool

	filterMin int // IDs of the filter's smallest generation, for tests; 0: filterMin
}

// segmentBytes is the default length of a segment.
const segmentBytes = 512 << 20

// Unsynced changes are bounded: a Put that passes these limits has what is there synced behind it, and waits first for the sync that runs. So
// twice as much is unsynced at the most.
const (
	unsyncedBytesMax = 32 << 20
	unsyncedRowsMax  = 4096 // a batch stays well below the index's memtable
)

// Store keeps blocks in a directory. All its methods are safe for concurrent use.
//
// Lock order: compacting, a claim of an ID, syncing, claims.gate, appendMu, mu, cache.mu.
type Store struct {
	fs      vfs.FS
	dir     string // of the segments
	o       Options
	lock    io.Closer
	index   *index
	rotten  atomic.Bool // damage of the index was noted
	codec   codec
	bufs    buffers
	claims  claims
	cache   cache
	filling sync.WaitGroup // makes the filter
	disk    disk
	ballast ballast

	compacting sync.Mutex // held during Compact
	// punching is held for reading during a round and while space is given back behind it, which no Sync of others waits for; by RebuildIndex and Close for
	// writing. It is taken while the token of syncing is held.
	punching sync.RWMutex

	syncing chan struct{} // holds one token: whoever took it writes to the index
	roundMu sync.Mutex    // guards round
	round   *round        // the Sync that the next holder of the token does; nil: none is asked for

	// appendMu is held while a record is appended. It guards the log's end: what is in pending is
	// exactly what lies between the last flush and the end.
	appendMu  sync.Mutex
	active    *segment // takes appends; nil: the next append makes one
	cuts      []cut    // due before the next record
	sinceBack int64    // bytes appended since the last writeBack
	nextSeg   uint64

	// mu is held for moments only, never over disk access.
	mu         sync.RWMutex
	segs       map[uint64]*segment
	pending    map[block.ID]change // not in the index yet
	flushing   map[block.ID]change // being written to the index; nil: none
	filter     filter
	used       int64  // bytes of segs on disk: up to their ends, without what was punched
	unsynced   int64  // bytes appended since the last flush
	newFiles   bool   // the directory must be synced
	punches    []row  // deleted since the last flush
	uncached   []part // appended since the last flush, and not to be read from the operating system's memory
	totals     totals
	generation byte
	failed     error // ErrPoisoned or ErrClosed, wrapped
	recovery   Recovery
}

var _ block.Store = (*Store)(nil)

// change is what became of a row since the index was written.
type change struct {
	row
	gone    bool // deleted
	uncache bool // the index may list it as a cached copy
}

// Open opens the store in dir, which is made if it isn't there. A directory that is open already
// is ErrLocked. What a crash left is brought in order; Recovered tells what was found.
func Open(on vfs.FS, dir string, o Options) (*Store, error) {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = segmentBytes
	}
	if o.CapacityBytes <= 0 {
		o.CapacityBytes = math.MaxInt64
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		fs: on, dir: on.PathJoin(dir, "segments"), o: o,
		syncing: make(chan struct{}, 1),
		segs:    make(map[uint64]*segment),
		pending: make(map[block.ID]change),
	}
	if s.filter.min = o.filterMin; s.filter.min <= 0 {
		s.filter.min = filterMin
	}
	s.claims.held = make(map[block.ID]chan struct{})
	s.cache.init()
	s.disk.init(on, s.dir)
	if err := s.open(dir); err != nil {
		_ = s.closeFiles() // that it could not be opened is told; nothing was acknowledged
		return nil, fmt.Errorf("store: open %s: %w", dir, noSpace(err))
	}
	s.used = s.usedNow()
	s.growFilter()
	return s, nil
}

func (s *Store) open(dir string) error {
	if err := s.fs.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	// Durable by these syncs: the directories themselves, before anything in them is acknowledged.
	for _, d := range []string{s.fs.PathDir(dir), dir, s.dir} {
		if err := syncDir(s.fs, d); err != nil {
			return err
		}
	}
	lock, err := s.fs.Lock(s.fs.PathJoin(dir, "lock"))
	if err != nil {
		// An error of opening the lock's file is a PathError; all others come from locking it.
		if path := (*fs.PathError)(nil); errors.As(err, &path) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrLocked, err)
	}
	s.lock = lock
	s.ballast.init(s.fs, s.fs.PathJoin(dir, "ballast"), s.o.ReserveBytes, s.o.Log)
	return s.recover(dir)
}

// Close syncs and closes the store. Calls that run meanwhile may return ErrClosed.
func (s *Store) Close() error {
	err := s.Sync(context.Background())
	s.syncing <- struct{}{} // nobody else writes to the index now
	defer func() { <-s.syncing }()
	s.punching.Lock()
	defer s.punching.Unlock()
	s.mu.Lock()
	closed := errors.Is(s.failed, ErrClosed)
	if !closed {
		s.failed = fmt.Errorf("store: %w", ErrClosed)
	}
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.claims.shut() // nobody appends or reads the index now
	s.filling.Wait()
	return errors.Join(err, s.saveLastUse(), s.closeFiles())
}

// Rest gives back memory that makes lookups faster, for one that is likely not used soon.
func (s *Store) Rest() {
	s.punching.RLock() // Close waits
	defer s.punching.RUnlock()
	s.mu.RLock()
	closed := errors.Is(s.failed, ErrClosed)
	s.mu.RUnlock()
	if !closed {
		s.index.rest()
	}
}

// closeFiles closes what is open, in the order in which nothing is lost.
func (s *Store) closeFiles() error {
	var errs []error
	if s.index != nil {
		errs = append(errs, s.index.close())
	}
	for _, g := range s.segs {
		errs = append(errs, g.release())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Recovered tells what Open found and did.
func (s *Store) Recovered() Recovery { return s.recovery }

// writable is nil while the store takes writes.
func (s *Store) writable() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.failed
}

// poison ends all writing, because of a sync that failed.
func (s *Store) poison(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = fmt.Errorf("store: %w: %w", ErrPoisoned, noSpace(err))
		s.o.Log.Error("store takes no writes until it is opened anew", "error", err)
	}
	return s.failed
}

// noSpace adds ErrNoSpace to an error that says that a disk or a quota is full.
func noSpace(err error) error {
	if diskFull(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

func diskFull(err error) bool { return vfs.IsNoSpaceError(err) || errors.Is(err, syscall.EDQUOT) }

// lookup finds a block's row: among the changes that aren't indexed yet, then in the index.
func (s *Store) lookup(id block.ID) (row, bool, error) {
	if !s.claims.enter() {
		return row{}, false, ErrClosed
	}
	defer s.claims.leave()
	return s.find(id)
}

// find is lookup for those who hold the index open already.
func (s *Store) find(id block.ID) (row, bool, error) {
	s.mu.RLock()
	c, ok := s.pending[id]
	if !ok {
		c, ok = s.flushing[id]
	}
	generation, may := s.generation, ok || s.filter.mayHave(id)
	s.mu.RUnlock()
	if ok {
		return c.row, !c.gone, nil
	}
	if !may {
		return row{}, false, nil
	}
	return s.index.row(generation, id)
}

// Has says whether a block is held, as the pod's own or as a cached copy. A block that was found
// damaged or is in the trash is not held.
func (s *Store) Has(id block.ID) (owned, cached bool) {
	r, ok, err := s.lookup(id)
	if err != nil {
		s.o.Log.Error("store index can't be read", "block", id, "error", err)
		return false, false
	}
	if !ok || r.bad() || r.trashed() {
		return false, false
	}
	return !r.cached(), r.cached()
}
