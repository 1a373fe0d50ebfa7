package main

import (
	"context"
	"fmt"
	"math"
	"strings"
)

// report prints the tables of data.
func (b *bench) report(ctx context.Context, who []contender, results map[string]*result) {
	b.row("# The data path beside its peers\n")
	command := fmt.Sprintf("wh-bench -what %s -rounds %d -bytes %d -tiny %d", b.what, b.rounds, b.bigBytes, b.tiny)
	if b.encrypt {
		command += " -encrypt"
	}
	b.head(ctx, command+" data")
	for _, c := range who {
		if c.version != "" {
			b.row("- %s: %s", c.name, c.version)
		}
	}
	b.row("\nEach figure has a sync of the disk in it. Seconds are the median of %d rounds, with the least and the most; the tools take "+
		"turns in each round, there and back again. \"wh faster\" is the median over the rounds of the tool's seconds "+
		"divided by those of wh.", b.rounds)
	for name := range strings.SplitSeq(b.what, ",") {
		if name == "d4" {
			b.editedTable(who, results[name])
		} else {
			b.table(who, results[name])
		}
	}
	b.budgets(results)
}

// table prints what was measured of d1, d2 or d3.
func (b *bench) table(who []contender, r *result) {
	s := r.source
	amount, unit := float64(s.files), "files/s"
	if s.files == 1 {
		amount, unit = float64(s.bytes)/1e6, "MB/s"
	}
	b.row("\n## %s: %s\n\n%d files, %d bytes.\n", strings.ToUpper(s.name), s.title, s.files, s.bytes)
	b.row("| tool | add s | add %s | wh faster | get s | get %s | wh faster |\n|---|---|---|---|---|---|---|", unit, unit)
	for _, c := range who {
		add, get := r.add[c.name], r.get[c.name]
		addRatio, getRatio := "", ""
		if c.name != self {
			addRatio, getRatio = times(ratio(r.add, c.name)), times(ratio(r.get, c.name))
		}
		b.row("| %s | %s | %.0f | %s | %s | %.0f | %s |", c.name, spread(add), amount/median(add), addRatio, spread(get),
			amount/median(get), getRatio)
	}
	b.row("\nwh add: %.2f s of CPU (daemon and command line), %.0f MB of memory at most (daemon, VmHWM), %.3f bytes written to the disk "+
		"for each byte (daemon, write_bytes of /proc/PID/io). The same added again: %s s, %s of the first.",
		medianOf(r.costs, func(c cost) float64 { return c.cpu.Seconds() }), peakMB(r), written(r), spread(r.again), times(again(r)))
}

// editedTable prints what was measured of d4.
func (b *bench) editedTable(who []contender, r *result) {
	b.row("\n## D4: %s\n\n%d bytes, added to a store that has D1; once.\n", r.source.title, r.source.bytes)
	b.row("| tool | new bytes stored | add s |\n|---|---|---|")
	for _, c := range who {
		b.row("| %s | %d | %.2f |", c.name, r.fresh[c.name], median(r.add[c.name]))
	}
}

// budget is what issue 3 asks for.
type budget struct {
	what   string
	limit  float64
	atMost bool
	unit   string
	got    float64 // NaN: not measured
}

func (b *bench) budgets(results map[string]*result) {
	nothing := &result{}
	of := func(name string) *result {
		if r := results[name]; r != nil {
			return r
		}
		return nothing
	}
	d1, d2, d3, d4 := of("d1"), of("d2"), of("d3"), of("d4")
	fresh := math.NaN()
	if n, ok := d4.fresh[self]; ok {
		fresh = float64(n) / (1 << 20)
	}
	b.row("\n## Budgets\n\n| what | asked for | measured | met |\n|---|---|---|---|")
	for _, x := range []budget{
		{"add D1, to cp", 0.9, false, "x", ratio(d1.add, "cp -a")},
		{"add D1, to Kubo", 1.6, false, "x", ratio(d1.add, "Kubo")},
		{"add D1, bytes written for each byte", 1.05, true, "", written(d1)},
		{"add D1, memory of the daemon", 250, true, " MB", peakMB(d1)},
		{"add D2, to cp", 1.5, false, "x", ratio(d2.add, "cp -a")},
		{"add D2, to Kubo", 5, false, "x", ratio(d2.add, "Kubo")},
		{"add D2 again, of the first", 0.3, true, "x", again(d2)},
		{"add D3, to restic", 1.5, false, "x", ratio(d3.add, "restic")},
		{"get D1, to cp", 0.8, false, "x", ratio(d1.get, "cp -a")},
		{"get D2, to cp", 1, false, "x", ratio(d2.get, "cp -a")},
		{"new bytes for D4", 6, true, " MiB", fresh},
	} {
		b.row("%s", x)
	}
}

// String is the budget's row.
func (x budget) String() string {
	word := "at least"
	if x.atMost {
		word = "at most"
	}
	if math.IsNaN(x.got) {
		return fmt.Sprintf("| %s | %s %g%s | | not measured |", x.what, word, x.limit, x.unit)
	}
	met := "**no**"
	if x.got >= x.limit && !x.atMost || x.got <= x.limit && x.atMost {
		met = "yes"
	}
	return fmt.Sprintf("| %s | %s %g%s | %.2f%s | %s |", x.what, word, x.limit, x.unit, x.got, x.unit, met)
}

// ratio is how many times as long as Wormhole another tool took, in the middle of the rounds. NaN: not measured.
func ratio(seconds map[string][]float64, name string) float64 {
	return quotient(seconds[name], seconds[self])
}

// quotient is the median of a/b, round by round.
func quotient(a, b []float64) float64 {
	if len(a) == 0 || len(a) != len(b) {
		return math.NaN()
	}
	pairs := make([]float64, len(a))
	for i := range a {
		pairs[i] = a[i] / b[i]
	}
	return median(pairs)
}

// again is the second add's time to the first's.
func again(r *result) float64 { return quotient(r.again, r.add[self]) }

func written(r *result) float64 {
	return known(medianOf(r.costs, func(c cost) float64 { return float64(c.written) })) / float64(r.source.bytes)
}

func peakMB(r *result) float64 {
	return known(medianOf(r.costs, func(c cost) float64 { return float64(c.peakRSS) / 1e6 }))
}

// known is v, or NaN for what the system doesn't count.
func known(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

func medianOf(costs []cost, f func(cost) float64) float64 {
	var values []float64
	for _, c := range costs {
		values = append(values, f(c))
	}
	return median(values)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	return quantile(values, 0.5)
}

func spread(values []float64) string {
	return fmt.Sprintf("%.2f (%.2f to %.2f)", median(values), quantile(values, 0), quantile(values, 1))
}

func times(v float64) string { return fmt.Sprintf("%.2fx", v) }
