package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

const (
	idleFor      = time.Minute // one measurement
	idleWithin   = time.Hour   // until the files are where the policy wants them
	idleStatuses = 20          // how often wh status is timed
)

// idle measures daemons that have nothing to do, each connected to all others: processor, wakeups, memory; and how soon wh status answers.
func (b *bench) idle(ctx context.Context) error {
	src := filepath.Join(b.dir, "tree")
	if err := makeTree(src, b.tree); err != nil {
		return err
	}
	var names []string
	for i := range b.pods {
		names = append(names, fmt.Sprintf("pod-%02d", i))
	}
	if err := dropCaches(); err != nil { // a program that was just written lies there in pages of 2 MiB, each of which counts whole; after a start of the machine in pages of 4 KiB
		return err
	}
	if err := b.start(ctx, names, 0); err != nil {
		return err
	}
	if _, err := b.machines[0].Run(ctx, "add", src, "--to", "/", "--quiet"); err != nil {
		return err
	}
	if _, err := b.machines[0].Run(ctx, "sync", "--wait", "--timeout", idleWithin.String()); err != nil {
		return err
	}
	b.head(ctx, fmt.Sprintf("wh-bench -tree %d -pods %d -settle %s idle", b.tree, b.pods, b.settle))
	b.row("%d files, %d daemons on one machine, each connected to all others; the median of them, with the least and the most; %s after the files had their copies. The program was read from the disk, as after a start of the machine. The load is the machine's, "+
		"of the last minute, with these daemons in it.\n", b.tree, b.pods, b.settle)
	b.row("| | CPU, %% of one processor | wakeups a second | memory, MB | of that its own | of that the program's file | load |\n|---|---|---|---|---|---|---|")
	if err := pause(ctx, b.settle); err != nil {
		return err
	}
	for range max(b.rounds, 1) {
		if err := b.idleRow(ctx); err != nil {
			return err
		}
	}
	b.row("| asked for | 1 | | 80 | | | |\n")
	ms, err := statusTime(ctx, b.machines[0], idleStatuses, "status")
	if err != nil {
		return err
	}
	b.row("`wh status`, the whole command, %d times: %s ms; asked for: 50.", idleStatuses, wholeSpread(ms))
	return nil
}

// idleRow measures all daemons for a while.
func (b *bench) idleRow(ctx context.Context) error {
	var before []process
	var switched []int64
	for _, m := range b.machines {
		p, n, err := idleCounters(m)
		if err != nil {
			return err
		}
		before, switched = append(before, p), append(switched, n)
	}
	begin := time.Now()
	if err := pause(ctx, idleFor); err != nil {
		return err
	}
	took := time.Since(begin).Seconds()
	var cpu, wakeups, rss, anon, file []float64
	for i, m := range b.machines {
		p, n, err := idleCounters(m)
		if err != nil {
			return err
		}
		cpu = append(cpu, 100*(p.cpu-before[i].cpu).Seconds()/took)
		wakeups = append(wakeups, float64(n-switched[i])/took)
		status := fmt.Sprintf("/proc/%d/status", m.PID())
		for name, to := range map[string]*[]float64{"VmRSS:": &rss, "RssAnon:": &anon, "RssFile:": &file} {
			kib, err := procField(status, name)
			if err != nil {
				return err
			}
			*to = append(*to, float64(kib<<10)/1e6)
		}
	}
	b.row("| %s | %s | %.0f (%.0f to %.0f) | %s | %s | %s | %s |", idleFor, spread(cpu), quantile(wakeups, 0.5), quantile(wakeups, 0), quantile(wakeups, 1),
		wholeSpread(rss), wholeSpread(anon), wholeSpread(file), machineLoad())
	return nil
}

// idleCounters are what a daemon took so far, and how often its threads were switched to.
func idleCounters(m *fleet.Machine) (p process, switches int64, err error) {
	if p, err = readProcess(m.PID()); err != nil {
		return p, 0, err
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", m.PID()))
	if err != nil {
		return p, 0, err
	}
	for _, t := range threads {
		for _, name := range []string{"voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"} {
			n, err := procField(t, name)
			if os.IsNotExist(err) {
				continue // the thread has ended
			}
			if err != nil {
				return p, 0, err
			}
			switches += n
		}
	}
	return p, switches, nil
}

// machineLoad is the machine's, of the last minute; "" where there is no /proc.
func machineLoad() string {
	data, _ := os.ReadFile("/proc/loadavg") // it is a hint
	first, _, _ := strings.Cut(string(data), " ")
	return first
}

func wholeSpread(values []float64) string {
	return fmt.Sprintf("%.0f (%.0f to %.0f)", median(values), quantile(values, 0), quantile(values, 1))
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
