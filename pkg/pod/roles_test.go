package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
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

// run has some of the pods run and meet while do acts, and stops them.
func (c *copyable) run(with []int, do func(pods map[int]*testPod)) {
	c.t.Helper()
	net, pods := newMemNet(), map[int]*testPod{}
	for _, i := range with {
		pods[i] = c.start(net, i, c.disk[i])
	}
	do(pods)
	for _, p := range pods {
		p.stop()
	}
}

// TestRevokedInAnyOrder: of what a pod did before it was revoked the admin has some, a writer more, a reader more than that, and nobody the rest. A commit of the writer rests on it. The
// admin restarts, then all meet, the revoked pod too, as if it had got a connection. If it fails, pods differ for ever after a revocation, or lose what others did.
func TestRevokedInAnyOrder(t *testing.T) {
	const first, writer, gone, reader, late = 0, 1, 2, 3, 4
	c := newRoles(t, "writer", "writer", "reader", "writer")
	run := c.run
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
	chain, err := readChain(folder{dir: dir}, fileCerts)
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
	statements, err := first.allStatements(first.id)
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
	p.noWriter.Store(false)
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

// TestRoleTable: each role does each operation on its own pod, by the program as it is: what the table of docs/threat-model.md allows succeeds, and the rest is refused with the privilege that is missing in the error. What
// a changed program does is TestPatchedReader's and TestPatchedStatements'.
func TestRoleTable(t *testing.T) {
	first := firstPod(t)
	first.write("/f", "x")
	first.write("/dir file", "x")
	const readers, writers, admins = "reader storage writer admin", "writer admin", "admin"
	who := func(p *testPod) string { return p.nameOf(p.dir) }
	id := func(ctx context.Context, p *testPod) vfs.NodeID {
		a, err := vfs.Resolve(ctx, p.fs, "/f")
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	rows := []struct {
		what string
		do   func(ctx context.Context, p *testPod) error
		may  string
		err  error
		word string // that the error of a refusal has, besides that of the kind
	}{
		{"read", func(_ context.Context, p *testPod) error { _, err := p.read("/f"); return err }, readers, nil, ""},
		{"list", func(ctx context.Context, p *testPod) error { _, err := vfs.Resolve(ctx, p.fs, "/f"); return err }, readers, nil, ""},
		{"status", func(ctx context.Context, p *testPod) error { _, err := p.Status(ctx); return err }, readers, nil, ""},
		{"where", func(ctx context.Context, p *testPod) error { _, err := p.Where(ctx, id(ctx, p)); return err }, readers, nil, ""},
		{"history of members", func(_ context.Context, p *testPod) error { p.MemberLog(); return nil }, readers, nil, ""},
		{"scrub", func(ctx context.Context, p *testPod) error { _, err := p.Scrub(ctx, func(Problem) {}); return err }, readers, nil, ""},
		{"fsck", func(ctx context.Context, p *testPod) error { return p.Fsck(ctx, true, func(Problem) {}) }, readers, nil, ""},
		{"repair", func(ctx context.Context, p *testPod) error { return p.RepairNow(ctx) }, readers, nil, ""},
		{"own share", func(ctx context.Context, p *testPod) error { return p.SetShare(ctx, *p.share.Load()) }, readers, nil, ""},
		{"clean the cache", func(ctx context.Context, p *testPod) error { _, err := p.CleanCache(ctx); return err }, readers, nil, ""},

		{"write", func(ctx context.Context, p *testPod) error { return writeFS(ctx, p.fs, "/by "+who(p), "y") }, writers, vfs.ErrReadOnly, "role"},
		{"edit", func(ctx context.Context, p *testPod) error { return writeFS(ctx, p.fs, "/f", "edited by "+who(p)) }, writers, vfs.ErrReadOnly, "role"},
		{"import", func(ctx context.Context, p *testPod) error {
			_, err := p.PutFile(ctx, vfs.RootID, "put "+who(p), FileMeta{Mode: 0o644}, 1, strings.NewReader("x"))
			return err
		}, writers, vfs.ErrReadOnly, "role"},
		{"import many", func(ctx context.Context, p *testPod) error {
			got, err := p.PutFiles(ctx, []SmallFile{{Parent: vfs.RootID, Name: "small " + who(p), Meta: FileMeta{Mode: 0o644}, Data: []byte("x")}})
			for _, r := range got {
				err = errors.Join(err, r.Err)
			}
			return err
		}, writers, vfs.ErrReadOnly, "role"},
		{"copy", func(ctx context.Context, p *testPod) error {
			_, err := p.CopyFile(ctx, id(ctx, p), vfs.RootID, "copy "+who(p), FileMeta{Mode: 0o644})
			return err
		}, writers, vfs.ErrReadOnly, "role"},
		{"make a folder", func(ctx context.Context, p *testPod) error {
			_, err := p.fs.Create(ctx, vfs.RootID, "folder "+who(p), vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
			return err
		}, writers, vfs.ErrReadOnly, "role"},
		{"chmod", func(ctx context.Context, p *testPod) error {
			mode := uint32(0o600)
			_, err := p.fs.SetAttr(ctx, id(ctx, p), vfs.SetAttr{Mode: &mode})
			return err
		}, writers, vfs.ErrReadOnly, "role"},
		{"set an attribute", func(ctx context.Context, p *testPod) error {
			return p.fs.SetXattr(ctx, id(ctx, p), "user.by", []byte(who(p)), 0)
		}, writers, vfs.ErrReadOnly, "role"},
		{"rename", func(ctx context.Context, p *testPod) error {
			return errors.Join(p.fs.Rename(ctx, vfs.RootID, "dir file", vfs.RootID, "moved", 0), p.fs.Rename(ctx, vfs.RootID, "moved", vfs.RootID, "dir file", 0))
		}, writers, vfs.ErrReadOnly, "role"},
		{"remove", func(ctx context.Context, p *testPod) error {
			if p.mayWrite() {
				return errors.Join(writeFS(ctx, p.fs, "/gone", "x"), p.fs.Remove(ctx, vfs.RootID, "gone", false))
			}
			return p.fs.Remove(ctx, vfs.RootID, "f", false)
		}, writers, vfs.ErrReadOnly, "role"},
		{"set a policy", func(ctx context.Context, p *testPod) error { return p.SetPolicy(ctx, id(ctx, p), "replica:2", "") }, writers, vfs.ErrReadOnly, "role"},
		{"set a home", func(ctx context.Context, p *testPod) error { return p.SetHomes(ctx, id(ctx, p), []string{"first"}) }, writers, vfs.ErrReadOnly, "role"},
		{"pin", func(ctx context.Context, p *testPod) error { return p.SetPin(ctx, id(ctx, p), "first", true) }, writers, vfs.ErrReadOnly, "role"},
		{"make a snapshot", func(ctx context.Context, p *testPod) error { _, err := p.CreateSnapshot(ctx, "by-"+who(p)); return err }, writers, vfs.ErrReadOnly, "role"},
		{"remove a snapshot", func(ctx context.Context, p *testPod) error {
			if p.mayWrite() {
				return p.RemoveSnapshot(ctx, "by-"+who(p))
			}
			return p.RemoveSnapshot(ctx, "of first")
		}, writers, vfs.ErrReadOnly, "role"},

		{"invite", func(ctx context.Context, p *testPod) error {
			_, err := p.Invite(ctx, "reader", time.Hour, 1)
			return err
		}, admins, member.ErrDenied, "role"},
		{"add a person", func(ctx context.Context, p *testPod) error {
			return p.AddUser(ctx, public(userKey(p.id[0])), "by-"+who(p), "reader")
		}, admins, member.ErrDenied, "role"},
		{"set a rule", func(ctx context.Context, p *testPod) error { return p.SetRule(ctx, "trash", "48h0m0s") }, admins, member.ErrDenied, "role"},
		{"renew", func(ctx context.Context, p *testPod) error { return p.Renew(ctx, "other") }, admins, member.ErrDenied, "role"},
		{"give a role", func(ctx context.Context, p *testPod) error { return p.SetRole(ctx, "other", "storage") }, admins, member.ErrDenied, "role"},
		{"say that a pod is lost", func(ctx context.Context, p *testPod) error {
			_, err := p.RemoveLost(ctx, "other")
			if errors.Is(err, ErrNotSafe) {
				return nil // it may, and the pod was there a moment ago
			}
			return err
		}, admins, member.ErrDenied, "role"},
		{"revoke", func(ctx context.Context, p *testPod) error { return p.Revoke(ctx, "other") }, admins, member.ErrDenied, "role"},
		{"change the key", func(ctx context.Context, p *testPod) error {
			p.rekeying.Lock()
			defer p.rekeying.Unlock()
			return p.rekeyLocked(ctx)
		}, admins, member.ErrDenied, "role"},
	}
	if _, err := first.CreateSnapshot(quickly(t), "of first"); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"storage", "reader", "writer", "admin"} {
		p := joinAs(t, first, role, role)
		if role == "storage" {
			joinAs(t, first, "other", "reader").stop()
		}
		p.reads("/dir file", "x")
		eventually(t, "the other and the snapshot are known", func() error {
			_, err := p.podNamed("other")
			if list, serr := p.Snapshots(quickly(t)); serr != nil || len(list) == 0 {
				err = errors.Join(err, serr, errors.New("no snapshot"))
			}
			return err
		})
		for _, row := range rows {
			err := row.do(quickly(t), p)
			switch may := slices.Contains(strings.Fields(row.may), role); {
			case may && err != nil:
				t.Errorf("%s: %s: %v", role, row.what, err)
			case !may && (!errors.Is(err, row.err) || !strings.Contains(err.Error(), row.word+" "+role)):
				t.Errorf("%s: %s: got %v, want %v that names the %s %s", role, row.what, err, row.err, row.word, role)
			}
		}
	}
}

// TestPatchedStatements: pods of each role that is no admin's sign, with a changed program, what only admins may sign: every other pod refuses each, and the error names the role. If it fails, a member makes itself an
// admin.
func TestPatchedStatements(t *testing.T) {
	first := openPod(t, createEncrypted(t))
	second := joinPod(t, first, "second")
	for _, role := range []string{"storage", "reader", "writer"} {
		bad := joinAs(t, first, role, role)
		eventually(t, "all know it", func() error { _, err := second.podNamed(role); return err })
		net, own := first.reg.network, bad.own
		last := uint64(state.NextHLC(0, time.Now().Add(time.Minute)))
		settings := first.reg.defaults()
		settings.Version = last
		settings, _ = settings.Sign(own.chain, own.sign)
		rekey, _ := member.Rekey{Network: net, KeyID: [member.KeyIDLen]byte{1}, Version: last}.Sign(own.chain, own.sign)
		key, err := member.SealKey(net, bad.id, first.reg.currentKey(), [32]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		key, _ = key.Sign(own.chain, own.sign)
		revoke, _ := member.Revoke{Network: net, Subject: first.id, Version: last, By: bad.id, Admin: own.chain}.Sign(own.sign)
		upwards, _ := member.Revoke{Network: net, Subject: bad.id, Role: member.RoleWriter, Version: last, By: bad.id, Admin: own.chain}.Sign(own.sign)
		lost, _ := member.Out{Network: net, Subject: second.id, Version: last, By: bad.id, Admin: own.chain}.Sign(own.sign)
		friend := member.Cert{Network: net, Subject: public(userKey(66)), Kind: member.KindPod, Name: "friend", Role: member.RoleReader, Member: 70_000, Issuer: public(own.key)}
		forged, err := member.Issue(own.key, own.chain, friend)
		if err == nil {
			t.Errorf("a %s's key issues %v", role, forged)
		}
		entry := placement.Entry{Network: net, Pod: second.id, Weight: 0, Version: last}
		for name, s := range map[string][]byte{
			"settings":                member.EncodeStatement(member.KindNetwork, settings.Encode()),
			"a change of the key":     member.EncodeStatement(member.KindRekey, rekey.Encode()),
			"a key for itself":        member.EncodeStatement(member.KindKey, key.Encode()),
			"a revocation":            member.EncodeStatement(member.KindRevoke, revoke.Encode()),
			"a role for itself":       member.EncodeStatement(member.KindRevoke, upwards.Encode()),
			"that a pod is lost":      member.EncodeStatement(member.KindOut, lost.Encode()),
			"another's layout entry ": member.EncodeStatement(member.KindLayout, entry.Encode(own.sign)),
		} {
			for _, p := range []*testPod{first, second} {
				err := p.learn(quickly(t), s, bad.id)
				named := err != nil && strings.Contains(err.Error(), role)
				if kind, _, _ := member.DecodeStatement(s); kind == member.KindLayout {
					named = err != nil // it is signed by another key than it is about, whatever that one's role is
				}
				if !named {
					t.Errorf("%s: %s: %v", role, name, err)
				}
			}
		}
		if got := second.reg.role(bad.id).String(); got != role || second.reg.isRevoked(first.id) {
			t.Errorf("%s: it has the role %s now", role, got)
		}
	}
	second.clean()
}
