package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCompare breaks if the demo could say that bytes are equal which are not.
func TestCompare(t *testing.T) {
	write := func(root string) {
		t.Helper()
		for name, text := range map[string]string{"a": "", "b/c": "text", "b/d": "other"} {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("nowhere", filepath.Join(root, "link")); err != nil {
			t.Fatal(err)
		}
	}
	source := t.TempDir()
	write(source)
	want, err := hashTree(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		spoil func(root string) error
		equal bool
	}{
		{"equal", func(string) error { return nil }, true},
		{"damaged", func(root string) error { return damage(root, want) }, false},
		{"missing", func(root string) error { return os.Remove(filepath.Join(root, "a")) }, false},
		{"one too many", func(root string) error { return os.WriteFile(filepath.Join(root, "e"), nil, 0o644) }, false},
		{"link gone", func(root string) error { return os.Remove(filepath.Join(root, "link")) }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := t.TempDir()
			write(root)
			if err := row.spoil(root); err != nil {
				t.Fatal(err)
			}
			if err := compare(root, want); (err == nil) != row.equal {
				t.Errorf("compare: %v, want equal %v", err, row.equal)
			}
		})
	}
}
