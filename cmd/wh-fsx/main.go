//go:build linux

// Command wh-fsx does random operations on mounts and compares what they hold with what they should.
//
// Kinds of runs (-kind, several by commas):
//
//	one      reads, writes, mappings, truncations, holes on one file of one pod
//	large    the same on a file that is so large that it is cut into chunks while it is written
//	through  the same on three pods in turn: a file is closed on one and opened on another, whose cache is too small for it, so
//	         that bytes come from the two others
//	restart  the same on one pod, whose daemon is stopped, or killed after an fsync, every so often
//	model    schedules of -steps operations on names (files, folders, links, renames, modes, owners, attributes), on a mount and on a local
//	         folder; errors and, at the end, both trees must be equal
//
// The seed is printed, and -seed repeats a run of one kind. It drives the wh binary beside it; root and /dev/fuse are needed. With -dir it works in that
// folder and needs no daemon: to try it on another file system.
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
	"strings"
	"syscall"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

// settings are what the flags say.
type settings struct {
	wh, dir         string
	seed            uint64
	ops             int
	limit           time.Duration
	steps, examples int
}

// kinds are the runs, by name.
var kinds = map[string]func(context.Context, *settings) error{
	"one": runOne, "large": runLarge, "through": runThrough, "restart": runRestart, "model": runModel,
}

func main() {
	var s settings
	names := flag.String("kind", "one,large,through,restart,model", "what to run, in this order")
	flag.StringVar(&s.wh, "wh", "", "the wh binary; default: beside this one")
	flag.StringVar(&s.dir, "dir", "", "work in this folder, of any file system, for the kinds one, large and model")
	flag.Uint64Var(&s.seed, "seed", 0, "of the random choices; 0: a new one")
	flag.IntVar(&s.ops, "ops", 100_000, "operations of a run on a file")
	flag.DurationVar(&s.limit, "time", 0, "ends each run earlier; 0: no limit")
	flag.IntVar(&s.steps, "steps", 500, "operations of a schedule of the kind model")
	flag.IntVar(&s.examples, "examples", 100, "schedules of the kind model")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := s.run(ctx, strings.Split(*names, ","))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wh-fsx: error:", err)
		os.Exit(1)
	}
}

func (s *settings) run(ctx context.Context, names []string) error {
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	if s.wh == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		s.wh = filepath.Join(filepath.Dir(self), "wh")
	}
	if s.dir == "" && !fleet.CanMount() {
		return errors.New("needs root and /dev/fuse")
	}
	for _, name := range names {
		f := kinds[name]
		if f == nil {
			return fmt.Errorf("there is no kind %q", name)
		}
		fmt.Fprintf(os.Stderr, "%s: seed %d\n", name, s.seed)
		if err := f(ctx, s); err != nil {
			return fmt.Errorf("%s, seed %d: %w", name, s.seed, err)
		}
	}
	return nil
}

// end is when a run is to end, at the latest.
func (s *settings) end() time.Time {
	if s.limit == 0 {
		return time.Now().AddDate(1, 0, 0)
	}
	return time.Now().Add(s.limit)
}

// network is a number of machines of one network, each with a mount, in a folder of their own.
type network struct {
	dir      string
	machines []*fleet.Machine
}

// newNetwork starts machines.
func (s *settings) newNetwork(ctx context.Context, count int) (*network, error) {
	dir, err := os.MkdirTemp("", "wormhole-fsx-")
	if err != nil {
		return nil, err
	}
	n := &network{dir: dir}
	for i := range count {
		name := fmt.Sprintf("pod%d", i)
		m := &fleet.Machine{Name: name, WH: s.wh, Home: filepath.Join(dir, name), Mount: filepath.Join(dir, name+".mnt")}
		if i == 0 {
			err = m.Init(ctx, "fsx")
		} else {
			err = m.Join(ctx, n.machines[0])
		}
		n.machines = append(n.machines, m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// close checks the pods, stops the machines and, if all went well, removes what they left.
func (n *network) close(ctx context.Context, failed error) error {
	if n == nil {
		return failed
	}
	errs := []error{failed}
	for _, m := range n.machines {
		if failed == nil {
			_, err := m.Run(ctx, "fsck") // reads all that a long run has left: minutes, perhaps
			errs = append(errs, err)
		}
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		errs = append(errs, m.Stop(stopping))
		cancel()
	}
	if err := errors.Join(errs...); err != nil {
		return errors.Join(err, fmt.Errorf("what happened is left in %s", n.dir))
	}
	return os.RemoveAll(n.dir)
}
