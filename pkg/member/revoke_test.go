package member

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// testRevoke is an admin's word, testRootRevoke the root's.
func testRevoke(t testing.TB) Revoke {
	t.Helper()
	v, err := Revoke{
		Network: testNet, Subject: ident.PodOf(testPub(podSeed)), Version: 9 << 16,
		Role: RoleReader,
		Cuts: []Cut{{Actor: ident.Actor{Member: 100}, Seq: 7, Digest: [8]byte{1, 2}}, {Actor: ident.Actor{Member: 100, Incarnation: 2}, Seq: 1 << 40}},
		Kept: []ident.Pod{{5}, {6}},
		Ext:  []Field{{ID: 1, Value: []byte("later")}},
		By:   ident.PodOf(testPub(adminSeed)), Admin: issue(t, rootSeed, nil, adminCert()),
	}.Sign(signWith(adminSeed))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func testRootRevoke(t testing.TB) Revoke {
	t.Helper()
	v, err := Revoke{Network: testNet, Subject: ident.PodOf(testPub(adminSeed)), Version: 1, By: ident.PodOf(testPub(rootSeed))}.
		Sign(signWith(rootSeed))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func signWith(seed byte) func([]byte) []byte {
	return func(m []byte) []byte { return ed25519.Sign(testKey(seed), m) }
}

func FuzzRevoke(f *testing.F) { fuzz(f, "revoke", "revoke-root") }

// Whoever can make one of these hold shuts a member out.
func TestHostileRevoke(t *testing.T) {
	admins, roots := testRevoke(t), testRootRevoke(t)
	user := testChain(t)[:2]
	by := func(v Revoke, seed byte, chain Chain) Revoke {
		v.By, v.Admin = ident.PodOf(testPub(seed)), chain
		v, _ = v.Sign(signWith(seed))
		return v
	}
	rows := map[string]func() Revoke{
		"of another pod":         func() Revoke { v := admins; v.Subject = ident.Pod{7}; return v },
		"of another network":     func() Revoke { v := admins; v.Network = ident.NetworkOf(testPub(strangerSeed)); return v },
		"of another version":     func() Revoke { v := admins; v.Version++; return v },
		"of no version":          func() Revoke { v := admins; v.Version = 0; return by(v, adminSeed, v.Admin) },
		"with a lower cut":       func() Revoke { v := admins; v.Cuts = v.Cuts[:1]; return v },
		"with cuts out of order": func() Revoke { v := admins; v.Cuts = []Cut{v.Cuts[1], v.Cuts[0]}; return by(v, adminSeed, v.Admin) },
		"with a cut at no commit": func() Revoke {
			v := admins
			v.Cuts = []Cut{{Actor: ident.Actor{Member: 5}}}
			return by(v, adminSeed, v.Admin)
		},
		"with keys out of order": func() Revoke { v := admins; v.Kept = []ident.Pod{{6}, {5}}; return by(v, adminSeed, v.Admin) },
		"that makes an admin":    func() Revoke { v := admins; v.Role = RoleAdmin; return by(v, adminSeed, v.Admin) },
		"with another role":      func() Revoke { v := admins; v.Role = 0; return v },
		"with other fields":      func() Revoke { v := admins; v.Ext = nil; return v },
		"of the root": func() Revoke {
			v := admins
			v.Subject = ident.PodOf(testPub(rootSeed))
			return by(v, adminSeed, v.Admin)
		},
		"by a writer":            func() Revoke { return by(admins, userSeed, user) },
		"by a stranger":          func() Revoke { return by(admins, strangerSeed, nil) },
		"with another's chain":   func() Revoke { return by(admins, userSeed, admins.Admin) },
		"an admin's as the root": func() Revoke { return by(admins, adminSeed, nil) },
		"the root's as an admin": func() Revoke { return by(roots, rootSeed, admins.Admin) },
	}
	if err := errors.Join(admins.Verify(testNet), roots.Verify(testNet)); err != nil {
		t.Fatal(err)
	}
	for name, make := range rows {
		if err := make().Verify(testNet); !errors.Is(err, ErrBadStatement) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of several statements about one key the highest version gives the role, of equal ones the greater bytes: whatever the order.
func TestRevokeNewer(t *testing.T) {
	old := testRevoke(t)
	later, same := old, old
	later.Version++
	same.Role = RoleStorage
	if !later.Newer(old) || old.Newer(later) || old.Newer(old) || same.Newer(old) == old.Newer(same) {
		t.Error("the order is not one")
	}
	if !old.Keeps(old.Kept[1]) || old.Keeps(ident.Pod{77}) {
		t.Error("keeps others than it names")
	}
}

// The largest one fits into a statement: else a pod with many incarnations could not be revoked.
func TestRevokeLargest(t *testing.T) {
	v := testRevoke(t)
	v.Cuts = nil
	for i := range RevokeCutsMax {
		v.Cuts = append(v.Cuts, Cut{Actor: ident.Actor{Member: ident.MemberMax - uint32(RevokeCutsMax) + uint32(i), Incarnation: ident.IncarnationMax}, Seq: 1 << 60})
	}
	v.Kept = nil
	for i := range RevokeKeptMax {
		v.Kept = append(v.Kept, ident.Pod{byte(i >> 8), byte(i), 9})
	}
	v, err := v.Sign(signWith(adminSeed))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(EncodeStatement(KindRevoke, v.Encode())); n+ChainBytesMax > StatementMax {
		t.Errorf("%d bytes and the longest chain are over %d", n, StatementMax)
	}
}
