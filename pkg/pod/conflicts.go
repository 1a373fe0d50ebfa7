package pod

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// conflictsEvery is the least time between looks for new conflicts.
const conflictsEvery = time.Second

// ErrSides says that a conflict has no version of the side that was asked for, or several.
var ErrSides = fmt.Errorf("choose one of the versions: %w", vfs.ErrExist)

// Conflict is what pods did apart at one path.
type Conflict struct {
	Path     string
	Kind     string            // contents, deleted, renamed
	Versions []ConflictVersion // the first is what is shown at Path
	at       state.Conflict
}

// ConflictVersion is one side of a conflict.
type ConflictVersion struct {
	ID     string // 8 hexadecimal digits
	Path   string // where it is shown; of a place that lost, that place
	By     string // the pod that made it; "": not known
	Ours   bool   // this pod did
	At     time.Time
	Gone   bool // this version is that it is deleted
	Kind   vfs.Kind
	Size   uint64
	NodeID vfs.NodeID // 0: Gone
}

// Words for Resolve, besides a version's ID.
const (
	KeepOurs   = "ours"   // what this pod made
	KeepTheirs = "theirs" // what another pod made
	KeepBoth   = state.KeepAll
)

var conflictKinds = map[state.ConflictKind]string{
	state.ConflictContents: "contents", state.ConflictDeleted: "deleted", state.ConflictRenamed: "renamed",
}

// Conflicts are all that there are at and below a path.
func (p *Pod) Conflicts(ctx context.Context, at string) ([]Conflict, error) {
	if err := p.sees(); err != nil {
		return nil, err
	}
	list, err := p.db.Conflicts(ctx)
	if err != nil {
		return nil, err
	}
	out := []Conflict{}
	for _, c := range list {
		one, err := p.conflict(c)
		if errors.Is(err, vfs.ErrNotExist) {
			continue // its folder has gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		in := below(one.Path, at)
		for _, v := range one.Versions {
			in = in || v.Path == at // a copy's own name
		}
		if in {
			out = append(out, one)
		}
	}
	return out, nil
}

func (p *Pod) conflict(c state.Conflict) (Conflict, error) {
	above, err := p.db.Path(c.Parent)
	if err != nil {
		return Conflict{}, err
	}
	out := Conflict{Path: path.Join(above, c.Name), Kind: conflictKinds[c.Kind], at: c}
	for _, v := range c.Versions {
		in := above
		if v.Parent != c.Parent {
			if in, err = p.db.Path(v.Parent); err != nil {
				return Conflict{}, err
			}
		}
		one := ConflictVersion{ID: v.ID, Path: path.Join(in, v.Name), Gone: v.Gone, Kind: v.Node.Kind, Size: v.Node.Size, NodeID: v.Node.ID}
		if v.HLC != 0 {
			one.By, one.At, one.Ours = p.reg.actorName(v.Author), v.HLC.Time(), v.Author == p.db.Actor()
		}
		out.Versions = append(out.Versions, one)
	}
	return out, nil
}

// Resolve ends the conflict at a path: keep is KeepOurs, KeepTheirs, KeepBoth, or the ID of a version or its beginning. The other versions
// are in the history afterwards, as far as it reaches. Errors: vfs.ErrNotExist (no conflict, no such version); ErrSides; vfs.ErrNotEmpty where a folder
// would go that is not empty, vfs.ErrExist where the place that is chosen is taken.
func (p *Pod) Resolve(ctx context.Context, at, keep string) error {
	if err := p.changeable(); err != nil {
		return err
	}
	if err := errors.Join(p.Settle(ctx), p.KeepNow(ctx)); err != nil {
		return err
	}
	all, err := p.Conflicts(ctx, at)
	if err != nil {
		return err
	}
	var found *Conflict
	for i := range all {
		if c := &all[i]; c.Path == at || c.shows(at) {
			if keep == KeepOurs || keep == KeepTheirs || keep == KeepBoth || c.has(keep) {
				found = c
				break
			}
		}
	}
	if found == nil {
		return fmt.Errorf("pod: %s: no conflict, or none with version %s: %w", at, keep, vfs.ErrNotExist)
	}
	if keep, err = found.choose(keep); err != nil {
		return err
	}
	for _, v := range found.Versions {
		if v.NodeID != 0 {
			if err := p.settleNode(ctx, v.NodeID); err != nil {
				return err
			}
		}
	}
	if err := p.resolve(found.at, keep); err != nil {
		return fmt.Errorf("pod: resolve %s: %w", found.Path, err)
	}
	for _, v := range found.Versions {
		if v.NodeID != 0 {
			p.refresh(v.NodeID)
			p.self.changedNode(v.NodeID)
		}
	}
	p.self.changed(vfs.Change{Parent: found.at.Parent, Name: found.at.Name}, vfs.Change{Node: found.at.Parent})
	for _, v := range found.at.Versions {
		p.self.changed(vfs.Change{Parent: v.Parent, Name: v.Name}, vfs.Change{Node: v.Parent})
	}
	p.conflicts.look()
	return p.barrier.wait(ctx)
}

// resolve does it. As for remove, no contents are named meanwhile.
func (p *Pod) resolve(c state.Conflict, keep string) error {
	p.unlinking.Lock()
	defer p.unlinking.Unlock()
	gone, err := p.db.Resolve(c.Parent, c.Name, c.Kind, keep)
	if err != nil {
		return err
	}
	for _, n := range gone {
		if n.NLink == 0 && n.Kind == vfs.KindFile {
			p.orphaned(n)
		}
	}
	return nil
}

func (c *Conflict) shows(at string) bool {
	for _, v := range c.Versions {
		if v.Path == at {
			return true
		}
	}
	return false
}

func (c *Conflict) has(id string) bool {
	_, err := c.at.Find(id)
	return err == nil
}

// choose is the ID of the version that a word means; of several of one side the newest. Error: ErrSides.
func (c *Conflict) choose(keep string) (string, error) {
	if keep == KeepBoth {
		return keep, nil
	}
	if keep != KeepOurs && keep != KeepTheirs {
		v, err := c.at.Find(keep)
		if err != nil {
			return "", err
		}
		return v.ID, nil
	}
	var best *ConflictVersion
	for i := range c.Versions {
		v := &c.Versions[i]
		if v.By == "" || v.Ours != (keep == KeepOurs) {
			continue
		}
		if best == nil || v.At.After(best.At) {
			best = v
		}
	}
	if best == nil && len(c.Versions) == 2 { // of one version it is known whose it is: the other is the other's
		for i := range c.Versions {
			if other := &c.Versions[1-i]; c.Versions[i].By == "" && other.Ours == (keep == KeepTheirs) {
				best = &c.Versions[i]
			}
		}
	}
	if best == nil {
		return "", fmt.Errorf("pod: %s: no version is %s: %w", c.Path, keep, ErrSides)
	}
	return best.ID, nil
}

// key names what is in conflict, so that it is told once.
func (c *Conflict) key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d %s", c.at.Kind, c.at.Parent, c.at.Name)
	for _, v := range c.Versions {
		b.WriteString(" " + v.ID)
	}
	return b.String()
}

// conflictWatch tells of conflicts at first sight.
type conflictWatch struct {
	kick chan struct{} // capacity 1

	mu    sync.Mutex // guards known
	known map[string]bool
}

// load takes the conflicts that there are at the start as known.
func (w *conflictWatch) load(ctx context.Context, p *Pod) error {
	w.kick = make(chan struct{}, 1)
	if p.blind() {
		return nil
	}
	all, err := p.Conflicts(ctx, "/")
	if err == nil {
		w.fresh(all)
	}
	return err
}

// look has them looked at soon.
func (w *conflictWatch) look() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// fresh replaces what is known, and returns what is new.
func (w *conflictWatch) fresh(all []Conflict) []Conflict {
	known := make(map[string]bool, len(all))
	var out []Conflict
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range all {
		key := all[i].key()
		if !w.known[key] && !known[key] {
			out = append(out, all[i])
		}
		known[key] = true
	}
	w.known = known
	return out
}

// count is how many there were at the last look.
func (w *conflictWatch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.known)
}

// runConflicts looks for new conflicts when other pods changed something.
func (p *Pod) runConflicts(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.conflicts.kick:
		}
		if p.blind() {
			continue
		}
		all, err := p.Conflicts(ctx, "/")
		if err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "conflicts can't be listed", "err", err)
		}
		if err == nil {
			for _, c := range p.conflicts.fresh(all) {
				p.log.InfoContext(ctx, "a conflict: pods changed something apart", "kind", c.Kind, "versions", len(c.Versions))
				p.event(Event{Kind: EventConflict, Path: c.Path, Text: fmt.Sprintf("%s, %d versions: wh conflicts", c.Kind, len(c.Versions))})
				if p.o.OnConflict != nil {
					p.o.OnConflict(c)
				}
			}
		}
		if err := clock.Sleep(ctx, p.clock, conflictsEvery); err != nil {
			return err
		}
	}
}
