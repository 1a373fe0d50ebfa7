package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// retained is what an old tree keeps at one of its folders: the rules of retention, as they are now, of the folders and files that it has. A folder that is gone has no rule any more,
// and inherits. The zero value keeps all.
type retained struct {
	rules map[vfs.NodeID]time.Duration // 0: all
	age   time.Duration                // since when the tree is not the newest
	keep  time.Duration                // what holds here; 0: all
}

// retention are the rules of retention of all nodes that have one; nil: none has.
func (p *Pod) retention(ctx context.Context) (rules map[vfs.NodeID]time.Duration, err error) {
	err = p.db.EachWish(ctx, func(id vfs.NodeID, w state.Wish) error {
		keep, ok := parseRetention(w.Rule(state.WishRetention))
		if ok && rules == nil {
			rules = make(map[vfs.NodeID]time.Duration)
		}
		if ok {
			rules[id] = keep
		}
		return nil
	})
	return rules, err
}

// parseRetention reads the text of a rule; 0: all. One that can't be read is none.
func parseRetention(text string) (keep time.Duration, ok bool) {
	if text == retentionAll {
		return 0, true
	}
	keep, err := time.ParseDuration(text)
	return keep, err == nil && keep >= retentionMin && keep <= ruleMax
}

// retainedOf is what the root of an old tree keeps.
func retainedOf(rules map[vfs.NodeID]time.Duration, age time.Duration) retained {
	return retained{rules: rules, age: age, keep: rules[vfs.RootID]}
}

// at is what an entry of the folder keeps.
func (r retained) at(d *dag.Dirent) retained {
	if keep, ok := r.rules[vfs.NodeID(d.Ino)]; ok {
		r.keep = keep
	}
	return r
}

// gone says whether contents are given up.
func (r retained) gone() bool { return r.keep > 0 && r.age > r.keep }

// any says whether there are rules at all.
func (r retained) any() bool { return len(r.rules) > 0 }

// longest is how long something is kept of a tree whose root has a rule; 0: for ever.
func longest(rules map[vfs.NodeID]time.Duration) time.Duration {
	out := rules[vfs.RootID]
	for _, keep := range rules {
		if out == 0 || keep == 0 {
			return 0
		}
		out = max(out, keep)
	}
	return out
}

// givenUp says of contents of an old tree that can't be had why that may be.
func (p *Pod) givenUp(ctx context.Context, err error) error {
	if !errors.Is(err, block.ErrUnavailable) && !errors.Is(err, block.ErrNotFound) {
		return err
	}
	if rules, ruleErr := p.retention(ctx); ruleErr != nil || len(rules) == 0 {
		return err
	}
	return fmt.Errorf("older contents may have been given up, as a rule of retention says (wh policy ls): %w", err)
}

// dropOld adds to the names of automatic snapshots that are to go those of which the rules of retention keep nothing any more.
func (p *Pod) dropOld(ctx context.Context, names []string) ([]string, error) {
	aged, rules, err := p.agedSnapshots(ctx)
	most := longest(rules)
	if err != nil || most == 0 {
		return names, err
	}
	all, err := p.Snapshots(ctx)
	if err != nil {
		return names, err
	}
	for _, s := range all {
		old := slices.ContainsFunc(aged, func(a agedRoot) bool { return a.root == s.Root && a.age > most })
		if s.Auto && old && !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

// agedRoot is a root of an old tree.
type agedRoot struct {
	root block.ID
	age  time.Duration // since when it is not the newest
}

// keptOf is what the root of a snapshot keeps; aged are those that rules of retention hold for.
func keptOf(aged []agedRoot, rules map[vfs.NodeID]time.Duration, root block.ID) retained {
	i := slices.IndexFunc(aged, func(a agedRoot) bool { return a.root == root })
	if i < 0 {
		return retained{}
	}
	return retainedOf(rules, aged[i].age)
}

// agedWalk is a folder of an old tree that was marked under a rule. What an older tree keeps of it is a part of that.
type agedWalk struct {
	folder walked
	keep   time.Duration
}

// agedTree is tree for one that keeps only what the rules of retention say.
func (m *marker) agedTree(ctx context.Context, id block.ID, r retained, done map[agedWalk]bool, depth int) error {
	if !r.any() {
		return m.tree(ctx, id, depth)
	}
	w := agedWalk{walkedID(id), r.keep}
	if m.folders[w.folder] || done[w] {
		return nil
	}
	if err := m.folderNodes(ctx, id, depth); err != nil {
		return err
	}
	err := dag.WalkFolder(ctx, m.get, id, "", func(d dag.Dirent) error {
		at := r.at(&d)
		switch {
		case d.Child.IsZero():
			return nil
		case vfs.Kind(d.Kind) == vfs.KindFolder:
			return m.agedTree(ctx, d.Child, at, done, depth+1)
		case at.gone():
			return nil
		}
		return m.treeBody(ctx, d.Child)
	})
	if err == nil {
		done[w] = true
	}
	return err
}
