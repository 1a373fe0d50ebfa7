package member

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

func TestChainVerify(t *testing.T) {
	chain := testChain(t)
	leaf, err := chain.Verify(testNet)
	if err != nil {
		t.Fatal(err)
	}
	want := podCert()
	want.Network, want.Issuer, want.Sig = testNet, testPub(userSeed), leaf.Sig
	if diff := cmp.Diff(want, leaf); diff != "" {
		t.Error(diff)
	}
	back, err := DecodeChain(chain.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(chain, back); diff != "" {
		t.Error(diff)
	}
}

// The first pod of a network is signed by the root, invites a pod that is admin too, and that one a third.
func TestPodsThatAdmit(t *testing.T) {
	first := issue(t, rootSeed, nil, Cert{
		Subject: testPub(podSeed), Kind: KindPod, Name: "a", Role: RoleAdmin, Member: 1, RangeLo: 2, RangeHi: ident.MemberMax,
	})
	second := issue(t, podSeed, first, Cert{
		Subject: testPub(adminSeed), Kind: KindPod, Name: "b", Role: RoleAdmin, Member: 2, RangeLo: 1000, RangeHi: 1999,
	})
	third := issue(t, adminSeed, second, Cert{Subject: testPub(userSeed), Kind: KindPod, Name: "c", Role: RoleStorage, Member: 1000})
	if _, err := third.Verify(testNet); err != nil {
		t.Error(err)
	}
}

// Each row is a chain that a hostile member could make and sign; taking any of them lets it become more than it is.
func TestHostileChains(t *testing.T) {
	admin := issue(t, rootSeed, nil, adminCert())
	user := issue(t, adminSeed, admin, userCert())
	good := testChain(t)
	pod := func(change func(*Cert)) Chain {
		c := podCert()
		change(&c)
		return forge(userSeed, user, c)
	}
	admins := func(n int) Chain {
		chain := admin
		for range n - 1 {
			chain = forge(adminSeed, chain, adminCert())
		}
		return chain
	}
	rows := map[string]Chain{
		"empty":                    {},
		"too deep":                 admins(ChainMax + 1),
		"without the root":         good[1:],
		"one left out":             {good[0], good[2]},
		"order turned":             {good[1], good[0], good[2]},
		"another root":             forge(strangerSeed, nil, adminCert()),
		"role raised":              pod(func(c *Cert) { c.Role = RoleAdmin }),
		"kind raised":              pod(func(c *Cert) { c.Kind, c.Role = KindAdmin, RoleAdmin }),
		"user signs a user":        pod(func(c *Cert) { c.Kind = KindUser }),
		"reader pod signs a pod":   forge(podSeed, good, podCert()),
		"number below the range":   pod(func(c *Cert) { c.Member = 99 }),
		"number above the range":   pod(func(c *Cert) { c.Member = 200 }),
		"range past the issuer's":  pod(func(c *Cert) { c.RangeLo, c.RangeHi = 150, 200 }),
		"range before the":         pod(func(c *Cert) { c.RangeLo, c.RangeHi = 1, 150 }),
		"range has its own number": pod(func(c *Cert) { c.RangeLo, c.RangeHi = 100, 150 }),
		"range turned":             pod(func(c *Cert) { c.RangeLo, c.RangeHi = 160, 150 }),
		"range from zero":          pod(func(c *Cert) { c.RangeLo, c.RangeHi = 0, 150 }),
		"pod with no number":       pod(func(c *Cert) { c.Member = 0 }),
		"no role":                  pod(func(c *Cert) { c.Role = 0 }),
		"role that is not known":   pod(func(c *Cert) { c.Role = 5 }),
		"kind that is not known":   pod(func(c *Cert) { c.Kind = 4 }),
		"name of an option":        pod(func(c *Cert) { c.Name = "-rf" }),
		"name with a slash":        pod(func(c *Cert) { c.Name = "a/b" }),
		"no name":                  pod(func(c *Cert) { c.Name = "" }),
		"ends before it begins":    pod(func(c *Cert) { c.NotAfter = 1 }),
		"SSH of an admin":          forge(adminSeed, admin, sshUser()),
		"SSH of the root":          forge(rootSeed, nil, sshAdmin()),
		"short key":                pod(func(c *Cert) { c.Subject = c.Subject[:31] }),
		"extensions out of order":  pod(func(c *Cert) { c.Ext = []Field{{ID: 2}, {ID: 1}} }),
		"signed by another key":    forge(strangerSeed, user, podCert()),
		"admin who only reads": forge(rootSeed, nil, func() Cert {
			c := adminCert()
			c.Role = RoleReader
			return c
		}()),
	}
	for name, chain := range rows {
		t.Run(name, func(t *testing.T) {
			if leaf, err := chain.Verify(testNet); !errors.Is(err, ErrBadCert) {
				t.Errorf("got %+v, %v, want ErrBadCert", leaf, err)
			}
		})
	}
	if _, err := good.Verify(ident.NetworkOf(testPub(strangerSeed))); !errors.Is(err, ErrBadCert) {
		t.Errorf("another network takes the chain: %v", err)
	}
	if _, err := admins(ChainMax).Verify(testNet); err != nil {
		t.Errorf("a chain of the greatest depth: %v", err)
	}
}

func sshUser() Cert { c := userCert(); c.SSH = true; return c }

func sshAdmin() Cert { c := adminCert(); c.SSH = true; return c }

// A signature in one of the two formats is never taken for one in the other.
func TestFormatsOfSignaturesDiffer(t *testing.T) {
	for _, chain := range []Chain{testChain(t), testSSHChain(t)} {
		if _, err := chain.Verify(testNet); err != nil {
			t.Fatal(err)
		}
		chain[2].SSH = !chain[2].SSH
		if _, err := chain.Verify(testNet); !errors.Is(err, ErrBadCert) {
			t.Errorf("SSH %v: %v", chain[2].SSH, err)
		}
	}
}

// A user's agent that fails, or signs with another key, gives no certificate.
func TestIssueBySSHRefuses(t *testing.T) {
	user, broken := testChain(t)[:2], errors.New("no agent")
	if _, err := IssueBySSH(user, podCert(), func([]byte) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("no signature: %v", err)
	}
	other := func(m []byte) ([]byte, error) { return ed25519.Sign(testKey(strangerSeed), m), nil }
	if _, err := IssueBySSH(user, podCert(), other); !errors.Is(err, ErrBadCert) {
		t.Errorf("another's signature: %v", err)
	}
	if _, err := IssueBySSH(nil, podCert(), other); !errors.Is(err, ErrBadCert) {
		t.Errorf("nobody's: %v", err)
	}
}

// An invited admin's pod admits users too, and they their pods: four certificates, the greatest depth.
func TestPodsThatAdmitUsers(t *testing.T) {
	first := issue(t, rootSeed, nil, adminCert())
	second := issue(t, adminSeed, first, Cert{Subject: testPub(podSeed), Kind: KindPod, Name: "b", Role: RoleAdmin, Member: 1, RangeLo: 50, RangeHi: 300})
	user := issue(t, podSeed, second, userCert())
	if chain := issue(t, userSeed, user, Cert{Subject: testPub(strangerSeed), Kind: KindPod, Name: "c", Role: RoleWriter, Member: 100}); len(chain) != ChainMax {
		t.Errorf("%d certificates", len(chain))
	}
}

// A signature covers every field: no changed byte of a good chain gives a chain that holds.
func TestEveryByteIsSigned(t *testing.T) {
	for _, chain := range []Chain{testChain(t), testSSHChain(t)} {
		everyByteIsSigned(t, chain.Encode())
	}
}

func everyByteIsSigned(t *testing.T, good []byte) {
	t.Helper()
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		c, err := DecodeChain(b)
		if err != nil {
			continue
		}
		if _, err := c.Verify(testNet); err == nil {
			t.Errorf("byte %d of %d may be changed", i, len(good))
		}
	}
}

// An issuer that tries to give what it may not gets an error at once, not a certificate that others refuse.
func TestIssueRefuses(t *testing.T) {
	user := testChain(t)[:2]
	c := podCert()
	c.Role = RoleAdmin
	if _, err := Issue(testKey(userSeed), user, c); !errors.Is(err, ErrBadCert) {
		t.Errorf("role raised: %v", err)
	}
	if _, err := Issue(testKey(strangerSeed), user, podCert()); !errors.Is(err, ErrBadCert) {
		t.Errorf("a key that is not the issuer's: %v", err)
	}
}

func TestChainIsNotShared(t *testing.T) {
	user := testChain(t)[:2:3]
	a := issue(t, userSeed, user, podCert())
	other := podCert()
	other.Name = "other"
	issue(t, userSeed, user, other)
	if a.Leaf().Name != podCert().Name {
		t.Error("one issuer's chains overwrite each other")
	}
}

func TestValidAt(t *testing.T) {
	chain := testChain(t) // 1,000,000 to 2,000,000
	for _, row := range []struct {
		at int64
		ok bool
	}{{999_999, false}, {1_000_000, true}, {2_000_000, true}, {2_000_001, false}} {
		err := chain.ValidAt(time.Unix(row.at, 0))
		if (err == nil) != row.ok || (err != nil && (!errors.Is(err, ErrExpired) || !errors.Is(err, ErrDenied))) {
			t.Errorf("at %d: %v", row.at, err)
		}
	}
	if err := chain[:2].ValidAt(time.Unix(1, 0)); err != nil {
		t.Errorf("no dates: %v", err)
	}
}
