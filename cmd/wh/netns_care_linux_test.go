package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	careBytes = flag.Int64("care", 0, "TestNetnsCare: bytes that its pods keep; 0: a few, and one pod is killed, no more")
	careFlaps = flag.Duration("care-flaps", time.Minute, "TestNetnsCare: how long a pod flaps, with -care")
)

// What nine pods under rs:4+2 promise when pods go.
const (
	carePods   = 9
	careShort  = 24 << 20
	careLarge  = 32  // files at most that are cut
	careExcess = 1.1 // of the bytes that must go to make again what was lost, at most
	careLooks  = 200 // files at most of which it is seen to that they are whole
	careWithin = 30 * time.Minute
	careWrites = 600 * time.Millisecond // between two writes of the load
)

// careRules have pods given up after seconds; careLong while they may be away for as long as a restart takes.
var (
	careRules = map[string]string{"suspect": "1s", "down": "2s", "repair": "3s", "out": "4s", "lower": "1ms"}
	careLong  = map[string]string{"repair": "5m", "out": "10m"}
)

// TestNetnsCare breaks if reads or writes fail while pods of nine are killed, if what they held is not made again by itself or with more bytes than it needs, if restarts that
// are over in time have anything made again, or if a pod that comes and goes has more made again than it holds, each time.
func TestNetnsCare(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	c := newCare(t, carePods)
	c.start(4, 2)
	load := c.load(true)
	c.gone("one is killed for good", c.hosts[8])
	if *careBytes > 0 {
		c.gone("two are killed at once", c.hosts[6], c.hosts[7])
		c.back(c.hosts[6:]...)
		c.rolling()
		c.flapping("shorter than repair", 2*time.Second, careLong)
		c.flapping("longer than repair", 8*time.Second, careRules)
	}
	load.end()
}

// care is pods that keep files, and what is known of them.
type care struct {
	t     *testing.T
	hosts []*netnsHost
	busy  map[*netnsHost]*sync.RWMutex // read-locked by who uses the host, locked while it is stopped
	off   map[*netnsHost]bool
	k, m  int // of the policy rs:K+M; K is 0 for M+1 whole copies

	mu    sync.Mutex // guards the fields below
	files []careFile
}

// careFile is a file of noise.
type careFile struct {
	path    string
	seed    uint64
	bytes   int
	written time.Time // when it was closed; zero: it was there from the start
}

// late is 1 for a file that the load wrote.
func (f careFile) late() int {
	if f.written.IsZero() {
		return 0
	}
	return 1
}

func (f careFile) data() []byte {
	var seed [32]byte
	copy(seed[:], fmt.Sprint(f.seed))
	b := make([]byte, f.bytes)
	_, _ = rand.NewChaCha8(seed).Read(b) // it never fails
	return b
}

// newCare makes a network of n pods.
func newCare(t *testing.T, n int) *care {
	t.Helper()
	c := &care{t: t, hosts: netnsLAN(t, n), busy: map[*netnsHost]*sync.RWMutex{}, off: map[*netnsHost]bool{}}
	for _, h := range c.hosts {
		c.busy[h], c.off[h] = &sync.RWMutex{}, true
	}
	return c
}

// start has all pods run and the first of them add files, which are whole then.
func (c *care) start(k, m int) {
	c.t.Helper()
	c.joined(c.hosts...)
	c.policy(k, m)
	c.rules(careRules)
	c.add()
	c.whole()
}

// joined has pods run, and waits until they see each other.
func (c *care) joined(hosts ...*netnsHost) {
	c.t.Helper()
	a := c.hosts[0]
	for _, h := range hosts {
		if h == a {
			a.must("init", "lan", "--name", "a")
			a.up()
		} else {
			h.joins(a)
		}
		delete(c.off, h)
		h.must("mount", h.home+".mnt", "--save")
		h.must("cache", "set", "1MiB") // what is read comes from others
	}
	for _, h := range hosts {
		h.eventually("it sees the others", func() error { // those that joined before, too
			if n, err := h.pods("up"); err != nil || n < len(hosts) {
				return fmt.Errorf("%d up: %w", n, err)
			}
			return nil
		})
	}
}

// add adds files at the first pod, and returns when they are safe.
func (c *care) add() {
	c.t.Helper()
	a, dir, total, one := c.hosts[0], filepath.Join(c.t.TempDir(), "kept"), max(*careBytes, careShort), max(*careBytes/careLarge, 8<<20)
	if err := os.Mkdir(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	for i := 0; total > 0; i++ {
		f := careFile{path: fmt.Sprintf("/kept/%d", i), seed: uint64(i), bytes: int(one)}
		if i%4 > 0 {
			f.bytes = 2000 << (i % 4) // small ones are not cut
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), f.data(), 0o600); err != nil {
			c.t.Fatal(err)
		}
		c.files, total = append(c.files, f), total-int64(f.bytes)
	}
	begin := time.Now()
	a.must("add", dir)
	a.must("mkdir", "/load")
	a.must("sync", "--wait", "--timeout", careWithin.String())
	if err := os.RemoveAll(dir); err != nil {
		c.t.Fatal(err)
	}
	c.t.Logf("%d files are safe after %s", len(c.files), time.Since(begin).Round(time.Second))
}

// policy sets the policy of all files: rs:K+M, or with K 0 replica:M+1.
func (c *care) policy(k, m int) {
	c.t.Helper()
	policy := fmt.Sprintf("rs:%d+%d", k, m)
	if k == 0 {
		policy = fmt.Sprintf("replica:%d", m+1)
	}
	c.hosts[0].must("policy", "set", "/", policy)
	c.k, c.m = k, m
}

// rules sets rules of the network.
func (c *care) rules(rules map[string]string) {
	c.t.Helper()
	for key, value := range rules {
		c.hosts[0].must("config", "set", "--network", key, value)
	}
}

// careLoad reads and writes until it is ended.
type careLoad struct {
	c         *care
	stop      chan struct{}
	work      sync.WaitGroup
	writes    int // of the goroutine that writes
	reads     int // of the one that reads, as is bytesRead
	bytesRead int64
	slowest   time.Duration // guarded by c.mu
}

// load has files read through the mounts of all pods that are up and by wh cat, and with writes set also written.
func (c *care) load(writes bool) *careLoad {
	l := &careLoad{c: c, stop: make(chan struct{})}
	if writes {
		l.work.Go(func() { l.loop(careWrites, l.write) })
	}
	l.work.Go(func() { l.loop(0, l.read) })
	c.t.Cleanup(l.finish)
	return l
}

// loop does something again and again; each failure fails the test.
func (l *careLoad) loop(pause time.Duration, f func(n int) error) {
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		case <-time.After(pause):
		}
		begin := time.Now()
		if err := f(n); err != nil {
			l.c.t.Errorf("under load: %v", err)
		}
		l.c.mu.Lock()
		l.slowest = max(l.slowest, time.Since(begin))
		l.c.mu.Unlock()
	}
}

// use runs f on a host that is up and stays so.
func (c *care) use(f func(h *netnsHost) error) error {
	for {
		h := c.hosts[rand.IntN(len(c.hosts))]
		if !c.busy[h].TryRLock() {
			continue
		}
		err := f(h)
		c.busy[h].RUnlock()
		if err != nil {
			return fmt.Errorf("on %s: %w", h.name(), err)
		}
		return nil
	}
}

// inside is where the daemon of a host sees a file of its mount: its network namespace is also one of mounts.
func (h *netnsHost) inside(path string) string {
	return fmt.Sprintf("/proc/%d/root%s.mnt%s", h.daemon.Process.Pid, h.home, path)
}

// write makes a file and syncs it.
func (l *careLoad) write(n int) error {
	f := careFile{path: fmt.Sprintf("/load/%d", n), seed: uint64(1000_000 + n), bytes: 40_000 << (n % 3)}
	err := l.c.use(func(h *netnsHost) error {
		out, err := os.Create(h.inside(f.path))
		if err != nil {
			return err
		}
		_, err = out.Write(f.data())
		return errors.Join(err, out.Sync(), out.Close())
	})
	f.written = time.Now()
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.c.files = append(l.c.files, f)
	l.writes++
	return err
}

// read compares a file.
func (l *careLoad) read(n int) error {
	l.c.mu.Lock()
	f := l.c.files[rand.IntN(len(l.c.files))]
	l.c.mu.Unlock()
	if time.Since(f.written) < 2*time.Second {
		return nil // it may be on its way to the others
	}
	return l.c.use(func(h *netnsHost) error {
		var got []byte
		var err error
		if n%4 == 0 {
			var out string
			out, err = h.run("cat", f.path)
			got = []byte(out)
		} else {
			got, err = os.ReadFile(h.inside(f.path))
		}
		if err == nil && !bytes.Equal(got, f.data()) {
			err = fmt.Errorf("%s has %d other bytes", f.path, len(got))
		}
		l.reads++
		l.bytesRead += int64(len(got))
		return err
	})
}

func (l *careLoad) finish() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.work.Wait()
}

// end ends the load and tells of it.
func (l *careLoad) end() {
	l.finish()
	l.c.t.Logf("load: %d files were written and synced, %d files (%d bytes) read and compared, none failed; the slowest took %s", l.writes, l.reads, l.bytesRead,
		l.slowest.Round(time.Millisecond))
	if l.reads == 0 {
		l.c.t.Error("there was no load")
	}
}

// up are the hosts whose daemons run.
func (c *care) up() []*netnsHost {
	return slices.DeleteFunc(slices.Clone(c.hosts), func(h *netnsHost) bool { return c.off[h] })
}

// known are the files that were written until a moment.
func (c *care) known(until time.Time) []careFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.files), func(f careFile) bool { return f.written.After(until) })
}

// lost is how many bytes must go to make again what hosts hold of files: those of a whole copy for one, and for a fragment K others, which are as many as the chunk has.
func (c *care) lost(files []careFile, dead ...*netnsHost) (held, must int64) {
	c.t.Helper()
	seen := map[string]bool{}
	for _, f := range files {
		for _, chunk := range c.hosts[0].where(f.path).Chunks {
			if seen[chunk.CID] {
				continue
			}
			seen[chunk.CID] = true
			for _, o := range chunk.Holders {
				if !slices.ContainsFunc(dead, func(h *netnsHost) bool { return h.name() == o.Pod }) {
					continue
				}
				switch o.Kind {
				case "cached":
				case "fragment":
					held, must = held+chunk.Bytes/int64(c.k), must+chunk.Bytes
				default:
					held, must = held+chunk.Bytes, must+chunk.Bytes
				}
			}
		}
	}
	return held, must
}

// moved is how many bytes went for repair since the daemons of hosts started.
func (c *care) moved(hosts ...*netnsHost) (sum int64) {
	c.t.Helper()
	for _, h := range hosts {
		sum += c.movedAt(h)
	}
	return sum
}

// came is how many bytes came to hosts by cable since they were made, whatever for.
func (c *care) came(hosts ...*netnsHost) (sum int64) {
	c.t.Helper()
	for _, h := range hosts {
		text, err := exec.Command("ip", "netns", "exec", h.ns, "cat", "/sys/class/net/eth0/statistics/rx_bytes").Output()
		if err != nil {
			c.t.Fatal(err)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			c.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

func (c *care) movedAt(h *netnsHost) int64 {
	c.t.Helper()
	var r struct {
		Moved int64 `json:"moved_bytes"`
	}
	if err := json.Unmarshal([]byte(h.must("repair", "--json")), &r); err != nil {
		c.t.Fatal(err)
	}
	return r.Moved
}

// whole waits until all files are as the policy wants them, on pods that are up.
func (c *care) whole(but ...string) {
	c.t.Helper()
	c.hosts[0].eventuallyWithin(careWithin, "all is whole", func() error {
		files := c.known(time.Now().Add(-time.Second))
		rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		slices.SortStableFunc(files, func(a, b careFile) int { return a.late() - b.late() }) // those that were there from the start are first
		for _, f := range files[:min(len(files), careLooks)] {
			if err := c.isWhole(f, but); err != nil {
				return err
			}
		}
		return nil
	})
}

// isWhole says why a file is not whole without some pods.
func (c *care) isWhole(f careFile, but []string) error {
	w := c.hosts[0].where(f.path)
	for _, chunk := range w.Chunks {
		pods, indexes, copies := map[string]bool{}, map[int]bool{}, 0
		for _, o := range chunk.Holders {
			switch {
			case slices.Contains(but, o.Pod), o.Kind == "cached":
			case o.Kind == "fragment":
				pods[o.Pod], indexes[o.Index] = true, true
			default:
				copies++
			}
		}
		if n := c.k + c.m; copies < c.m+1 && (c.k == 0 || len(pods) < n || len(indexes) < n) {
			return fmt.Errorf("%s: %s of %d bytes: %d copies, %d fragments on %d pods", f.path, chunk.CID, chunk.Bytes, copies, len(indexes), len(pods))
		}
	}
	if !w.Safe {
		return fmt.Errorf("%s is not safe", f.path)
	}
	return nil
}

// stopped stops hosts in some way, when nobody uses them.
func (c *care) stopped(stop func(*netnsHost), hosts ...*netnsHost) {
	for _, h := range hosts {
		c.busy[h].Lock()
	}
	for _, h := range hosts {
		stop(h)
		c.off[h] = true
	}
}

// starts starts a host that was stopped.
func (c *care) starts(h *netnsHost) {
	c.t.Helper()
	h.up()
	known := c.known(time.Now())
	h.eventually("it has caught up", func() error { _, err := h.run("stat", known[len(known)-1].path); return err })
	delete(c.off, h)
	c.busy[h].Unlock()
}

// back starts hosts that were stopped, and waits until all see all.
func (c *care) back(hosts ...*netnsHost) {
	c.t.Helper()
	for _, h := range hosts {
		c.starts(h)
	}
	for _, h := range c.up() {
		h.seesUp(len(c.up()))
	}
}

// gone kills hosts and waits until all is whole without them.
func (c *care) gone(what string, dead ...*netnsHost) {
	c.t.Helper()
	left := slices.DeleteFunc(c.up(), func(h *netnsHost) bool { return slices.Contains(dead, h) })
	before, begin := c.moved(left...), time.Now()
	files := c.known(begin)
	held, must := c.lost(files, dead...)
	came := c.came(left...)
	killed := time.Now()
	c.stopped(func(h *netnsHost) { kill(h) }, dead...)
	var but []string
	for _, h := range c.hosts {
		if c.off[h] {
			but = append(but, h.name())
		}
	}
	c.whole(but...)
	took := time.Since(killed)
	moved, came := c.moved(left...)-before, c.came(left...)-came
	// What was written while the dead were not known to be down lacks their part, too.
	var late int64
	for _, f := range c.known(killed.Add(5 * time.Second)) {
		if f.written.After(begin.Add(-2 * time.Second)) {
			late += int64(f.bytes)
		}
	}
	c.t.Logf("%s: they held %d bytes of %d files; whole again after %s; %d bytes went for it, %.3f of the %d that must, %d for what was written meanwhile not counted; %d came by cable", what, held, len(files),
		took.Round(100*time.Millisecond), moved, float64(moved)/float64(must), must, late, came)
	if most := int64(careExcess*float64(must)) + late; moved > most {
		c.t.Errorf("%s: %d bytes went for repair, want %d at most", what, moved, most)
	}
	if moved == 0 {
		c.t.Errorf("%s: nothing was made again", what)
	}
}

// rolling restarts all, one after the other, each back in time.
func (c *care) rolling() {
	c.t.Helper()
	c.rules(careLong)
	c.whole()
	kept := slices.DeleteFunc(c.known(time.Now()), func(f careFile) bool { return !f.written.IsZero() })
	before, begin := c.places(kept), time.Now()
	var moved int64
	for _, h := range c.hosts {
		others := slices.DeleteFunc(c.up(), func(o *netnsHost) bool { return o == h })
		moved -= c.moved(others...)
		c.stopped(func(h *netnsHost) {
			h.must("down")
			_ = h.daemon.Wait() // it was told to
		}, h)
		c.back(h)
		moved += c.moved(c.up()...)
	}
	took := time.Since(begin)
	c.whole()
	var late int64
	for _, f := range c.known(time.Now()) {
		if f.written.After(begin.Add(-2 * time.Second)) {
			late += int64(f.bytes)
		}
	}
	c.t.Logf("a rolling restart of all in %s: %d bytes went for repair, while %d were written", took.Round(time.Second), moved, late)
	if moved > late {
		c.t.Errorf("%d bytes went for repair, and only %d were written meanwhile", moved, late)
	}
	if after := c.places(kept); before != after {
		c.t.Errorf("a rolling restart moves things:\n%s\n%s", before, after)
	}
}

// places tells where the chunks of files are. Nodes, which nobody gives up, are left out.
func (c *care) places(files []careFile) string {
	var all []string
	for _, f := range files {
		for _, chunk := range c.hosts[0].where(f.path).Chunks {
			for _, o := range chunk.Holders {
				if o.Kind != "cached" && !strings.HasPrefix(chunk.CID, nodeCID) {
					all = append(all, fmt.Sprintf("%s %s %d on %s", chunk.CID, o.Kind, o.Index, o.Pod))
				}
			}
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "\n")
}

// flapping has a pod come and go, away and there for some time each.
func (c *care) flapping(what string, each time.Duration, rules map[string]string) {
	c.t.Helper()
	c.rules(rules)
	c.whole()
	h := c.hosts[5]
	others := slices.DeleteFunc(c.up(), func(o *netnsHost) bool { return o == h })
	_, must := c.lost(c.known(time.Now()), h)
	before, begin, flaps, own := c.moved(others...), time.Now(), 0, int64(0)
	for ; time.Since(begin) < *careFlaps; flaps++ {
		c.stopped(func(h *netnsHost) { kill(h) }, h)
		time.Sleep(each)
		c.starts(h)
		time.Sleep(each)
		own += c.movedAt(h)
	}
	c.whole()
	moved := c.moved(others...) - before + own
	var late int64
	for _, f := range c.known(time.Now()) {
		if f.written.After(begin.Add(-2 * time.Second)) {
			late += int64(f.bytes)
		}
	}
	c.t.Logf("a pod flaps %d times in %s, away and there for %s each, %s: %d bytes went for repair, %.3f times what it takes to make again what it has once; %d were written meanwhile",
		flaps, time.Since(begin).Round(time.Second), each, what, moved, float64(moved)/float64(must), late)
	most := late
	if each > 4*time.Second {
		most += int64(careExcess * float64(flaps) * float64(must))
	}
	if moved > most {
		c.t.Errorf("a flapping pod: %d bytes went for repair, want %d at most", moved, most)
	}
}
