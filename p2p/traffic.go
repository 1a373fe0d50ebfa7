package p2p

import (
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
)

// traffic counts the bytes of one direction of a connection: of messages and blocks, without what encryption adds.
type traffic struct {
	bytes atomic.Int64
	rate  atomic.Int64 // bytes a second, of late
	last  int64        // bytes at the last tick; of the ticker alone
}

// rateShare is how much of a rate is that of the last second: 1/rateShare, so that a rate is that of the last few seconds.
const rateShare = 4

// tick is called each second.
func (t *traffic) tick() {
	now := t.bytes.Load()
	rate := t.rate.Load()
	t.rate.Store(rate + (now-t.last-rate)/rateShare)
	t.last = now
}

func (t *traffic) traffic() Traffic { return Traffic{Bytes: t.bytes.Load(), Rate: t.rate.Load()} }

// counted is a stream whose bytes are counted.
type counted struct {
	network.Stream
	c *conn
}

// Read counts what it reads.
func (s counted) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	s.c.received.bytes.Add(int64(n))
	return n, err
}

// Write counts what it writes.
func (s counted) Write(b []byte) (int, error) {
	n, err := s.Stream.Write(b)
	s.c.sent.bytes.Add(int64(n))
	return n, err
}
