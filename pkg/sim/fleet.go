package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// fleetTimeout is how long it may take to make a fleet, on a slow machine.
const fleetTimeout = time.Minute

// Fleet is pods of one network, made by the product itself and at rest: what simulations of the stack begin with. Their keys lie in a folder of
// the operating system; their disks are copied into memory.
type Fleet struct {
	dir  string
	made time.Time
	pods []fleetPod
}

// fleetPod is one of them.
type fleetPod struct {
	id  ident.Pod
	dir string
}

// NewFleet makes a network of n pods in dir. They connect over the loopback once, to be admitted.
func NewFleet(ctx context.Context, dir string, n int) (*Fleet, error) {
	ctx, cancel := context.WithTimeout(ctx, fleetTimeout)
	defer cancel()
	f := &Fleet{dir: dir, made: clock.Real{}.Now()}
	first := filepath.Join(dir, "pod0")
	info, err := pod.Create(ctx, first, pod.CreateOptions{NetworkName: "sim", PodName: "pod0"})
	if err != nil {
		return nil, err
	}
	f.pods = append(f.pods, fleetPod{id: info.Pod, dir: first})
	admin, err := pod.Open(ctx, pod.Options{Dir: first, Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		return nil, err
	}
	work, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- admin.Run(work) }()
	err = f.join(ctx, admin, n)
	stop()
	return f, errors.Join(err, <-ended, admin.Close()) //nolint:contextcheck // closing takes no context
}

// join has the other pods join.
func (f *Fleet) join(ctx context.Context, admin *pod.Pod, n int) error {
	token, err := admin.Invite(ctx, "writer", time.Hour, n)
	if err != nil {
		return err
	}
	for i := 1; i < n; i++ {
		name := fmt.Sprintf("pod%d", i)
		dir := filepath.Join(f.dir, name)
		info, err := pod.Join(ctx, dir, pod.JoinOptions{Token: token, PodName: name})
		if err != nil {
			return err
		}
		f.pods = append(f.pods, fleetPod{id: info.Pod, dir: dir})
	}
	return nil
}

// Remove removes the fleet's folder.
func (f *Fleet) Remove() error { return os.RemoveAll(f.dir) }

// disk is a disk with what a pod has, all of it synced.
func (f *Fleet) disk(i int) (*Disk, error) {
	mem := pebblevfs.NewCrashableMem()
	dir := f.pods[i].dir
	if err := mem.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, part := range []string{"state", "segments", "index"} {
		part = filepath.Join(dir, part)
		if _, err := os.Stat(part); errors.Is(err, os.ErrNotExist) {
			continue // a pod that never ran has no store
		}
		if _, err := pebblevfs.Clone(pebblevfs.Default, mem, part, part); err != nil {
			return nil, err
		}
	}
	return diskOf(mem).Copy(), nil
}
