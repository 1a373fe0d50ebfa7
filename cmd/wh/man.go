package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newMan() *cobra.Command {
	c := &cobra.Command{
		Use: "man DIR", Short: "Write the man pages of all commands", Long: "Write the man pages of all commands, as wh.1 and wh-COMMAND.1." + exits(),
		Args: cobra.ExactArgs(1), Hidden: true,
	}
	c.RunE = works(func(_ context.Context, args []string) error { return runMan(c.Root(), args[0]) })
	return c
}

// runMan writes the pages of a command and all below it.
func runMan(c *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("man: %w", err)
	}
	c.InitDefaultHelpFlag()
	name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(manPage(c)), 0o644); err != nil {
		return fmt.Errorf("man: %w", err)
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			if err := runMan(sub, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// manPage is a command's page in the macros of man(7).
func manPage(c *cobra.Command) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	dashed := strings.ReplaceAll(c.CommandPath(), " ", "-")
	line(`.TH "%s" "1" "" "Wormhole %s" "Wormhole"`, strings.ToUpper(roff(dashed)), roff(version()))
	line(".SH NAME\n%s \\- %s", roff(dashed), roff(c.Short))
	line(".SH SYNOPSIS\n.B %s", roff(c.UseLine()))
	text, codes, _ := strings.Cut(c.Long, "\n\nExit codes:\n")
	line(".SH DESCRIPTION\n%s", roff(text))
	for i, sub := range slices.DeleteFunc(slices.Clone(c.Commands()), func(sub *cobra.Command) bool { return !sub.IsAvailableCommand() }) {
		if i == 0 {
			line(".SH COMMANDS")
		}
		line(".TP\n.B %s\n%s", roff(sub.Use), roff(sub.Short))
	}
	manFlags(&b, "OPTIONS", c.NonInheritedFlags())
	manFlags(&b, "OPTIONS OF ALL COMMANDS", c.InheritedFlags())
	if codes != "" {
		line(".SH EXIT STATUS")
		for code := range strings.Lines(codes) {
			n, what, _ := strings.Cut(strings.TrimSpace(code), " ")
			line(".TP\n.B %s\n%s", n, roff(strings.TrimSpace(what)))
		}
	}
	if c.HasParent() {
		line(".SH SEE ALSO\n.BR %s (1)", roff(strings.ReplaceAll(c.Parent().CommandPath(), " ", "-")))
	}
	return b.String()
}

func manFlags(b *strings.Builder, head string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", head)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind != "" {
			name += " " + kind
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(usage))
	})
}

// roff is text with what the formatter would read as its own escaped.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
