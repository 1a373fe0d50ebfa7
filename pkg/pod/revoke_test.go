package pod

import (
	"errors"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// A pod that was revoked is disconnected at once and stays out, of the layout too, on pods that only heard of it and after a start; what it wrote stays.
func TestRevokedPodStaysOut(t *testing.T) {
	first := firstPod(t)
	second := joinPod(t, first, "second")
	third := joinPod(t, first, "third")
	third.write("/theirs", "written before")
	first.reads("/theirs", "written before")
	second.reads("/theirs", "written before")
	gone := third.id

	if err := second.Revoke(quickly(t), "third"); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a writer revokes: %v", err)
	}
	if err := first.Revoke(quickly(t), "first"); !errors.Is(err, ErrNotSafe) {
		t.Errorf("an admin's pod revokes itself: %v", err)
	}
	if err := first.Revoke(quickly(t), "third"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "shut out", func() error {
		for _, p := range []*testPod{first, second} {
			if _, in := p.reg.layout().Entry(gone); in || p.net.Connected(gone) {
				return errors.New("still there")
			}
		}
		return nil
	})
	// If it has heard of it, it refuses; else it writes for itself alone.
	if err := writeFS(quickly(t), third.fs, "/late", "written after"); err != nil && !errors.Is(err, vfs.ErrReadOnly) {
		t.Fatal(err)
	}
	if err := third.Settle(quickly(t)); err != nil && !errors.Is(err, vfs.ErrReadOnly) {
		t.Fatal(err)
	}
	third.stop()
	first.stop()
	first = openPod(t, first.dir)
	third = openPod(t, third.dir)
	second.write("/ours", "goes on")
	first.reads("/ours", "goes on")
	first.reads("/theirs", "written before")
	hello := third.own.chain.Encode()
	for _, p := range []*testPod{first, second} {
		if err := p.admit(gone, hello); !errors.Is(err, member.ErrDenied) {
			t.Errorf("admitted: %v", err)
		}
		if _, err := p.read("/late"); err == nil {
			t.Error("what a revoked pod wrote afterwards came in")
		}
	}
	request := member.EnrolRequest{Secret: tokenOf(t, first).Secret, PodName: "third"}
	if _, err := first.enrolPod(quickly(t), gone, request.Encode()); !errors.Is(err, member.ErrDenied) {
		t.Errorf("let in again by a token: %v", err)
	}
	sameRoot(t, first, second)
}

// tokenOf is a new token.
func tokenOf(t *testing.T, p *testPod) member.Token {
	t.Helper()
	text, err := p.Invite(quickly(t), "writer", time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	token, err := member.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A user's revocation takes the pods along that the user signed, an admin's leaves those that were admitted.
func TestRevokedUserTakesPodsAlong(t *testing.T) {
	user, admin, pod := ident.Pod{1}, ident.Pod{2}, ident.Pod{3}
	chain := member.Chain{{Kind: member.KindAdmin, Subject: admin[:]}, {Kind: member.KindUser, Subject: user[:]}, {Kind: member.KindPod, Subject: pod[:]}}
	for name, row := range map[string]struct {
		subject ident.Pod
		want    bool
	}{"user": {user, true}, "admin": {admin, false}, "pod": {pod, true}, "another": {ident.Pod{4}, false}} {
		r := newRegistry(ident.Network{})
		r.chains[pod] = chain
		r.revoked[row.subject] = true
		if got := r.isRevoked(pod); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A revocation names all that the member had done, in all incarnations, and nothing of others.
func TestCutsOfMember(t *testing.T) {
	tip := func(a ident.Actor, seq uint64) state.Tip {
		return state.Tip{Dot: state.Dot{Actor: a, Seq: seq}, Digest: [32]byte{byte(seq)}}
	}
	tips := []state.Tip{tip(ident.Actor{Member: 7}, 3), tip(ident.Actor{Member: 7, Incarnation: 2}, 9), tip(ident.Actor{Member: 8}, 4)}
	got := cutsOf(tips, map[uint32]bool{7: true})
	if len(got) != 2 || got[0].Seq != 3 || got[1].Seq != 9 || got[1].Actor.Incarnation != 2 || got[1].Digest[0] != 9 {
		t.Errorf("got %v", got)
	}
	for i := range uint32(member.RevokeCutsMax + 5) {
		tips = append(tips, tip(ident.Actor{Member: 7, Incarnation: 3 + i}, 1))
	}
	if got := cutsOf(tips, map[uint32]bool{7: true}); len(got) != member.RevokeCutsMax || got[len(got)-1].Actor.Incarnation != member.RevokeCutsMax+7 {
		t.Errorf("%d cuts", len(got))
	}
}
