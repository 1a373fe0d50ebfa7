// Package pace says how fast bytes may go between pods: what a user asked for first, background work in what is left.
//
// A Pacer has limits (Rates) in all, for each other pod, and for each class of work. Users' reads never wait for background work: they take their
// bytes from the limits at once, if need be in advance, and background work waits until that is made up for. While users read, repair and balance
// also work one job at a time and rest after each for several times as long, whatever the limits are, so that they take neither the disks nor the
// processor from them: a byte that is made again costs far more than one that is read. They always have the floor, so that they end.
//
// The limits are token buckets that hold what comes in a second. A Pacer is safe for concurrent use.
package pace

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Class is what bytes go for.
type Class uint8

// The classes, most urgent first.
const (
	Read    Class = iota // a user waits for them, or will soon
	Spread               // new bytes go where the policy wants them
	Repair               // what was lost is made again
	Balance              // all else: bytes go where they should be rather
	classes
)

// classWords are the classes' words.
var classWords = [classes]string{"read", "spread", "repair", "balance"}

// String is the class's word.
func (c Class) String() string {
	if c < classes {
		return classWords[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// Direction is whether bytes are sent or received.
type Direction uint8

// The directions.
const (
	Up   Direction = iota // sent
	Down                  // received
	directions
)

// DefaultFloor is the bytes a second that background work always has, where no floor is set.
const DefaultFloor = 4 << 20

// Rates are limits in bytes a second; 0: none.
type Rates struct {
	Up, Down int64          // in all
	Pod      int64          // with each other pod, in each direction
	Class    [classes]int64 // of each class, in each direction
	Floor    int64          // background work has so much in each direction even while users read; 0: DefaultFloor
}

const (
	restShare   = 8 // repair and balance rest so many times as long as they worked, while users read
	restMax     = 2 * time.Second
	workLook    = 20 * time.Millisecond // between two looks whether there is time for a job
	readLeast   = 256 << 10             // bytes a second; who reads less needs no room
	meterWindow = time.Second           // over which it is measured what users read
	waitMax     = time.Second           // between two looks at limits, which may have changed
)

// Pacer keeps to limits.
type Pacer struct {
	clock clock.Clock

	mu      sync.Mutex // guards the fields below
	rates   Rates
	all     [directions]bucket
	class   [directions][classes]bucket
	pods    map[ident.Pod]*[directions]bucket
	floor   [directions]bucket
	reading meter // what users read
	behind  meter // what goes for repair and balance
	working int   // jobs of Work
	rest    time.Time
	moved   [classes]int64 // bytes that went
}

// New is a pacer without limits.
func New(c clock.Clock) *Pacer {
	return &Pacer{clock: c, pods: make(map[ident.Pod]*[directions]bucket)}
}

// Set sets the limits. Negative ones are none.
func (p *Pacer) Set(r Rates) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rates = r
}

// Limited says whether a limit was set, or users read so much that background work makes room.
func (p *Pacer) Limited() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	none := Rates{Floor: p.rates.Floor}
	return p.rates != none || p.reading.rate(p.clock.Now()) >= readLeast
}

// Work waits until there is time for a job of a class, and returns what is to be called when it is done. Jobs for users' reads and for new bytes
// never wait. Error: the context's.
func (p *Pacer) Work(ctx context.Context, c Class) (done func(), err error) {
	if c < Repair {
		return func() {}, nil
	}
	for !p.begin() {
		if err := clock.Sleep(ctx, p.clock, workLook); err != nil {
			return nil, fmt.Errorf("pace: %s: %w", c, err)
		}
	}
	begun := p.clock.Now()
	return func() { p.done(begun) }, nil
}

// begin says whether there is time for a job.
func (p *Pacer) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if p.reading.rate(now) >= readLeast && (p.working > 0 || now.Before(p.rest) && p.behind.rate(now) >= p.floorRate()) {
		return false
	}
	p.working++
	return true
}

func (p *Pacer) done(begun time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working--
	now := p.clock.Now()
	p.rest = now.Add(min(restShare*now.Sub(begun), restMax))
}

// Moved is the bytes of a class that went, exempt ones included.
func (p *Pacer) Moved(c Class) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved[c]
}

// NoteRead notes bytes that a user read, wherever they came from: background work makes room for them.
func (p *Pacer) NoteRead(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading.note(p.clock.Now(), n)
}

// Wait waits until n bytes of a class may go to or come from a pod, and counts them. exempt: they count for no limit that was set, as those on
// a LAN may; background work makes room for users' reads all the same. Error: the context's.
func (p *Pacer) Wait(ctx context.Context, c Class, d Direction, pod ident.Pod, n int64, exempt bool) error {
	return p.wait(ctx, c, d, pod, n, exempt, true)
}

// Serve is Wait for bytes that another pod asked for or puts. While users read, what is for repair and balance goes at the floor; who asked counts them as moved.
func (p *Pacer) Serve(ctx context.Context, c Class, d Direction, pod ident.Pod, n int64, exempt bool) error {
	for c >= Repair && !p.room() {
		if err := clock.Sleep(ctx, p.clock, workLook); err != nil {
			return fmt.Errorf("pace: %s: %w", c, err)
		}
	}
	return p.wait(ctx, c, d, pod, n, exempt, c < Repair)
}

// room says whether another pod's repair may be served. It does not wait for jobs of this pod, which may wait for that one.
func (p *Pacer) room() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	return p.reading.rate(now) < readLeast || p.behind.rate(now) < p.floorRate()
}

func (p *Pacer) wait(ctx context.Context, c Class, d Direction, pod ident.Pod, n int64, exempt, moved bool) error {
	for {
		wait, taken := p.take(c, d, pod, n, exempt, moved)
		if wait > 0 {
			if err := clock.Sleep(ctx, p.clock, min(wait, waitMax)); err != nil {
				return fmt.Errorf("pace: %s: %w", c, err)
			}
		}
		if taken && wait <= waitMax {
			return nil
		}
		if taken { // in advance: what is left of the wait
			if err := clock.Sleep(ctx, p.clock, wait-waitMax); err != nil {
				return fmt.Errorf("pace: %s: %w", c, err)
			}
			return nil
		}
	}
}

// take takes n bytes out of all limits, if they may go, and says how long to wait: before they go, if they were taken, or before the next try.
func (p *Pacer) take(c Class, d Direction, pod ident.Pod, n int64, exempt, moved bool) (wait time.Duration, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	var set []*bucket // limits that were set
	if !exempt {
		set = p.limits(c, d, pod, now)
	}
	for _, b := range set {
		wait = max(wait, b.debt())
	}
	if c != Read && wait > 0 {
		floor, own := p.floorOf(d, now), &p.class[d][c]
		if floor.debt() > 0 || own.debt() > 0 || p.podBucket(pod)[d].debt() > 0 {
			return wait, false
		}
		floor.take(n)
		wait = 0
	}
	for _, b := range set {
		b.take(n)
	}
	if moved {
		p.moved[c] += n
	}
	if c >= Repair {
		p.behind.note(now, n)
	}
	return wait, true
}

func (p *Pacer) floorRate() int64 {
	if p.rates.Floor > 0 {
		return p.rates.Floor
	}
	return DefaultFloor
}

// floorOf is what background work has within limits that users' reads use up: the floor, or a tenth of the limit where that is less.
func (p *Pacer) floorOf(d Direction, now time.Time) *bucket {
	rate := p.floorRate()
	if all := [directions]int64{p.rates.Up, p.rates.Down}[d]; all > 0 {
		rate = min(rate, max(all/10, 1))
	}
	p.floor[d].refill(rate, now)
	return &p.floor[d]
}

// limits are the buckets of limits that are set, as of now.
func (p *Pacer) limits(c Class, d Direction, pod ident.Pod, now time.Time) (set []*bucket) {
	add := func(b *bucket, rate int64) {
		if b.refill(rate, now); rate > 0 {
			set = append(set, b)
		}
	}
	add(&p.all[d], [directions]int64{p.rates.Up, p.rates.Down}[d])
	add(&p.class[d][c], p.rates.Class[c])
	if p.rates.Pod > 0 {
		add(&p.podBucket(pod)[d], p.rates.Pod)
	}
	return set
}

func (p *Pacer) podBucket(pod ident.Pod) *[directions]bucket {
	b := p.pods[pod]
	if b == nil {
		b = new([directions]bucket)
		if p.rates.Pod > 0 {
			p.pods[pod] = b
		}
	}
	return b
}

// bucket is a token bucket: what of a rate was not used, at most that of a second. Below zero it was used in advance.
type bucket struct {
	rate   int64 // bytes a second; 0: no limit
	tokens float64
	at     time.Time
}

// refill brings a bucket to a moment and a rate.
func (b *bucket) refill(rate int64, now time.Time) {
	if b.at.IsZero() || b.rate <= 0 {
		b.tokens = 0 // a limit that begins has nothing saved
	} else if past := now.Sub(b.at); past > 0 {
		b.tokens = min(b.tokens+float64(b.rate)*past.Seconds(), float64(b.rate))
	}
	b.rate, b.at = max(rate, 0), now
}

func (b *bucket) take(n int64) { b.tokens -= float64(n) }

// debt is how long it takes until what was used in advance is made up for.
func (b *bucket) debt() time.Duration {
	if b.tokens >= 0 || b.rate <= 0 {
		return 0
	}
	return time.Duration(-b.tokens / float64(b.rate) * float64(time.Second))
}

// meter measures bytes a second over the last meterWindow: what of this window, and of the one before as far as it reaches into it.
type meter struct {
	begin        time.Time
	now, earlier int64
}

func (m *meter) turn(now time.Time) {
	switch past := now.Sub(m.begin); {
	case past < meterWindow:
	case past < 2*meterWindow:
		m.begin, m.earlier, m.now = m.begin.Add(meterWindow), m.now, 0
	default:
		m.begin, m.earlier, m.now = now, 0, 0
	}
}

func (m *meter) note(now time.Time, n int64) {
	m.turn(now)
	m.now += n
}

func (m *meter) rate(now time.Time) int64 {
	m.turn(now)
	left := max(0, meterWindow-now.Sub(m.begin))
	return m.now + int64(float64(m.earlier)*float64(left)/float64(meterWindow))
}
