package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// statusEvery is how often wh status --watch looks.
const statusEvery = 2 * time.Second

type statusOptions struct{ watch, canStop bool }

func newStatus(e *env) *cobra.Command {
	var o statusOptions
	c := &cobra.Command{
		Use:   "status",
		Short: "Show whether all is well, on one screen",
		Long: "Show whether all is well, on one screen. Exits with 7 when something acknowledged is below its policy while there " +
			"are pods to hold it, or a pod is down. With --can-stop: whether this machine can be switched off now without breaking a promise; " +
			"exits with 7 if not." + online(exitNotFound, exitNotEnough),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error {
			switch {
			case o.canStop:
				return runCanStop(ctx, e)
			case o.watch:
				return watchStatus(ctx, e)
			}
			return runStatus(ctx, e)
		}),
	}
	c.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on, and show it anew every two seconds")
	c.Flags().BoolVar(&o.canStop, "can-stop", false, "say whether this machine can be switched off now")
	c.MarkFlagsMutuallyExclusive("watch", "can-stop")
	return c
}

func runStatus(ctx context.Context, e *env) error {
	st, err := showStatus(ctx, e, func(screen string) error { return e.out("%s", screen) })
	if err == nil && !st.Healthy {
		return said(pod.ErrNotSafe) // The lines above say why.
	}
	return err
}

// watchStatus shows the status again and again until it is interrupted: with --json a document a line.
func watchStatus(ctx context.Context, e *env) error {
	for {
		if _, err := showStatus(ctx, e, e.redraw); err != nil {
			return err
		}
		if err := clock.Sleep(ctx, e.clock, statusEvery); err != nil {
			return err
		}
	}
}

// showStatus asks for the status once and shows it: by show, or as a document.
func showStatus(ctx context.Context, e *env, show func(screen string) error) (api.Status, error) {
	st, err := call[api.Status](ctx, e, "status", struct{}{})
	if err != nil {
		return st, err
	}
	if e.json {
		return st, e.document(st)
	}
	screen, err := statusScreen(ctx, e, st)
	if err != nil {
		return st, err
	}
	return st, show(screen)
}

// redraw prints a screen in the place of the one before on a terminal, else below it.
func (e *env) redraw(screen string) error {
	if isTerminal(e.stdout) {
		screen = "\x1b[H\x1b[2J" + screen // Home, clear: ECMA-48 8.3.21, 8.3.39.
	} else {
		screen += "\n"
	}
	return e.out("%s", screen)
}

// Colours of ECMA-48 8.3.117.
const (
	red    = "31"
	yellow = "33"
	green  = "32"
)

// paint is s in a colour, on terminals.
func (e *env) paint(colour, s string) string {
	if e.plain || !isTerminal(e.stdout) {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// screenWidth is how many characters a line has at most.
const screenWidth = 80

// statusScreen is the status for people: at most 80 characters a line, the verdict first.
func statusScreen(ctx context.Context, e *env, st api.Status) (string, error) {
	peers, err := call[[]api.Peer](ctx, e, "peers", struct{}{})
	if err != nil {
		return "", err
	}
	usage, err := call[api.Usage](ctx, e, "usage", struct{}{})
	if err != nil {
		return "", err
	}
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, e.fit(fmt.Sprintf(format, args...))) }
	word := e.paint(green, "healthy")
	if !st.Healthy {
		word = e.paint(red, "NOT HEALTHY")
	}
	network := fmt.Sprintf("network %s (%.8s)", st.NetworkName, st.Network)
	if st.Encrypted {
		network += ", encrypted"
	}
	lines = append(lines, e.name(network)+": "+word)
	lines = append(lines, warningLines(e, st.Warnings)...)
	add("this pod  %s, %s", st.Name, st.Role)
	add("data      %s", dataLine(st))
	repairs, err := call[api.Repair](ctx, e, "repair", struct{}{})
	if err != nil {
		return "", err
	}
	if repairs.Active && repairs.DueBytes > repairs.DoneBytes || repairs.EndangeredBytes > 0 {
		add("repair    %s", repairText(repairs))
	}
	add("disk      %s stored (%s cache, %s trash), %s free", size(usage.StoredBytes), size(usage.CacheBytes), size(usage.TrashBytes), size(usage.FreeBytes))
	connected, in, out := 0, int64(0), int64(0)
	for _, p := range peers {
		if p.Connected {
			connected++
			in, out = in+p.ReceivedBytesPerS, out+p.SentBytesPerS
		}
	}
	add("traffic   %d of %d pods connected, %s/s in, %s/s out", connected, len(peers), size(in), size(out))
	lines = append(lines, "", fmt.Sprintf("%-24s %-9s %-8s %10s %10s  %s", "POD", "STATE", "ROLE", "USED", "FREE", "LAST SEEN"))
	for _, p := range st.Pods {
		seen := when(p.LastSeen)
		if p.Self {
			seen = "this pod"
		}
		add("%-24s %-9s %-8s %10s %10s  %s", cut(p.Name, 24), p.State, p.Role, size(p.UsedBytes), size(p.FreeBytes), strings.TrimSuffix(strings.TrimPrefix(seen, e.clock.Now().UTC().Format("2006-01-02T")), "Z"))
	}
	return strings.Join(lines, "\n"), nil
}

// dataLine says how safe all bytes are.
func dataLine(st api.Status) string {
	var states []string
	for _, b := range st.States {
		if b.Bytes > 0 {
			states = append(states, size(b.Bytes)+" "+b.State)
		}
	}
	if len(states) == 0 {
		states = append(states, "nothing yet")
	}
	if st.UnsafeBytes > 0 {
		states = append(states, size(st.UnsafeBytes)+" below policy")
	}
	return strings.Join(states, ", ")
}

// warningLines are warnings, the worst first, each with what to do about it.
func warningLines(e *env, list []api.Warning) []string {
	colours := map[string]string{"error": red, "warning": yellow}
	var out []string
	for _, w := range list {
		head := fmt.Sprintf("%-7s  %s: ", w.Severity, w.Title)
		if w.Because != "" {
			head = fmt.Sprintf("%-7s  %s, by %s: ", w.Severity, w.Title, w.Because)
		}
		for i, line := range wrap(e.name(head+string(w.Text)), screenWidth-9) {
			if i > 0 {
				line = strings.Repeat(" ", 9) + line
			} else if c := colours[w.Severity]; c != "" {
				line = strings.Replace(line, w.Severity, e.paint(c, w.Severity), 1)
			}
			out = append(out, line)
		}
		for i, line := range wrap(w.Todo+" ("+w.Code+")", screenWidth-12) {
			arrow := "-> "
			if i > 0 {
				arrow = "   "
			}
			out = append(out, strings.Repeat(" ", 9)+arrow+line)
		}
	}
	return out
}

// wrap breaks a text into lines of at most so many characters; a longer word has a line of its own. Spaces within lines stay.
func wrap(text string, width int) []string {
	var out []string
	for {
		runes := []rune(text)
		if len(runes) <= width {
			return append(out, text)
		}
		at := strings.LastIndexByte(string(runes[:width+1]), ' ')
		if at <= 0 {
			if at = strings.IndexByte(text, ' '); at < 0 {
				return append(out, text)
			}
		}
		out = append(out, text[:at])
		text = text[at+1:]
	}
}

// fit is one line of at most screenWidth characters.
func (e *env) fit(s string) string { return cut(api.Text(e.name(s)), screenWidth) }

// cut is a name of at most so many characters.
func cut(s api.Text, most int) string {
	if r := []rune(string(s)); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return string(s)
}

func runCanStop(ctx context.Context, e *env) error {
	got, err := call[api.CanStop](ctx, e, "can-stop", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		if err = e.document(got); err != nil {
			return err
		}
	} else {
		word := "yes: this machine can be switched off"
		if !got.CanStop {
			word = "no"
		}
		lines := []string{word}
		for _, r := range got.Reasons {
			lines = append(lines, "because: "+r)
		}
		for _, n := range got.Notes {
			lines = append(lines, "note: "+n)
		}
		if err := e.out("%s", e.lines(lines)); err != nil {
			return err
		}
	}
	if !got.CanStop {
		return said(pod.ErrNotSafe)
	}
	return nil
}

// lines are lines as they are shown.
func (e *env) lines(list []string) string {
	for i, l := range list {
		list[i] = e.name(l)
	}
	return strings.Join(list, "\n")
}
