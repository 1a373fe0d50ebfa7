package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// sameText is one that many write, so that contents made apart are equal.
const sameText = "same"

// names are what users choose from: few, so that they meet. Some make computed names hard: long ones, ones that look computed, odd ones.
var names = []string{
	"a", "a", "a", "b", "b", "c", "d.txt", "e.tar.gz", ".f",
	strings.Repeat("long-", 50) + "name",
	strings.Repeat("é", 120) + ".txt",
	"a.conflict-pod1-20261126-120000-1234",
	"\xff\xfe odd",
}

// refusals are the errors with which an operation may refuse.
var refusals = []error{
	vfs.ErrNotExist, vfs.ErrExist, vfs.ErrNotDir, vfs.ErrIsDir, vfs.ErrNotEmpty, vfs.ErrInvalid, vfs.ErrNotPermitted, vfs.ErrNoXattr,
	vfs.ErrNameTooLong, vfs.ErrBadName,
}

// stateOp is a kind of operation, chosen as often as its weight says among all.
type stateOp struct {
	name   string
	weight int
	run    func(p *statePod, ctx context.Context) error
}

// stateOps is, with laterOps, every kind of operation that changes the state. A new one is a line there.
var stateOps = []stateOp{
	{"create", 6, (*statePod).opCreate},
	{"import", 1, (*statePod).opImport},
	{"mkdir", 5, (*statePod).opMkdir},
	{"symlink", 1, (*statePod).opSymlink},
	{"write", 6, (*statePod).opWrite},
	{"open", 2, (*statePod).opOpen},
	{"write what was opened", 3, (*statePod).opWriteOpen},
	{"journal", 1, (*statePod).opJournal},
	{"fold", 2, (*statePod).opFold},
	{"rename", 7, (*statePod).opRename},
	{"rename into", 3, (*statePod).opRenameInto},
	{"save by rename", 3, (*statePod).opSave},
	{"remove", 4, (*statePod).opRemove},
	{"remove a tree", 1, (*statePod).opRemoveAll},
	{"link", 3, (*statePod).opLink},
	{"chmod", 2, (*statePod).opSetAttr},
	{"xattr", 2, (*statePod).opXattr},
	{"wish", 1, (*statePod).opWish},
	{"snapshot", 1, (*statePod).opSnapshot},
}

// laterOps came when seeds were on record already. They are among the operations from moreFrom on.
var laterOps = []stateOp{
	{"resolve", 3, (*statePod).opResolve},
	{"special", 1, (*statePod).opSpecial},
	{"owner", 1, (*statePod).opOwner},
	{"homes", 1, (*statePod).opHomes},
}

// moreFrom is the first seed that has laterOps and what came with them. Those below do what they did when they were written down.
const moreFrom = 4_000_000

// step runs one random operation.
func (p *statePod) step(ctx context.Context) error {
	total := 0
	for _, weight := range p.w.weights {
		total += weight
	}
	k := p.rng.IntN(total)
	for i, o := range p.w.ops {
		if k -= p.w.weights[i]; k >= 0 {
			continue
		}
		err := o.run(p, ctx)
		for _, r := range refusals {
			if errors.Is(err, r) {
				p.w.trace.say("%d: %s: %v", p.n, o.name, err)
				return nil
			}
		}
		if err != nil && !p.disk.Failed() {
			return fmt.Errorf("pod %d: %s: %w", p.n, o.name, err)
		}
		return nil
	}
	return nil
}

// place is a name in the view, and what it shows; of the root the name is empty.
type place struct {
	parent state.Ino
	name   string
	node   state.Node
}

// opWeights are how often the operations of one seed are: some are rare and some are many, each time others, so that what is rare meets.
func opWeights(rng *rand.Rand, ops []stateOp) []int {
	out := make([]int, len(ops))
	for i, o := range ops {
		out[i] = o.weight * []int{0, 1, 1, 1, 4}[rng.IntN(5)]
		if i < 5 {
			out[i] += o.weight // what makes things
		}
	}
	return out
}

// file is a random place that is no folder, if one is found soon.
func (p *statePod) file() (at place, err error) {
	for range 6 {
		if at, err = p.pick(); err != nil || at.node.Kind != vfs.KindFolder {
			break
		}
	}
	return at, err
}

// pick is a random place.
func (p *statePod) pick() (place, error) {
	n, err := p.db.Get(state.RootIno)
	at := place{parent: state.RootIno, node: n}
	for range 1 + p.rng.IntN(4) {
		if err != nil || at.node.Kind != vfs.KindFolder {
			break
		}
		var all []state.Entry
		if all, err = p.db.List(at.node.ID, "", 0); err != nil || len(all) == 0 {
			break
		}
		e := all[p.rng.IntN(len(all))]
		at = place{parent: at.node.ID, name: e.Name, node: e.Node}
	}
	return at, err
}

// folder is a random folder.
func (p *statePod) folder() (state.Ino, error) {
	for range 4 {
		at, err := p.pick()
		if err != nil {
			return 0, err
		}
		if at.node.Kind == vfs.KindFolder {
			return at.node.ID, nil
		}
	}
	return state.RootIno, nil
}

func (p *statePod) name() string { return names[p.rng.IntN(len(names))] }

// text is a new text, or now and then the one that all write.
func (p *statePod) text() string {
	if p.rng.IntN(12) == 0 {
		return sameText
	}
	p.w.count++
	return fmt.Sprintf("text %d of pod %d", p.w.count, p.n)
}

// content is a text as a file's content.
func content(text string) state.NewContent {
	return state.NewContent{Size: uint64(len(text)), Body: dag.InlineBody([]byte(text)).Encode()}
}

// textOf is what a node of a simulation holds.
func textOf(n state.Node) (string, error) {
	if len(n.Body) == 0 {
		return "", nil
	}
	b, err := dag.DecodeBody(n.Body)
	return string(b.Inline), err
}
