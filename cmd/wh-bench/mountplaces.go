//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
	"github.com/wormhole-fs/wormhole/mountfs/nullfs"
)

// Names of what is compared.
const (
	placeNull  = "null"
	placePod   = "pod"
	placeDisk  = "disk"
	placeJuice = "JuiceFS"
)

// mountWithin is how long a mount may take to appear.
const mountWithin = 30 * time.Second

// place is a folder that loads run in.
type place struct {
	name, title string
	dir         string
	cpu         func() time.Duration // that its daemon took
	cold        func(ctx context.Context) error
	end         func(ctx context.Context) error
}

// sync has all that was written on the disk.
func (p *place) sync(context.Context) error {
	if p.name == placeNull {
		return nil
	}
	d, err := os.Open(p.dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // only synced
	if err := d.Sync(); err != nil {
		return err
	}
	unix.Sync()
	return nil
}

// places are what can be had here. Those that were made are returned beside an error, too.
func (b *bench) places(ctx context.Context) (out []*place, err error) {
	for _, begin := range []func(context.Context) (*place, error){b.nullPlace, b.podPlace, b.diskPlace, b.juicePlace} {
		p, err := begin(ctx)
		if err != nil {
			return out, err
		}
		if p != nil {
			out = append(out, p)
		}
	}
	return out, nil
}

func noCPU() time.Duration { return 0 }

// nullPlace is the empty file system, served by a process of its own.
func (b *bench) nullPlace(ctx context.Context) (*place, error) {
	dir := filepath.Join(b.dir, "null")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(context.WithoutCancel(ctx), self, "null", dir)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	p := &place{name: placeNull, title: "a FUSE file system that keeps no bytes (mountfs/nullfs)", dir: dir, cpu: noCPU}
	p.end = func(context.Context) error { return errors.Join(in.Close(), c.Wait()) }
	return p, mounted(ctx, dir)
}

// serveNull mounts the empty file system until its stdin ends.
func serveNull(dir string) error {
	end, err := nullfs.Mount(dir)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, end())
}

// mounted waits until something is mounted on a folder.
func mounted(ctx context.Context, dir string) error {
	return fleet.Eventually(ctx, mountWithin, func() error {
		var inner, outer unix.Stat_t
		if err := errors.Join(unix.Stat(dir, &inner), unix.Stat(filepath.Dir(dir), &outer)); err != nil {
			return err
		}
		if inner.Dev == outer.Dev {
			return fmt.Errorf("nothing is mounted on %s", dir)
		}
		return nil
	})
}

// podPlace is a mount of a network of one pod.
func (b *bench) podPlace(ctx context.Context) (*place, error) {
	home := b.home
	if home == "" {
		home = b.dir
	}
	home, err := os.MkdirTemp(home, "home-")
	if err != nil {
		return nil, err
	}
	m := &fleet.Machine{Name: "bench", WH: b.wh, Home: filepath.Join(home, "wh"), Mount: filepath.Join(b.dir, "pod")}
	p := &place{name: placePod, title: "the mount of a network of one pod", dir: m.Mount}
	p.end = func(ctx context.Context) error { return errors.Join(m.Stop(ctx), os.RemoveAll(home)) }
	p.cold = func(ctx context.Context) error { return errors.Join(m.Stop(ctx), dropCaches(), m.Up(ctx)) }
	p.cpu = func() time.Duration {
		now, err := readProcess(m.PID())
		if err != nil {
			return 0
		}
		return now.cpu
	}
	if err := m.Init(ctx, "bench"); err != nil {
		return nil, errors.Join(err, p.end(ctx))
	}
	return p, nil
}

// diskPlace is a folder of the disk.
func (b *bench) diskPlace(context.Context) (*place, error) {
	dir := filepath.Join(b.dir, "disk")
	p := &place{name: placeDisk, title: "a folder on the disk that the others keep their bytes on", dir: dir, cpu: noCPU}
	p.cold = func(context.Context) error { return dropCaches() }
	p.end = func(context.Context) error { return nil }
	return p, os.Mkdir(dir, 0o755)
}

// juicePlace is JuiceFS with its metadata in sqlite and its bytes in files, both on the same disk; nil where it is not on PATH.
func (b *bench) juicePlace(ctx context.Context) (*place, error) {
	program, err := exec.LookPath("juicefs")
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // then it is left out
	}
	dir, data := filepath.Join(b.dir, "juice"), filepath.Join(b.dir, "juice-data")
	meta := "sqlite3://" + filepath.Join(data, "meta.db")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.MkdirAll(data, 0o755)); err != nil {
		return nil, err
	}
	said, err := output(exec.CommandContext(ctx, program, "version"))
	if err != nil {
		return nil, err
	}
	if _, err := output(exec.CommandContext(ctx, program, "format", "--storage", "file", "--bucket", data+"/", meta, "bench")); err != nil {
		return nil, err
	}
	mount := func(ctx context.Context) error {
		_, err := output(exec.CommandContext(ctx, program, "mount", "-d", "--no-usage-report", "--cache-dir", filepath.Join(data, "cache"), meta, dir))
		return errors.Join(err, mounted(ctx, dir))
	}
	unmount := func(ctx context.Context) error {
		_, err := output(exec.CommandContext(ctx, program, "umount", dir))
		return err
	}
	p := &place{name: placeJuice, title: strings.TrimSpace(said) + ", metadata in sqlite, bytes in files", dir: dir, cpu: noCPU, end: unmount}
	p.cold = func(ctx context.Context) error { return errors.Join(unmount(ctx), dropCaches(), mount(ctx)) }
	return p, mount(ctx)
}
