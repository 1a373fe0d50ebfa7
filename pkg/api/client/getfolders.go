package client

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// The folders that a get is in: items come depth first, so those that are open are a stack.

// pathOf is an item's path on the host, for messages.
func (g *getter) pathOf(it api.Item) string {
	if it.Parent < 0 {
		return filepath.Join(g.top.path, g.name)
	}
	for _, f := range g.stack {
		if f.item == it.Parent {
			return filepath.Join(f.path, string(it.Name))
		}
	}
	return string(it.Name)
}

// errFolder says that an item's folder could not be made.
var errFolder = errors.New("the folder that it is in could not be made")

// enter makes the folder that an item is in the last of the stack; those after it are complete.
func (g *getter) enter(parent int) (*destFolder, error) {
	if parent < 0 {
		return g.top, nil
	}
	for len(g.stack) > 0 {
		last := g.stack[len(g.stack)-1]
		if last.item == parent {
			return last, nil
		}
		if last.item < parent {
			break
		}
		g.leave()
	}
	if g.failed[parent] {
		return nil, errFolder
	}
	return nil, fmt.Errorf("an item of a folder that is not there: %w", api.ErrProtocol)
}

// leave ends the last folder of the stack; files in it may still be written.
func (g *getter) leave() {
	last := g.stack[len(g.stack)-1]
	g.stack = g.stack[:len(g.stack)-1]
	g.release(last)
}

// release gives one use of a folder up, and sets its attributes when it was the last.
func (g *getter) release(d *destFolder) {
	if d.refs--; d.refs > 0 {
		return
	}
	if d.seen != nil {
		l, err := d.left()
		if err != nil {
			g.o.Problem(d.path, err)
		}
		if len(l.names) > 0 {
			g.stage.left = append(g.stage.left, l)
		}
	}
	if err := d.finish(); err != nil {
		g.o.Problem(d.path, err)
	}
}

// folder makes a folder, the top-level one in a stage if it is not there yet.
func (g *getter) folder(dir *destFolder, n int, name string, it api.Item) (*destFolder, error) {
	if dir != g.top || name == "" {
		return dir.folder(n, name, it)
	}
	if _, err := dir.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return dir.folder(n, name, it)
	}
	s := &stage{name: stageName(name, g.o.Source)}
	top := destFolder{root: dir.root, path: dir.path, staged: true}
	d, err := top.folder(n, s.name, it)
	if err != nil {
		return nil, err
	}
	if s.lock, err = lockFolder(d.root); err != nil {
		d.close()
		return nil, fmt.Errorf("another get is at work in %s: %w", d.path, err)
	}
	d.path, g.stage = filepath.Join(dir.path, name), s
	return d, nil
}
