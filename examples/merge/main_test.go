package main

import (
	"bytes"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRun breaks if the example doesn't show what its comments and docs say.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), filepath.Join(t.TempDir(), "merge"), &out); err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`desk-\d{8}-\d{6}-[0-9a-f]{4}`).ReplaceAllString(out.String(), "desk-20261126-154000-1234")
	got = regexp.MustCompile(`bafy\w+`).ReplaceAllString(got, "bafy…")
	want := `At first both have:
  /draft.txt                                         once
  /photos/
  /photos/cat                                        a cat
  /plan.txt                                          tea at four
  tree root bafy…

Apart, the desk plans tea at five, renames the draft, and clears /photos away;
the laptop plans tea at six, edits the draft, and adds a photo.

Together again, both have:
  /final.txt                                         once upon a time
  /photos/
  /photos/dog                                        a dog
  /plan.conflict-desk-20261126-154000-1234.txt       tea at five
  /plan.txt                                          tea at six
  tree root bafy…

The laptop removes the other plan. Both have:
  /final.txt                                         once upon a time
  /photos/
  /photos/dog                                        a dog
  /plan.txt                                          tea at six
  tree root bafy…
`
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got - want +\n%s", diff)
	}
}
