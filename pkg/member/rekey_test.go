package member

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testRekey is a change to another data key than that of testSealedSettings.
func testRekey(t testing.TB) Rekey {
	t.Helper()
	k, err := Rekey{Network: testNet, KeyID: [KeyIDLen]byte{0xb2, 3, 4}, Version: 11 << 16, Ext: []Field{{ID: 1, Value: []byte("later")}}}.
		Sign(testSettings(t).Signer, func(m []byte) []byte { return ed25519.Sign(testKey(adminSeed), m) })
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func FuzzRekey(f *testing.F) { fuzz(f, "rekey") }

// Who can make one of these hold has all members seal under a key of its choice.
func TestHostileRekey(t *testing.T) {
	good := testRekey(t)
	got, err := DecodeRekey(good.Encode())
	if err != nil || got.Verify(testNet) != nil {
		t.Fatalf("a good one: %v, %v", err, got.Verify(testNet))
	}
	if diff := cmp.Diff(good, got); diff != "" {
		t.Error(diff)
	}
	sign := func(seed byte) func([]byte) []byte {
		return func(m []byte) []byte { return ed25519.Sign(testKey(seed), m) }
	}
	admin := good.Signer
	for name, make := range map[string]func() Rekey{
		"another key":          func() Rekey { k := good; k.KeyID[1]++; return k },
		"another version":      func() Rekey { k := good; k.Version++; return k },
		"of another network":   func() Rekey { k := good; k.Network[0]++; return k },
		"signed by a writer":   func() Rekey { k, _ := good.Sign(testChain(t)[:2], sign(userSeed)); return k },
		"with another's chain": func() Rekey { k, _ := good.Sign(admin, sign(userSeed)); return k },
		"no chain":             func() Rekey { k, _ := good.Sign(nil, sign(adminSeed)); return k },
		"no key":               func() Rekey { k := good; clear(k.KeyID[:]); k, _ = k.Sign(admin, sign(adminSeed)); return k },
		"no version":           func() Rekey { k := good; k.Version = 0; k, _ = k.Sign(admin, sign(adminSeed)); return k },
		"a key's signature": func() Rekey {
			k := good
			k.Sig = testSealedKey(t).Sig
			return k
		},
	} {
		if err := make().Verify(testNet); !errors.Is(err, ErrBadStatement) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of two one wins, the same on all pods, in whatever order they come.
func TestRekeyNewer(t *testing.T) {
	a, b := testRekey(t), testRekey(t)
	b.Version++
	if a.Newer(b) || !b.Newer(a) {
		t.Error("the lower version wins")
	}
	b = testRekey(t)
	b.KeyID[0]++
	if a.Newer(b) == b.Newer(a) || a.Newer(a) {
		t.Error("of one version both win, or none")
	}
}
