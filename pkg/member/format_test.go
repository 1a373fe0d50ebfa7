package member

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/format anew")

// formats is every format of the package: an example, and what reads it and writes it again.
func formats(t testing.TB) map[string]struct {
	bytes []byte
	again func([]byte) ([]byte, error)
} {
	t.Helper()
	type format = struct {
		bytes []byte
		again func([]byte) ([]byte, error)
	}
	invite := testInvite()
	request := EnrolRequest{Secret: [16]byte{1, 2, 3}, PodName: "desk-1"}
	reply := testReply(t)
	return map[string]format{
		"chain":     {testChain(t).Encode(), func(b []byte) ([]byte, error) { c, err := DecodeChain(b); return c.Encode(), err }},
		"chain-ssh": {testSSHChain(t).Encode(), func(b []byte) ([]byte, error) { c, err := DecodeChain(b); return c.Encode(), err }},
		"token":     {[]byte(testToken().String()), func(b []byte) ([]byte, error) { k, err := ParseToken(string(b)); return []byte(k.String()), err }},
		"invite":    {invite.Encode(), func(b []byte) ([]byte, error) { i, err := DecodeInvite(b); return i.Encode(), err }},
		"enrol-ask": {request.Encode(), func(b []byte) ([]byte, error) { q, err := DecodeEnrolRequest(b); return q.Encode(), err }},
		"enrol-offer-ask": {
			EnrolRequest{Step: StepOffer, NetworkName: "home", User: testPub(userSeed), PodName: "desk-1"}.Encode(),
			func(b []byte) ([]byte, error) { q, err := DecodeEnrolRequest(b); return q.Encode(), err },
		},
		"enrol-user-ask": {
			EnrolRequest{Step: StepUser, Cert: new(testSSHChain(t).Leaf()), PodName: "desk-1"}.Encode(),
			func(b []byte) ([]byte, error) { q, err := DecodeEnrolRequest(b); return q.Encode(), err },
		},
		"enrol-offer": {
			EnrolReply{Chain: testChain(t)[:2], NetworkName: "home", Offer: &EnrolOffer{PodName: "desk-1", Member: 100, RangeLo: 150, RangeHi: 160}}.Encode(),
			func(b []byte) ([]byte, error) { y, err := DecodeEnrolReply(b); return y.Encode(), err },
		},
		"enrol-reply": {reply.Encode(), func(b []byte) ([]byte, error) { y, err := DecodeEnrolReply(b); return y.Encode(), err }},
		"enrol-refusal": {RefuseEnrol(ErrUsed).Encode(), func(b []byte) ([]byte, error) {
			y, err := DecodeEnrolReply(b)
			return y.Encode(), err
		}},
		"settings":        {testSettings(t).Encode(), func(b []byte) ([]byte, error) { s, err := DecodeSettings(b); return s.Encode(), err }},
		"settings-sealed": {testSealedSettings(t).Encode(), func(b []byte) ([]byte, error) { s, err := DecodeSettings(b); return s.Encode(), err }},
		"key":             {testSealedKey(t).Encode(), func(b []byte) ([]byte, error) { k, err := DecodeSealedKey(b); return k.Encode(), err }},
		"out":             {testOut(t).Encode(), func(b []byte) ([]byte, error) { o, err := DecodeOut(b); return o.Encode(), err }},
		"lost":            {testLost(t).Encode(), func(b []byte) ([]byte, error) { o, err := DecodeOut(b); return o.Encode(), err }},
		"revoke":          {testRevoke(t).Encode(), func(b []byte) ([]byte, error) { v, err := DecodeRevoke(b); return v.Encode(), err }},
		"revoke-root":     {testRootRevoke(t).Encode(), func(b []byte) ([]byte, error) { v, err := DecodeRevoke(b); return v.Encode(), err }},
		"rekey":           {testRekey(t).Encode(), func(b []byte) ([]byte, error) { k, err := DecodeRekey(b); return k.Encode(), err }},
		"statement": {EncodeStatement(KindLayout, []byte("body")), func(b []byte) ([]byte, error) {
			kind, body, err := DecodeStatement(b)
			return EncodeStatement(kind, body), err
		}},
	}
}

// If the bytes change, pods of two versions no longer understand each other, and no old certificate holds.
func TestGolden(t *testing.T) {
	for name, f := range formats(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", "format", name+".hex")
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(hex.EncodeToString(f.bytes)+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want, err := hex.DecodeString(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(f.bytes, want) {
				t.Errorf("got %x, want %x", f.bytes, want)
			}
			again, err := f.again(want)
			if err != nil || !bytes.Equal(again, want) {
				t.Errorf("read and written again: %x, %v", again, err)
			}
		})
	}
}

// A message cut anywhere, or followed by one byte more, is refused: none is mistaken for a shorter one.
func TestTruncated(t *testing.T) {
	for name, f := range formats(t) {
		t.Run(name, func(t *testing.T) {
			for n := range f.bytes {
				if _, err := f.again(f.bytes[:n]); err == nil {
					t.Errorf("the first %d of %d bytes are taken", n, len(f.bytes))
				}
			}
			if _, err := f.again(append(bytes.Clone(f.bytes), 'a')); err == nil {
				t.Error("a byte too many is taken")
			}
		})
	}
}

// fuzz fuzzes the format of a name, with the examples of others as seeds too.
func fuzz(f *testing.F, name string, others ...string) {
	f.Helper()
	all := formats(f)
	seed := all[name]
	for _, n := range append(others, name) {
		b := all[n].bytes
		if len(b) == 0 {
			f.Fatal("no seed")
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := seed.again(b)
		if err != nil {
			return
		}
		if name == "token" { // forgives case and space
			b = bytes.ToLower(bytes.TrimSpace(b))
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x is read, and written again as %x", b, again)
		}
	})
}

func FuzzToken(f *testing.F)      { fuzz(f, "token") }
func FuzzInvite(f *testing.F)     { fuzz(f, "invite") }
func FuzzEnrolAsk(f *testing.F)   { fuzz(f, "enrol-ask", "enrol-offer-ask", "enrol-user-ask") }
func FuzzEnrolReply(f *testing.F) { fuzz(f, "enrol-reply", "enrol-offer") }
func FuzzSettings(f *testing.F)   { fuzz(f, "settings", "settings-sealed") }
func FuzzSealedKey(f *testing.F)  { fuzz(f, "key") }
func FuzzOut(f *testing.F)        { fuzz(f, "out", "lost") }
func FuzzStatement(f *testing.F)  { fuzz(f, "statement") }

// Besides the round trip: no bytes but the chain's own verify, whatever is changed in them.
func FuzzChain(f *testing.F) {
	good := testChain(f).Encode()
	f.Add(good)
	f.Add(issue(f, rootSeed, nil, adminCert()).Encode())
	f.Add(testSSHChain(f).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeChain(b)
		if err != nil {
			return
		}
		if again := c.Encode(); !bytes.Equal(again, b) {
			t.Errorf("%x is read, and written again as %x", b, again)
		}
		leaf, err := c.Verify(testNet)
		if err == nil && leaf.Name != "ann" && leaf.Name != "bob" && leaf.Name != "desk-1.lan" {
			t.Errorf("forged: %+v", leaf)
		}
	})
}
