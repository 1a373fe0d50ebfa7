package state

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// stateVersion is the version of the state root's format.
const stateVersion = 2

// Root is a state root: all rows, and the version vector under which they stand.
type Root struct {
	Network ident.Network
	Rows    block.ID // the tree of rows; zero: there are none
	VV      VV

	branches *branches // those that are labels in VV, and maybe others
}

// encode writes [version, network, rows, vv, branches]; rows is a link, or null if there are none; of each branch in the vector there is, sorted by label:
// [the label before, seq and digest of the fork point, digest of the first commit].
func (root *Root) encode() []byte {
	b := cbor.AppendUint(cbor.AppendArray(nil, 5), stateVersion)
	b = cbor.AppendBytes(b, root.Network[:])
	b = root.VV.Append(appendLink(b, root.Rows))
	labels := branchesIn(root.VV)
	b = cbor.AppendArray(b, len(labels))
	for _, a := range labels {
		br := root.branches.byName[a]
		b = cbor.AppendUint(cbor.AppendArray(b, 4), br.parent.Uint())
		b = cbor.AppendUint(b, br.point.seq)
		b = cbor.AppendBytes(b, br.point.digest[:])
		b = cbor.AppendBytes(b, br.first[:])
	}
	return b
}

// branchesIn are the branches among the labels of a version vector, sorted.
func branchesIn(vv VV) []ident.Actor {
	return slices.DeleteFunc(vv.Actors(), func(a ident.Actor) bool { return !a.IsBranch() })
}

// DecodeRoot reads the block of a state root. The error is block.ErrCorrupt.
func DecodeRoot(b []byte) (Root, error) {
	r := cbor.NewReader(b)
	r.Tuple(5)
	if v := r.Uint(); v != stateVersion {
		r.Fail("version %d of the state root's format is not known", v)
	}
	root := Root{Network: readDigest(r), Rows: readLink(r), VV: readVV(r), branches: newBranches()}
	labels := branchesIn(root.VV)
	if n := r.Array(len(labels)); r.Err() == nil && n != len(labels) {
		r.Fail("%d branches, of %d in the version vector", n, len(labels))
	}
	for _, a := range labels {
		r.Tuple(4)
		br := branch{parent: readActor(r), point: forkPoint{seq: r.Uint(), digest: readDigest(r)}, first: readDigest(r)}
		if r.Err() != nil {
			break
		}
		root.branches.byName[a] = br
	}
	if r.Err() == nil {
		if why := root.settleBranches(labels); why != "" {
			r.Fail("%s", why)
		}
	}
	if err := r.Done(); err != nil {
		return Root{}, corrupt("state root", err)
	}
	return root, nil
}

// settleBranches finds the incarnation of each branch, and says what is wrong with them, or "". A label that another one follows ends where that begins.
func (root *Root) settleBranches(labels []ident.Actor) string {
	given := root.branches.byName
	root.branches = newBranches()
	for _, a := range labels {
		b := given[a]
		parent, isBranch := given[b.parent]
		switch {
		case a != ident.BranchOf(a.Member, b.first) || b.parent.Member != a.Member:
			return fmt.Sprintf("branch %s of %s: the names don't go together", a, b.parent)
		case root.VV[a] <= b.point.seq, root.VV[b.parent] != b.point.seq, isBranch && parent.point.seq >= b.point.seq:
			return fmt.Sprintf("branch %s behind commit %d of %s: the numbers don't go together", a, b.point.seq, b.parent)
		case isBranch != b.parent.IsBranch():
			return fmt.Sprintf("branch %s of %s, which is not there", a, b.parent)
		case (b.point.seq == 0) != (b.point.digest == [32]byte{}):
			return fmt.Sprintf("branch %s: commit %d and its digest don't go together", a, b.point.seq)
		}
	}
	for _, a := range slices.SortedFunc(slices.Values(labels), func(a, b ident.Actor) int { return cmp.Compare(given[a].point.seq, given[b].point.seq) }) {
		b := given[a]
		b.point.actor = root.branches.incarnation(b.parent) // which was before this one, since seqs rise
		root.branches.byName[a] = b
		root.branches.names[b.point.actor] = append(root.branches.names[b.point.actor], a)
	}
	return ""
}

// RowNode is what a node of the tree of rows links to: the nodes of the level below, or, in a leaf (level 0), the raw blocks of
// rows that are too long for the tree.
type RowNode struct {
	Level int
	Links []block.ID
}

// DecodeRowNode reads a node of the tree of rows, but for what the rows say. The error is block.ErrCorrupt.
func DecodeRowNode(plain []byte) (RowNode, error) {
	n, err := dag.DecodeMapNode(plain)
	if err != nil {
		return RowNode{}, err
	}
	out := RowNode{Level: n.Level}
	for _, kv := range n.Items {
		var id block.ID
		if n.Level > 0 {
			id, err = block.FromBytes(kv.Value)
		} else {
			id, err = longRow(kv.Value)
		}
		if err != nil {
			return RowNode{}, corrupt(fmt.Sprintf("item %x of the tree of rows", kv.Key), err)
		}
		if !id.IsZero() {
			out.Links = append(out.Links, id)
		}
	}
	return out, nil
}

// longRow is the block that stands for a row's versions in the tree of rows; zero if they stand there themselves, as an array.
func longRow(value []byte) (block.ID, error) {
	if len(value) == 0 || value[0]>>5 == cborArray {
		return block.ID{}, nil
	}
	r := cbor.NewReader(value)
	b := r.Link(block.IDLen)
	if err := r.Done(); err != nil {
		return block.ID{}, err
	}
	id, err := block.FromBytes(b)
	if err == nil && id.Codec() != block.Raw {
		err = errors.New("a row's block is a node")
	}
	return id, err
}

// longRowLink is what stands for a row's block in the tree of rows.
func longRowLink(id block.ID) []byte { return cbor.AppendLink(nil, id.Bytes()) }

// cborArray is the major type of arrays (RFC 8949, section 3.1).
const cborArray = 4
