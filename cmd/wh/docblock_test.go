package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A docBlock is a fenced block of a document. A comment in the line above its fence says more of it:
//
//	<!-- on: ben, carl -->     it is typed on these machines, one after the other; without it on the last one
//	<!-- not run: why -->      no test can run it
//	<!-- installed -->         it is run in a root of its own only, where the package is installed: .ci/first-hour
//
// In a block of sh there are commands, of which each must succeed. In one of console a command stands behind the name of its machine and
// a dollar sign, with what it prints below it; "[exit N]" as the last line of that says that it ends so.
type docBlock struct {
	file      string
	line      int // of the fence, from 1 on
	lang      string
	text      []string
	on        []string
	notRun    string
	installed bool
}

func (b docBlock) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

var docMarker = regexp.MustCompile(`^<!-- (on|not run|installed)(?:: (.+))? -->$`)

// docBlocks are the fenced blocks of a document.
func docBlocks(t *testing.T, file string) []docBlock {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docRoot, file))
	if err != nil {
		t.Fatal(err)
	}
	var out []docBlock
	var open *docBlock
	marked := docBlock{}
	for i, line := range strings.Split(string(text), "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case open != nil && isFence:
			out = append(out, *open)
			open, marked = nil, docBlock{}
		case open != nil:
			open.text = append(open.text, line)
		case isFence:
			marked.file, marked.line, marked.lang = file, i+1, fence
			open = new(marked)
		default:
			m := docMarker.FindStringSubmatch(line)
			if m == nil {
				marked = docBlock{}
				continue
			}
			switch m[1] {
			case "on":
				marked.on = strings.Split(m[2], ", ")
			case "not run":
				marked.notRun = m[2]
			case "installed":
				marked.installed = true
			}
		}
	}
	if open != nil {
		t.Fatalf("%s: the block has no end", open)
	}
	return out
}

// A docStep is one thing that a reader types, and what is then on the screen.
type docStep struct {
	machine string
	script  string
	output  []string // of console
}

var docPrompt = regexp.MustCompile(`^([a-z]+)\$ (.*)$`)

// steps are what a reader types of a block; last is the machine of the step before it.
func (b docBlock) steps(t *testing.T, last string) []docStep {
	t.Helper()
	if b.lang == "sh" {
		on := b.on
		if len(on) == 0 {
			on = []string{last}
		}
		var out []docStep
		for _, machine := range on {
			out = append(out, docStep{machine: machine, script: strings.Join(b.text, "\n")})
		}
		return out
	}
	var out []docStep
	for _, line := range b.text {
		m := docPrompt.FindStringSubmatch(line)
		switch n := len(out) - 1; {
		case m != nil:
			out = append(out, docStep{machine: m[1], script: m[2]})
		case n < 0:
			t.Fatalf("%s: it begins with no command: %q", b, line)
		case len(out[n].output) == 0 && strings.HasSuffix(out[n].script, `\`), heredoc(out[n].script):
			out[n].script += "\n" + line
		default:
			out[n].output = append(out[n].output, line)
		}
	}
	return out
}

// heredoc says whether a script has a document that does not end in it.
func heredoc(script string) bool {
	m := regexp.MustCompile(`<<'?([A-Z]+)'?`).FindStringSubmatch(script)
	return m != nil && !strings.HasSuffix(script, "\n"+m[1])
}

// wrongUses is a document of what users do wrong.
const wrongUses = "cmd/wh/testdata/wrong.md"

// TestWrongUses breaks if a wrong use is not told by an error and a hint, or ends with the wrong exit code for scripts: none, or one that none is listed for.
func TestWrongUses(t *testing.T) {
	n := 0
	for _, b := range docBlocks(t, wrongUses) {
		if b.lang != "console" {
			continue
		}
		for _, s := range b.steps(t, "anna") {
			if s.script == "wh down" {
				continue
			}
			n++
			all := strings.Join(s.output, "\n")
			for _, part := range []string{"wh: error: ", "\nwh: hint: ", "\n[exit "} {
				if !strings.Contains(all, part) {
					t.Errorf("%s: no %q in:\n%s", s.script, part, all)
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d wrong uses", n)
	}
}

// docRoot is the repository, seen from this package's folder.
const docRoot = "../.."

// documents are those that users read, by their paths in the repository.
func documents(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/bench/README.md", "docs/how-to/*.md", "examples/*/README.md", wrongUses} {
		found, err := filepath.Glob(filepath.Join(docRoot, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			rel, err := filepath.Rel(docRoot, f)
			if err != nil {
				t.Fatal(err)
			}
			if rel != "CHANGELOG.md" {
				out = append(out, filepath.ToSlash(rel))
			}
		}
	}
	if len(out) < 8 {
		t.Fatalf("only %v found", out)
	}
	return out
}

// TestDocumentsSayWhatRuns breaks if a block of a document has commands that are neither run by a test nor say why not.
func TestDocumentsSayWhatRuns(t *testing.T) {
	command := regexp.MustCompile(`^(    |\t)?(\$ |[a-z]+\$ )?(wh|make|docker|sudo|apt|systemctl|go|ssh|git) [a-z-]`)
	for _, file := range documents(t) {
		inside := map[int]bool{}
		for _, b := range docBlocks(t, file) {
			for i := range b.text {
				inside[b.line+i] = true // from 0 on
			}
			switch b.lang {
			case "sh", "console":
				if b.notRun == "" {
					b.steps(t, "anna")
				}
				continue
			case "", "toml", "yaml", "go", "json":
			default:
				t.Errorf("%s: what is a block of %q?", b, b.lang)
			}
			for _, line := range b.text {
				if command.MatchString(line) {
					t.Errorf("%s: %q is a command, and the block is none of sh or console", b, line)
				}
			}
		}
		text, err := os.ReadFile(filepath.Join(docRoot, file))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if !inside[i] && strings.HasPrefix(line, "    ") && command.MatchString(line) {
				t.Errorf("%s:%d: %q is a command, and stands in no block of sh or console", file, i+1, line)
			}
		}
	}
}
