package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wormhole-fs/wormhole/pkg/daemon/daemontest"
	"github.com/wormhole-fs/wormhole/pkg/health"
)

// TestDocumentsNameCommands breaks if a document, a hint or a warning tells users of a command or a flag that wh has not.
func TestDocumentsNameCommands(t *testing.T) {
	root := newRoot(newEnv(daemontest.Engine()))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	n := 0
	check := func(where, line string, prose bool) {
		n++
		if why := wrongCommand(root, strings.Fields(line), prose); why != "" {
			t.Errorf("%s: %q: %s", where, line, why)
		}
	}
	inline := regexp.MustCompile("`(wh [^`]*)`")
	for _, file := range documents(t) {
		text, err := os.ReadFile(filepath.Join(docRoot, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inline.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.SplitSeq(m[1], "; ") {
				check(file, line, false)
			}
		}
	}
	for code, hint := range hints {
		for _, line := range commandsIn(hint) {
			check("hint of "+string(code), line, true)
		}
	}
	for _, d := range health.Definitions() {
		for _, line := range commandsIn(d.Todo) {
			check("what to do about "+string(d.Code), line, true)
		}
	}
	if n < 100 {
		t.Errorf("only %d commands were found", n)
	}
}

// commandsIn are the command lines within a sentence, perhaps with some more of its words.
func commandsIn(sentence string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`\bwh ([a-z-]+ ?)+([A-Z]+ ?)*(--[a-z-]+)?`).FindAllString(sentence, -1) {
		out = append(out, strings.TrimSpace(m))
	}
	return out
}

// wrongCommand says what is wrong with a command line as documents have them: words in capitals, in brackets and with bars stand for
// others. In prose the sentence may go on behind the command. "": nothing.
func wrongCommand(root *cobra.Command, words []string, prose bool) string {
	c, value := root, false
	for _, w := range words[1:] {
		if value {
			value = false
			continue
		}
		if strings.HasPrefix(w, "-") {
			name, _, given := strings.Cut(strings.Trim(w, "[].,;:…"), "=")
			flag := flagOf(c, strings.TrimLeft(name, "-"), strings.HasPrefix(w, "--"))
			if flag == nil {
				return "no flag " + w
			}
			value = !given && flag.NoOptDefVal == ""
			continue
		}
		all := strings.Split(strings.Trim(w, "[].,;:…"), "|")
		subs := c.Commands()
		if c.HasParent() && len(subs) == 0 {
			continue // An argument.
		}
		var next *cobra.Command
		for _, name := range all {
			found, _, err := c.Find([]string{name})
			if err != nil || found == c {
				if strings.ToUpper(name) == name || c.HasParent() && c.Args != nil && c.Args(c, []string{name}) == nil || c == root && name == "help" {
					continue
				}
				if prose && c != root {
					return ""
				}
				return "no command " + name
			}
			next = found
		}
		if next == nil {
			return ""
		}
		c = next
	}
	return ""
}

// flagOf is a command's flag; nil if it has none of that name.
func flagOf(c *cobra.Command, name string, long bool) *pflag.Flag {
	c.InitDefaultHelpFlag()
	for _, flags := range []*pflag.FlagSet{c.Flags(), c.InheritedFlags(), c.PersistentFlags()} {
		flag := flags.Lookup(name)
		if !long && len(name) == 1 {
			flag = flags.ShorthandLookup(name)
		}
		if flag != nil {
			return flag
		}
	}
	return nil
}
