package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// doctorTimeout is how long all checks may take.
const doctorTimeout = time.Minute

// What a check found.
const (
	foundGood = "good"
	foundOdd  = "odd" // it may be a cause of trouble
	foundBad  = "bad"
)

// finding is what a check found.
type finding struct {
	Check string   `json:"check"`
	State string   `json:"state"` // good, odd, bad
	Text  api.Text `json:"text"`
	Todo  string   `json:"todo"` // "": nothing
}

func good(check, format string, args ...any) finding {
	return finding{Check: check, State: foundGood, Text: api.Text(fmt.Sprintf(format, args...))}
}

func odd(check, todo, format string, args ...any) finding {
	return finding{Check: check, State: foundOdd, Text: api.Text(fmt.Sprintf(format, args...)), Todo: todo}
}

func bad(check, todo, format string, args ...any) finding {
	f := odd(check, todo, format, args...)
	f.State = foundBad
	return f
}

func newDoctor(e *env) *cobra.Command {
	report := ""
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for the usual causes of trouble, and say what to do",
		Long: "Look for the usual causes of trouble, and say what to do: the daemon, its configuration, FUSE, disk, ports, clock, names, multicast, limits of the" +
			" system, warnings. It works without a daemon. --report writes all that, with what the daemon says, into a file for whoever helps:" +
			" names, addresses, ids and paths are replaced in it. Exits with 1 when something is bad." + exits(),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runDoctor(ctx, e, report) }),
	}
	c.Flags().StringVar(&report, "report", "", "a file to write a report into")
	return c
}

// errIll says that a check found something bad.
var errIll = errors.New("something is bad: see above")

func runDoctor(ctx context.Context, e *env, report string) error {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	d := examine(ctx, e)
	if report != "" {
		if err := os.WriteFile(report, []byte(d.report(e)), 0o600); err != nil {
			return fmt.Errorf("doctor: %w", err)
		}
		e.say("the report is in %s; read it before you send it", report)
	}
	if e.json {
		if err := e.document(d.findings); err != nil {
			return err
		}
	} else if err := e.out("%s", strings.Join(findingLines(e, d.findings), "\n")); err != nil {
		return err
	}
	for _, f := range d.findings {
		if f.State == foundBad {
			return said(errIll)
		}
	}
	return nil
}

func findingLines(e *env, list []finding) []string {
	colours := map[string]string{foundGood: green, foundOdd: yellow, foundBad: red}
	const indent = 16
	var out []string
	for _, f := range list {
		for i, line := range wrap(e.name(string(f.Text)), screenWidth-indent) {
			if i == 0 {
				out = append(out, e.paint(colours[f.State], fmt.Sprintf("%-4s", f.State))+fmt.Sprintf(" %-10s %s", f.Check, line))
			} else {
				out = append(out, strings.Repeat(" ", indent)+line)
			}
		}
		if f.Todo == "" {
			continue
		}
		for i, line := range wrap(e.name(f.Todo), screenWidth-indent-3) {
			arrow := "-> "
			if i > 0 {
				arrow = "   "
			}
			out = append(out, strings.Repeat(" ", indent)+arrow+line)
		}
	}
	return out
}
