package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	filesInFolder = 1000
	dirPage       = 4096
)

// benchPod is a pod that runs in this process.
type benchPod struct {
	*pod.Pod

	dir    string
	portal bool  // stores nothing for others
	logMax int64 // bytes of commits that it keeps; 0: as many as pods do
	cancel context.CancelFunc
	ended  chan error // capacity 1
}

// runPod opens a pod that keeps so many bytes of commits, and runs it.
func runPod(ctx context.Context, dir string, logMax int64) (*benchPod, error) {
	p := &benchPod{dir: dir, logMax: logMax}
	return p, p.restart(ctx)
}

// joinPod makes a pod of the network of another, and runs it.
func joinPod(ctx context.Context, by *benchPod, dir string) (*benchPod, error) {
	token, err := by.Invite(ctx, "writer", time.Hour, 1)
	if err != nil {
		return nil, err
	}
	if _, err := pod.Join(ctx, dir, pod.JoinOptions{Token: token, PodName: filepath.Base(dir)}); err != nil {
		return nil, err
	}
	return runPod(ctx, dir, by.logMax)
}

// restart opens and runs a pod that was stopped.
func (p *benchPod) restart(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	opened, err := pod.Open(ctx, pod.Options{Dir: p.dir, Listen: []string{"127.0.0.1:0"}, Portal: p.portal, LogKeep: p.logMax, LogMax: p.logMax, Log: log})
	if err != nil {
		return err
	}
	p.Pod, p.ended = opened, make(chan error, 1)
	var run context.Context
	run, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() { p.ended <- opened.Run(run) }()
	return nil
}

// stop ends a pod that runs.
func (p *benchPod) stop() error {
	if p == nil || p.cancel == nil {
		return nil
	}
	p.cancel()
	p.cancel = nil
	return errors.Join(<-p.ended, p.Close())
}

// fill makes empty files, and the folders that they are in.
func (p *benchPod) fill(ctx context.Context, files int) error {
	var folder vfs.NodeID
	for i := range files {
		if i%filesInFolder == 0 {
			a, err := p.FS().Create(ctx, vfs.RootID, fmt.Sprintf("folder-%d", i/filesInFolder), vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
			if err != nil {
				return err
			}
			folder = a.ID
		}
		if _, err := p.FS().Create(ctx, folder, fmt.Sprintf("file-%d", i%filesInFolder), vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644}); err != nil {
			return err
		}
	}
	return p.Settle(ctx)
}

func (p *benchPod) put(ctx context.Context, in vfs.NodeID, name, text string) error {
	_, err := p.PutFile(ctx, in, name, pod.FileMeta{Mode: 0o644, Mtime: time.Now().UnixNano()}, int64(len(text)), strings.NewReader(text))
	return err
}

// change gives some files, anywhere in the tree, new contents, one after the other, and then makes one with the name mark.
func (p *benchPod) change(ctx context.Context, files, changes int, mark string) error {
	rng := rand.New(rand.NewPCG(uint64(files), uint64(len(mark))))
	for i := range changes {
		at := rng.IntN(files)
		folder, err := p.FS().Lookup(ctx, vfs.RootID, fmt.Sprintf("folder-%d", at/filesInFolder))
		if err != nil {
			return err
		}
		if err := p.put(ctx, folder.ID, fmt.Sprintf("file-%d", at%filesInFolder), fmt.Sprintf("%s: change %d", mark, i)); err != nil {
			return err
		}
	}
	return errors.Join(p.put(ctx, vfs.RootID, mark, mark), p.Settle(ctx))
}

// sees waits until a name is in the root folder.
func (p *benchPod) sees(ctx context.Context, name string) error {
	return fleet.Eventually(ctx, catchUpWithin, func() error {
		_, err := p.FS().Lookup(ctx, vfs.RootID, name)
		return err
	})
}

// lists waits until so many files are in the tree.
func (p *benchPod) lists(ctx context.Context, files int) error {
	return fleet.Eventually(ctx, catchUpWithin, func() error {
		n, err := p.count(ctx, vfs.RootID)
		if err == nil && n != files {
			time.Sleep(500 * time.Millisecond) // a list of all takes the processor from those that fill it
			err = fmt.Errorf("%d files are listed, not %d", n, files)
		}
		return err
	})
}

// count is how many files are below a folder.
func (p *benchPod) count(ctx context.Context, folder vfs.NodeID) (n int, err error) {
	after := ""
	for {
		page, err := p.FS().ReadDir(ctx, folder, after, dirPage)
		if err != nil || len(page) == 0 {
			return n, err
		}
		for _, e := range page {
			below := 1
			if e.Attr.Kind == vfs.KindFolder {
				if below, err = p.count(ctx, e.Attr.ID); err != nil {
					return n, err
				}
			}
			n += below
		}
		after = page[len(page)-1].Name
	}
}
