package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kubo is IPFS's Kubo without its daemon and network: its default store (flatfs), chunks of 1 MiB, which is faster than its
// default size.
type kubo struct{ dir, cid string }

func (k *kubo) run(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "ipfs", args...)
	c.Env = append(os.Environ(), "IPFS_PATH="+k.dir)
	return output(c)
}

func (k *kubo) open(ctx context.Context, dir string) error {
	k.dir = dir
	_, err := k.run(ctx, "init", "--empty-repo")
	return err
}

func (k *kubo) add(ctx context.Context, path string) error {
	said, err := k.run(ctx, "--offline", "add", "-r", "-H", "-Q", "--chunker=size-1048576", path)
	k.cid = strings.TrimSpace(said)
	return err
}

func (k *kubo) get(ctx context.Context, to string) error {
	_, err := k.run(ctx, "--offline", "get", "--progress=false", "-o", to, k.cid)
	return err
}

func (k *kubo) stored(context.Context) (int64, error) { return folderBytes(k.dir) }

func (k *kubo) close(context.Context) error { return nil }

// restic backs up into a local repository, with its cache beside it.
type restic struct{ dir string }

func (r *restic) run(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, "restic", append([]string{"--quiet"}, args...)...)
	c.Env = append(os.Environ(), "RESTIC_REPOSITORY="+filepath.Join(r.dir, "repo"), "RESTIC_PASSWORD=bench",
		"RESTIC_CACHE_DIR="+filepath.Join(r.dir, "cache"))
	_, err := output(c)
	return err
}

func (r *restic) open(ctx context.Context, dir string) error {
	r.dir = dir
	return r.run(ctx, "init")
}

func (r *restic) add(ctx context.Context, path string) error { return r.run(ctx, "backup", path) }

func (r *restic) get(ctx context.Context, to string) error {
	return r.run(ctx, "restore", "latest", "--target", to)
}

func (r *restic) stored(context.Context) (int64, error) {
	return folderBytes(filepath.Join(r.dir, "repo"))
}

func (r *restic) close(context.Context) error { return nil }

// desync cuts into a local chunk store; a folder goes through its archive format.
type desync struct {
	dir    string
	folder bool
}

func (d *desync) run(ctx context.Context, command string, args ...string) error {
	_, err := output(exec.CommandContext(ctx, "desync", append([]string{command, "-s", d.dir}, args...)...))
	return err
}

func (d *desync) index() string { return filepath.Join(filepath.Dir(d.dir), "desync.index") }

func (d *desync) open(_ context.Context, dir string) error {
	d.dir = dir
	return nil
}

func (d *desync) add(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if d.folder = info.IsDir(); d.folder {
		return d.run(ctx, "tar", "-i", d.index(), path)
	}
	return d.run(ctx, "make", d.index(), path)
}

func (d *desync) get(ctx context.Context, to string) error {
	if !d.folder {
		return d.run(ctx, "extract", d.index(), to)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	return d.run(ctx, "untar", "-i", d.index(), to)
}

func (d *desync) stored(context.Context) (int64, error) { return folderBytes(d.dir) }

func (d *desync) close(context.Context) error { return nil }
