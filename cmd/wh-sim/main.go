// Command wh-sim runs simulations of many pods, by seed (pkg/sim).
//
//	wh-sim -seed N              one, with a log of what happened
//	wh-sim -seeds A:B           all from A up to, but not with, B; stops at the first that fails
//	wh-sim -seeds A:B -progress FILE    the same, and goes on where the last run with this file ended
//	wh-sim -time 30s            new ones for some time
//
// With -kind stack the pods are whole ones, in a virtual time; with -kind state, which is the default, their states alone; with -kind placement the logic alone that says which pods hold what.
//
// Exit code 0: no oracle found anything. 1: one did, and its seed is printed. 2: a bad command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/sim"
)

// progressEvery is how often the last good seed is told.
const progressEvery = 10 * time.Second

var errUsage = errors.New("bad command line; see -help")

func main() {
	args := os.Args[1:]
	os.Args = os.Args[:1]
	inTest(func(t *testing.T) {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err := run(ctx, t, args, os.Stdout, os.Stderr)
		stop()
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			os.Exit(0)
		case errors.Is(err, errUsage):
			fmt.Fprintf(os.Stderr, "wh-sim: error: %v\n", err)
			os.Exit(2)
		}
		fmt.Fprintf(os.Stderr, "wh-sim: error: %v\n", err)
		os.Exit(1)
	})
}

// inTest runs f as a test: there is virtual time (testing/synctest) in tests alone.
func inTest(f func(t *testing.T)) {
	all := func(_, _ string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "simulation", F: f}}, nil, nil)
}

// Kinds of simulations.
const (
	kindState     = "state"
	kindStack     = "stack"
	kindPlacement = "placement"
)

// command is what the command line asks for.
type command struct {
	kind     string
	simulate sim.Simulation
	seed     string
	seeds    string
	limit    time.Duration
	jobs     int
	progress string
	keep     string
	out, log io.Writer
}

func run(ctx context.Context, t *testing.T, args []string, out, log io.Writer) (err error) {
	c := command{out: out, log: log}
	flags := flag.NewFlagSet("wh-sim", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.StringVar(&c.kind, "kind", kindState, "what is simulated: state, stack or placement")
	flags.StringVar(&c.seed, "seed", "", "run this one, and tell what happens")
	flags.StringVar(&c.seeds, "seeds", "", "run these, A:B, without B")
	flags.DurationVar(&c.limit, "time", 0, "end after this time; alone: new seeds until then")
	flags.IntVar(&c.jobs, "jobs", runtime.NumCPU(), "how many at a time")
	flags.StringVar(&c.progress, "progress", "", "file that holds how far the range is, so that a later run goes on there")
	flags.StringVar(&c.keep, "keep", "", "folder that gets the seed that fails, in a file for its kind")
	if err := flags.Parse(args); err != nil {
		return errors.Join(errUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: %w", flags.Args(), errUsage)
	}
	switch c.kind {
	case kindState:
		c.simulate = sim.RunState
	case kindPlacement:
		c.simulate = sim.RunPlacement
	case kindStack:
		fleet, failed := newFleet(ctx)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, fleet.Remove()) }()
		c.simulate, c.jobs = inBubble(t, fleet), 1 // its pods use all processors
	default:
		return fmt.Errorf("-kind %s: %w", c.kind, errUsage)
	}
	if c.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.limit)
		defer cancel()
	}
	if c.seed != "" {
		return c.one(ctx)
	}
	return c.many(ctx)
}

// newFleet makes the pods with which simulations of the stack begin.
func newFleet(ctx context.Context) (*sim.Fleet, error) {
	dir, err := os.MkdirTemp("", "wh-sim-")
	if err != nil {
		return nil, err
	}
	fleet, err := sim.NewFleet(ctx, dir, sim.FleetSize)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return fleet, nil
}

// inBubble runs simulations of the stack, each in a time of its own.
func inBubble(t *testing.T, fleet *sim.Fleet) sim.Simulation {
	return func(ctx context.Context, seed uint64, trace *sim.Trace) (err error) {
		synctest.Test(t, func(*testing.T) {
			within, cancel := context.WithCancel(context.WithoutCancel(ctx)) // one of the bubble
			defer cancel()
			err = sim.RunStack(within, fleet, seed, trace)
		})
		return err
	}
}

// one runs one seed with its log.
func (c *command) one(ctx context.Context) error {
	seed, err := strconv.ParseUint(c.seed, 10, 64)
	if err != nil || c.seeds != "" {
		return fmt.Errorf("-seed %s: %w", c.seed, errUsage)
	}
	begin := time.Now()
	if err := c.simulate(ctx, seed, sim.NewTrace(c.out)); err != nil {
		return fmt.Errorf("%s seed %d: %w", c.kind, seed, err)
	}
	_, err = fmt.Fprintf(c.log, "%s seed %d is good: %v\n", c.kind, seed, time.Since(begin).Round(time.Millisecond))
	return err
}

// parse is the range that is asked for.
func (c *command) parse() (first, end uint64, err error) {
	if c.seeds == "" {
		if c.limit == 0 {
			return 0, 0, fmt.Errorf("one of -seed, -seeds and -time is needed: %w", errUsage)
		}
		return uint64(time.Now().UnixNano()) % 1e12, math.MaxUint64, nil
	}
	a, b, ok := strings.Cut(c.seeds, ":")
	first, errA := strconv.ParseUint(a, 10, 64)
	end, errB := strconv.ParseUint(b, 10, 64)
	if !ok || errA != nil || errB != nil || first > end {
		return 0, 0, fmt.Errorf("-seeds %s: %w", c.seeds, errUsage)
	}
	if c.progress == "" {
		return first, end, nil
	}
	text, err := os.ReadFile(c.progress)
	if errors.Is(err, fs.ErrNotExist) {
		return first, end, nil
	}
	if err != nil {
		return 0, 0, err
	}
	at, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", c.progress, err)
	}
	return min(max(first, at), end), end, nil
}

// many runs a range of seeds.
func (c *command) many(ctx context.Context) error {
	first, end, err := c.parse()
	if err != nil {
		return err
	}
	begin, told, good := time.Now(), time.Now(), first
	var progressErr error
	tell := func(now uint64) {
		if good = now; time.Since(told) > progressEvery {
			told = time.Now()
			progressErr = errors.Join(progressErr, c.tell(first, good, begin))
		}
	}
	failed, err := sim.RunRange(ctx, c.simulate, first, end, c.jobs, tell)
	progressErr = errors.Join(progressErr, c.tell(first, good, begin))
	if err != nil {
		return errors.Join(fmt.Errorf("%s seed %d: %w", c.kind, failed, err), progressErr, c.remember(failed, err))
	}
	if good < end && c.limit == 0 {
		progressErr = errors.Join(progressErr, context.Cause(ctx))
	}
	return progressErr
}

// tell says how far the range is.
func (c *command) tell(first, good uint64, begin time.Time) error {
	if good == first {
		_, err := fmt.Fprintf(c.log, "%s: no seed from %d on has ended yet\n", c.kind, first)
		return err
	}
	_, err := fmt.Fprintf(c.log, "%s: %d seeds are good, the last one is %d; %v\n", c.kind, good-first, good-1, time.Since(begin).Round(time.Second))
	if c.progress != "" {
		err = errors.Join(err, os.WriteFile(c.progress, fmt.Appendf(nil, "%d\n", good), 0o644))
	}
	return err
}

// remember keeps a seed that failed, for the test that replays them.
func (c *command) remember(seed uint64, why error) error {
	if c.keep == "" {
		return nil
	}
	name := filepath.Join(c.keep, c.kind+".txt")
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(why.Error(), "\n")
	_, err = fmt.Fprintf(f, "%d %s\n", seed, line)
	return errors.Join(err, f.Sync(), f.Close())
}
