package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// newRoles is newCopyable with the roles of the pods behind the first, which are called after them.
func newRoles(t *testing.T, roles ...string) *copyable {
	t.Helper()
	first := firstPod(t)
	pods := []*testPod{first}
	for _, role := range roles {
		pods = append(pods, joinAs(t, first, role, role))
	}
	first.write("/begin", "all have it")
	for _, p := range pods[1:] {
		if p.role().MayRead() {
			p.reads("/begin", "all have it")
		}
	}
	c := &copyable{t: t}
	for _, p := range pods {
		p.stop()
		c.dirs, c.disk = append(c.dirs, p.dir), append(c.disk, diskOf(t, p.dir))
	}
	return c
}

// lacks fails where a path is shown.
func (p *testPod) lacks(path string) {
	p.t.Helper()
	if _, err := p.read(path); !errors.Is(err, vfs.ErrNotExist) {
		p.t.Errorf("%s on %s: %v", path, p.reg.name(p.id), err)
	}
}

// TestRevokedInAnyOrder: of what a pod did before it was revoked the admin has some, a writer more, a reader more than that, and nobody the rest. A commit of the writer rests on it. The
// admin restarts, then all meet, the revoked pod too, as if it had got a connection. If it fails, pods differ for ever after a revocation, or lose what others did.
func TestRevokedInAnyOrder(t *testing.T) {
	const first, writer, gone, reader, late = 0, 1, 2, 3, 4
	c := newRoles(t, "writer", "writer", "reader", "writer")
	run := func(with []int, do func(pods map[int]*testPod)) {
		t.Helper()
		net, pods := newMemNet(), map[int]*testPod{}
		for _, i := range with {
			pods[i] = c.start(net, i, c.disk[i])
		}
		do(pods)
		for _, p := range pods {
			p.stop()
		}
	}
	run([]int{first, gone, writer, reader}, func(pods map[int]*testPod) {
		pods[gone].write("/x1", "the admin has it")
		pods[first].reads("/x1", "the admin has it")
		pods[reader].reads("/x1", "the admin has it")
		pods[writer].reads("/x1", "the admin has it")
	})
	run([]int{gone, writer, reader}, func(pods map[int]*testPod) {
		pods[gone].write("/x2", "others built on it")
		pods[writer].reads("/x2", "others built on it")
		pods[writer].write("/built", "on x2")
		pods[reader].reads("/built", "on x2")
	})
	run([]int{gone, reader}, func(pods map[int]*testPod) {
		pods[gone].write("/x3", "only a reader has it")
		pods[reader].reads("/x3", "only a reader has it")
	})
	run([]int{gone}, func(pods map[int]*testPod) {
		pods[gone].write("/x4", "nobody has it")
		pods[gone].settle()
	})
	run([]int{first}, func(pods map[int]*testPod) {
		if err := pods[first].Revoke(quickly(t), pods[first].nameOf(c.dirs[gone])); err != nil {
			t.Fatal(err)
		}
		pods[first].write("/after", "the revocation")
	})
	run([]int{first, reader, late}, func(pods map[int]*testPod) { // who has less, who has more, and one that has nothing, without the writer that has more
		pods[late].reads("/after", "the revocation")
		pods[late].reads("/x1", "the admin has it")
		pods[late].lacks("/x3")
		pods[reader].warned("changes_dont_count", true)
		pods[first].warned("changes_dont_count", false)
	})
	run([]int{first, writer, gone, reader, late}, func(pods map[int]*testPod) {
		var left []*testPod
		for _, i := range []int{first, writer, reader, late} {
			left = append(left, pods[i])
			pods[i].reads("/x1", "the admin has it")
			pods[i].reads("/x2", "others built on it")
			pods[i].reads("/built", "on x2")
			pods[i].reads("/after", "the revocation")
		}
		sameRoot(t, left...)
		for _, p := range left {
			p.lacks("/x3")
			p.lacks("/x4")
			p.clean()
		}
		pods[writer].write("/goes", "on")
		pods[reader].reads("/goes", "on")
		if err := writeFS(quickly(t), pods[gone].fs, "/x5", "no"); !errors.Is(err, vfs.ErrReadOnly) {
			t.Errorf("a revoked pod that has heard of it writes: %v", err)
		}
		pods[gone].warned("shut_out", true)
		pods[reader].warned("changes_dont_count", false)
		sameRoot(t, left...)
	})
}

// nameOf is the name of the pod in a folder.
func (p *testPod) nameOf(dir string) string {
	p.t.Helper()
	chain, err := readChain(dir, fileCerts)
	if err != nil {
		p.t.Fatal(err)
	}
	return chain.Leaf().Name
}

// TestRoleTakenAndGiven: a writer becomes a reader and a writer again. If it fails, it may go on writing, or a newcomer can never have what it wrote before.
func TestRoleTakenAndGiven(t *testing.T) {
	first := firstPod(t)
	second := joinPod(t, first, "second")
	second.write("/old", "as a writer")
	first.reads("/old", "as a writer")
	if err := first.SetRole(quickly(t), "second", "reader"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "second hears of it", func() error {
		root, err := vfs.Resolve(quickly(t), second.fs, "/")
		if err != nil {
			return err
		}
		_, err = second.fs.Create(quickly(t), root.ID, fmt.Sprintf("folder %d", time.Now().UnixNano()), vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
		if !errors.Is(err, vfs.ErrReadOnly) {
			return fmt.Errorf("a reader makes a folder: %w", err)
		}
		return nil
	})
	second.warned("may_not_write", true)
	second.stop()
	second = openPod(t, second.dir)
	if err := writeFS(quickly(t), second.fs, "/new", "as a reader"); !errors.Is(err, vfs.ErrReadOnly) {
		t.Errorf("a reader writes after a start: %v", err)
	}
	third := joinPod(t, first, "third")
	third.reads("/old", "as a writer")
	first.write("/more", "by the first")
	third.reads("/more", "by the first")
	second.reads("/more", "by the first")
	sameRoot(t, first, second, third)
	if err := first.SetRole(quickly(t), "second", "writer"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "second writes again", func() error { return writeFS(quickly(t), second.fs, "/again", "as a writer") })
	second.warned("may_not_write", false)
	third.reads("/again", "as a writer")
	sameRoot(t, first, second, third)
	for _, m := range third.Members() {
		if m.Name == "second" && m.Role != "writer" {
			t.Errorf("shown as %s", m.Role)
		}
	}
	log := third.MemberLog()
	if i := slices.IndexFunc(log, func(e MemberEvent) bool { return e.Name == "second" && e.What == "role" && e.Role == "reader" }); i < 0 {
		t.Errorf("the history of members is %v", log)
	}
}

// warned waits until a pod warns of something, or does not.
func (p *testPod) warned(code health.Code, want bool) {
	p.t.Helper()
	eventually(p.t, string(code), func() error {
		st, err := p.Status(quickly(p.t))
		if err == nil && slices.ContainsFunc(st.Warnings, func(w health.Warning) bool { return w.Code == code }) != want {
			err = fmt.Errorf("%v, want it: %t", st.Warnings, want)
		}
		return err
	})
}

// TestDroppedIsTold: what was done last, and told to nobody, is dropped when the right to write ends: there is an event, as there is no other trace of it.
func TestDroppedIsTold(t *testing.T) {
	first := firstPod(t)
	second := joinPod(t, first, "second")
	second.stop()
	if err := first.SetRole(quickly(t), "second", "reader"); err != nil {
		t.Fatal(err)
	}
	statements, err := first.allStatements()
	if err != nil {
		t.Fatal(err)
	}
	q, err := Open(quickly(t), Options{Dir: second.dir, Offline: true}) // nothing is committed while it does not run
	if err != nil {
		t.Fatal(err)
	}
	p := &testPod{Pod: q, t: t, dir: second.dir, fs: q.FS()}
	if _, err := p.fs.Create(quickly(t), vfs.RootID, "last", vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	if err := q.learnAll(quickly(t), statements, first.id); err != nil {
		t.Fatal(err)
	}
	p.lacks("/last")
	found := false
	if err := q.Events(quickly(t), time.Time{}, false, func(e Event) error {
		found = found || e.Kind == EventDropped && e.Text != ""
		return nil
	}); err != nil || !found {
		t.Errorf("no event tells of it: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// patched makes a pod write whatever its role is, as one whose program was changed does.
func (p *testPod) patched(path string) (commits [][]byte) {
	p.t.Helper()
	before := p.db.VV()
	if _, err := p.db.MayWrite(quickly(p.t), true); err != nil {
		p.t.Fatal(err)
	}
	p.write(path, "without a right")
	p.settle()
	commits, err := p.db.Log(quickly(p.t), before, 1<<20)
	if err != nil || len(commits) == 0 {
		p.t.Fatalf("%d commits, %v", len(commits), err)
	}
	return commits
}

// TestPatchedReader: pods that may not write do so with a changed program: their commits are refused by everybody, alone, in an answer of somebody else, as a tree and as a head in the DHT,
// with the privilege that is missing in the error; what else the answer has is taken.
func TestPatchedReader(t *testing.T) {
	first := firstPod(t)
	writer := joinPod(t, first, "writer")
	for _, role := range []string{"reader", "storage"} {
		bad := joinAs(t, first, role, role)
		writer.write("/before "+role, "x")
		bad.reads("/before "+role, "x")
		first.reads("/before "+role, "x")
		had := first.db.VV()
		commits := bad.patched("/by " + role)
		first.stop() // it must not get the next one by itself
		writer.write("/honest "+role, "y")
		writer.settle()
		honest, err := writer.db.Log(quickly(t), had, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		first = openPodOffline(t, first.dir)
		n, err := first.db.Apply(quickly(t), append(slices.Clone(commits), honest...))
		if n == 0 || !errors.Is(err, member.ErrDenied) || !errors.Is(err, state.ErrRefused) {
			t.Errorf("%s: %d commits of an answer are applied, %v", role, n, err)
		}
		first.reads("/honest "+role, "y")
		first.lacks("/by " + role)
		if _, err := bad.db.Checkpoint(quickly(t)); err != nil {
			t.Fatal(err)
		}
		offer, err := bad.db.Offer(quickly(t), had)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := first.db.Join(quickly(t), offer); !errors.Is(err, member.ErrDenied) {
			t.Errorf("%s: its tree: %v", role, err)
		}
		if _, err := first.checkHead(bad.id, offer.Head); !errors.Is(err, member.ErrDenied) {
			t.Errorf("%s: its head in the dht: %v", role, err)
		}
		bad.stop()
		first.stop()
		first = openPod(t, first.dir)
		writer.lacks("/by " + role)
	}
}

// TestRevokedTree: a pod that was revoked offers a tree with what it did since, and one in which all counts, under a vector that everybody has: who signs a tree may have left out
// of it what it likes. If it fails, it erases the network. (state.TestJoinRefused has the empty tree of a member.)
func TestRevokedTree(t *testing.T) {
	first := firstPod(t)
	gone := joinPod(t, first, "gone")
	gone.write("/mine", "before")
	first.reads("/mine", "before")
	before := first.db.VV()
	if _, err := gone.db.Checkpoint(quickly(t)); err != nil {
		t.Fatal(err)
	}
	counts, err := gone.db.Offer(quickly(t), state.VV{})
	if err != nil {
		t.Fatal(err)
	}
	first.stop()
	gone.write("/later", "after")
	gone.settle()
	if _, err := gone.db.Checkpoint(quickly(t)); err != nil {
		t.Fatal(err)
	}
	offer, err := gone.db.Offer(quickly(t), before)
	if err != nil {
		t.Fatal(err)
	}
	first = openPodOffline(t, first.dir)
	if err := first.Revoke(quickly(t), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.db.Join(quickly(t), offer); !errors.Is(err, state.ErrRefused) {
		t.Errorf("its tree: %v", err)
	}
	if _, err := first.db.Join(quickly(t), counts); !errors.Is(err, state.ErrRefused) {
		t.Errorf("its tree of before: %v", err)
	}
	if _, err := first.checkHead(gone.id, offer.Head); !errors.Is(err, member.ErrDenied) {
		t.Errorf("its head in the dht: %v", err)
	}
	first.reads("/mine", "before")
	first.lacks("/later")
}

// TestRevokedAdminSigns: certificates that an admin's pod signed before it was revoked stay good, later ones don't, nor do settings that it signs. If it fails, who stole an admin's key lets others in.
func TestRevokedAdminSigns(t *testing.T) {
	first := firstPod(t)
	admin := joinAs(t, first, "boss", "admin")
	kept := joinPod(t, admin, "kept")
	first.write("/f", "x")
	kept.reads("/f", "x")
	eventually(t, "first knows whom the admin let in", func() error {
		_, err := first.podNamed("kept")
		return err
	})
	by, err := admin.authority()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Revoke(quickly(t), "boss"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the admin is out", func() error {
		if first.net.Connected(admin.id) {
			return errors.New("connected")
		}
		return nil
	})
	key := userKey(77)
	chain, err := member.Issue(by.key, by.chain, member.Cert{Subject: public(key), Kind: member.KindPod, Name: "friend", Role: member.RoleWriter, Member: by.chain.Leaf().RangeHi})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.admit(ident.PodOf(public(key)), chain.Encode()); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a pod that was let in later: %v", err)
	}
	if err := first.admit(kept.id, kept.own.chain.Encode()); err != nil {
		t.Errorf("a pod that was let in before: %v", err)
	}
	s := first.reg.defaults()
	s.Version = uint64(state.NextHLC(state.HLC(s.Version), time.Now().Add(time.Hour)))
	if s, err = s.Sign(by.chain, by.sign); err != nil {
		t.Fatal(err)
	}
	if _, err := first.reg.add(member.EncodeStatement(member.KindNetwork, s.Encode())); !errors.Is(err, member.ErrDenied) {
		t.Errorf("settings that it signed later: %v", err)
	}
	// The first pod's admin key, which is a member of its own: another admin ends it, and whom it let in stays.
	second := joinAs(t, first, "second", "admin")
	second.reads("/f", "x")
	if err := second.Revoke(quickly(t), by.chain[0].Name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first pod admits nobody", func() error {
		if _, err := first.Invite(quickly(t), "writer", time.Hour, 1); !errors.Is(err, member.ErrDenied) {
			return fmt.Errorf("invites: %w", err)
		}
		return nil
	})
	if _, err := second.Invite(quickly(t), "writer", time.Hour, 1); err != nil {
		t.Error(err)
	}
	kept.write("/g", "goes on")
	first.reads("/g", "goes on")
	sameRoot(t, first, kept)
}

// Every role may do what the table says, and gets an error that names what it lacks where it may not.
func TestRoleTable(t *testing.T) {
	first := firstPod(t)
	first.write("/f", "x")
	rows := []struct {
		what string
		do   func(ctx context.Context, p *testPod) error
		may  map[string]bool
		err  error
	}{
		{"read", func(ctx context.Context, p *testPod) error { _, err := p.read("/f"); return err }, map[string]bool{"admin": true, "writer": true, "reader": true, "storage": true}, nil},
		{"write", func(ctx context.Context, p *testPod) error { return writeFS(ctx, p.fs, "/by "+p.nameOf(p.dir), "y") }, map[string]bool{"admin": true, "writer": true}, vfs.ErrReadOnly},
		{"snapshot", func(ctx context.Context, p *testPod) error {
			_, err := p.CreateSnapshot(ctx, "by-"+p.nameOf(p.dir))
			return err
		}, map[string]bool{"admin": true, "writer": true}, vfs.ErrReadOnly},
		{"invite", func(ctx context.Context, p *testPod) error {
			_, err := p.Invite(ctx, "reader", time.Hour, 1)
			return err
		}, map[string]bool{"admin": true}, member.ErrDenied},
		{"add a person", func(ctx context.Context, p *testPod) error {
			return p.AddUser(ctx, public(userKey(p.id[0])), "by-"+p.nameOf(p.dir), "reader")
		}, map[string]bool{"admin": true}, member.ErrDenied},
		{"set a rule", func(ctx context.Context, p *testPod) error { return p.SetRule(ctx, "trash", "48h0m0s") }, map[string]bool{"admin": true}, member.ErrDenied},
		{"give a role", func(ctx context.Context, p *testPod) error { return p.SetRole(ctx, "other", "storage") }, map[string]bool{"admin": true}, member.ErrDenied},
		{"revoke", func(ctx context.Context, p *testPod) error { return p.Revoke(ctx, "other") }, map[string]bool{"admin": true}, member.ErrDenied},
	}
	for _, role := range []string{"storage", "reader", "writer", "admin"} {
		p := joinAs(t, first, role, role)
		if role == "storage" {
			joinAs(t, first, "other", "reader").stop()
		}
		p.reads("/f", "x")
		eventually(t, "the other is known", func() error { _, err := p.podNamed("other"); return err })
		for _, row := range rows {
			err := row.do(quickly(t), p)
			if row.may[role] && err != nil || !row.may[role] && !errors.Is(err, row.err) {
				t.Errorf("%s: %s: %v", role, row.what, err)
			}
		}
	}
}
