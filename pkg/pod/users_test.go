package pod

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// userKey is a person's key.
func userKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// asUser are the options of a person who asks a pod.
func asUser(key ed25519.PrivateKey, at *testPod, name string) UserOptions {
	return UserOptions{
		At: []p2p.Found{{Pod: at.id, Addrs: at.net.Addrs()}}, PodName: name, User: public(key),
		Sign: func(m []byte) ([]byte, error) { return ed25519.Sign(key, m), nil },
	}
}

// joinAsUser makes a pod by a person's key.
func joinAsUser(t *testing.T, key ed25519.PrivateKey, at *testPod, name string) *testPod {
	t.Helper()
	ticket, err := AskAsUser(quickly(t), asUser(key, at, name))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Join(quickly(t), dir, JoinOptions{Ticket: &ticket}); err != nil {
		t.Fatal(err)
	}
	return openPod(t, dir)
}

// A person who was added joins at any pod with no token, as often as they like, and each of their pods writes as a member of its own.
func TestUserJoins(t *testing.T) {
	first := firstPod(t)
	second := joinPod(t, first, "second")
	key := userKey(9)
	if err := first.AddUser(quickly(t), public(key), "ann", "writer"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "second knows ann", func() error { _, err := second.reg.user(ident.PodOf(public(key))); return err })
	laptop := joinAsUser(t, key, second, "laptop")
	desk := joinAsUser(t, key, first, "laptop") // the name is taken
	if got := desk.own.chain.Leaf(); got.Name != "laptop-2" || got.Member == laptop.own.chain.Leaf().Member {
		t.Errorf("the second is %q, number %d", got.Name, got.Member)
	}
	laptop.write("/a", "of ann")
	first.reads("/a", "of ann")
	desk.reads("/a", "of ann")
	id := laptop.id
	laptop.stop()
	laptop = openPod(t, laptop.dir)
	if laptop.id != id {
		t.Error("the pod has another id after a start")
	}
	desk.write("/b", "of ann too")
	laptop.reads("/b", "of ann too")
	sameRoot(t, first, second, laptop, desk)
}

// A person whose role is reader has pods that read and can't write; one whose role is admin has pods that admit others.
func TestUsersRoles(t *testing.T) {
	first := firstPod(t)
	first.write("/f", "x")
	reader, admin := userKey(9), userKey(10)
	if err := errors.Join(first.AddUser(quickly(t), public(reader), "rob", "reader"), first.AddUser(quickly(t), public(admin), "ada", "admin")); err != nil {
		t.Fatal(err)
	}
	r := joinAsUser(t, reader, first, "rob-1")
	r.reads("/f", "x")
	if err := writeFS(quickly(t), r.fs, "/g", "y"); err == nil {
		t.Error("a reader writes")
	}
	a := joinAsUser(t, admin, first, "ada-1")
	third := joinPod(t, a, "third")
	third.reads("/f", "x")
}

// An admin's pod that was invited invites others: its own range is what it gives from.
func TestInvitedAdminInvites(t *testing.T) {
	first := firstPod(t)
	second := joinAs(t, first, "second", "admin")
	third := joinPod(t, second, "third")
	third.write("/f", "x")
	first.reads("/f", "x")
	if err := second.AddUser(quickly(t), public(userKey(9)), "ann", "writer"); err != nil {
		t.Fatal(err)
	}
	ann := joinAsUser(t, userKey(9), second, "ann-1")
	ann.reads("/f", "x")
}

func TestAddUserRefuses(t *testing.T) {
	first := firstPod(t)
	writer := joinPod(t, first, "writer")
	key := public(userKey(9))
	if err := first.AddUser(quickly(t), key, "ann", "writer"); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		by         *testPod
		key        ed25519.PublicKey
		name, role string
		want       error
	}{
		"same key":    {first, key, "bob", "writer", vfs.ErrExist},
		"same name":   {first, public(userKey(8)), "ann", "writer", vfs.ErrExist},
		"pod's name":  {first, public(userKey(8)), "first", "writer", vfs.ErrExist},
		"by a writer": {writer, public(userKey(8)), "bob", "writer", member.ErrDenied},
		"no role":     {first, public(userKey(8)), "bob", "king", member.ErrBadName},
		"no name":     {first, public(userKey(8)), "-rf", "writer", member.ErrBadName},
	} {
		if err := row.by.AddUser(quickly(t), row.key, row.name, row.role); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", name, err, row.want)
		}
	}
}

// What a stranger or a thief can try with keys and certificates that are not theirs: nothing of it makes a member.
func TestUserJoinRefuses(t *testing.T) {
	first := firstPod(t)
	key := userKey(9)
	if err := first.AddUser(quickly(t), public(key), "ann", "writer"); err != nil {
		t.Fatal(err)
	}
	ask := func(change func(*UserOptions)) error {
		o := asUser(key, first, "x")
		change(&o)
		_, err := AskAsUser(quickly(t), o)
		return err
	}
	broken := errors.New("no agent")
	for name, row := range map[string]struct {
		change func(*UserOptions)
		want   error
	}{
		"stranger":        {func(o *UserOptions) { o.User = public(userKey(7)) }, member.ErrDenied},
		"another's key":   {func(o *UserOptions) { o.Sign = asUser(userKey(7), first, "x").Sign }, member.ErrBadCert},
		"agent fails":     {func(o *UserOptions) { o.Sign = func([]byte) ([]byte, error) { return nil, broken } }, broken},
		"another network": {func(o *UserOptions) { o.Network = "work" }, p2p.ErrUnreachable},
		"another id":      {func(o *UserOptions) { o.Network = "test@00000000" }, p2p.ErrUnreachable},
		"no name":         {func(o *UserOptions) { o.Network = "/" }, member.ErrBadName},
		"nobody there":    {func(o *UserOptions) { o.At = nil }, p2p.ErrUnreachable},
	} {
		if err := ask(row.change); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", name, err, row.want)
		}
	}
	if err := ask(func(o *UserOptions) { o.Network = "test@" + first.reg.network.Short() }); err != nil {
		t.Errorf("with the id behind the name: %v", err)
	}
	good, err := AskAsUser(quickly(t), asUser(key, first, "x"))
	if err != nil {
		t.Fatal(err)
	}
	stolen := good // the certificate, with a key of the thief's
	stolen.Key = userKey(7)
	if err := tryTicket(t, stolen); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a certificate that is another pod's: %v", err)
	}
	raised := good
	cert := good.User.Leaf()
	cert.Role = member.RoleAdmin
	cert.Sig = ed25519.Sign(key, []byte("whatever"))
	raised.User = append(append(member.Chain{}, good.User[:len(good.User)-1]...), cert)
	if err := tryTicket(t, raised); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a role that was raised: %v", err)
	}
	if err := tryTicket(t, good); err != nil {
		t.Errorf("the good one: %v", err)
	}
	other, err := AskAsUser(quickly(t), asUser(key, first, "y"))
	if err != nil {
		t.Fatal(err)
	}
	user := other.User[:len(other.User)-1]
	taken := other.User.Leaf()
	taken.Member = cert.Member
	if other.User, err = member.IssueBySSH(user, taken, asUser(key, first, "").Sign); err != nil {
		t.Fatal(err)
	}
	if err := tryTicket(t, other); !errors.Is(err, member.ErrDenied) {
		t.Errorf("another pod's number: %v", err)
	}
}

func tryTicket(t *testing.T, ticket Ticket) error {
	t.Helper()
	_, err := Join(quickly(t), filepath.Join(t.TempDir(), "pod"), JoinOptions{Ticket: &ticket})
	return err
}

// A revoked user joins nowhere, and an expired one neither; each is told why.
func TestUserRevoked(t *testing.T) {
	first := firstPod(t)
	key := userKey(9)
	if err := first.AddUser(quickly(t), public(key), "ann", "writer"); err != nil {
		t.Fatal(err)
	}
	laptop := joinAsUser(t, key, first, "laptop")
	laptop.write("/f", "before")
	first.reads("/f", "before")
	if err := first.Revoke(quickly(t), "ann"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ann's pod is shut out", func() error {
		if first.net.Connected(laptop.id) {
			return errors.New("still connected")
		}
		return nil
	})
	if _, err := AskAsUser(quickly(t), asUser(key, first, "x")); !errors.Is(err, member.ErrDenied) {
		t.Errorf("joins again: %v", err)
	}
	if err := first.AddUser(quickly(t), public(key), "ann-2", "writer"); !errors.Is(err, member.ErrDenied) {
		t.Errorf("added again: %v", err)
	}
	first.reads("/f", "before")
}

// On an encrypted network an admin's pod gives the key, and another says that it can't.
func TestUserOfEncrypted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pod")
	if _, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "first", Encrypt: true}); err != nil {
		t.Fatal(err)
	}
	first := openPod(t, dir)
	first.write("/f", "secret")
	second := joinPod(t, first, "second")
	key := userKey(9)
	if err := first.AddUser(quickly(t), public(key), "ann", "writer"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "second knows ann", func() error { _, err := second.reg.user(ident.PodOf(public(key))); return err })
	if _, err := AskAsUser(quickly(t), asUser(key, second, "x")); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a writer's pod gives the key: %v", err)
	}
	laptop := joinAsUser(t, key, first, "laptop")
	laptop.reads("/f", "secret")
}

// Two networks of one name: nothing is joined by chance.
func TestSeveralNetworks(t *testing.T) {
	one, two := firstPod(t), firstPod(t)
	key := userKey(9)
	for _, p := range []*testPod{one, two} {
		if err := p.AddUser(quickly(t), public(key), "ann", "writer"); err != nil {
			t.Fatal(err)
		}
	}
	o := asUser(key, one, "x")
	o.Network = "test"
	o.At = append(o.At, asUser(key, two, "x").At...)
	_, err := AskAsUser(quickly(t), o)
	if !errors.Is(err, ErrSeveral) || !bytes.Contains([]byte(fmt.Sprint(err)), []byte("test@"+two.reg.network.Short())) {
		t.Errorf("got %v", err)
	}
	o.Network = "test@" + two.reg.network.Short()
	ticket, err := AskAsUser(quickly(t), o)
	if err != nil || ticket.Network != two.reg.network {
		t.Errorf("got %s, %v", ticket.Network, err)
	}
}

// A pod that only reads tells what it has, so that neither it nor others wait for it for ever, and stops asking once it has all.
func TestReaderIsMet(t *testing.T) {
	first := firstPod(t)
	first.write("/f", "x")
	reader := joinAs(t, first, "reader", "reader")
	reader.reads("/f", "x")
	for _, p := range []*testPod{first, reader} {
		if err := p.SyncWait(quickly(t), vfs.RootID); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "the reader's vector is known", func() error {
		if vv := first.peers.of(reader.id).vv; !first.db.VV().LessEqual(vv) {
			return fmt.Errorf("it has %v", vv)
		}
		return nil
	})
	sameRoot(t, first, reader)
}
