package member

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Whoever can make one of these hold has the data of a pod that lives copied elsewhere, or given up.
func TestHostileOut(t *testing.T) {
	sign := func(seed byte) func([]byte) []byte {
		return func(m []byte) []byte { return ed25519.Sign(testKey(seed), m) }
	}
	out, lost := testOut(t), testLost(t)
	user := testChain(t)[:2]
	rows := map[string]func() Out{
		"of another pod":       func() Out { o := out; o.Subject = ident.Pod{7}; return o },
		"of another network":   func() Out { o := out; o.Network = ident.NetworkOf(testPub(strangerSeed)); return o },
		"newer":                func() Out { o := out; o.Version++; return o },
		"never to be answered": func() Out { o := out; o.Version = OutVersionMax + 1; o, _ = o.Sign(sign(podSeed)); return o },
		"of itself":            func() Out { o := out; o.Subject = o.By; o, _ = o.Sign(sign(podSeed)); return o },
		"with a chain put on":  func() Out { o := out; o.Admin = lost.Admin; return o },
		"as a pod's word":      func() Out { o := lost; o.Admin = nil; return o },
		"by a writer": func() Out {
			o := lost
			o.By, o.Admin = ident.PodOf(testPub(userSeed)), user
			o, _ = o.Sign(sign(userSeed))
			return o
		},
		"with another's chain": func() Out { o := lost; o.By = ident.PodOf(testPub(userSeed)); o, _ = o.Sign(sign(userSeed)); return o },
	}
	if err := errors.Join(out.Verify(testNet), lost.Verify(testNet)); err != nil || out.Lost() || !lost.Lost() {
		t.Fatal(err)
	}
	for name, make := range rows {
		if err := make().Verify(testNet); !errors.Is(err, ErrBadStatement) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
