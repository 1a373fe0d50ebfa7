// Command wh-crash kills the daemon with SIGKILL at random moments while programs write through its mount, starts it
// again, and checks that nothing that was acknowledged (fsync, or wh add, returned) is missing or wrong, and that fsck is clean.
//
// The programs save files as editors do, write big ones, overwrite pages in place, fill and rename folders, truncate and append,
// and run wh add. What they were told is safe is read back through the same mount point, with the pods' files out of the page cache. One more
// program has a file open all the time: its descriptor must say ENOTCONN after the kill, and the file must be there by a new open.
//
// It tells how long the daemon took to be mounted again, and with -within fails if that was too long. It fails, too, if nothing was being written when it killed. It drives the wh binary beside it; root and /dev/fuse are needed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

func main() {
	c := &crash{}
	flag.StringVar(&c.wh, "wh", "", "the wh binary; default: beside this one")
	flag.IntVar(&c.rounds, "rounds", 20, "how often it kills")
	flag.IntVar(&c.pods, "pods", 1, "pods of the network; the first is killed")
	flag.IntVar(&c.writers, "writers", len(kinds), "programs that write at once, of each kind in turn")
	flag.DurationVar(&c.load, "load", 600*time.Millisecond, "how long they write in a round, at most")
	flag.IntVar(&c.fsckEvery, "fsck", 10, "rounds from one wh fsck to the next; the last round has one")
	flag.DurationVar(&c.within, "within", 0, "how long the daemon may take from its start to its mount; 0: any time")
	flag.Uint64Var(&c.seed, "seed", 0, "of the random choices; 0: a new one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := c.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wh-crash: error:", err)
		os.Exit(1)
	}
}

// crash is a run.
type crash struct {
	wh            string
	rounds        int
	pods, writers int
	seed          uint64
	load          time.Duration
	fsckEvery     int
	within        time.Duration
	ups           []time.Duration // how long each start took
	dir           string
	machines      []*fleet.Machine
}

func (c *crash) run(ctx context.Context) (err error) {
	if !fleet.CanMount() {
		return errors.New("needs root and /dev/fuse")
	}
	if c.wh == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		c.wh = filepath.Join(filepath.Dir(self), "wh")
	}
	if c.seed == 0 {
		c.seed = rand.Uint64()
	}
	fmt.Fprintf(os.Stderr, "seed %d\n", c.seed)
	if c.dir, err = os.MkdirTemp("", "wormhole-crash-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.cleanUp(context.WithoutCancel(ctx), err == nil)) }()
	for i := range c.pods {
		m := &fleet.Machine{Name: fmt.Sprintf("pod%d", i), WH: c.wh, Home: filepath.Join(c.dir, fmt.Sprintf("pod%d", i))}
		if i == 0 {
			m.Mount = filepath.Join(c.dir, "mnt")
			err = m.Init(ctx, "crash")
		} else {
			err = m.Join(ctx, c.machines[0])
		}
		c.machines = append(c.machines, m)
		if err != nil {
			return err
		}
	}
	rnd := rand.New(rand.NewPCG(c.seed, 0))
	writers := c.newWriters(rnd)
	begin, acknowledged := time.Now(), 0
	for round := range c.rounds {
		load := min(c.load, 50*time.Millisecond) + time.Duration(rnd.Int64N(int64(max(c.load-50*time.Millisecond, 1))))
		fsck := (round+1)%max(c.fsckEvery, 1) == 0 || round == c.rounds-1
		n, err := c.round(ctx, writers, round, load, fsck)
		if err != nil {
			return fmt.Errorf("round %d of seed %d: %w", round+1, c.seed, err)
		}
		acknowledged += n
		if fsck {
			fmt.Fprintf(os.Stderr, "%d rounds in %s, %d steps acknowledged\n", round+1, time.Since(begin).Round(time.Second), acknowledged)
		}
	}
	slices.Sort(c.ups)
	fmt.Printf("%d kills, %d pods, %d programs, %d steps acknowledged, none missing or wrong, in %s; mounted again after %s in the middle, %s at most\n",
		c.rounds, c.pods, len(writers), acknowledged, time.Since(begin).Round(time.Second),
		c.ups[len(c.ups)/2].Round(time.Millisecond), c.ups[len(c.ups)-1].Round(time.Millisecond))
	return nil
}

// newWriters makes the programs.
func (c *crash) newWriters(rnd *rand.Rand) []writer {
	m := c.machines[0]
	var out []writer
	for i := range c.writers {
		kind := kinds[i%len(kinds)]
		name := fmt.Sprintf("%s-%d", kind.name, i)
		out = append(out, kind.make(place{
			dir: filepath.Join(m.Mount, name), outside: filepath.Join(c.dir, "sources", name), rnd: rand.New(rand.NewPCG(rnd.Uint64(), uint64(i))),
			wh: func(ctx context.Context, args ...string) error {
				_, err := m.Run(ctx, args...)
				return err
			},
		}))
	}
	return out
}

// round writes for a while, kills, starts again, checks. It returns how many writes were acknowledged.
func (c *crash) round(ctx context.Context, writers []writer, number int, after time.Duration, fsck bool) (int, error) {
	m := c.machines[0]
	open, err := hold(m.Mount, number)
	if err != nil {
		return 0, err
	}
	load, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan int, len(writers))
	for _, w := range writers {
		go func() { done <- w.write(load) }()
	}
	select {
	case <-time.After(after):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := m.Kill(); err != nil {
		return 0, err
	}
	stop()
	acknowledged, inFlight := 0, 0
	for range writers {
		acknowledged += <-done
	}
	for _, w := range writers {
		if w.pending() != "" {
			inFlight++
		}
	}
	if inFlight == 0 {
		return 0, errors.New("nothing was being written when the daemon was killed: the round proves nothing")
	}
	if err := coldFiles(m.Home); err != nil {
		return 0, err
	}
	if err := open.dead(false); err != nil {
		return 0, err
	}
	if err := c.up(ctx); err != nil {
		return 0, err
	}
	errs := make([]error, len(writers), len(writers)+2)
	var checks sync.WaitGroup
	for i, w := range writers {
		checks.Go(func() { errs[i] = w.check() })
	}
	checks.Wait()
	errs = append(errs, open.check())
	if fsck {
		_, err := m.Run(ctx, "fsck")
		errs = append(errs, err)
	}
	return acknowledged, errors.Join(errs...)
}

// up starts the daemon that was killed, on the same mount point.
func (c *crash) up(ctx context.Context) error {
	begin := time.Now()
	if err := c.machines[0].Up(ctx); err != nil {
		return err
	}
	took := time.Since(begin)
	c.ups = append(c.ups, took)
	if c.within > 0 && took > c.within {
		return fmt.Errorf("mounted again after %s, not within %s", took, c.within)
	}
	return nil
}

func (c *crash) cleanUp(ctx context.Context, remove bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	for _, m := range c.machines {
		errs = append(errs, m.Stop(ctx))
	}
	if err := errors.Join(errs...); err != nil || !remove {
		return errors.Join(err, fmt.Errorf("what happened is left in %s", c.dir))
	}
	return os.RemoveAll(c.dir)
}
