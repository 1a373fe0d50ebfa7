//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

// mount measures a mount beside a FUSE file system that does nothing, the disk below it, and JuiceFS if it is on PATH: each load on each of them in turn.
func (b *bench) mount(ctx context.Context) (err error) {
	if !fleet.CanMount() {
		return errors.New("mount needs root and /dev/fuse")
	}
	if b.rounds == 0 {
		b.rounds = 3
	}
	l, err := newLoads(ctx, b.dir)
	if err != nil {
		return err
	}
	places, err := b.places(ctx)
	defer func() {
		for _, p := range places {
			err = errors.Join(err, p.end(context.WithoutCancel(ctx)))
		}
	}()
	if err != nil {
		return err
	}
	got := make(map[string]map[string][]float64) // load, place: amounts a second, by round
	var cpu []float64
	for _, load := range l.list {
		got[load.name] = make(map[string][]float64)
		for round := range b.rounds {
			turns := slices.Clone(places)
			if round%2 == 1 {
				slices.Reverse(turns)
			}
			for _, p := range turns {
				if p.name == placeNull && !load.null {
					continue
				}
				before := p.cpu()
				rate, err := l.run(ctx, load, p, round)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", load.name, p.name, err)
				}
				got[load.name][p.name] = append(got[load.name][p.name], rate)
				if load.name == loadWrite && p.name == placePod {
					cpu = append(cpu, (p.cpu()-before).Seconds()*(1<<30)/writeBytes)
				}
			}
		}
	}
	b.mountReport(ctx, l, places, got)
	b.row("\nProcessor time of the daemon for %s: %s s for each GiB (a close is in it).", loadWrite, spread(cpu))
	return nil
}

// What issue 5 asks for: how many times the rate of another place that of the pod is, at least.
var mountLimits = map[string]map[string]float64{
	loadCreate: {placeNull: 0.6, placeJuice: 2.5},
	loadWrite:  {placeNull: 0.5},
	loadSmall:  {placeNull: 0.6},
	loadCold:   {placeDisk: 0.8},
	loadWarm:   {placeDisk: 0.7},
	loadStat:   {placeDisk: 0.7},
	loadUntar:  {placeJuice: 2.5},
	loadClone:  {placeJuice: 3},
	loadRandom: {placeJuice: 3},
}

// mountReport prints what was measured.
func (b *bench) mountReport(ctx context.Context, l *loads, places []*place, got map[string]map[string][]float64) {
	b.row("# The mount beside the disk and others\n")
	command := fmt.Sprintf("wh-bench -rounds %d", b.rounds)
	if b.home != "" {
		command += " -home " + b.home
	}
	b.head(ctx, command+" mount")
	for _, p := range places {
		b.row("- %s: %s", p.name, p.title)
	}
	b.row("\nRates are the median of %d rounds, with the least and the most; the places take turns in each round, there and back again. "+
		"Behind \"of\" stands how many times as fast as the other the pod is, the median over the rounds.", b.rounds)
	head, line := "| load |", "|---|"
	for _, p := range places {
		head, line = head+" "+p.name+" |", line+"---|"
		if p.name != placePod {
			head, line = head+" of "+p.name+" |", line+"---|"
		}
	}
	b.row("\n%s asked for |\n%s---|", head, line)
	for _, load := range l.list {
		row := []string{fmt.Sprintf("| %s, %s |", load.name, load.unit)}
		for _, p := range places {
			rates := got[load.name][p.name]
			row = append(row, cell(rates, load.digits))
			if p.name == placePod {
				continue
			}
			if len(rates) == 0 {
				row = append(row, " |")
				continue
			}
			ours := got[load.name][placePod]
			if load.seconds {
				ours, rates = rates, ours
			}
			row = append(row, " "+times(quotient(ours, rates))+" |")
		}
		asked := load.asked
		for _, name := range slices.Sorted(maps.Keys(mountLimits[load.name])) {
			asked = append(asked, fmt.Sprintf("%gx %s", mountLimits[load.name][name], name))
		}
		b.row("%s %s |", strings.Join(row, ""), strings.Join(asked, ", "))
	}
}

func cell(rates []float64, digits int) string {
	if len(rates) == 0 {
		return " |"
	}
	return fmt.Sprintf(" %.*f (%.*f to %.*f) |", digits, median(rates), digits, quantile(rates, 0), digits, quantile(rates, 1))
}

// run has a load run at a place, in an empty folder, and returns its rate. What it leaves is on the disk before the next one begins.
func (l *loads) run(ctx context.Context, load load, p *place, round int) (rate float64, err error) {
	dir := filepath.Join(p.dir, fmt.Sprintf("%s-%d", strings.ReplaceAll(load.name, " ", "-"), round))
	if err := os.Mkdir(dir, 0o755); err != nil && p.name != placeNull {
		return 0, err
	}
	if p.name == placeNull {
		dir = p.dir // it knows no folders
	}
	if load.prepare != nil {
		if err := load.prepare(ctx, p, dir); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	amount, err := load.run(ctx, dir)
	took := time.Since(begin).Seconds()
	if err != nil {
		return 0, err
	}
	if p.name != placeNull {
		if err := os.RemoveAll(dir); err != nil {
			return 0, err
		}
	}
	if err := p.sync(ctx); err != nil {
		return 0, err
	}
	if load.seconds {
		return took, nil
	}
	return amount / took, nil
}
