//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

const (
	fileName     = "exercised"
	turnOps      = 300       // operations from one pod's turn to the next, about
	restartOps   = 4000      // operations from one restart to the next, about
	smallCache   = 512 << 10 // bytes: less than the file
	progressOps  = 100_000   // from one line that tells how far it is to the next
	visibleLimit = time.Minute
)

// runOne exercises a file on one pod.
func runOne(ctx context.Context, s *settings) error {
	return s.runFile(ctx, func(*exerciser) {})
}

// runLarge exercises a file that is so large that it is cut behind its writer.
func runLarge(ctx context.Context, s *settings) error {
	return s.runFile(ctx, func(x *exerciser) { x.max, x.piece = largeMax, largePieceMax })
}

// runFile exercises a file on one pod, or in -dir.
func (s *settings) runFile(ctx context.Context, change func(*exerciser)) (err error) {
	dir := s.dir
	if dir == "" {
		n, startErr := s.newNetwork(ctx, 1)
		if startErr != nil {
			return n.close(ctx, startErr)
		}
		dir = n.machines[0].Mount
		defer func() { err = n.close(ctx, err) }()
	}
	x := newExerciser(filepath.Join(dir, fileName), s.seed)
	change(x)
	return s.exercise(ctx, x, func(*exerciser) error { return nil })
}

// exercise does operations until there were enough. between is called between any two.
func (s *settings) exercise(ctx context.Context, x *exerciser, between func(*exerciser) error) error {
	begin, end := time.Now(), s.end()
	for x.done < s.ops && time.Now().Before(end) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.step(); err != nil {
			return err
		}
		if err := between(x); err != nil {
			return x.failure("between", err)
		}
		if x.done%progressOps == 0 {
			fmt.Fprintf(os.Stderr, "%d operations in %s\n", x.done, time.Since(begin).Round(time.Second))
		}
	}
	if err := errors.Join(x.close(), x.whole()); err != nil {
		return x.failure("at the end", err)
	}
	fmt.Printf("%d operations in %s, no difference\n", x.done, time.Since(begin).Round(time.Second))
	return os.Remove(x.path)
}

// runRestart exercises a file on a pod whose daemon is stopped and started, or killed.
func runRestart(ctx context.Context, s *settings) (err error) {
	n, err := s.newNetwork(ctx, 1)
	if err != nil {
		return n.close(ctx, err)
	}
	defer func() { err = n.close(ctx, err) }()
	m := n.machines[0]
	rnd := rand.New(rand.NewPCG(s.seed, 2))
	stops, kills := 0, 0
	err = s.exercise(ctx, newExerciser(filepath.Join(m.Mount, fileName), s.seed), func(x *exerciser) error {
		if rnd.IntN(restartOps) > 0 {
			return nil
		}
		if rnd.IntN(2) == 0 {
			stops++
			x.note("stop and start")
			if err := errors.Join(x.close(), m.Stop(ctx)); err != nil {
				return err
			}
		} else {
			kills++
			x.note("fsync, kill and start")
			if err := errors.Join(x.f.Sync(), m.Kill()); err != nil {
				return err
			}
			_ = x.close() // of a daemon that is gone
		}
		if err := m.Up(ctx); err != nil {
			return err
		}
		return x.whole()
	})
	fmt.Fprintf(os.Stderr, "%d stops, %d kills\n", stops, kills)
	return err
}

// runThrough exercises a file on three pods in turn. The last one keeps nothing for others and has a small cache: it writes seldom, and reads what the others
// wrote.
func runThrough(ctx context.Context, s *settings) (err error) {
	n, err := s.newNetwork(ctx, 3)
	if err != nil {
		return n.close(ctx, err)
	}
	defer func() { err = n.close(ctx, err) }()
	if err := n.evicting(ctx, n.machines[2]); err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(s.seed, 2))
	x := newExerciser(n.path(0), s.seed)
	turns := 0
	return s.exercise(ctx, x, func(*exerciser) error {
		if rnd.IntN(turnOps) > 0 {
			return nil
		}
		turns++
		if err := n.settled(ctx, x); err != nil {
			return err
		}
		for i := range n.machines {
			if i == 2 || rnd.IntN(4) == 0 {
				if err := x.wholeAt(n.path(i)); err != nil {
					return fmt.Errorf("%s, turn %d: %w", n.machines[i].Name, turns, err)
				}
			}
		}
		next := rnd.IntN(2)
		if rnd.IntN(6) == 0 {
			next = 2
		}
		x.path = n.path(next)
		x.note("go on with %s", x.path)
		return nil
	})
}

func (n *network) path(i int) string { return filepath.Join(n.machines[i].Mount, fileName) }

// evicting gives a machine a small cache.
func (n *network) evicting(ctx context.Context, m *fleet.Machine) error {
	if err := m.Stop(ctx); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(m.Home, "pods", "*", "pod.toml"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("pod.toml of %s: %d files, %w", m.Name, len(files), err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	lines := [][]byte{first, fmt.Appendf(nil, "cache_bytes = %d", smallCache)}
	for line := range bytes.Lines(rest) {
		if !bytes.HasPrefix(line, []byte("cache_bytes")) {
			lines = append(lines, bytes.TrimSuffix(line, []byte("\n")))
		}
	}
	if err := os.WriteFile(files[0], bytes.Join(lines, []byte("\n")), 0o600); err != nil {
		return err
	}
	return m.Up(ctx)
}

// settled closes the file and waits until all pods have the contents that it has now.
func (n *network) settled(ctx context.Context, x *exerciser) error {
	if err := errors.Join(x.close(), syncFolder(filepath.Dir(x.path))); err != nil {
		return err
	}
	want, err := cidOf(x.path)
	if err != nil {
		return err
	}
	for i, m := range n.machines {
		err := fleet.Eventually(ctx, visibleLimit, func() error {
			got, err := cidOf(n.path(i))
			if err == nil && got != want {
				err = fmt.Errorf("%s has %s, not %s", m.Name, got, want)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// syncFolder makes everything on a mount durable and named.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// cidOf is the CID of a file's body, "" for an empty one.
func cidOf(path string) (string, error) {
	p := make([]byte, 200)
	k, err := unix.Getxattr(path, "user.wh.cid", p)
	if errors.Is(err, unix.ENODATA) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return string(p[:k]), nil
}
