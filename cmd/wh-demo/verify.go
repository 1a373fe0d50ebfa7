package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// tree is what a folder holds: each regular file's SHA-256 by its path, and each symlink's target.
type tree struct {
	files map[string][sha256.Size]byte
	links map[string]string
	bytes int64
}

func hashTree(root string) (*tree, error) {
	t := &tree{files: make(map[string][sha256.Size]byte), links: make(map[string]string)}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch e.Type() {
		case 0:
			sum, n, err := hashFile(path)
			t.files[rel] = sum
			t.bytes += n
			return err
		case fs.ModeSymlink:
			t.links[rel], err = os.Readlink(path)
			return err
		}
		return nil
	})
	if err == nil && len(t.files) == 0 {
		err = fmt.Errorf("%s holds no files", root)
	}
	return t, err
}

func hashFile(path string) (sum [sha256.Size]byte, n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, 0, err
	}
	h := sha256.New()
	n, err = io.Copy(h, f)
	h.Sum(sum[:0])
	return sum, n, errors.Join(err, f.Close())
}

// compare says in which files the tree at root differs from what it should be.
func compare(root string, want *tree) error {
	got, err := hashTree(root)
	if err != nil {
		return err
	}
	var errs []error
	for path, sum := range want.files {
		switch have, ok := got.files[path]; {
		case !ok:
			errs = append(errs, fmt.Errorf("%s is missing", path))
		case have != sum:
			errs = append(errs, fmt.Errorf("%s differs", path))
		}
	}
	for path, target := range want.links {
		if got.links[path] != target {
			errs = append(errs, fmt.Errorf("link %s points to %q, not %q", path, got.links[path], target))
		}
	}
	if len(got.files) > len(want.files) || len(got.links) > len(want.links) {
		errs = append(errs, fmt.Errorf("%d files and %d links are too many", len(got.files)-len(want.files), len(got.links)-len(want.links)))
	}
	if len(errs) > 10 {
		errs = append(errs[:10], fmt.Errorf("and %d more", len(errs)-10))
	}
	return errors.Join(errs...)
}

// damage flips a bit in the middle of one file that is not empty.
func damage(root string, want *tree) error {
	var paths []string
	for path := range want.files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		full := filepath.Join(root, path)
		b, err := os.ReadFile(full)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			continue
		}
		b[len(b)/2] ^= 1
		return os.WriteFile(full, b, 0o600)
	}
	return errors.New("every file is empty")
}
