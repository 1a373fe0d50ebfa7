package member

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	domainRevoke   = "wormhole/revoke/1"
	revokeFieldsNo = 7
	// RevokeCutsMax is the most actors of which one Revoke names a last commit.
	RevokeCutsMax = 1024
)

// Cut is the last commit of an actor, which may be a branch, that its Revoke lets count for certain.
type Cut struct {
	Actor ident.Actor
	Seq   uint64
}

// Revoke is the statement of kind KindRevoke: an admin, or the root key, takes away what the key of a pod or user was given. It closes a
// door and takes nothing back: what others built on commits above the cut counts too. Nothing undoes it; who is to come back gets another key.
type Revoke struct {
	Network ident.Network
	Subject ident.Pod // whose key: a pod's, or a user's, which takes the pods that it signed along
	Version uint64    // hybrid clock at the signing, over 0; for people to read, since a cut grows whatever the order
	Cuts    []Cut     // sorted by actor, each once; of one that is not named nothing counts for certain
	Ext     []Field
	By      ident.Pod // whose key signed: an admin's, or the root's
	Admin   Chain     // the admin's; empty: the root signed
	Sig     []byte
}

func (v Revoke) body() []byte {
	b := cbor.AppendArray(nil, revokeFieldsNo)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendBytes(b, v.Network[:])
	b = cbor.AppendBytes(b, v.Subject[:])
	b = cbor.AppendUint(b, v.Version)
	b = cbor.AppendArray(b, len(v.Cuts))
	for _, c := range v.Cuts {
		b = cbor.AppendArray(b, 2)
		b = cbor.AppendUint(b, c.Actor.Uint())
		b = cbor.AppendUint(b, c.Seq)
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
	case len(v.Cuts) > RevokeCutsMax:
		return fail("too many cuts")
	case !ed25519.Verify(v.By.Key(), signed(domainRevoke, v.body()), v.Sig):
		return fail("signature does not hold")
	}
	if err := errors.Join(checkCuts(v.Cuts), checkExt(v.Ext)); err != nil {
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
	v := Revoke{Network: readNetwork(r), Subject: readPod(r), Version: r.Uint()}
	for range r.Array(RevokeCutsMax) {
		v.Cuts = append(v.Cuts, readCut(r))
	}
	v.Ext = readExt(r)
	v.By = readPod(r)
	chain := r.Bytes(ChainBytesMax)
	v.Sig = r.Fixed(ed25519.SignatureSize)
	err := errors.Join(r.Done(), checkCuts(v.Cuts))
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
	r.Tuple(2)
	a, err := ident.ActorOf(r.Uint())
	if err != nil {
		r.Fail("%v", err)
	}
	return Cut{Actor: a, Seq: r.Uint()}
}

// checkCuts says whether cuts are in their one order.
func checkCuts(cuts []Cut) error {
	for i := 1; i < len(cuts); i++ {
		if cuts[i-1].Actor.Compare(cuts[i].Actor) >= 0 {
			return errors.New("cuts are not sorted by actor")
		}
	}
	return nil
}

// Cut is the highest seq of an actor that counts for certain; 0: none.
func (v Revoke) Cut(a ident.Actor) uint64 {
	i, found := slices.BinarySearchFunc(v.Cuts, a, func(c Cut, a ident.Actor) int { return c.Actor.Compare(a) })
	if !found {
		return 0
	}
	return v.Cuts[i].Seq
}
