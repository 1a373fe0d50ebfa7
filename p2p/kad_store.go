package p2p

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// storePage is how many records a query reads at once.
const storePage = 256

// announcedUnder is where the library keeps who holds what: …/KEY/POD, in the name space of the DHT's records.
const announcedUnder = "/dht/providers/"

// datastoreOf is Records as the library wants it. Of what one pod announces it keeps AnnounceMax, and drops the rest.
type datastoreOf struct {
	r Records

	mu     sync.Mutex     // held while announced keys are written; guards the field below
	counts map[string]int // what is kept of each pod; nil: not counted yet
}

var _ datastore.Batching = (*datastoreOf)(nil)

func newDatastore(r Records) *datastoreOf {
	if r == nil {
		r = &memRecords{values: make(map[string][]byte)}
	}
	return &datastoreOf{r: r}
}

// Get is datastore.Read's.
func (d *datastoreOf) Get(_ context.Context, key datastore.Key) ([]byte, error) {
	v, err := d.r.Get(key.Bytes())
	if err == nil && v == nil {
		return nil, datastore.ErrNotFound
	}
	return v, err
}

// Has is datastore.Read's.
func (d *datastoreOf) Has(_ context.Context, key datastore.Key) (bool, error) {
	v, err := d.r.Get(key.Bytes())
	return v != nil, err
}

// GetSize is datastore.Read's.
func (d *datastoreOf) GetSize(ctx context.Context, key datastore.Key) (int, error) {
	v, err := d.Get(ctx, key)
	if err != nil {
		return -1, err
	}
	return len(v), nil
}

// Query is datastore.Read's. It reads page by page, so that what is written meanwhile may be missed.
func (d *datastoreOf) Query(ctx context.Context, q query.Query) (query.Results, error) {
	prefix := datastore.NewKey(q.Prefix).String()
	if prefix != "/" {
		prefix += "/"
	}
	var keys, values [][]byte
	var after []byte
	ended := false
	next := func() (query.Result, bool) {
		if len(keys) == 0 && !ended {
			var err error
			if err = ctx.Err(); err == nil {
				keys, values, err = d.r.Page([]byte(prefix), after, storePage)
			}
			if err != nil {
				ended = true
				return query.Result{Error: err}, true
			}
			ended = len(keys) < storePage
		}
		if len(keys) == 0 {
			return query.Result{}, false
		}
		e := query.Entry{Key: string(keys[0]), Size: len(values[0])}
		if !q.KeysOnly {
			e.Value = values[0]
		}
		after = keys[0]
		keys, values = keys[1:], values[1:]
		return query.Result{Entry: e}, true
	}
	all := query.ResultsFromIterator(q, query.Iterator{Next: next, Close: func() error { return nil }})
	q.Prefix = "" // done here
	return query.NaiveQueryApply(q, all), nil
}

// Put is datastore.Write's.
func (d *datastoreOf) Put(_ context.Context, key datastore.Key, value []byte) error {
	return d.write([]change{{key.String(), nonNil(value)}})
}

// Delete is datastore.Write's.
func (d *datastoreOf) Delete(_ context.Context, key datastore.Key) error {
	return d.write([]change{{key.String(), nil}})
}

// Sync is datastore.Datastore's. Records may lose what was written last.
func (d *datastoreOf) Sync(context.Context, datastore.Key) error { return nil }

// Close is datastore.Datastore's. The records are closed by who gave them.
func (d *datastoreOf) Close() error { return nil }

// Batch is datastore.Batching's.
func (d *datastoreOf) Batch(context.Context) (datastore.Batch, error) { return &batchOf{d: d}, nil }

// change is a record to be set, or removed where the value is nil.
type change struct {
	key   string
	value []byte
}

func nonNil(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// batchOf collects changes.
type batchOf struct {
	d       *datastoreOf
	changes []change
}

// Put is datastore.Batch's.
func (b *batchOf) Put(_ context.Context, key datastore.Key, value []byte) error {
	b.changes = append(b.changes, change{key.String(), nonNil(value)})
	return nil
}

// Delete is datastore.Batch's.
func (b *batchOf) Delete(_ context.Context, key datastore.Key) error {
	b.changes = append(b.changes, change{key.String(), nil})
	return nil
}

// Commit is datastore.Batch's.
func (b *batchOf) Commit(context.Context) error {
	changes := b.changes
	b.changes = nil
	return b.d.write(changes)
}

// write makes changes, but for announcements of pods that have too many. The last change of a key counts.
func (d *datastoreOf) write(changes []change) error {
	isAnnounced := func(c change) bool { return announcer(c.key) != "" }
	if slices.ContainsFunc(changes, isAnnounced) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if err := d.count(); err != nil {
			return err
		}
	}
	var keys, values [][]byte
	there := make(map[string]bool) // announcements that were looked up
	for _, c := range changes {
		pod := announcer(c.key)
		if pod != "" {
			was, known := there[c.key]
			if !known {
				v, err := d.r.Get([]byte(c.key))
				if err != nil {
					return fmt.Errorf("p2p: dht: %w", err)
				}
				was = v != nil
			}
			switch {
			case c.value != nil && !was && d.counts[pod] >= AnnounceMax:
				continue
			case c.value != nil && !was:
				d.counts[pod]++
			case c.value == nil && was:
				d.counts[pod]--
			}
			there[c.key] = c.value != nil
		}
		keys, values = append(keys, []byte(c.key)), append(values, c.value)
	}
	if err := d.r.Write(keys, values); err != nil {
		d.counts = nil // counted anew
		return fmt.Errorf("p2p: dht: %w", err)
	}
	return nil
}

// count counts what is kept of each pod, once. mu is held.
func (d *datastoreOf) count() error {
	if d.counts != nil {
		return nil
	}
	counts := make(map[string]int)
	var after []byte
	for {
		keys, _, err := d.r.Page([]byte(announcedUnder), after, storePage)
		if err != nil {
			return fmt.Errorf("p2p: dht: %w", err)
		}
		for _, key := range keys {
			counts[announcer(string(key))]++
		}
		if len(keys) < storePage {
			d.counts = counts
			return nil
		}
		after = keys[len(keys)-1]
	}
}

// announcer is who announced what is kept under a key, "" if it is something else.
func announcer(key string) string {
	rest, ok := strings.CutPrefix(key, announcedUnder)
	if !ok {
		return ""
	}
	return rest[strings.LastIndexByte(rest, '/')+1:]
}

// memRecords are Records in memory.
type memRecords struct {
	mu     sync.Mutex // guards the field below
	values map[string][]byte
}

// Get is Records's.
func (m *memRecords) Get(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.values[string(key)]), nil
}

// Write is Records's.
func (m *memRecords) Write(keys, values [][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, key := range keys {
		if values[i] == nil {
			delete(m.values, string(key))
		} else {
			m.values[string(key)] = slices.Clone(values[i])
		}
	}
	return nil
}

// Page is Records's.
func (m *memRecords) Page(prefix, after []byte, most int) (keys, values [][]byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.values {
		if strings.HasPrefix(name, string(prefix)) && (after == nil || name > string(after)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), most)] {
		keys, values = append(keys, []byte(name)), append(values, slices.Clone(m.values[name]))
	}
	return keys, values, nil
}
