package placement

import (
	"cmp"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// Losses is how many pods of a chunk may be lost at once under the policy; 0 also for the zero value.
func (p Policy) Losses() int { return max(p.Copies()-1, 0) }

// ForBytes is the policy of a chunk whose stored form has this many bytes: rs:K+M becomes replica:M+1 below
// block.FragmentedMin, which bears as many losses.
func (p Policy) ForBytes(formBytes int64) Policy {
	if p.Kind == PolicyRS && formBytes < block.FragmentedMin {
		return Policy{Kind: PolicyReplica, N: p.M + 1}
	}
	return p
}

// Want is the policy of a chunk that files of several policies name: the one that bears the most losses, of those the one
// that takes the fewest bytes, and then the one on the fewest pods. Policies are resolved; those that say nothing don't
// count. The order of the arguments does not matter.
func Want(policies ...Policy) Policy {
	var best Policy
	for _, p := range policies {
		if p.Kind != PolicyUnset && (best.Kind == PolicyUnset || p.before(best)) {
			best = p
		}
	}
	return best
}

// before says whether p is to be kept rather than q.
func (p Policy) before(q Policy) bool {
	ps, pd := p.factor()
	qs, qd := q.factor()
	return cmp.Or(
		cmp.Compare(q.Losses(), p.Losses()),
		cmp.Compare(ps*qd, qs*pd),
		cmp.Compare(ps, qs),
		cmp.Compare(p.Kind.rank(), q.Kind.rank()),
		strings.Compare(p.String(), q.String()),
	) < 0
}

// factor is how many bytes are stored for how many of a form; the first is the number of pods, too.
func (p Policy) factor() (stored, of int) {
	if p.Kind == PolicyRS {
		return p.K + p.M, p.K
	}
	return p.Copies(), 1
}

// rank orders kinds that bear and take the same: whole copies are simpler than fragments, and one by group rather than one at
// its author.
func (k PolicyKind) rank() int {
	return slices.Index([]PolicyKind{PolicyReplica, PolicyRaid0, PolicyRS, PolicyNone}, k)
}
