package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// result is what was measured of one data set: for each tool a value of each round.
type result struct {
	source source
	add    map[string][]float64 // seconds
	get    map[string][]float64 // seconds
	fresh  map[string]int64     // bytes that d4 added to a store that has d1
	again  []float64            // seconds of Wormhole's second add of the same
	costs  []cost               // of Wormhole's first add
}

// data measures how data goes in and out beside its peers, in turn, each with a sync of the disk.
func (b *bench) data(ctx context.Context) error {
	if b.rounds == 0 {
		b.rounds = 3
	}
	who, err := b.contenders(ctx)
	if err != nil {
		return err
	}
	results := make(map[string]*result)
	for name := range strings.SplitSeq(b.what, ",") {
		s, err := b.makeSource(ctx, name)
		if err != nil {
			return err
		}
		r := &result{source: s, add: map[string][]float64{}, get: map[string][]float64{}, fresh: map[string]int64{}}
		results[name] = r
		if name == "d4" {
			err = b.edited(ctx, who, r)
		} else {
			for i := 0; i < b.rounds && err == nil; i++ {
				err = b.round(ctx, i, who, r)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if name == "d1" { // d4 is made of it
			continue
		}
		if err := os.RemoveAll(s.path); err != nil {
			return err
		}
	}
	b.report(ctx, who, results)
	return nil
}

// round adds a data set with each tool, and then gets it with each, all with stores of their own.
func (b *bench) round(ctx context.Context, i int, who []contender, r *result) (err error) {
	tools, end, err := b.open(ctx, who)
	defer func() { err = errors.Join(err, end(context.WithoutCancel(ctx))) }()
	if err != nil {
		return err
	}
	turn := make([]int, len(who))
	for at := range turn {
		turn[at] = at
	}
	if i%2 == 1 {
		slices.Reverse(turn) // who goes first has it easier
	}
	for _, at := range turn {
		seconds, err := timed(ctx, func() error { return tools[at].add(ctx, r.source.path) })
		if err != nil {
			return err
		}
		r.add[who[at].name] = append(r.add[who[at].name], seconds)
	}
	r.costs = append(r.costs, tools[0].(*wormhole).cost) //nolint:errcheck,forcetypeassert // it is the first
	for _, at := range turn {
		to := filepath.Join(b.dir, "got")
		seconds, err := timed(ctx, func() error { return tools[at].get(ctx, to) })
		if err == nil {
			err = r.source.same(to)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", who[at].name, err)
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		r.get[who[at].name] = append(r.get[who[at].name], seconds)
	}
	seconds, err := timed(ctx, func() error { return tools[0].add(ctx, r.source.path) })
	r.again = append(r.again, seconds)
	return err
}

// edited adds d4 with each tool to a store that has d1.
func (b *bench) edited(ctx context.Context, who []contender, r *result) (err error) {
	tools, end, err := b.open(ctx, who)
	defer func() { err = errors.Join(err, end(context.WithoutCancel(ctx))) }()
	if err != nil {
		return err
	}
	for at, t := range tools {
		if err := t.add(ctx, filepath.Join(b.dir, "d1")); err != nil {
			return err
		}
		before, err := t.stored(ctx)
		if err != nil {
			return err
		}
		seconds, err := timed(ctx, func() error { return t.add(ctx, r.source.path) })
		if err != nil {
			return err
		}
		after, err := t.stored(ctx)
		if err != nil {
			return err
		}
		r.add[who[at].name] = []float64{seconds}
		r.fresh[who[at].name] = after - before
	}
	return nil
}

// open makes an empty store for each tool; end closes and removes all that were made.
func (b *bench) open(ctx context.Context, who []contender) (tools []tool, end func(context.Context) error, err error) {
	dir := filepath.Join(b.dir, "round")
	end = func(ctx context.Context) error {
		var errs []error
		for _, t := range tools {
			errs = append(errs, t.close(ctx))
		}
		return errors.Join(append(errs, os.RemoveAll(dir))...)
	}
	for i, c := range who {
		t := c.make()
		own := filepath.Join(dir, fmt.Sprint(i), "store")
		if err := os.MkdirAll(own, 0o700); err != nil {
			return tools, end, err
		}
		if err := t.open(ctx, own); err != nil {
			return tools, end, fmt.Errorf("%s: %w", c.name, err)
		}
		tools = append(tools, t)
	}
	return tools, end, nil
}

// same says whether as many files and bytes came out as went in.
func (s source) same(path string) error {
	files, size, err := measure(path)
	if err == nil && (files != s.files || size != s.bytes) {
		err = fmt.Errorf("%d files of %d bytes came out, %d of %d went in", files, size, s.files, s.bytes)
	}
	return err
}

// timed is how many seconds f takes, with a sync of the disk afterwards; what was unsynced before it doesn't count.
func timed(ctx context.Context, f func() error) (seconds float64, err error) {
	if err := syncDisks(ctx); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := f(); err != nil {
		return 0, err
	}
	err = syncDisks(ctx)
	return time.Since(begin).Seconds(), err
}

func syncDisks(ctx context.Context) error { return exec.CommandContext(ctx, "sync").Run() }
