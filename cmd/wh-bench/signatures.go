package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

const (
	verifyBudget = 5.0 // percent of the CPU time of a daemon that may go into verifying signatures
	changeSize   = 200 // bytes; such a file stands in its row
	// changeEvery is the time between changes: what comes sooner after another goes with it, in one commit that is signed once.
	changeEvery  = 15 * time.Millisecond
	copiesWithin = "20m" // of wh sync --wait
)

// signing are the functions whose time is shown, with all that they call: those that verify, and those that sign.
var signing = []string{`^crypto/ed25519\.(Verify|VerifyWithOptions)$`, `^crypto/ed25519\.(Sign|PrivateKey\.Sign)$`}

// signatures prints what part of two daemons' CPU time goes into signatures while one adds and the other takes copies.
func (b *bench) signatures(ctx context.Context) error {
	b.row("# What signatures cost\n")
	b.head(ctx, fmt.Sprintf("wh-bench -what %s -bytes %d -changes %d signatures", b.what, b.bigBytes, b.changes))
	b.row("Two daemons under `replica:2`: the first adds, the second takes a copy of all, until `wh sync --wait` says that all is safe. Parts of the CPU time of each, from its start to its end, the handshakes of TLS"+
		" and the hellos included, by the function and all that it calls. The aim is less than %g %% in verifying.\n\n| load | daemon | CPU s | verify | sign |\n|---|---|---|---|---|", verifyBudget)
	for what := range strings.SplitSeq(b.what, ",") {
		load, err := b.signingLoad(ctx, what)
		if err != nil {
			return err
		}
		if err := b.signed(ctx, load); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	b.row("\nEach pod that takes a commit verifies it once, before it counts. Changes that come together are one commit.")
	return nil
}

// signingLoad is what the first daemon is given to do, and a name for it.
type signingLoad struct {
	title string
	do    func(ctx context.Context, first *fleet.Machine) error
}

func (b *bench) signingLoad(ctx context.Context, what string) (signingLoad, error) {
	if what == "changes" {
		return signingLoad{fmt.Sprintf("%d files of %d bytes, one every %s, a commit each", b.changes, changeSize, changeEvery), b.smallChanges}, nil
	}
	s, err := b.makeSource(ctx, what)
	return signingLoad{fmt.Sprintf("%s: %d files", s.title, s.files), func(ctx context.Context, first *fleet.Machine) error {
		_, err := first.Run(ctx, "add", s.path, "--to", "/", "--quiet")
		return err
	}}, err
}

// smallChanges makes files through the mount, which costs the daemon least beside the commit, or with a command each where nothing can be mounted.
func (b *bench) smallChanges(ctx context.Context, first *fleet.Machine) error {
	data := make([]byte, changeSize)
	for i := range b.changes {
		copy(data, strconv.Itoa(i))
		path := filepath.Join(b.dir, "change")
		if first.Mount != "" {
			path = filepath.Join(first.Mount, fmt.Sprint("change", i))
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		if first.Mount == "" {
			if _, err := first.Run(ctx, "add", path, "--to", fmt.Sprint("/change", i), "--quiet"); err != nil {
				return err
			}
		}
		select {
		case <-time.After(changeEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// signed has two new daemons do a load, and prints a row for each.
func (b *bench) signed(ctx context.Context, load signingLoad) (err error) {
	dir := filepath.Join(b.dir, "signatures")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var pair []*fleet.Machine
	for _, name := range []string{"first", "second"} {
		pair = append(pair, &fleet.Machine{Name: name, WH: b.wh, Home: filepath.Join(dir, name)})
	}
	if fleet.CanMount() {
		pair[0].Mount = filepath.Join(dir, "mnt")
	}
	stop := func(ctx context.Context) error { return errors.Join(pair[1].Stop(ctx), pair[0].Stop(ctx)) }
	defer func() { err = errors.Join(err, stop(context.WithoutCancel(ctx)), os.RemoveAll(dir)) }()
	if err := errors.Join(pair[0].Init(ctx, "bench"), pair[1].Join(ctx, pair[0])); err != nil {
		return err
	}
	if _, err := pair[0].Run(ctx, "policy", "set", "/", "replica:2"); err != nil {
		return err
	}
	if err := errors.Join(fleet.AllUp(ctx, pair), stop(ctx)); err != nil {
		return err
	}
	for _, m := range pair {
		m.Env = []string{"WH_CPUPROFILE=" + m.Home + ".pprof"}
		if err := m.Up(ctx); err != nil {
			return err
		}
	}
	if err := fleet.AllUp(ctx, pair); err != nil {
		return err
	}
	if err := load.do(ctx, pair[0]); err != nil {
		return err
	}
	if _, err := pair[0].Run(ctx, "sync", "--wait", "--timeout", copiesWithin); err != nil {
		return err
	}
	if err := (&whCouple{first: pair[0], second: pair[1]}).heard(ctx); err != nil {
		return err
	}
	if err := stop(ctx); err != nil {
		return err
	}
	for i, m := range pair {
		var parts []string
		var total float64
		for _, f := range signing {
			var percent float64
			if percent, total, err = partOf(ctx, b.wh, m.Home+".pprof", f); err != nil {
				return err
			}
			parts = append(parts, fmt.Sprintf("%.2f %%", percent))
		}
		b.row("| %s | %s | %.1f | %s |", load.title, []string{"adds", "takes copies"}[i], total, strings.Join(parts, " | "))
	}
	return nil
}

// accounting is how pprof says what part of all samples is shown.
var accounting = regexp.MustCompile(`accounting for ([0-9.]+)(?:ms)?, .* of ([0-9.]+)ms total`)

// partOf is what part of a profile's samples, in percent, has a function in it, and how many seconds all are.
func partOf(ctx context.Context, program, profile, focus string) (percent, total float64, err error) {
	said, err := pprofTop(ctx, program, profile, "-nodecount=0", "-nodefraction=0", "-unit=ms", "-focus="+focus)
	if err != nil {
		return 0, 0, err
	}
	m := accounting.FindStringSubmatch(said)
	if m == nil {
		return 0, 0, fmt.Errorf("pprof says %q", said)
	}
	part, err := strconv.ParseFloat(m[1], 64)
	all, aerr := strconv.ParseFloat(m[2], 64)
	if err = errors.Join(err, aerr); err != nil || all == 0 {
		return 0, 0, errors.Join(err, fmt.Errorf("pprof says %q", m[0]))
	}
	return 100 * part / all, all / 1000, nil
}
