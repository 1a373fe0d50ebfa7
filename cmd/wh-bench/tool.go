package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// tool is what puts data into a store of its own and takes it out again: Wormhole, and each of those it is compared with. A
// value is used for one round, by one goroutine.
type tool interface {
	// open makes an empty store in a folder.
	open(ctx context.Context, dir string) error
	// add puts a file or folder into the store.
	add(ctx context.Context, path string) error
	// get takes what was added last out of the store, to a path at which nothing is.
	get(ctx context.Context, to string) error
	// stored is how many bytes the store takes.
	stored(ctx context.Context) (int64, error)
	// close ends what runs.
	close(ctx context.Context) error
}

// contender is a tool that can be had here.
type contender struct {
	name    string
	version string
	make    func() tool
}

// self is the name of Wormhole's own row.
const self = "wh"

// peers are the others, in the order of their rows.
var peers = []struct {
	name, program string
	version       []string // its command that tells the version
	make          func() tool
}{
	{"cp -a", "cp", []string{"--version"}, func() tool { return &cp{} }},
	{"Kubo", "ipfs", []string{"version"}, func() tool { return &kubo{} }},
	{"restic", "restic", []string{"version"}, func() tool { return &restic{} }},
	{"desync", "desync", []string{"--version"}, func() tool { return &desync{} }},
}

// contenders are Wormhole, cp, and those of the programs asked for that are on PATH; none asked for: all.
func (b *bench) contenders(ctx context.Context) ([]contender, error) {
	asked := strings.FieldsFunc(b.peers, func(r rune) bool { return r == ',' })
	out := []contender{{name: self, make: func() tool { return &wormhole{wh: b.wh, encrypt: b.encrypt} }}}
	for _, p := range peers {
		at := slices.Index(asked, p.program)
		if at >= 0 {
			asked = slices.Delete(asked, at, at+1)
		} else if b.peers != "" && p.program != "cp" {
			continue
		}
		if _, err := exec.LookPath(p.program); err != nil {
			if at >= 0 {
				return nil, fmt.Errorf("-peers: %w", err)
			}
			continue
		}
		said, err := output(exec.CommandContext(ctx, p.program, p.version...))
		if err != nil {
			return nil, err
		}
		line, _, _ := strings.Cut(said, "\n")
		out = append(out, contender{name: p.name, version: strings.TrimSpace(line), make: p.make})
	}
	if len(asked) > 0 {
		return nil, fmt.Errorf("-peers: %s: not known", strings.Join(asked, ", "))
	}
	return out, nil
}

// output runs a command and returns what it printed.
func output(c *exec.Cmd) (string, error) {
	var out, talk bytes.Buffer
	c.Stdout, c.Stderr = &out, &talk
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(c.Args, " "), err, strings.TrimSpace(talk.String()))
	}
	return out.String(), nil
}

// cp copies, and copies back.
type cp struct{ dir, copied string }

func (c *cp) open(_ context.Context, dir string) error {
	c.dir = dir
	return nil
}

func (c *cp) add(ctx context.Context, path string) error {
	c.copied = filepath.Join(c.dir, filepath.Base(path))
	_, err := output(exec.CommandContext(ctx, "cp", "-a", path, c.copied))
	return err
}

func (c *cp) get(ctx context.Context, to string) error {
	_, err := output(exec.CommandContext(ctx, "cp", "-a", c.copied, to))
	return err
}

func (c *cp) stored(context.Context) (int64, error) { return folderBytes(c.dir) }

func (c *cp) close(context.Context) error { return nil }

// folderBytes is how many bytes the files below a folder have.
func folderBytes(dir string) (int64, error) {
	_, size, err := measure(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	return size, err
}
