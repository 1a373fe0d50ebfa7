package main

import (
	"context"
	"errors"
	"io"
	"path"

	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// machine is one machine's pod. With a daemon this is what `wh up` does.
type machine struct {
	dir   string
	pod   *pod.Pod
	end   context.CancelFunc
	ended chan error
}

// online are the options of a pod that others can reach, on this machine alone.
func online() pod.Options { return pod.Options{Listen: []string{"127.0.0.1:0"}, Discover: true} }

// start opens the pod and has it run.
func (m *machine) start(ctx context.Context, o pod.Options) error {
	o.Dir = m.dir
	p, err := pod.Open(ctx, o)
	if err != nil {
		return err
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	m.pod, m.end, m.ended = p, end, make(chan error, 1)
	go func() { m.ended <- p.Run(running) }()
	return nil
}

// stop ends the pod, if it runs. What was done is durable then.
func (m *machine) stop() error {
	if m.pod == nil {
		return nil
	}
	m.end()
	err := errors.Join(<-m.ended, m.pod.Close())
	m.pod = nil
	return err
}

// restart stops the pod, and starts it with other options.
func (m *machine) restart(ctx context.Context, o pod.Options) error {
	return errors.Join(m.stop(), m.start(ctx, o)) //nolint:contextcheck // an end is not cut short
}

// change is something that a user does to a tree.
type change func(ctx context.Context, fs vfs.FS) error

// do makes changes, one after the other, and all of them durable.
func (m *machine) do(ctx context.Context, changes ...change) error {
	for _, c := range changes {
		if err := c(ctx, m.pod.FS()); err != nil {
			return err
		}
	}
	return m.pod.Settle(ctx)
}

// write makes a file, or gives one new contents.
func write(name, text string) change {
	return func(ctx context.Context, fs vfs.FS) (err error) {
		parent, base, err := vfs.ResolveParent(ctx, fs, name)
		if err != nil {
			return err
		}
		a, err := fs.Lookup(ctx, parent, base)
		if errors.Is(err, vfs.ErrNotExist) {
			a, err = fs.Create(ctx, parent, base, vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
		}
		if err != nil {
			return err
		}
		f, err := fs.Open(ctx, a.ID)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close(ctx)) }()
		if _, err := fs.SetAttr(ctx, a.ID, vfs.SetAttr{Size: new(uint64)}); err != nil {
			return err
		}
		_, err = f.WriteAt(ctx, []byte(text), 0)
		return err
	}
}

func mkdir(name string) change {
	return func(ctx context.Context, fs vfs.FS) error {
		parent, base, err := vfs.ResolveParent(ctx, fs, name)
		if err == nil {
			_, err = fs.Create(ctx, parent, base, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
		}
		return err
	}
}

func remove(name string) change { return unlink(name, false) }

func rmdir(name string) change { return unlink(name, true) }

func unlink(name string, folder bool) change {
	return func(ctx context.Context, fs vfs.FS) error {
		parent, base, err := vfs.ResolveParent(ctx, fs, name)
		if err == nil {
			err = fs.Remove(ctx, parent, base, folder)
		}
		return err
	}
}

func rename(from, to string) change {
	return func(ctx context.Context, fs vfs.FS) error {
		parent, base, err := vfs.ResolveParent(ctx, fs, from)
		if err != nil {
			return err
		}
		newParent, newBase, err := vfs.ResolveParent(ctx, fs, to)
		if err == nil {
			err = fs.Rename(ctx, parent, base, newParent, newBase, 0)
		}
		return err
	}
}

// listed is a file or folder as it is printed.
type listed struct{ path, text string }

// list is the whole tree, with what the files hold.
func (m *machine) list(ctx context.Context) (out []listed, err error) {
	fs := m.pod.FS()
	var walk func(id vfs.NodeID, at string) error
	walk = func(id vfs.NodeID, at string) error {
		entries, err := fs.ReadDir(ctx, id, "", 0)
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := path.Join(at, e.Name)
			if e.Attr.Kind == vfs.KindFolder {
				out = append(out, listed{name + "/", ""})
				err = walk(e.Attr.ID, name)
			} else {
				var text string
				text, err = read(ctx, fs, e.Attr)
				out = append(out, listed{name, text})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	err = walk(vfs.RootID, "/")
	return out, err
}

func read(ctx context.Context, fs vfs.FS, a vfs.Attr) (_ string, err error) {
	f, err := fs.Open(ctx, a.ID)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close(ctx)) }()
	data := make([]byte, a.Size)
	if _, err := f.ReadAt(ctx, data, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return string(data), nil
}
