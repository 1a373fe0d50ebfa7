package wormhole_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatsAreTested demands of each class of attacks in docs/threat-model.md that the tests which its row names are there. If it fails, the page promises what nobody looks at.
func TestThreatsAreTested(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(doc), "\n| class | what we do | tests |\n|---|---|---|\n")
	if !found {
		t.Fatal("there is no table")
	}
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 {
			break
		}
		rows++
		for name := range strings.SplitSeq(cells[2], ",") {
			dir, test, ok := strings.Cut(strings.TrimSpace(name), " ")
			if !ok || !hasTest(t, dir, test) {
				t.Errorf("%s: there is no test %q", strings.TrimSpace(cells[0]), strings.TrimSpace(name))
			}
		}
	}
	if rows < 31 {
		t.Errorf("%d classes", rows)
	}
}

// hasTest says whether a folder has a test, or fuzz target, of a name.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`).Match(code) {
			return true
		}
	}
	return false
}
