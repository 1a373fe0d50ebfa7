//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// TestExerciser: on a file system that is right there is no difference; one byte that is wrong, or one too many, is found.
func TestExerciser(t *testing.T) {
	x := newExerciser(filepath.Join(t.TempDir(), "f"), 1)
	for range 400 {
		if err := x.step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.close(); err != nil {
		t.Fatal(err)
	}
	if err := x.whole(); err != nil {
		t.Fatal(err)
	}
	if len(x.want) < 10 {
		t.Fatalf("the file has %d bytes: the test proves nothing", len(x.want))
	}
	right := append([]byte(nil), x.want...)
	x.want[len(x.want)/2]++
	if err := x.whole(); err == nil || !strings.Contains(err.Error(), "should be") {
		t.Errorf("a wrong byte: %v", err)
	}
	x.want = append(right, 0)
	if err := x.whole(); err == nil {
		t.Error("a file that is too short is not found")
	}
}

// TestSchedule: two trees of one file system are equal after a schedule; one that was changed is not, and neither is a step that ends
// in another error.
func TestSchedule(t *testing.T) {
	if os.Getuid() != 0 {
		testneed.Missing(t, "changing owners needs root")
	}
	dir := t.TempDir()
	sides := [2]string{filepath.Join(dir, "one"), filepath.Join(dir, "two")}
	if err := schedule(sides, 7, 300); err != nil {
		t.Fatal(err)
	}
	p := &pair{sides: sides}
	if err := os.Mkdir(filepath.Join(sides[0], "more"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.compare(); err == nil || !strings.Contains(err.Error(), "more") {
		t.Errorf("a folder too many: %v", err)
	}
	if err := p.both(func(side string) error { return os.Remove(filepath.Join(side, "more")) }, "remove more"); err == nil {
		t.Error("a step that failed on one side only is not found")
	}
}
