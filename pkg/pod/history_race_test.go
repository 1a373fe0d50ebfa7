package pod

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestHistoryRace breaks if a collection takes a block of a snapshot that is made, of a file that is restored, or of a tree that is kept, while writers
// change everything and garbage is deleted at once.
func TestHistoryRace(t *testing.T) {
	p := historyPod(t, Options{Clock: fastClock{time.Now(), 2000}, TrashAfter: 1})
	seed := rand.Uint64()
	t.Log("seed", seed)
	ctx, cancel := context.WithTimeout(context.Background(), *gcTime)
	defer cancel()
	var wg sync.WaitGroup
	rounds := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := p.Collect(context.WithoutCancel(ctx), CollectOptions{atOnce: true}); err != nil {
				t.Error(err)
				return
			}
			rounds++
		}
	})
	r := &historyWriter{p: p, rng: rand.New(rand.NewPCG(seed, 0)), files: map[string]string{}, snaps: map[string]map[string]string{}}
	for ctx.Err() == nil && !t.Failed() {
		if err := r.step(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	p.settle()
	p.collect(CollectOptions{atOnce: true})
	p.stop()
	p = historyPod(t, Options{Dir: p.dir})
	all := p.newMarker()
	for _, root := range p.kept.roots() {
		if err := all.tree(quickly(t), root, 0); err != nil {
			t.Errorf("a kept tree: %v", err)
		}
	}
	files := 0
	check := func(at string, want map[string]string) {
		for path, content := range want {
			files++
			p.wantAt(at, path, content)
		}
	}
	check(Now, r.files)
	for name, want := range r.snaps {
		check(name, want)
	}
	p.clean()
	t.Logf("%d steps, %d snapshots, %d files in them, %d restored, %d collections", r.steps, len(r.snaps), files, r.restored, rounds)
	if r.made == 0 || r.restored == 0 || rounds == 0 {
		t.Error("too little was done")
	}
}

// historyWriter changes files, makes snapshots, and restores from them.
type historyWriter struct {
	p     *testPod
	rng   *rand.Rand
	files map[string]string
	snaps map[string]map[string]string

	steps, made, restored int
}

func (w *historyWriter) step(ctx context.Context) error {
	w.steps++
	path := fmt.Sprintf("/f%d", w.rng.IntN(12))
	parent, name := vfs.RootID, path[1:]
	switch n := w.rng.IntN(10); {
	case n < 5: // some are small, some are seen before
		content := randomText(w.rng.Uint64N(40), 1+w.rng.IntN(3)*40<<10)
		if err := writeFS(ctx, w.p.fs, path, content); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		w.files[path] = content
	case n < 7:
		if _, ok := w.files[path]; ok {
			delete(w.files, path)
			return w.p.fs.Remove(ctx, parent, name, false)
		}
	case n < 8 && len(w.snaps) < 30:
		w.made++
		snap := fmt.Sprintf("s%d", w.made)
		if _, err := w.p.CreateSnapshot(ctx, snap); err != nil {
			return err
		}
		w.snaps[snap] = map[string]string{}
		maps.Copy(w.snaps[snap], w.files)
	case n < 9 && len(w.snaps) > 3:
		for snap := range w.snaps {
			delete(w.snaps, snap)
			return w.p.RemoveSnapshot(ctx, snap)
		}
	default:
		for snap, files := range w.snaps {
			content, ok := files[path]
			if !ok {
				continue
			}
			m, err := w.p.Moment(ctx, snap)
			if err != nil {
				return err
			}
			fs, err := w.p.OpenMoment(ctx, m)
			if err != nil {
				return err
			}
			a, err := vfs.Resolve(ctx, fs, path)
			if err != nil {
				return err
			}
			if w.rng.IntN(2) == 0 { // it is removed while it is restored from
				delete(w.snaps, snap)
				if err := w.p.RemoveSnapshot(ctx, snap); err != nil {
					return err
				}
			}
			_, err = w.p.CopyFromTree(ctx, fs, a.ID, parent, name, FileMeta{Mode: 0o644, Mtime: a.Mtime})
			switch {
			case errors.Is(err, block.ErrUnavailable) || errors.Is(err, block.ErrNotFound):
				return nil // collected already
			case err != nil:
				return fmt.Errorf("restore %s: %w", path, err)
			}
			w.files[path] = content
			w.restored++
			return nil
		}
	}
	return nil
}
