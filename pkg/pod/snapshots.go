package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// snapshotLook is how often it is looked whether an automatic snapshot is due.
const snapshotLook = time.Minute

// snapshotMaker is what is known of the last snapshot that was made here.
type snapshotMaker struct {
	mu      sync.Mutex // held while one is made; taken after Pod.collecting, before Pod.treeing
	root    block.ID
	holders []ident.Pod // that have all its nodes
}

// Snapshot is a tree root with a name, which every pod of the network keeps until it is removed.
type Snapshot struct {
	Name string
	Root block.ID
	At   time.Time // zero: not known any more
	By   string    // the pod that made it
	Auto bool      // made, and to be removed, by rule
}

// Snapshots are all that there are, oldest first.
func (p *Pod) Snapshots(context.Context) ([]Snapshot, error) {
	if err := p.sees(); err != nil {
		return nil, err
	}
	list, err := p.db.Snapshots()
	out := make([]Snapshot, len(list))
	for i, s := range list {
		_, auto := snapshotTime(s.Name)
		out[i] = Snapshot{Name: s.Name, Root: s.Root, At: momentAt(s).At, By: p.reg.actorName(s.Author), Auto: auto}
	}
	slices.SortStableFunc(out, func(a, b Snapshot) int { return a.At.Compare(b.At) })
	return out, err
}

// CreateSnapshot names the tree as it is now. It returns when the name is durable here, and enough pods hold all nodes of the tree that one more than
// its policy's losses can be lost; with too few pods those that are there. Errors: vfs.ErrExist, ErrInvalid (a name that means
// something else: of automatic snapshots, a time), ErrBadName, ErrNameTooLong; ErrNotSafe, and then the snapshot is not made.
func (p *Pod) CreateSnapshot(ctx context.Context, name string) (Snapshot, error) {
	if _, isTime := parseWhen(name, p.clock.Now()); isTime || strings.HasPrefix(name, snapshotPrefix) {
		return Snapshot{}, fmt.Errorf("pod: snapshot %q: the name means something else: %w", name, vfs.ErrInvalid)
	}
	if _, err := block.Parse(name); err == nil {
		return Snapshot{}, fmt.Errorf("pod: snapshot %q: that is a CID: %w", name, vfs.ErrInvalid)
	}
	return p.makeSnapshot(ctx, name)
}

func (p *Pod) makeSnapshot(ctx context.Context, name string) (Snapshot, error) {
	if err := errors.Join(p.writable(), vfs.CheckName(name)); err != nil {
		return Snapshot{}, err
	}
	p.snapshots.mu.Lock()
	defer p.snapshots.mu.Unlock()
	all, err := p.Snapshots(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	if slices.ContainsFunc(all, func(s Snapshot) bool { return s.Name == name }) {
		return Snapshot{}, fmt.Errorf("pod: snapshot %q: %w", name, vfs.ErrExist)
	}
	if err := p.Settle(ctx); err != nil {
		return Snapshot{}, err
	}
	root, err := p.pinRoot(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	defer p.kept.unpin(root)
	holders := p.snapshotHolders()
	var base block.ID // its nodes are with all of them already, and stay as long as it has a name
	if last := &p.snapshots; slices.Equal(last.holders, holders) && slices.ContainsFunc(all, func(s Snapshot) bool { return s.Root == last.root }) {
		base = last.root
	}
	if err := p.spreadTree(ctx, holders, base, root, retained{}); err != nil {
		return Snapshot{}, err
	}
	if err := p.db.SetSnapshot(name, root); err != nil {
		return Snapshot{}, err
	}
	if err := p.barrier.wait(ctx); err != nil {
		return Snapshot{}, err
	}
	// A holder may have collected garbage before it heard that this is none.
	if err := p.spreadTree(ctx, holders, base, root, retained{}); err != nil {
		p.log.WarnContext(ctx, "a snapshot's nodes may have fewer copies than they should", "snapshot", name, "err", err)
	} else {
		p.snapshots.root, p.snapshots.holders = root, holders
	}
	return Snapshot{Name: name, Root: root, At: p.clock.Now(), By: p.reg.name(p.id), Auto: strings.HasPrefix(name, snapshotPrefix)}, nil
}

// pinRoot makes a checkpoint and keeps its tree. No newer one can be made before that, so that at every moment a collection finds the
// tree either as the newest or among the kept.
func (p *Pod) pinRoot(ctx context.Context) (block.ID, error) {
	p.treeing.Lock()
	defer p.treeing.Unlock()
	c, err := p.checkpointLocked(ctx)
	if err != nil {
		return block.ID{}, err
	}
	p.kept.pin(c.Tree)
	return c.Tree, nil
}

// RemoveSnapshot takes the name away; what it alone kept is garbage then. Error: vfs.ErrNotExist.
func (p *Pod) RemoveSnapshot(ctx context.Context, name string) error {
	if err := p.writable(); err != nil {
		return err
	}
	all, err := p.db.Snapshots()
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Name == name {
			if err := p.db.SetSnapshot(name, block.ID{}); err != nil {
				return err
			}
			return p.barrier.wait(ctx)
		}
	}
	return fmt.Errorf("pod: snapshot %q: %w", name, vfs.ErrNotExist)
}

// snapshotHolders are the other pods that are to hold the nodes of snapshots: so many that, with this one, as many can be lost as the policy of
// the root bears; the first of one walk, so that each has most of the next snapshot already. Pods that are not connected can't be among them.
func (p *Pod) snapshotHolders() []ident.Pod {
	all, err := p.wantsOf([]state.Node{{Attr: vfs.Attr{ID: vfs.RootID}}})
	want := 1
	if err == nil {
		want = all[0].policy.Losses() + 1
	}
	var out []ident.Pod
	for _, pod := range p.reg.layout().Walk(placement.GroupOf(block.Sum(block.DagCBOR, p.reg.network[:]))) {
		if len(out)+1 >= want {
			break
		}
		if e, ok := p.reg.entry(pod); ok && e.Weight > 0 && pod != p.id && p.net.Connected(pod) && !p.reg.blind(pod) {
			out = append(out, pod)
		}
	}
	return out
}

// spreadTree brings the nodes of a tree here and to pods: folders, and bodies of files; of those that the tree base has not. Error: ErrNotSafe.
func (p *Pod) spreadTree(ctx context.Context, to []ident.Pod, base, root block.ID, r retained) error {
	var list []wanted
	flush := func() error {
		for _, pod := range append([]ident.Pod{p.id}, to...) {
			left, err := p.bring(ctx, pod, list, true)
			if err == nil && len(left) > 0 {
				err = fmt.Errorf("pod: %s lacks %d nodes of tree %s: %w", p.reg.name(pod), len(left), root, ErrNotSafe)
			}
			if err != nil {
				return err
			}
		}
		list = list[:0]
		return nil
	}
	err := p.eachNewNode(ctx, base, root, r, 0, func(id block.ID) error {
		if list = append(list, wanted{id: id}); len(list) < hasMax {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// eachNewNode calls f with the nodes of the folder b and of all below it that it keeps, but those that the folder a has at the same place.
func (p *Pod) eachNewNode(ctx context.Context, a, b block.ID, r retained, depth int, f func(block.ID) error) error {
	if a == b {
		return ctx.Err()
	}
	if depth > folderDepthMax {
		return fmt.Errorf("pod: folders %d deep: %w", depth, block.ErrCorrupt)
	}
	if err := f(b); err != nil {
		return err
	}
	if err := dag.FolderNodes(ctx, blocks{p}, b, f); err != nil {
		return err
	}
	return dag.DiffFolders(ctx, blocks{p}, a, b, func(da, db *dag.Dirent) error {
		switch {
		case db == nil || db.Child.IsZero():
			return nil
		case vfs.Kind(db.Kind) != vfs.KindFolder:
			if r.at(db).gone() {
				return nil
			}
			return f(db.Child)
		case da != nil && vfs.Kind(da.Kind) == vfs.KindFolder:
			return p.eachNewNode(ctx, da.Child, db.Child, r.at(db), depth+1, f)
		}
		return p.eachNewNode(ctx, block.ID{}, db.Child, r.at(db), depth+1, f)
	})
}

// runSnapshots makes and drops automatic snapshots, while this is the pod to do it.
func (p *Pod) runSnapshots(ctx context.Context) error {
	placed := p.clock.Now()
	for {
		if err := clock.Sleep(ctx, p.clock, snapshotLook); err != nil {
			return err
		}
		if p.blind() {
			continue
		}
		if clock.Since(p.clock, placed) >= snapshotPlaceEvery {
			placed = p.clock.Now()
			if err := p.placeSnapshots(ctx, nil); err != nil && ctx.Err() == nil {
				p.log.WarnContext(ctx, "not all that snapshots keep is where it should be", "err", err)
			}
		}
		if p.o.NoHistory || !p.keepsSnapshots() {
			continue
		}
		if err := p.applySnapshotRule(ctx); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "automatic snapshots could not be made or dropped; trying again", "err", err)
		}
	}
}

// keepsSnapshots says whether it is this pod that makes automatic snapshots: the one with the least id of those that may write and are not down. Where pods
// can't see each other, several do, and give equal names to what they make in the same ten minutes.
func (p *Pod) keepsSnapshots() bool {
	if !p.role().MayWrite() {
		return false
	}
	live := p.live()
	for _, cert := range p.reg.pods() {
		pod := cert.Pod()
		if live[pod] && p.reg.mayWrite(pod) && slices.Compare(pod[:], p.id[:]) < 0 {
			return false
		}
	}
	return true
}

// applySnapshotRule makes one automatic snapshot if it is due and anything changed since the last, and drops those that the rule doesn't keep.
func (p *Pod) applySnapshotRule(ctx context.Context) error {
	all, err := p.Snapshots(ctx)
	if err != nil {
		return err
	}
	var names []string
	var newest block.ID
	for _, s := range all {
		if s.Auto {
			names, newest = append(names, s.Name), s.Root
		}
	}
	now := p.stamps.Now()
	due, _ := planSnapshots(now, names)
	_, drop := planSnapshots(p.surelyNow(), names)
	var errs []error
	if name := snapshotName(now); due && !slices.Contains(names, name) {
		if root, err := p.Root(ctx); err != nil {
			errs = append(errs, err)
		} else if root != newest {
			if _, err := p.makeSnapshot(ctx, name); !errors.Is(err, vfs.ErrExist) { // another pod made it just now
				errs = append(errs, err)
			}
		}
	}
	if drop, err = p.dropOld(ctx, drop); err != nil {
		errs = append(errs, err)
	}
	for _, name := range drop {
		if err := p.RemoveSnapshot(ctx, name); !errors.Is(err, vfs.ErrNotExist) { // another pod did it just now
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
