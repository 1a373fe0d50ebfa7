// Command mutants plants known bugs, one after the other, in a copy of the tree, and demands that the tests named for each fail.
//
//	go run ./.ci/mutants [-only NAME,…] [-in DIR] [-from NAME]
//
// It prints a line for each, goes on after one that lives or no longer fits the code, and fails at the end if there was one.
// A run that was stopped is taken up with -from; -in takes the mutants of one part of the tree.
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
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// testWithin is how long the tests of a mutant may take. One that hangs, or a machine with much else to do, tells nothing.
const testWithin = 10 * time.Minute

func main() {
	var c choice
	flag.StringVar(&c.only, "only", "", "names of mutants, with commas between them; a * stands for anything")
	flag.StringVar(&c.in, "in", "", "only those of this folder, as pkg/state")
	flag.StringVar(&c.from, "from", "", "begin with this one; they come by name")
	flag.Parse()
	if err := run(context.Background(), c); err != nil {
		fmt.Fprintln(os.Stderr, "mutants: error:", err)
		os.Exit(1)
	}
}

// choice says which mutants are tried. What is empty chooses all.
type choice struct{ only, in, from string }

func (c choice) takes(m mutant) bool {
	named := c.only == "" || slices.ContainsFunc(strings.Split(c.only, ","), func(pattern string) bool {
		ok, err := path.Match(pattern, m.name)
		return err == nil && ok
	})
	return named && m.name >= c.from && strings.HasPrefix(m.file, c.in)
}

// mutant is one planted bug.
type mutant struct {
	name, about, file string
	test              []string
	old, replacement  string
}

func run(ctx context.Context, c choice) (err error) {
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
	tried, bad := 0, 0
	r := runner{dir: dir, sound: map[string]error{}}
	for _, name := range list {
		m, err := read(name)
		if err == nil && !c.takes(m) {
			continue
		}
		begin, verdict := time.Now(), "UNREADABLE"
		if err == nil {
			verdict, err = r.verdict(ctx, m)
		}
		tried++
		if verdict != "caught" {
			bad++
		}
		fmt.Printf("%-10s %-40s %6.1fs  %s\n", verdict, m.name, time.Since(begin).Seconds(), m.about)
		if err != nil {
			fmt.Println(err)
		}
	}
	if bad > 0 || tried == 0 {
		return fmt.Errorf("of %d mutants %d were not caught", tried, bad)
	}
	return nil
}

// runner tries mutants in a copy of the tree.
type runner struct {
	dir   string
	sound map[string]error // by the arguments of go test: why the tests fail without a bug
}

// verdict tries a mutant whose tests pass without it, and says in a word or two what came of it; err tells more.
func (r *runner) verdict(ctx context.Context, m mutant) (verdict string, err error) {
	tests := strings.Join(m.test, " ")
	if _, known := r.sound[tests]; !known {
		out, err := m.goTest(ctx, r.dir)
		if err != nil {
			err = fmt.Errorf("its tests fail without it: %w\n%s", err, out)
		}
		r.sound[tests] = err
	}
	if err := r.sound[tests]; err != nil {
		return "UNSOUND", err
	}
	caught, err := m.try(ctx, r.dir)
	switch {
	case err != nil:
		return "STALE", err
	case !caught:
		return "NOT CAUGHT", nil
	}
	return "caught", nil
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

func read(name string) (mutant, error) {
	m := mutant{name: strings.TrimSuffix(filepath.Base(name), ".txt")}
	data, err := os.ReadFile(name)
	if err != nil {
		return m, err
	}
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
		return m, fmt.Errorf("%s: about, file, test, <<<<, ====, >>>> are needed", name)
	}
	m.old, m.replacement = old, replacement
	return m, nil
}

// try plants the bug in dir and says whether its tests fail. The bug is taken out again.
func (m mutant) try(ctx context.Context, dir string) (caught bool, err error) {
	name := filepath.Join(dir, m.file)
	good, err := os.ReadFile(name)
	if err != nil {
		return false, err
	}
	if n := strings.Count(string(good), m.old); n != 1 {
		return false, fmt.Errorf("its text stands %d times in %s, not once: the code has changed, and so must the mutant", n, m.file)
	}
	bad := strings.Replace(string(good), m.old, m.replacement, 1)
	if err := os.WriteFile(name, []byte(bad), 0o644); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.WriteFile(name, good, 0o644)) }()
	out, err := m.goTest(ctx, dir)
	switch {
	case err == nil:
		return false, nil
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")):
		return false, fmt.Errorf("it doesn't compile: %w\n%s", err, out)
	case !bytes.Contains(out, []byte("FAIL")):
		return false, fmt.Errorf("its tests could not be run: %w\n%s", err, out)
	}
	return true, nil
}

func (m mutant) goTest(ctx context.Context, dir string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, testWithin)
	defer cancel()
	// Without paths of the copy the cache of builds knows what was built for another run. Without vet and what debuggers want a bug is built in half the time.
	args := append([]string{"test", "-count=1", "-trimpath", "-vet=off", "-ldflags=-s -w"}, m.test...)
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if ctx.Err() != nil { // what killed them
		err = fmt.Errorf("after %v: %w", testWithin, err)
	}
	return out, err
}
