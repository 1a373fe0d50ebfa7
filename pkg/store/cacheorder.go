package store

import "container/list"

// protectedShare is how much of the cache copies may take that were used again while they were here, in tenths. docs/bench/cache.md has what
// other shares come to.
const protectedShare = 9

// order says which cached copies go first: a segmented LRU (Karedla, Love and Wherry, "Caching Strategies to Improve Disk System Performance",
// IEEE Computer 1994). A copy that comes is on probation; one that is used again is protected. The least recently used one on probation goes
// first, so that reading through many files once drops nothing that is used over and over. What protected copies take above their share goes
// back on probation, the least recently used first.
//
// It is not safe for concurrent use. K is the ID of a block, or anything in a test.
type order[K comparable] struct {
	probation list.List // of *cachedCopy[K]; the front was used last
	protected list.List
	byID      map[K]*list.Element
	bytes     int64 // of all
	safe      int64 // of the protected ones
}

type cachedCopy[K comparable] struct {
	id        K
	bytes     int64
	used      uint32 // unix seconds
	protected bool
}

// add notes a copy that came; one that is known stays what it is.
func (o *order[K]) add(c cachedCopy[K]) {
	if o.byID == nil {
		o.byID = make(map[K]*list.Element)
	}
	if o.byID[c.id] != nil {
		return
	}
	o.bytes += c.bytes
	if c.protected {
		o.safe += c.bytes
	}
	o.byID[c.id] = o.segment(&c).PushFront(&c)
}

func (o *order[K]) segment(c *cachedCopy[K]) *list.List {
	if c.protected {
		return &o.protected
	}
	return &o.probation
}

// copyAt is the copy of an element of a segment.
func copyAt[K comparable](e *list.Element) *cachedCopy[K] {
	return e.Value.(*cachedCopy[K]) //nolint:errcheck // the segments hold nothing else
}

// find is what is known of a copy; nil: there is none.
func (o *order[K]) find(id K) *cachedCopy[K] {
	if e := o.byID[id]; e != nil {
		return copyAt[K](e)
	}
	return nil
}

func (o *order[K]) remove(id K) {
	e := o.byID[id]
	if e == nil {
		return
	}
	c := copyAt[K](e)
	o.segment(c).Remove(e)
	delete(o.byID, id)
	o.bytes -= c.bytes
	if c.protected {
		o.safe -= c.bytes
	}
}

// touch notes that a copy was used, in a cache of limit bytes. Of what is no copy it does nothing.
func (o *order[K]) touch(id K, now uint32, limit int64) {
	e := o.byID[id]
	if e == nil {
		return
	}
	c := copyAt[K](e)
	c.used = now
	if c.protected {
		o.protected.MoveToFront(e)
		return
	}
	o.move(e, true)
	for share := limit / 10 * protectedShare; o.safe > share; {
		o.move(o.protected.Back(), false)
	}
}

// spare has a copy go after all others, although nobody used it.
func (o *order[K]) spare(id K) {
	switch e := o.byID[id]; {
	case e == nil:
	case copyAt[K](e).protected:
		o.protected.MoveToFront(e)
	default:
		o.move(e, true)
	}
}

// move takes a copy to the front of the other segment.
func (o *order[K]) move(e *list.Element, protect bool) {
	c := copyAt[K](e)
	o.segment(c).Remove(e)
	c.protected = protect
	o.byID[c.id] = o.segment(c).PushFront(c)
	if protect {
		o.safe += c.bytes
	} else {
		o.safe -= c.bytes
	}
}

// victims lists the copies that go first, enough to bring the rest down to limit bytes, at most a number of them.
func (o *order[K]) victims(limit int64, most int) (ids []K) {
	left := o.bytes
	for _, segment := range []*list.List{&o.probation, &o.protected} {
		for e := segment.Back(); e != nil && left > limit && len(ids) < most; e = e.Prev() {
			c := copyAt[K](e)
			ids = append(ids, c.id)
			left -= c.bytes
		}
	}
	return ids
}
