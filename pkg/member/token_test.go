package member

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

func TestToken(t *testing.T) {
	want := testToken()
	text := want.String()
	if strings.ContainsAny(text, " \n=-/+") || !strings.HasPrefix(text, "wh1") {
		t.Errorf("not one word: %q", text)
	}
	for _, s := range []string{text, " " + text + "\r\n", strings.ToUpper(text)} {
		got, err := ParseToken(s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// Too many addresses, or one too long, must not make a token that nobody can read.
func TestTokenLimits(t *testing.T) {
	k := testToken()
	k.Addrs = []string{strings.Repeat("x", addrBytesMax+1), "\xff"}
	for i := range 40 {
		k.Addrs = append(k.Addrs, fmt.Sprint(i, strings.Repeat("y", addrBytesMax-2)))
	}
	got, err := ParseToken(k.String())
	if err != nil || len(got.Addrs) != addrsMax || got.Addrs[0] != k.Addrs[2] {
		t.Errorf("%d addresses, %v", len(got.Addrs), err)
	}
}

func TestBadToken(t *testing.T) {
	good := testToken().String()
	rows := map[string]string{
		"empty": "", "prefix alone": "wh1", "word": "hello", "next version": "wh2" + good[3:], "short": "wh1aaaa",
		"too long": "wh1" + strings.Repeat("a", 9000), "two": good + good,
		"letter swapped":  good[:20] + string('a'+(good[20]-'a'+1)%26) + good[21:],
		"space in it":     good[:9] + " " + good[9:],
		"character added": good + "a",
	}
	for name, s := range rows {
		if _, err := ParseToken(s); !errors.Is(err, ErrBadToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRedeem(t *testing.T) {
	secret, wrong := [16]byte{1, 2, 3}, [16]byte{1, 2, 4}
	a, b, c := ident.Pod{1}, ident.Pod{2}, ident.Pod{3}
	at := time.Unix(4999, 0)
	fresh := Invite{SecretHash: HashSecret(secret), Role: RoleReader, Expires: 5000, Uses: 2}

	afterA, err := fresh.Redeem(a, secret, at)
	if err != nil {
		t.Fatal(err)
	}
	afterB, err := afterA.Redeem(b, secret, at)
	if err != nil || !slices.Equal(afterB.Used, []ident.Pod{a, b}) {
		t.Fatalf("%v, %v", afterB.Used, err)
	}
	if len(fresh.Used) != 0 || len(afterA.Used) != 1 {
		t.Error("an invite was changed in place")
	}
	rows := map[string]struct {
		invite Invite
		pod    ident.Pod
		secret [16]byte
		at     int64
		want   error
	}{
		"wrong secret":            {fresh, a, wrong, 1, ErrDenied},
		"wrong secret, known pod": {afterA, a, wrong, 1, ErrDenied},
		"at the last second":      {fresh, a, secret, 5000, ErrExpired},
		"used up":                 {afterB, c, secret, 1, ErrUsed},
		"again":                   {afterB, a, secret, 1, nil},
		"again, after its end":    {afterB, a, secret, 6000, nil},
		"no end":                  {Invite{SecretHash: fresh.SecretHash, Role: RoleReader, Uses: 1}, a, secret, 1 << 40, nil},
		"zero invite":             {Invite{}, a, [16]byte{}, 1, ErrDenied},
	}
	for name, row := range rows {
		got, err := row.invite.Redeem(row.pod, row.secret, time.Unix(row.at, 0))
		if !errors.Is(err, row.want) || (row.want != nil && !errors.Is(err, ErrDenied)) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
		if err != nil && !cmp.Equal(got, row.invite) {
			t.Errorf("%s: refused, and changed", name)
		}
	}
}

func TestInviteCodec(t *testing.T) {
	want := testInvite()
	got, err := DecodeInvite(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	bad := want
	bad.Role = 9
	over := want
	over.Uses = 0
	for name, i := range map[string]Invite{"role": bad, "more used than uses": over} {
		if _, err := DecodeInvite(i.Encode()); !errors.Is(err, ErrBadMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
