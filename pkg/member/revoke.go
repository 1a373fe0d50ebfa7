package member

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	domainRevoke   = "wormhole/revoke/1"
	revokeFieldsNo = 9
	// RevokeCutsMax is the most actors of which one Revoke names a last commit.
	RevokeCutsMax = 512
	// RevokeKeptMax is the most keys that one Revoke lets stay.
	RevokeKeptMax = 256
)

// Cut is the last commit of an actor, which may be a branch, that its Revoke lets count for certain.
type Cut struct {
	Actor  ident.Actor
	Seq    uint64  // 1 or more
	Digest [8]byte // the first bytes of the commit's digest
}

// Revoke is the statement of kind KindRevoke: an admin, or the root key, takes away what the key of a pod, user or admin was given, or gives it another role.
// It takes nothing back: what others built on commits above the cut counts too. Nothing undoes a revocation; who is to come back gets another key.
type Revoke struct {
	Network ident.Network
	Subject ident.Pod // whose key: a pod's; a user's, which takes the pods that it signed along; or an admin's, by which nothing is signed any more
	Version uint64    // hybrid clock at the signing, over 0; of several that give a role the highest counts
	Role    Role      // that it has from now on, not admin; 0: none, it is shut out
	Cuts    []Cut     // sorted by actor, each once; of one that is not named nothing counts for certain
	// Kept are the keys whose certificates stay good of those that the subject signed as an admin, sorted; those of others don't count any more.
	Kept  []ident.Pod
	Ext   []Field
	By    ident.Pod // whose key signed: an admin's, or the root's
	Admin Chain     // the admin's; empty: the root signed
	Sig   []byte
}

func (v Revoke) body() []byte {
	b := cbor.AppendArray(nil, revokeFieldsNo)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendBytes(b, v.Network[:])
	b = cbor.AppendBytes(b, v.Subject[:])
	b = cbor.AppendUint(b, v.Version)
	b = cbor.AppendUint(b, uint64(v.Role))
	b = cbor.AppendArray(b, len(v.Cuts))
	for _, c := range v.Cuts {
		b = cbor.AppendArray(b, 3)
		b = cbor.AppendUint(b, c.Actor.Uint())
		b = cbor.AppendUint(b, c.Seq)
		b = cbor.AppendBytes(b, c.Digest[:])
	}
	b = cbor.AppendArray(b, len(v.Kept))
	for _, k := range v.Kept {
		b = cbor.AppendBytes(b, k[:])
	}
	b = appendExt(b, v.Ext)
	return cbor.AppendBytes(b, v.By[:])
}

// Sign fills in Sig: sign makes the Ed25519 signatures of By. What would not verify is not signed: the error is ErrBadStatement.
func (v Revoke) Sign(sign func(message []byte) []byte) (Revoke, error) {
	v.Sig = sign(signed(domainRevoke, v.body()))
	return v, v.Verify(v.Network)
}

// Verify proves the statement for a network: signed by its root key, or by a member with the role admin. Whether that admin was revoked
// before is the caller's to judge. The error is ErrBadStatement.
func (v Revoke) Verify(net ident.Network) error {
	fail := func(why string) error {
		return fmt.Errorf("revocation: %w: %s", ErrBadStatement, why)
	}
	switch {
	case v.Network != net:
		return fail("of the network " + v.Network.Short())
	case ident.NetworkOf(v.Subject.Key()) == net:
		return fail("of the root key")
	case v.Version == 0:
		return fail("no valid version")
	case v.Role != 0 && (!v.Role.valid() || v.Role.MayAdmit()):
		return fail("gives the role " + v.Role.String())
	case len(v.Cuts) > RevokeCutsMax || len(v.Kept) > RevokeKeptMax:
		return fail("too many cuts or keys")
	case !ed25519.Verify(v.By.Key(), signed(domainRevoke, v.body()), v.Sig):
		return fail("signature does not hold")
	}
	if err := errors.Join(checkCuts(v.Cuts), checkKept(v.Kept), checkExt(v.Ext)); err != nil {
		return fmt.Errorf("revocation: %w: %w", ErrBadStatement, err)
	}
	if len(v.Admin) == 0 {
		if ident.NetworkOf(v.By.Key()) != net {
			return fail("signed by a key with no chain that is not the root's")
		}
		return nil
	}
	by, err := v.Admin.Verify(net)
	switch {
	case err != nil:
		return fmt.Errorf("revocation: %w: %w", ErrBadStatement, err)
	case !by.Role.MayAdmit() || ident.PodOf(by.Subject) != v.By:
		return fail("signed by a " + by.Role.String() + ", or by another key than its chain is of")
	}
	return nil
}

// Encode is the statement's body, which DecodeRevoke reads.
func (v Revoke) Encode() []byte {
	b := cbor.AppendArray(nil, 3)
	b = append(b, v.body()...)
	var chain []byte
	if len(v.Admin) > 0 {
		chain = v.Admin.Encode()
	}
	b = cbor.AppendBytes(b, chain)
	return cbor.AppendBytes(b, v.Sig)
}

// DecodeRevoke reads a statement's body and proves nothing: call Verify. The error is ErrBadStatement.
func DecodeRevoke(b []byte) (Revoke, error) {
	r := cbor.NewReader(b)
	r.Tuple(3)
	r.Tuple(revokeFieldsNo)
	readVersion(r)
	v := Revoke{Network: readNetwork(r), Subject: readPod(r), Version: r.Uint(), Role: Role(r.UintMax(uint64(RoleStorage)))}
	for range r.Array(RevokeCutsMax) {
		v.Cuts = append(v.Cuts, readCut(r))
	}
	for range r.Array(RevokeKeptMax) {
		v.Kept = append(v.Kept, readPod(r))
	}
	v.Ext = readExt(r)
	v.By = readPod(r)
	chain := r.Bytes(ChainBytesMax)
	v.Sig = r.Fixed(ed25519.SignatureSize)
	err := errors.Join(r.Done(), checkCuts(v.Cuts), checkKept(v.Kept))
	if err == nil && len(chain) > 0 {
		v.Admin, err = DecodeChain(chain)
	}
	if err == nil && len(chain) > 0 && len(v.Admin) == 0 {
		err = errors.New("a chain of no certificates")
	}
	if err != nil {
		return Revoke{}, fmt.Errorf("revocation: %w: %w", ErrBadStatement, err)
	}
	return v, nil
}

func readCut(r *cbor.Reader) Cut {
	r.Tuple(3)
	a, err := ident.ActorOf(r.Uint())
	if err != nil {
		r.Fail("%v", err)
	}
	c := Cut{Actor: a, Seq: r.Uint()}
	copy(c.Digest[:], r.Fixed(len(c.Digest)))
	return c
}

// checkCuts says whether cuts are in their one order.
func checkCuts(cuts []Cut) error {
	for i := 1; i < len(cuts); i++ {
		if cuts[i-1].Actor.Compare(cuts[i].Actor) >= 0 {
			return errors.New("cuts are not sorted by actor")
		}
	}
	for _, c := range cuts {
		if c.Actor.Member == 0 || c.Seq == 0 {
			return errors.New("a cut at no commit")
		}
	}
	return nil
}

// checkKept says whether keys are in their one order.
func checkKept(kept []ident.Pod) error {
	for i := 1; i < len(kept); i++ {
		if bytes.Compare(kept[i-1][:], kept[i][:]) >= 0 {
			return errors.New("kept keys are not sorted")
		}
	}
	return nil
}

// Keeps says whether the certificate of a key stays good that the subject signed.
func (v Revoke) Keeps(key ident.Pod) bool {
	_, found := slices.BinarySearchFunc(v.Kept, key, func(a, b ident.Pod) int { return bytes.Compare(a[:], b[:]) })
	return found
}

// Newer says whether of two statements about one key this one's role counts: the higher version, of equal ones the greater bytes.
func (v Revoke) Newer(old Revoke) bool {
	if v.Version != old.Version {
		return v.Version > old.Version
	}
	return bytes.Compare(v.Encode(), old.Encode()) > 0
}
