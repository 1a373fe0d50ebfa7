package wormhole_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMutants demands of each planted bug (.ci/mutants) that the text which it replaces stands in its file exactly once, and that docs/mutants.md tells of
// it. A change of the code that leaves a bug without its place is seen at once, and not by the next long run.
func TestMutants(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("testdata", "mutants", "*.txt"))
	if err != nil || len(names) == 0 {
		t.Fatalf("got %d mutants, %v", len(names), err)
	}
	doc, err := os.ReadFile(filepath.Join("docs", "mutants.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, _ := strings.Cut(string(text), "<<<<\n")
		old, _, ok := strings.Cut(rest, "====\n")
		_, file, _ := strings.Cut(head, "file: ")
		file, _, _ = strings.Cut(file, "\n")
		code, err := os.ReadFile(file)
		if err != nil || !ok {
			t.Errorf("%s: it has no file, or no text: %v", name, err)
			continue
		}
		if n := strings.Count(string(code), old); n != 1 {
			t.Errorf("%s: its text stands %d times in %s, not once", name, n, file)
		}
		if row := "| " + strings.TrimSuffix(filepath.Base(name), ".txt") + " |"; !strings.Contains(string(doc), row) {
			t.Errorf("%s: docs/mutants.md has no row for it", name)
		}
	}
}
