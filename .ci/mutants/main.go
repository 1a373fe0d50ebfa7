// Command mutants plants known bugs, one after the other, in a copy of the tree, and demands that the tests named for each fail.
//
//	go run ./.ci/mutants [-only NAME,…]
//
// A mutant is a file of testdata/mutants: lines "about:", "file:", "test:" (arguments of go test), then the text to
// replace, which stands in the file exactly once, and its replacement:
//
//	<<<<
//	old lines
//	====
//	new lines
//	>>>>
//
// docs/mutants.md tells what each stands for.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// testWithin is how long the tests of a mutant may take: one that hangs is caught, too.
const testWithin = 4 * time.Minute

func main() {
	only := flag.String("only", "", "names of mutants, with commas between them")
	flag.Parse()
	if err := run(context.Background(), *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants: error:", err)
		os.Exit(1)
	}
}

// mutant is one planted bug.
type mutant struct {
	name, about, file string
	test              []string
	old, replacement  string
}

func run(ctx context.Context, only string) (err error) {
	list, err := filepath.Glob(filepath.Join("testdata", "mutants", "*.txt"))
	if err != nil || len(list) == 0 {
		return errors.Join(err, errors.New("no mutants: run it at the root of the tree"))
	}
	dir, err := os.MkdirTemp("", "wormhole-mutants-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := copyTree(ctx, dir); err != nil {
		return err
	}
	survived := 0
	passed := map[string]bool{} // tests that pass without a bug
	for _, name := range list {
		m, err := read(name)
		if err != nil {
			return err
		}
		if only != "" && !slices.Contains(strings.Split(only, ","), m.name) {
			continue
		}
		if tests := strings.Join(m.test, " "); !passed[tests] {
			if out, err := m.goTest(ctx, dir); err != nil {
				return fmt.Errorf("%s: its tests fail without it: %w\n%s", m.name, err, out)
			}
			passed[tests] = true
		}
		begin := time.Now()
		caught, err := m.try(ctx, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		verdict := "caught"
		if !caught {
			verdict = "NOT CAUGHT"
			survived++
		}
		fmt.Printf("%-10s %-40s %6.1fs  %s\n", verdict, m.name, time.Since(begin).Seconds(), m.about)
	}
	if survived > 0 {
		return fmt.Errorf("%d mutants live", survived)
	}
	return nil
}

// copyTree copies what git knows of, or would add.
func copyTree(ctx context.Context, dir string) error {
	out, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, not committed yet
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, data, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

func read(path string) (mutant, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return mutant{}, err
	}
	m := mutant{name: strings.TrimSuffix(filepath.Base(path), ".txt")}
	head, rest, ok := strings.Cut(string(data), "<<<<\n")
	old, rest, ok2 := strings.Cut(rest, "====\n")
	replacement, _, ok3 := strings.Cut(rest, ">>>>")
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "about":
			m.about = value
		case "file":
			m.file = value
		case "test":
			m.test = strings.Fields(value)
		}
	}
	if !ok || !ok2 || !ok3 || m.file == "" || len(m.test) == 0 {
		return m, fmt.Errorf("%s: about, file, test, <<<<, ====, >>>> are needed", path)
	}
	m.old, m.replacement = old, replacement
	return m, nil
}

// try plants the bug in dir and says whether its tests fail. The bug is taken out again.
func (m mutant) try(ctx context.Context, dir string) (caught bool, err error) {
	path := filepath.Join(dir, m.file)
	good, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if n := strings.Count(string(good), m.old); n != 1 {
		return false, fmt.Errorf("its text stands %d times in %s, not once: the code has changed, and so must the mutant", n, m.file)
	}
	bad := strings.Replace(string(good), m.old, m.replacement, 1)
	if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, good, 0o644)) }()
	if out, err := m.goTest(ctx, dir, "-run", "^$"); err != nil {
		return false, fmt.Errorf("it doesn't compile: %w\n%s", err, out)
	}
	out, err := m.goTest(ctx, dir)
	if err == nil {
		return false, nil
	}
	if !bytes.Contains(out, []byte("FAIL")) && !errors.Is(err, context.DeadlineExceeded) {
		return false, fmt.Errorf("its tests could not be run: %w\n%s", err, out)
	}
	return true, nil
}

func (m mutant) goTest(ctx context.Context, dir string, more ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, testWithin)
	defer cancel()
	// Without paths of the copy the cache of builds knows what was built for another run.
	args := append([]string{"test", "-count=1", "-trimpath"}, m.test...)
	c := exec.CommandContext(ctx, "go", append(args, more...)...)
	c.Dir = dir
	return c.CombinedOutput()
}
