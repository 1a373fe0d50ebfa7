package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/daemon/daemontest"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Every code of the API has an exit code, and there are no others.
func TestEveryCodeHasAnExitCode(t *testing.T) {
	known := map[api.Code]bool{}
	for _, c := range api.Codes() {
		known[c] = true
		if _, ok := exitCodes[c]; !ok {
			t.Errorf("%s has no exit code", c)
		}
	}
	for c, code := range exitCodes {
		if !known[c] {
			t.Errorf("%s is no code of the API", c)
		}
		if exitTexts[code] == "" {
			t.Errorf("%s: exit code %d has no meaning", c, code)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitDone},
		{errors.New("any"), exitFailed},
		{fmt.Errorf("x: %w", vfs.ErrNotExist), exitNotFound},
		{said(vfs.ErrExist), exitConflict},
		{api.NewError(vfs.ErrNoSpace), exitNotEnough},
		{&childError{code: exitConflict}, exitConflict},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

// Every help page lists the exit codes, and every command has its own file's sentence.
func TestHelpPages(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if !strings.Contains(c.Long, "Exit codes:") || !strings.Contains(c.Long, "130 interrupted") {
			t.Errorf("%s: no exit codes in its help", c.CommandPath())
		}
		if c.Short == "" {
			t.Errorf("%s: no short help", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" {
				walk(sub)
			}
		}
	}
	walk(newRoot(newEnv(daemontest.Engine())))
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain ä 世": "plain ä 世", "a\x1b[31mb": `a\x1b[31mb`, "a\nb": `a\nb`, "bad\xff": `bad\xff`, "\u202e": `\u202e`, "a\x00": `a\x00`,
	} {
		if got := escape(in, ""); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSourceName(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "a/b": "b", "a/b/": "b", "/a": "a", ".": "", "..": "", "a/.": "", "a/..": "", "./": "", "/": "", "//": "", "./a": "a",
	} {
		if got := sourceName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestModeString(t *testing.T) {
	for in, want := range map[string]string{"0644": "-rw-r--r--", "4755": "-rwsr-xr-x", "2644": "-rw-r-Sr--", "1777": "-rwxrwxrwt", "0000": "----------"} {
		if got := modeString("file", in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 1 << 40: "1.0 TiB", 1 << 62: "4096.0 PiB"} {
		if got := size(in); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
}

// TestHints breaks if a hint is for a code that no error has.
func TestHints(t *testing.T) {
	for code, hint := range hints {
		if !slices.Contains(api.Codes(), code) || hint == "" {
			t.Errorf("hint %q for the code %q", hint, code)
		}
	}
}
