package pod

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/seal"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// newKeys is newRoles on an encrypted network.
func newKeys(t *testing.T, roles ...string) *copyable {
	t.Helper()
	pods := []*testPod{openPod(t, createEncrypted(t))}
	for i, role := range roles {
		pods = append(pods, joinAs(t, pods[0], role+string(rune('a'+i)), role))
	}
	c := &copyable{t: t}
	for _, p := range pods {
		eventually(t, "all know all", func() error {
			if len(p.Members()) != len(pods) {
				return errors.New("not yet")
			}
			return nil
		})
	}
	for _, p := range pods {
		p.stop()
		c.dirs, c.disk = append(c.dirs, p.dir), append(c.disk, diskOf(t, p.dir))
	}
	return c
}

// sealedUnder names the key of the first chunk of a file, by the sealed bytes.
func (p *testPod) sealedUnder(path string) uint32 {
	p.t.Helper()
	ctx := quickly(p.t)
	p.settle()
	a, err := vfs.Resolve(ctx, p.fs, path)
	if err != nil {
		p.t.Fatal(err)
	}
	n, err := p.db.Get(a.ID)
	if err != nil {
		p.t.Fatal(err)
	}
	var short uint32
	err = p.contentBlocks(ctx, n, func(w wanted) error {
		if w.id.Codec() != block.Raw || short != 0 {
			return nil
		}
		stored, err := p.store.Get(ctx, w.id)
		if errors.Is(err, block.ErrNotFound) {
			stored, err = p.askHolders(ctx, w.id)
		}
		if err != nil {
			return err
		}
		h, err := block.ParseSealedHeader(stored)
		short = h.KeyID
		return err
	})
	if err != nil || short == 0 {
		p.t.Fatalf("%s: no sealed chunk, %v", path, err)
	}
	return short
}

// agree waits until pods seal under one key, which it returns.
func agree(t *testing.T, not seal.ID, pods ...*testPod) (id seal.ID) {
	t.Helper()
	eventually(t, "one new key", func() error {
		for i, p := range pods {
			s := p.seal.Load()
			switch {
			case s.usable() != nil:
				return s.usable()
			case s.key.ID() == not:
				return errors.New("it is the old one")
			case i > 0 && s.key.ID() != id:
				return errors.New("they differ")
			}
			id = s.key.ID()
		}
		return nil
	})
	return id
}

// rekeyed says whether an event tells that the data key was changed.
func (p *testPod) rekeyed() (found bool) {
	p.t.Helper()
	if err := p.Events(quickly(p.t), time.Time{}, false, func(e Event) error {
		found = found || e.Kind == EventRekeyed
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return found
}

// TestRevokedCantReadNew: a pod is shut out, and gets hold of all that the others store afterwards. It opens what it could read before, and nothing of what is new; the others read both, after a
// start too, and so does who comes later. If it fails, a stolen machine reads what is written after it was revoked.
func TestRevokedCantReadNew(t *testing.T) {
	first := openPod(t, createEncrypted(t))
	second, thief := joinPod(t, first, "second"), joinPod(t, first, "thief")
	old, fresh := noise(21, 3<<20), noise(22, 3<<20)
	first.put("/old", old)
	second.reads("/old", string(old))
	thief.reads("/old", string(old))
	before := first.seal.Load().key.ID()
	if err := first.Revoke(quickly(t), "thief"); err != nil {
		t.Fatal(err)
	}
	if now := first.seal.Load().key.ID(); now == before {
		t.Fatal("the data key was not changed when the revocation returned")
	}
	after := agree(t, before, first, second)
	first.put("/fresh", fresh)
	first.write("/edited", string(fresh[:100_000]))
	second.write("/by second", string(fresh[100_000:200_000]))
	second.reads("/fresh", string(fresh))
	first.reads("/by second", string(fresh[100_000:200_000]))
	first.reads("/old", string(old))
	for path, want := range map[string]seal.ID{"/old": before, "/fresh": after, "/edited": after, "/by second": after} {
		if got := first.sealedUnder(path); got != want.Short() {
			t.Errorf("%s is sealed under %08x, not %08x", path, got, want.Short())
		}
	}
	// The thief has every block, every statement, and its own key.
	statements, err := first.allStatements(first.id)
	if err != nil {
		t.Fatal(err)
	}
	if err := thief.learnAll(quickly(t), statements, first.id); err != nil {
		t.Fatal(err)
	}
	olds, news := 0, 0
	err = first.store.Each(quickly(t), func(id block.ID, _ int64, _ bool) error {
		if id.Codec() != block.Raw {
			return nil
		}
		stored, err := first.store.Get(quickly(t), id)
		if err != nil {
			return err
		}
		h, err := block.ParseSealedHeader(stored)
		if err != nil {
			return err
		}
		switch _, err := thief.seal.Load().open(id, stored); {
		case h.KeyID == before.Short() && err != nil:
			t.Errorf("what was sealed before can't be opened any more: %v", err)
		case h.KeyID == before.Short():
			olds++
		case !errors.Is(err, ErrNoKey):
			t.Errorf("a new chunk is opened by who was shut out: %v", err)
		default:
			news++
		}
		return nil
	})
	if err != nil || olds == 0 || news == 0 {
		t.Fatalf("%d old chunks, %d new ones, %v", olds, news, err)
	}
	if thief.seal.Load().usable() == nil {
		t.Error("who was shut out has a key for new chunks")
	}
	for _, p := range []*testPod{first, second} {
		if !p.rekeyed() {
			t.Error("no event says so")
		}
		p.stop()
	}
	first, second = openPod(t, first.dir), openPod(t, second.dir)
	stranger := second.own.chain.Leaf()
	stranger.Subject = bytes.Repeat([]byte{7}, ed25519.PublicKeySize)
	if keys, err := first.keysFor(stranger); err != nil || len(keys) != 2 {
		t.Errorf("a newcomer gets %d keys when it joins, not both; %v", len(keys), err)
	}
	third := joinPod(t, first, "third")
	for _, p := range []*testPod{first, second, third} {
		p.reads("/old", string(old))
		p.reads("/fresh", string(fresh))
		if got := p.seal.Load(); got.usable() != nil || got.key.ID() != after || len(got.keys) != 2 {
			t.Errorf("after a start: %v, %d keys", got.usable(), len(got.keys))
		}
		p.clean()
	}
	log := second.MemberLog()
	if !slices.ContainsFunc(log, func(e MemberEvent) bool { return e.What == MemberRekeyed && e.By != "" && !e.At.IsZero() }) {
		t.Errorf("the history of members is %v", log)
	}
}

// TestRekeyIsLearned: equal bytes that are stored under two keys have one sum, so that they are no conflict, and the key is in the pod's file, which is made again when it is lost.
func TestRekeyIsLearned(t *testing.T) {
	p := openPodOffline(t, createEncrypted(t))
	data := noise(23, 2<<20)
	p.put("/one", data)
	if err := p.Rekey(quickly(t)); err != nil {
		t.Fatal(err)
	}
	p.put("/two", data)
	if p.sealedUnder("/one") == p.sealedUnder("/two") {
		t.Error("both are sealed under one key")
	}
	sum := func(path string) [32]byte {
		a, err := vfs.Resolve(quickly(t), p.fs, path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := p.db.Get(a.ID)
		if err != nil {
			t.Fatal(err)
		}
		body, err := decodeBody(n.Body)
		if err != nil {
			t.Fatal(err)
		}
		return body.Sum
	}
	if one, two := sum("/one"), sum("/two"); one != two || one == [32]byte{} {
		t.Errorf("sums %x, %x", one, two)
	}
	path := filepath.Join(p.dir, fileDataKey)
	good, err := os.ReadFile(path)
	if err != nil || bytes.Count(good, []byte("BEGIN "+dataKeyPEM)) != 2 {
		t.Fatalf("%d keys in the file, %v", bytes.Count(good, []byte("BEGIN ")), err)
	}
	p.stop()
	for name, spoil := range map[string]func() error{
		"gone":              func() error { return os.Remove(path) },
		"without the first": func() error { return os.WriteFile(path, good[len(good)/2:], 0o600) },
		"cut":               func() error { return os.WriteFile(path, good[:len(good)-20], 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		p = openPodOffline(t, p.dir)
		p.reads("/one", string(data))
		p.reads("/two", string(data))
		p.stop()
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, good) {
			t.Errorf("%s: the file is not made again: %v", name, err)
		}
	}
}

// TestRekeyApart: two admins shut out different pods apart from each other, so each changes the key, and neither knows of the other's revocation. When they meet all seal under one key that neither of those
// who were shut out has, and read what was written under both. If it fails, pods go on under two keys, or under one that a revoked pod has.
func TestRekeyApart(t *testing.T) {
	const first, boss, goneA, goneB, writer = 0, 1, 2, 3, 4
	c := newKeys(t, "admin", "writer", "writer", "writer")
	run := c.run
	var a, b seal.ID
	dataA, dataB := noise(31, 300_000), noise(32, 300_000)
	run([]int{first}, func(pods map[int]*testPod) {
		if err := pods[first].Revoke(quickly(t), pods[first].nameOf(c.dirs[goneA])); err != nil {
			t.Fatal(err)
		}
		pods[first].write("/a", string(dataA))
		a = pods[first].seal.Load().key.ID()
	})
	run([]int{boss, writer}, func(pods map[int]*testPod) {
		if err := pods[boss].Revoke(quickly(t), pods[boss].nameOf(c.dirs[goneB])); err != nil {
			t.Fatal(err)
		}
		b = agree(t, seal.ID{}, pods[boss], pods[writer])
		pods[writer].write("/b", string(dataB))
		pods[boss].reads("/b", string(dataB))
	})
	if a == b {
		t.Fatal("both came to one key")
	}
	run([]int{first, boss, writer}, func(pods map[int]*testPod) {
		three := []*testPod{pods[first], pods[boss], pods[writer]}
		eventually(t, "a key that none of the two has", func() error {
			for _, p := range three {
				if out := p.reg.outgrown(); len(out) > 0 || len(p.Members()) == 0 {
					return errors.New("one who was shut out has the key of now")
				}
				if !p.reg.isRevoked(ident.PodOf(public(c.key(goneA)))) || !p.reg.isRevoked(ident.PodOf(public(c.key(goneB)))) {
					return errors.New("not all have heard of both")
				}
			}
			return nil
		})
		now := agree(t, a, three...)
		if now == b {
			t.Error("the key is one that was made without knowing of a revocation")
		}
		for _, p := range three {
			p.reads("/a", string(dataA))
			p.reads("/b", string(dataB))
		}
		pods[writer].write("/c", string(dataA))
		if got := pods[writer].sealedUnder("/c"); got != now.Short() {
			t.Errorf("sealed under %08x, not %08x", got, now.Short())
		}
		sameRoot(t, three...)
	})
}

// key is the private key of a pod.
func (c *copyable) key(i int) ed25519.PrivateKey {
	c.t.Helper()
	key, err := readKey(folder{dir: c.dirs[i]}, fileKey)
	if err != nil {
		c.t.Fatal(err)
	}
	return key
}

// foreignRekey is a change of the data key as an admin's pod makes it that knows of nobody else: the key, how to seal it to a pod, and the statement.
func (p *testPod) foreignRekey() (key *seal.Key, sealTo func(ident.Pod) []byte, change []byte) {
	p.t.Helper()
	by, err := p.authority()
	if err != nil {
		p.t.Fatal(err)
	}
	if key, err = p.freshKey(); err != nil {
		p.t.Fatal(err)
	}
	k, err := member.Rekey{Network: p.reg.network, KeyID: key.ID(), Version: uint64(state.NextHLC(0, p.clock.Now()))}.Sign(by.chain, by.sign)
	if err != nil {
		p.t.Fatal(err)
	}
	return key, func(to ident.Pod) []byte {
		sealed, err := sealedKeyFor(p.reg.network, to, key, by)
		if err != nil {
			p.t.Fatal(err)
		}
		return sealed
	}, member.EncodeStatement(member.KindRekey, k.Encode())
}

// TestRekeyAwaited: a pod hears that the key was changed, and has not got the new one. It reads what was there, changes nothing and says why; what was written before is not stored under the old key, and not lost
// either. If it fails, a pod writes what those who were shut out can read, waits for ever, or drops what a program wrote.
func TestRekeyAwaited(t *testing.T) {
	first := openPod(t, createEncrypted(t))
	second := joinPod(t, first, "second")
	data := noise(41, 300_000)
	first.write("/old", string(data))
	second.reads("/old", string(data))
	first.stop()
	second.stop()
	key, sealTo, change := first.foreignRekey()
	second = openPodOffline(t, second.dir)
	begun, err := second.fs.Create(quickly(t), vfs.RootID, "begun", vfs.NewNode{Kind: vfs.KindFile, Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	open, err := second.fs.Open(quickly(t), begun.ID)
	if err == nil {
		_, err = open.WriteAt(quickly(t), data, 0)
	}
	if err == nil {
		err = second.learn(quickly(t), change, first.id)
	}
	if err != nil {
		t.Fatal(err)
	}
	second.reads("/old", string(data))
	if err := writeFS(quickly(t), second.fs, "/new", "text"); !errors.Is(err, ErrNoKey) {
		t.Errorf("write: %v", err)
	}
	if _, _, err := second.putChunk(quickly(t), data, making{}); !errors.Is(err, ErrNoKey) {
		t.Errorf("put a chunk: %v", err)
	}
	if st, err := second.Status(quickly(t)); err != nil || !slices.ContainsFunc(st.Warnings, func(w health.Warning) bool { return w.Code == "key_awaited" }) {
		t.Errorf("status: %+v, %v", st.Warnings, err)
	}
	if err := open.Flush(quickly(t)); !errors.Is(err, ErrNoKey) {
		t.Errorf("flush: %v", err)
	}
	err = second.learn(quickly(t), sealTo(second.id), first.id)
	if err = errors.Join(err, open.Flush(quickly(t)), open.Close(quickly(t))); err != nil {
		t.Fatalf("with the key: %v", err)
	}
	if w := second.found(health.CodeKeyAwaited); w != "" {
		t.Errorf("with the key it is still said: %s", w)
	}
	second.reads("/begun", string(data))
	if got := second.sealedUnder("/begun"); got != key.ID().Short() {
		t.Errorf("what was written before the change is sealed under %08x", got)
	}
}

// TestRekeyGiven: an admin's pod that changed the key did not know of a pod; when they meet it gives that one the key by itself. If it fails, that pod never writes again.
func TestRekeyGiven(t *testing.T) {
	first := openPod(t, createEncrypted(t))
	second := joinPod(t, first, "second")
	data := noise(42, 300_000)
	first.write("/old", string(data))
	second.reads("/old", string(data))
	before := first.seal.Load().key.ID()
	key, sealTo, change := first.foreignRekey()
	for _, s := range [][]byte{sealTo(first.id), change} {
		if err := first.learn(quickly(t), s, first.id); err != nil {
			t.Fatal(err)
		}
	}
	if now := agree(t, before, first, second); now != key.ID() {
		t.Error("another key was made although this one could be given")
	}
	second.write("/new", string(data))
	if got := second.sealedUnder("/new"); got != key.ID().Short() {
		t.Errorf("sealed under %08x", got)
	}
	first.reads("/new", string(data))
}

// TestRekeyByRole: who may not read any more gets no new key; a reader that becomes one has all keys at once, without a new start.
func TestRekeyByRole(t *testing.T) {
	first := openPod(t, createEncrypted(t))
	second, vault := joinPod(t, first, "second"), joinAs(t, first, "vault", "storage")
	data := noise(51, 300_000)
	first.write("/old", string(data))
	before := first.seal.Load().key.ID()
	if err := first.Revoke(quickly(t), "vault"); err != nil || first.seal.Load().key.ID() != before {
		t.Errorf("the key was changed for one who never had it: %v", err)
	}
	vault.stop()
	if err := first.SetRole(quickly(t), "second", "storage"); err != nil {
		t.Fatal(err)
	}
	if first.seal.Load().key.ID() == before {
		t.Error("the key was not changed for one who may not read any more")
	}
	first.write("/new", string(data[:200_000]))
	eventually(t, "second can't read what is new", func() error {
		_, err := second.FS().GetAttr(quickly(t), vfs.RootID)
		if !errors.Is(err, ErrNoKey) {
			return errors.Join(errors.New("it can"), err)
		}
		return nil
	})
	if err := first.SetRole(quickly(t), "second", "reader"); err != nil {
		t.Fatal(err)
	}
	second.reads("/new", string(data[:200_000]))
	second.reads("/old", string(data))
}

// TestRekeyRefused: only an admin whose right has not ended changes the key. If it fails, who stole an admin's key has the network seal under a key that it has.
func TestRekeyRefused(t *testing.T) {
	first := openPod(t, createEncrypted(t))
	second, boss := joinPod(t, first, "second"), joinAs(t, first, "boss", "admin")
	if err := second.Rekey(quickly(t)); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a writer changes the key: %v", err)
	}
	if err := firstPod(t).Rekey(quickly(t)); !errors.Is(err, member.ErrDenied) {
		t.Errorf("on a network with no key: %v", err)
	}
	by, err := boss.authority()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Revoke(quickly(t), "boss"); err != nil {
		t.Fatal(err)
	}
	before := first.reg.currentKey()
	key, err := newSecret()
	if err != nil {
		t.Fatal(err)
	}
	k, err := member.Rekey{Network: first.reg.network, KeyID: key.ID(), Version: uint64(state.NextHLC(0, time.Now().Add(time.Hour)))}.Sign(by.chain, by.sign)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.learn(quickly(t), member.EncodeStatement(member.KindRekey, k.Encode()), first.id); err != nil {
		t.Fatal(err)
	}
	if first.reg.currentKey() != before || first.seal.Load().usable() != nil {
		t.Error("a key counts by which an admin goes on that was revoked")
	}
	// The other way about: it comes before the revocation is known, and its version says that it was signed later.
	reg := newRegistry(first.reg.network)
	list, err := first.currentStatements()
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(list)
	for _, s := range list {
		if _, err := reg.add(s); err != nil {
			t.Fatal(err)
		}
	}
	if reg.currentKey() != before {
		t.Error("which key counts depends on the order of the statements")
	}
}

// TestKeysOfOneName: two keys whose names begin alike, as two admins apart may make them, both open what they sealed.
func TestKeysOfOneName(t *testing.T) {
	seen := map[uint32]*seal.Key{}
	var one, two *seal.Key
	for i := uint32(1); two == nil; i++ {
		k := seal.New([seal.SecretLen]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)})
		if old := seen[k.ID().Short()]; old != nil {
			one, two = old, k
		}
		seen[k.ID().Short()] = k
	}
	s := &sealing{on: true, key: two, keys: []*seal.Key{one, two}}
	for _, k := range []*seal.Key{one, two} {
		stored, _, err := k.Seal(nil, []byte("some text"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.open(block.Sum(block.Raw, stored), stored)
		if err != nil || string(got) != "some text" {
			t.Errorf("%q, %v", got, err)
		}
	}
}
