package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// NetOptions say how bad a Net is.
type NetOptions struct {
	DelayMax time.Duration // of a message; each has its own, so that they overtake each other
	Lost     int           // percent of messages
	Twice    int           // percent of messages that come twice
}

// Net carries messages between pods, which are numbered from 0: late, in another order, twice, or not at all. Pods may be cut from each
// other. It is used by one goroutine.
type Net struct {
	o      NetOptions
	rng    *rand.Rand
	time   *Timeline
	side   []int // of each pod: those of one side reach each other
	flying []message
	sent   uint64
}

// message is one on its way.
type message struct {
	at       time.Time
	number   uint64
	from, to int
	deliver  func() error
}

// NewNet connects n pods.
func NewNet(n int, o NetOptions, rng *rand.Rand, line *Timeline) *Net {
	return &Net{o: o, rng: rng, time: line, side: make([]int, n)}
}

// Split puts each pod on a side at random; 1 side heals the net.
func (n *Net) Split(sides int) {
	for i := range n.side {
		n.side[i] = n.rng.IntN(sides)
	}
}

// Isolate cuts one pod from all others.
func (n *Net) Isolate(pod int) {
	for i := range n.side {
		n.side[i] = 0
	}
	n.side[pod] = 1
}

// Add connects one pod more and returns its number.
func (n *Net) Add() int {
	n.side = append(n.side, 0)
	return len(n.side) - 1
}

// Perfect loses, doubles and delays nothing from now on, and heals all.
func (n *Net) Perfect() {
	n.o = NetOptions{}
	n.Split(1)
}

// Reaches says whether a message that arrives now would.
func (n *Net) Reaches(from, to int) bool { return n.side[from] == n.side[to] }

// Send sends a message, which is delivered by Step. deliver must not keep what its maker changes.
func (n *Net) Send(from, to int, deliver func() error) {
	if n.rng.IntN(100) < n.o.Lost || !n.Reaches(from, to) {
		return
	}
	times := 1
	if n.rng.IntN(100) < n.o.Twice {
		times = 2
	}
	for range times {
		delay := time.Duration(0)
		if n.o.DelayMax > 0 {
			delay = time.Duration(n.rng.Int64N(int64(n.o.DelayMax)))
		}
		n.sent++
		m := message{at: n.time.Now().Add(delay), number: n.sent, from: from, to: to, deliver: deliver}
		i, _ := slices.BinarySearchFunc(n.flying, m, func(a, b message) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.number, b.number)) })
		n.flying = slices.Insert(n.flying, i, m)
	}
}

// Step delivers what has arrived by now: but what was sent to a pod that was cut off meanwhile is lost.
func (n *Net) Step() error {
	for len(n.flying) > 0 && !n.flying[0].at.After(n.time.Now()) {
		m := n.flying[0]
		n.flying = n.flying[1:]
		if !n.Reaches(m.from, m.to) {
			continue
		}
		if err := m.deliver(); err != nil {
			return err
		}
	}
	return nil
}

// Drop loses all that is on its way.
func (n *Net) Drop() { n.flying = nil }
