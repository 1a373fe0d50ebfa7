package placement

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// PolicyKind is how copies are made.
type PolicyKind uint8

// The kinds. The RAID words but raid0 are resolved to replica or rs when they are set, see Resolve.
const (
	PolicyUnset   PolicyKind = 0 // says nothing; the zero Policy
	PolicyNone    PolicyKind = 1 // one copy, at the pod that wrote it
	PolicyRaid0   PolicyKind = 2 // one copy, spread by group
	PolicyReplica PolicyKind = 3 // N whole copies
	PolicyRS      PolicyKind = 4 // K fragments and M of parity, by Reed-Solomon
	PolicyRaid1   PolicyKind = 5
	PolicyRaid5   PolicyKind = 6
	PolicyRaid6   PolicyKind = 7
)

// Limits of a policy.
const (
	CopiesMax    = 64                 // N
	FragmentsMax = block.FragmentsMax // K+M
)

// Policy says how many copies of a file's chunks there shall be, and how made. It is comparable.
type Policy struct {
	Kind PolicyKind
	N    int // PolicyReplica: whole copies, 1 to CopiesMax
	K, M int // PolicyRS: data and parity fragments, each at least 1, together at most FragmentsMax
}

var policyWords = map[string]PolicyKind{
	"none": PolicyNone, "raid0": PolicyRaid0, "raid1": PolicyRaid1, "raid5": PolicyRaid5, "raid6": PolicyRaid6,
}

// ParsePolicy reads none, raid0, raid1, raid5, raid6, replica:N or rs:K+M; the error is ErrBadPolicy.
func ParsePolicy(s string) (Policy, error) {
	if kind, ok := policyWords[s]; ok {
		return Policy{Kind: kind}, nil
	}
	var p Policy
	if n, ok := strings.CutPrefix(s, "replica:"); ok {
		p = Policy{Kind: PolicyReplica, N: number(n)}
	} else if km, ok := strings.CutPrefix(s, "rs:"); ok {
		k, m, _ := strings.Cut(km, "+")
		p = Policy{Kind: PolicyRS, K: number(k), M: number(m)}
	}
	// Only one spelling of each policy is taken, so that equal policies are equal texts.
	if !p.valid() || p.String() != s {
		return Policy{}, fmt.Errorf("policy %q: none, raid0, raid1, raid5, raid6, replica:N or rs:K+M: %w", s, ErrBadPolicy)
	}
	return p, nil
}

// number is s as a number, or 0, which no policy has.
func number(s string) int {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

func (p Policy) valid() bool {
	switch p.Kind {
	case PolicyReplica:
		return p.N >= 1 && p.N <= CopiesMax
	case PolicyRS:
		return p.K >= 1 && p.M >= 1 && p.K+p.M <= FragmentsMax
	case PolicyNone, PolicyRaid0, PolicyRaid1, PolicyRaid5, PolicyRaid6:
		return true
	case PolicyUnset:
	}
	return false
}

// String is the policy as ParsePolicy reads it; "" for the zero value.
func (p Policy) String() string {
	switch p.Kind {
	case PolicyReplica:
		return fmt.Sprintf("replica:%d", p.N)
	case PolicyRS:
		return fmt.Sprintf("rs:%d+%d", p.K, p.M)
	case PolicyUnset, PolicyNone, PolicyRaid0, PolicyRaid1, PolicyRaid5, PolicyRaid6:
	}
	for word, kind := range policyWords {
		if kind == p.Kind {
			return word
		}
	}
	return ""
}

// Resolve turns the RAID words into what they mean in a network of this many active pods: raid1 is replica:2,
// raid5 rs:2+1 below 7 pods and rs:4+1 from there on, raid6 rs:4+2. It is done once, when a policy is set; others,
// raid0 among them, are returned as they are.
func (p Policy) Resolve(pods int) Policy {
	switch p.Kind {
	case PolicyRaid1:
		return Policy{Kind: PolicyReplica, N: 2}
	case PolicyRaid5:
		if pods < 7 {
			return Policy{Kind: PolicyRS, K: 2, M: 1}
		}
		return Policy{Kind: PolicyRS, K: 4, M: 1}
	case PolicyRaid6:
		return Policy{Kind: PolicyRS, K: 4, M: 2}
	case PolicyUnset, PolicyNone, PolicyRaid0, PolicyReplica, PolicyRS:
	}
	return p
}

// Copies is how many whole copies survive as many losses as the policy promises to: N of replica:N, M+1 of
// rs:K+M (which is how its small chunks are kept), 1 of none and raid0, 0 of the zero value.
func (p Policy) Copies() int {
	switch p.Kind {
	case PolicyUnset:
		return 0
	case PolicyReplica:
		return p.N
	case PolicyRS:
		return p.M + 1
	case PolicyRaid1, PolicyRaid5:
		return 2
	case PolicyRaid6:
		return 3
	case PolicyNone, PolicyRaid0:
	}
	return 1
}
