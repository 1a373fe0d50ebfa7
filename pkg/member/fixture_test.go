package member

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// testKey is a key made of one byte: tests and golden files need the same ones each time.
func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func testPub(seed byte) ed25519.PublicKey { return testKey(seed).Public().(ed25519.PublicKey) }

// Seeds of the keys in testChain.
const (
	rootSeed byte = iota + 1
	adminSeed
	userSeed
	podSeed
	strangerSeed
)

var testNet = ident.NetworkOf(testPub(rootSeed))

func adminCert() Cert {
	return Cert{Subject: testPub(adminSeed), Kind: KindAdmin, Name: "ann", Role: RoleAdmin, RangeLo: 1, RangeHi: ident.MemberMax}
}

func userCert() Cert {
	return Cert{Subject: testPub(userSeed), Kind: KindUser, Name: "bob", Role: RoleWriter, RangeLo: 100, RangeHi: 199}
}

func podCert() Cert {
	return Cert{
		Subject: testPub(podSeed), Kind: KindPod, Name: "desk-1.lan", Role: RoleReader, Member: 100,
		NotBefore: 1_000_000, NotAfter: 2_000_000, Ext: []Field{{ID: 3, Value: []byte("x")}, {ID: 70_000, Value: []byte{}}},
	}
}

func issue(t testing.TB, key byte, issuer Chain, c Cert) Chain {
	t.Helper()
	chain, err := Issue(testKey(key), issuer, c)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// testChain is root, admin, user, pod: three certificates.
func testChain(t testing.TB) Chain {
	t.Helper()
	admin := issue(t, rootSeed, nil, adminCert())
	user := issue(t, adminSeed, admin, userCert())
	return issue(t, userSeed, user, podCert())
}

// testSSHChain is testChain with the user's signature as an OpenSSH key makes it.
func testSSHChain(t testing.TB) Chain {
	t.Helper()
	chain, err := IssueBySSH(testChain(t)[:2], podCert(), func(m []byte) ([]byte, error) { return ed25519.Sign(testKey(userSeed), m), nil })
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// forge signs whatever it is given, as a hostile issuer would: Issue would refuse.
func forge(key byte, issuer Chain, c Cert) Chain {
	c.Network, c.Issuer = testNet, testPub(key)
	c.Sig = ed25519.Sign(testKey(key), c.message())
	return append(append(Chain{}, issuer...), c)
}

func testToken() Token {
	return Token{
		Network: testNet, NetworkName: "home", Issuer: ident.PodOf(testPub(podSeed)),
		Secret: [16]byte{1, 2, 3}, Addrs: []string{"/ip4/192.0.2.7/tcp/4001", "/ip6/2001:db8::1/tcp/4001"},
	}
}

func testInvite() Invite {
	return Invite{
		SecretHash: HashSecret([16]byte{1, 2, 3}), Role: RoleWriter, Expires: 5000, Uses: 2,
		Used: []ident.Pod{ident.PodOf(testPub(strangerSeed))},
	}
}

func testSettings(t testing.TB) Settings {
	t.Helper()
	admin := issue(t, rootSeed, nil, adminCert())
	s, err := Settings{Network: testNet, Name: "home", Policy: "replica:2", Version: 9 << 16, Ext: []Field{{ID: 1, Value: []byte("later")}}}.
		Sign(admin, func(m []byte) []byte { return ed25519.Sign(testKey(adminSeed), m) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testSealedSettings(t testing.TB) Settings {
	t.Helper()
	s := testSettings(t)
	s.KeyID = [KeyIDLen]byte{0xa1, 2, 3}
	s, err := s.Sign(s.Signer, func(m []byte) []byte { return ed25519.Sign(testKey(adminSeed), m) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testSecret is the data key in testSealedKey.
var testSecret = [32]byte{1, 2, 3, 4}

// testSealed is testSecret as SealKey made it once for the pod of testChain: each time it makes other bytes.
const testSealed = "6d5297e5ea67de32778958795137375d90ba5bdb9466f4a316a403465b2b304861f60929a7302c73d115f48627364af78f8d0271bd810c29ecb1ed200dedb4891bc5be56a418ea2739c3501f500e43d3"

// testSealedKey is the data key for the pod of testChain.
func testSealedKey(t testing.TB) SealedKey {
	t.Helper()
	sealed, err := hex.DecodeString(testSealed)
	if err != nil {
		t.Fatal(err)
	}
	k, err := SealedKey{Network: testNet, Subject: ident.PodOf(testPub(podSeed)), KeyID: [KeyIDLen]byte{0xa1, 2, 3}, Sealed: sealed}.
		Sign(testSettings(t).Signer, func(m []byte) []byte { return ed25519.Sign(testKey(adminSeed), m) })
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testReply(t testing.TB) EnrolReply {
	t.Helper()
	return EnrolReply{
		Chain: testChain(t), NetworkName: "home",
		Statements: [][]byte{EncodeStatement(KindNetwork, testSettings(t).Encode())},
		Peers:      []EnrolPeer{{Pod: ident.PodOf(testPub(podSeed)), Addrs: []string{"/ip4/192.0.2.7/tcp/4001"}}, {Pod: ident.Pod{7}}},
	}
}

// testOut is a pod's word of another, testLost an admin's.
func testOut(t testing.TB) Out {
	t.Helper()
	o, err := Out{Network: testNet, Subject: ident.PodOf(testPub(strangerSeed)), Version: 9 << 16, By: ident.PodOf(testPub(podSeed))}.
		Sign(func(m []byte) []byte { return ed25519.Sign(testKey(podSeed), m) })
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func testLost(t testing.TB) Out {
	t.Helper()
	o := testOut(t)
	o.By, o.Admin = ident.PodOf(testPub(adminSeed)), issue(t, rootSeed, nil, adminCert())
	o, err := o.Sign(func(m []byte) []byte { return ed25519.Sign(testKey(adminSeed), m) })
	if err != nil {
		t.Fatal(err)
	}
	return o
}
