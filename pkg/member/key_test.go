package member

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// TestExchangeKey breaks if a data key is sealed to a key whose private half the member doesn't have.
func TestExchangeKey(t *testing.T) {
	for range 50 {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		digest := sha512.Sum512(private.Seed())
		want, err := ecdh.X25519().NewPrivateKey(digest[:32])
		if err != nil {
			t.Fatal(err)
		}
		got, err := exchangeKey(public)
		if err != nil || !got.Equal(want.PublicKey()) {
			t.Fatalf("%x: %v", public, err)
		}
	}
	identity := append([]byte{1}, make([]byte, 31)...) // y = 1
	if _, err := exchangeKey(identity); !errors.Is(err, errNoPoint) {
		t.Errorf("the identity: %v", err)
	}
	if _, err := SealKey(testNet, ident.Pod(identity), [KeyIDLen]byte{}, testSecret); !errors.Is(err, ErrBadCert) {
		t.Errorf("sealed to the identity: %v", err)
	}
}

// TestSealKey breaks if the member can't open its key, or anyone else can.
func TestSealKey(t *testing.T) {
	pod := ident.PodOf(testPub(podSeed))
	k, err := SealKey(testNet, pod, [KeyIDLen]byte{7}, testSecret)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(k.Sealed, testSecret[:8]) {
		t.Error("the key can be read")
	}
	if got, err := k.Open(testKey(podSeed)); err != nil || got != testSecret {
		t.Errorf("%x, %v", got, err)
	}
	for name, change := range map[string]func(k *SealedKey){
		"another network": func(k *SealedKey) { k.Network[0]++ },
		"another subject": func(k *SealedKey) { k.Subject[0]++ },
		"another key ID":  func(k *SealedKey) { k.KeyID[0]++ },
		"changed":         func(k *SealedKey) { k.Sealed = bytes.Clone(k.Sealed); k.Sealed[79]++ },
		"cut":             func(k *SealedKey) { k.Sealed = k.Sealed[:40] },
		"empty":           func(k *SealedKey) { k.Sealed = nil },
	} {
		bad := k
		change(&bad)
		if _, err := bad.Open(testKey(podSeed)); !errors.Is(err, ErrBadStatement) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := k.Open(testKey(strangerSeed)); !errors.Is(err, ErrBadStatement) {
		t.Errorf("a stranger: %v", err)
	}
}

// TestSealedKey holds the statement, and that keys which were sealed by an earlier version can be opened.
func TestSealedKey(t *testing.T) {
	want := testSealedKey(t)
	got, err := DecodeSealedKey(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Verify(testNet); err != nil {
		t.Error(err)
	}
	if secret, err := got.Open(testKey(podSeed)); err != nil || secret != testSecret {
		t.Errorf("%x, %v", secret, err)
	}
}

// Whoever can make one of these hold gives a pod a key of their own choice, and it seals under that.
func TestHostileSealedKey(t *testing.T) {
	sign := func(seed byte) func([]byte) []byte {
		return func(m []byte) []byte { return ed25519.Sign(testKey(seed), m) }
	}
	good := testSealedKey(t)
	user := testChain(t)[:2]
	for name, make := range map[string]func() SealedKey{
		"changed":              func() SealedKey { k := good; k.KeyID[1]++; return k },
		"of another network":   func() SealedKey { k := good; k.Network[0]++; return k },
		"signed by a writer":   func() SealedKey { k, _ := good.Sign(user, sign(userSeed)); return k },
		"with another's chain": func() SealedKey { k, _ := good.Sign(good.Signer, sign(userSeed)); return k },
		"no chain":             func() SealedKey { k, _ := good.Sign(nil, sign(adminSeed)); return k },
		"too short": func() SealedKey {
			k := good
			k.Sealed = k.Sealed[:79]
			k, _ = k.Sign(good.Signer, sign(adminSeed))
			return k
		},
	} {
		if err := make().Verify(testNet); !errors.Is(err, ErrBadStatement) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSealedSettings breaks if encryption can be taken from settings, or a pod that can't seal would take them.
func TestSealedSettings(t *testing.T) {
	want := testSealedSettings(t)
	got, err := DecodeSettings(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Verify(testNet); err != nil || !got.Encrypted() || testSettings(t).Encrypted() {
		t.Errorf("encrypted %t, %v", got.Encrypted(), err)
	}
	plain := got
	plain.KeyID = [KeyIDLen]byte{}
	if err := plain.Verify(testNet); !errors.Is(err, ErrBadStatement) {
		t.Errorf("without its key ID: %v", err)
	}
	b := want.Encode()
	at := bytes.Index(b, want.KeyID[:])
	clear(b[at:][:KeyIDLen])
	if _, err := DecodeSettings(b); !errors.Is(err, ErrBadStatement) {
		t.Errorf("encrypted under no key: %v", err)
	}
	for name, change := range map[string]func(b []byte){
		"version 2 with 7 fields": func(b []byte) { b[2] = 2 },
		"6 fields":                func(b []byte) { b[1] = 0x86 },
	} {
		b := testSettings(t).Encode()
		if change(b); b[0] != 0x83 {
			t.Fatal("no settings")
		}
		if _, err := DecodeSettings(b); !errors.Is(err, ErrBadStatement) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
