package member

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

func TestStatement(t *testing.T) {
	b := EncodeStatement(200, []byte("from the future"))
	kind, body, err := DecodeStatement(b)
	if err != nil || kind != 200 || string(body) != "from the future" {
		t.Errorf("%d, %q, %v", kind, body, err)
	}
	for name, b := range map[string][]byte{
		"too long": EncodeStatement(1, make([]byte, StatementMax)), "no kind": {0x81, 0x40}, "kind over 255": {0x82, 0x19, 1, 0, 0x40},
		"length not the shortest": {0x82, 0x01, 0x58, 0x01, 0x00},
	} {
		if _, _, err := DecodeStatement(b); !errors.Is(err, ErrBadStatement) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSettings(t *testing.T) {
	want := testSettings(t)
	got, err := DecodeSettings(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Verify(testNet); err != nil {
		t.Error(err)
	}
}

// Whoever can make one of these hold renames the network, or lowers everybody's policy.
func TestHostileSettings(t *testing.T) {
	sign := func(seed byte) func([]byte) []byte {
		return func(m []byte) []byte { return ed25519.Sign(testKey(seed), m) }
	}
	good := testSettings(t)
	user := testChain(t)[:2]
	other := ident.NetworkOf(testPub(strangerSeed))
	rows := map[string]func() Settings{
		"changed":              func() Settings { s := good; s.Policy = "none"; return s },
		"of another network":   func() Settings { s := good; s.Network = other; return s },
		"signed by a writer":   func() Settings { s, _ := good.Sign(user, sign(userSeed)); return s },
		"with another's chain": func() Settings { s, _ := good.Sign(good.Signer, sign(userSeed)); return s },
		"no chain":             func() Settings { s, _ := good.Sign(nil, sign(adminSeed)); return s },
		"bad name":             func() Settings { s := good; s.Name = "a b"; s, _ = s.Sign(good.Signer, sign(adminSeed)); return s },
		"policy too long": func() Settings {
			s := good
			s.Policy = string(bytes.Repeat([]byte("x"), 64))
			s, _ = s.Sign(good.Signer, sign(adminSeed))
			return s
		},
		"a certificate's signature": func() Settings { s := good; s.Sig = good.Signer[0].Sig; return s },
	}
	for name, make := range rows {
		if err := make().Verify(testNet); !errors.Is(err, ErrBadStatement) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := good.Sign(user, sign(userSeed)); !errors.Is(err, ErrBadStatement) {
		t.Errorf("Sign lets a writer: %v", err)
	}
}

// All pods must choose the same of two.
func TestSettingsNewer(t *testing.T) {
	a := testSettings(t)
	b, c := a, a
	b.Version++
	c.Name = "zone"
	if !b.Newer(a) || a.Newer(b) || a.Newer(a) || a.Newer(c) == c.Newer(a) {
		t.Error("no order")
	}
	// What is sealed would be served as it is if a later statement could take the encryption away.
	if sealed := testSealedSettings(t); !sealed.Newer(b) || b.Newer(sealed) {
		t.Error("encryption can be switched off")
	}
}
