package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestRun breaks if the example doesn't do what its comment says.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	var first, second bytes.Buffer
	if err := run(t.Context(), dir, &first); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), dir, &second); err != nil {
		t.Fatal(err)
	}
	wrote, _, _ := strings.Cut(strings.TrimPrefix(first.String(), "wrote: "), "\n")
	if !strings.HasPrefix(second.String(), "found: "+wrote+"\n") {
		t.Errorf("first run: %q, second run: %q", first.String(), second.String())
	}
}
