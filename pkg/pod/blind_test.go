package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// planted is a corpus with something to look for in each place where a file can have it.
var planted = map[string]string{
	"a name":               "planted-name-7c3a",
	"a folder's name":      "planted-folder-22d0",
	"small contents":       "planted small contents: 4f1d",
	"contents":             "planted contents of many bytes: 9b2e",
	"a small write":        "planted write into a file: 8a41",
	"an attribute's name":  "user.planted-attribute-03ee",
	"an attribute's value": "planted attribute value: 51ce",
	"a link's target":      "planted-target-e0b7",
	"a snapshot's name":    "planted-snapshot-6d15",
	"a removed name":       "planted-removed-1f90",
	"a policy's path":      "planted-policy-5c02",
}

// plant makes the corpus.
func plant(t *testing.T, p *testPod) {
	t.Helper()
	ctx := quickly(t)
	folder, err := p.fs.Create(ctx, vfs.RootID, planted["a folder's name"], vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	in := "/" + planted["a folder's name"] + "/"
	p.write(in+planted["a name"], strings.Repeat(planted["contents"]+"; ", 20_000))
	p.write(in+"short", planted["small contents"])
	p.write(in+planted["a removed name"], "gone")
	p.put(in+"put", append(noise(8, 3<<20), planted["contents"]...))
	f, err := vfs.Resolve(ctx, p.fs, in+planted["a name"])
	if err == nil {
		err = p.fs.SetXattr(ctx, f.ID, planted["an attribute's name"], []byte(planted["an attribute's value"]), 0)
	}
	if err == nil {
		_, err = p.fs.Create(ctx, folder.ID, "link", vfs.NewNode{Kind: vfs.KindSymlink, Mode: 0o777, Target: planted["a link's target"]})
	}
	if err == nil {
		err = p.fs.Remove(ctx, folder.ID, planted["a removed name"], false)
	}
	if err == nil {
		err = writeInto(ctx, p.fs, f.ID, planted["a small write"])
	}
	policy, policyErr := p.fs.Create(ctx, vfs.RootID, planted["a policy's path"], vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
	if err = errors.Join(err, policyErr); err == nil {
		err = p.SetPolicy(ctx, policy.ID, "replica:3", "")
	}
	p.settle()
	if err == nil {
		_, err = p.CreateSnapshot(ctx, planted["a snapshot's name"])
	}
	if err != nil {
		t.Fatal(err)
	}
}

// writeInto writes a few bytes into the middle of a file, and syncs them: they stand in the journal.
func writeInto(ctx context.Context, to vfs.FS, id vfs.NodeID, text string) error {
	f, err := to.Open(ctx, id)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(ctx, []byte(text), 5000)
	return errors.Join(err, f.Sync(ctx), f.Close(ctx))
}

// diskText is all that stands in a pod's folder: the bytes of each file, and the keys and values of its databases as they are read, for tables are compressed.
func diskText(t *testing.T, dir string) []byte {
	t.Helper()
	var all bytes.Buffer
	databases := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		all.WriteString(d.Name() + "\n")
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			all.Write(b)
			return err
		}
		if found, _ := filepath.Glob(filepath.Join(path, "MANIFEST-*")); d.IsDir() && len(found) > 0 {
			databases++
			return readDatabase(path, &all)
		}
		return nil
	})
	if err != nil || databases == 0 {
		t.Fatalf("%s: %d databases, %v", dir, databases, err)
	}
	return all.Bytes()
}

// readDatabase writes all that a closed database has, in a copy of it: to open one changes it.
func readDatabase(dir string, to *bytes.Buffer) (err error) {
	mem := pebblevfs.NewMem()
	if ok, err := pebblevfs.Clone(pebblevfs.Default, mem, dir, "db"); err != nil || !ok {
		return fmt.Errorf("copy %s: %t, %w", dir, ok, err)
	}
	db, err := pebble.Open("db", &pebble.Options{FS: mem, ReadOnly: true, FormatMajorVersion: pebble.FormatNewest, Logger: quietLog{}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		to.Write(it.Key())
		to.WriteByte('\n')
		to.Write(it.Value())
		to.WriteByte('\n')
	}
	return it.Close()
}

type quietLog struct{}

func (quietLog) Infof(string, ...any)      {}
func (quietLog) Errorf(string, ...any)     {}
func (quietLog) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// TestBlindDisk breaks if anything of a tree but sealed chunks stands anywhere on the disk of a storage pod of an encrypted network: in a file, or in a table of a database, which is compressed.
func TestBlindDisk(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	b := joinPod(t, a, "second")
	one, two := joinAs(t, a, "one", "storage"), joinAs(t, a, "two", "storage")
	ctx := quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "replica:4", ""); err != nil {
		t.Fatal(err)
	}
	plant(t, a)
	b.write("/beside", strings.Repeat("what the second wrote; ", 9000))
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, a, b)
	secret := a.seal.Load().key.Secret()
	for _, p := range []*testPod{one, two} {
		if used := p.store.Usage().OwnedBytes; used < 3<<20 {
			t.Errorf("%s holds %d bytes: the chunks did not come", p.reg.name(p.id), used)
		}
		err := p.store.Each(ctx, func(id block.ID, _ int64, _ bool) error {
			if id.Codec() != block.Raw {
				t.Errorf("%s holds the node %s", p.reg.name(p.id), id)
			}
			return nil
		})
		if err != nil || len(p.db.VV()) > 0 {
			t.Errorf("%s knows commits %v, %v", p.reg.name(p.id), p.db.VV(), err)
		}
	}
	for _, p := range []*testPod{a, b, one, two} {
		p.stop()
	}
	for _, p := range []*testPod{one, two} {
		text := diskText(t, p.dir)
		for what, marker := range planted {
			if bytes.Contains(text, []byte(marker)) {
				t.Errorf("%s stands on the disk of a storage pod", what)
			}
		}
		if bytes.Contains(text, secret[:]) {
			t.Error("the data key stands on the disk of a storage pod")
		}
		if _, err := os.Stat(filepath.Join(p.dir, fileDataKey)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a storage pod has a key file: %v", err)
		}
	}
	// The search itself finds what is there.
	text := diskText(t, b.dir)
	for what, marker := range planted {
		if what != "contents" && what != "a small write" && !bytes.Contains(text, []byte(marker)) {
			t.Errorf("%s is not found on the disk of a pod that has it", what)
		}
	}
}

// TestBlindPod breaks if a storage pod of an encrypted network shows a tree, or does not say why it shows none and what to do.
func TestBlindPod(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	vault := joinAs(t, a, "vault", "storage")
	a.put("/f", noise(3, 2<<20))
	ctx := quickly(t)
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	_, _, errOpen := func() (vfs.FS, block.ID, error) {
		tree, err := vault.OpenTree(ctx, a.cid("/f"))
		return tree, block.ID{}, err
	}()
	_, errList := vault.fs.ReadDir(ctx, vfs.RootID, "", 10)
	_, errRoot := vault.Root(ctx)
	_, errPut := vault.PutFile(ctx, vfs.RootID, "g", FileMeta{}, 3, strings.NewReader("abc"))
	_, errLook := vault.fs.Lookup(ctx, vfs.RootID, "f")
	_, errSnap := vault.CreateSnapshot(ctx, "s")
	for what, err := range map[string]error{
		"open by CID": errOpen, "list": errList, "root": errRoot, "put": errPut, "look up": errLook, "snapshot": errSnap, "sync": vault.SyncWait(ctx, vfs.RootID),
	} {
		if !errors.Is(err, ErrBlind) || !errors.Is(err, ErrNoKey) || !errors.Is(err, vfs.ErrNotPermitted) || !strings.Contains(err.Error(), "role storage") {
			t.Errorf("%s: %v", what, err)
		}
	}
	status, err := vault.Status(ctx)
	if err != nil || !status.Healthy {
		t.Errorf("status: %v, %+v", err, status.Reasons)
	}
	for _, p := range status.Pods {
		if p.Self && p.UsedBytes < 2<<20 {
			t.Errorf("status tells of %d bytes that are held", p.UsedBytes)
		}
	}
	status, err = a.Status(ctx)
	if err != nil || !status.Healthy {
		t.Errorf("status of the pod beside it: %v, %+v", err, status.Reasons)
	}
	vault.clean()
	// What it holds is good: the first pod loses all its chunks and has them back.
	err = a.store.Each(ctx, func(id block.ID, _ int64, _ bool) error {
		if id.Codec() == block.Raw {
			return a.store.Delete(ctx, id)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	a.forget()
	a.reads("/f", string(noise(3, 2<<20)))
}

// TestBlindPatched breaks if a pod hands what names files to a storage pod of an encrypted network that is patched to ask for it, or does not tell people that it did.
func TestBlindPatched(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	b := joinPod(t, a, "second")
	vault := joinAs(t, a, "vault", "storage")
	plant(t, a)
	sameRoot(t, a, b)
	ctx := quickly(t)
	root, err := a.Root(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stateRoot, err := a.StateRoot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	head, err := a.headMessage(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	questions := map[p2p.Kind][]byte{
		p2p.KindLog: state.VV{}.Append(nil), p2p.KindOffer: state.VV{}.Append(nil), p2p.KindHead: head, p2p.KindTips: nil,
		p2p.KindDigests: state.AppendFrom(nil, a.db.Actor(), 1), p2p.KindKept: keptQuestion(state.VV{}, nil), p2p.KindKeptFragments: keptQuestion(state.VV{}, nil),
		p2p.KindHeat: {0x80}, p2p.KindStored: block.ID{}.Append(nil), p2p.KindDrop: encodeDrops(nil), p2p.KindDirect: encodeOrders(nil),
	}
	for _, p := range []*testPod{a, b} {
		eventually(t, "they are connected", func() error {
			if !vault.net.Connected(p.id) {
				return errors.New("not yet")
			}
			return nil
		})
		for kind, body := range questions {
			answer, err := vault.net.Ask(ctx, p.id, kind, body)
			if !isRefused(err) || len(answer) > 0 {
				t.Errorf("%s answers question %d: %d bytes, %v", p.reg.name(p.id), kind, len(answer), err)
			}
		}
		for _, id := range []block.ID{root, stateRoot} {
			if _, err := vault.askFor(ctx, p.id, id); !isRefused(err) {
				t.Errorf("%s sends the node %s: %v", p.reg.name(p.id), id, err)
			}
		}
		eventually(t, "an event", func() error { return hasEvent(ctx, p, EventRefused, "storage") })
	}
	message, err := a.allStatements(vault.id)
	if err != nil || bytes.Contains(message, []byte("planted")) {
		t.Errorf("statements: %v", err)
	}
	if err := a.SetRule(ctx, "minority_read_only", "/planted"); err == nil {
		t.Error("the settings of an encrypted network name a path")
	}
}

// isRefused says whether another pod said that it gives this one sealed chunks alone. Of its errors the text alone comes.
func isRefused(err error) bool {
	return err != nil && strings.Contains(err.Error(), "gets sealed chunks alone")
}

// hasEvent looks for an event whose text has a word.
func hasEvent(ctx context.Context, p *testPod, kind, word string) error {
	err := errors.New("there is none")
	listErr := p.Events(ctx, time.Time{}, false, func(e Event) error {
		if e.Kind == kind && strings.Contains(e.Text, word) {
			err = nil
		}
		return nil
	})
	return errors.Join(err, listErr)
}

// TestBlindRepair breaks if two storage pods, with one writer, don't make again what one of them lost: whole copies, and fragments.
func TestBlindRepair(t *testing.T) {
	for _, policy := range []string{"replica:2", "rs:2+1"} {
		t.Run(policy, func(t *testing.T) {
			a := openPod(t, createEncrypted(t))
			if err := a.SetShare(quickly(t), Share{}); err != nil { // a portal: the storage pods alone hold
				t.Fatal(err)
			}
			vaults := []*testPod{joinAs(t, a, "one", "storage"), joinAs(t, a, "two", "storage")}
			if strings.HasPrefix(policy, "rs") {
				vaults = append(vaults, joinAs(t, a, "three", "storage"))
			}
			ctx := quickly(t)
			if err := a.SetPolicy(ctx, vfs.RootID, policy, ""); err != nil {
				t.Fatal(err)
			}
			data := noise(4, 3<<20)
			a.put("/f", data)
			if err := a.SyncWait(ctx, vfs.RootID); err != nil {
				t.Fatal(err)
			}
			a.dropChunks() // so that what is lost can come from a storage pod alone
			lost := vaults[0]
			var due []block.ID // without whole copies of before there were fragments: they are surplus
			for key := range lost.holdings() {
				if policy == "replica:2" || key.Codec() != block.Raw {
					due = append(due, key)
				}
				if err := lost.store.Delete(ctx, key); err != nil {
					t.Fatal(err)
				}
			}
			if len(due) == 0 {
				t.Fatal("nothing is held")
			}
			if err := a.RepairNow(ctx); err != nil {
				t.Fatal(err)
			}
			eventually(t, "made again", func() error {
				now := lost.holdings()
				for _, key := range due {
					if !now[key] {
						return fmt.Errorf("%s isn't there: %d are, of %d", key, len(now), len(due))
					}
				}
				return nil
			})
			for _, p := range vaults[1:] {
				p.stop()
			}
			if policy == "replica:2" {
				a.dropChunks()
				a.reads("/f", string(data))
			}
		})
	}
}

// holdings are the keys of all that a pod holds in use.
func (p *testPod) holdings() map[block.ID]bool {
	p.t.Helper()
	list, err := p.store.List(quickly(p.t), block.ID{}, 1<<20)
	if err != nil {
		p.t.Fatal(err)
	}
	out := make(map[block.ID]bool)
	for _, h := range list {
		if h.Since.IsZero() {
			out[h.Key] = true
		}
	}
	return out
}

// dropChunks has a pod lose all chunks.
func (p *testPod) dropChunks() {
	p.t.Helper()
	ctx := quickly(p.t)
	err := p.store.Each(ctx, func(id block.ID, _ int64, _ bool) error {
		if id.Codec() == block.Raw {
			return p.store.Delete(ctx, id)
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.forget()
}

// TestBlindScrub breaks if a storage pod does not find a byte that turned, or does not mend it by the other storage pod alone.
func TestBlindScrub(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	one, two := joinAs(t, a, "one", "storage"), joinAs(t, a, "two", "storage")
	ctx := quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "replica:3", ""); err != nil {
		t.Fatal(err)
	}
	a.put("/f", noise(5, 2<<20))
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	var sealed []byte
	for id := range one.holdings() {
		got, err := one.store.Get(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		sealed = got
	}
	a.stop()
	one.stop()
	two.stop()
	turnByte(t, one.dir, sealed)
	one, two = openPod(t, one.dir), openPod(t, two.dir)
	introduce(one, two)
	eventually(t, "they are connected", func() error {
		if !one.net.Connected(two.id) {
			return errors.New("not yet")
		}
		return nil
	})
	found := 0
	_, err := one.Scrub(ctx, func(pr Problem) {
		if found++; !pr.Fixed {
			t.Errorf("not mended: %+v", pr)
		}
	})
	if err != nil || found == 0 {
		t.Errorf("%d problems, %v", found, err)
	}
	for _, p := range []*testPod{one, two} {
		got, err := p.Scrub(ctx, func(pr Problem) { t.Errorf("after the repair: %+v", pr) })
		if err != nil || got.Blocks == 0 {
			t.Errorf("scrub: %+v, %v", got, err)
		}
	}
}

// TestBlindDrops breaks if a storage pod deletes what one writer lists, by however many words of it, or what is needed again; or keeps what two list.
func TestBlindDrops(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	b := joinPod(t, a, "second")
	vault := joinAs(t, a, "vault", "storage")
	ctx := quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "replica:3", ""); err != nil {
		t.Fatal(err)
	}
	a.put("/kept", noise(6, 1<<20))
	a.put("/gone", noise(7, 1<<20))
	for _, p := range []*testPod{a, b} {
		if err := p.SyncWait(ctx, vfs.RootID); err != nil {
			t.Fatal(err)
		}
	}
	all := vault.holdings()
	if err := a.fs.Remove(ctx, vfs.RootID, "gone", false); err != nil {
		t.Fatal(err)
	}
	a.settle()
	sameRoot(t, a, b)
	collect := func(p *testPod, o CollectOptions) {
		t.Helper()
		for range 2 { // the first may find that its filter was made for too few blocks
			if _, err := p.Collect(ctx, o); err != nil {
				t.Fatal(err)
			}
		}
	}
	trash := func() (n int) {
		list, err := vault.store.List(ctx, block.ID{}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range list {
			if !h.Since.IsZero() {
				n++
			}
		}
		return n
	}
	for range 3 {
		collect(a, CollectOptions{})
	}
	if len(vault.holdings()) != len(all) || trash() > 0 {
		t.Fatalf("one writer's lists took %d of %d, %d are in the trash", len(all)-len(vault.holdings()), len(all), trash())
	}
	collect(b, CollectOptions{})
	kept := len(vault.holdings())
	if kept == 0 || kept >= len(all) {
		t.Fatalf("after the lists of two writers %d of %d are in use", kept, len(all))
	}
	// What is put again comes back with what is there already, and what was said of it counts no more.
	gone := len(all) - kept
	if trash() != gone {
		t.Fatalf("%d in the trash, not %d", trash(), gone)
	}
	b.put("/again", noise(7, 1<<20))
	if err := b.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	if len(vault.holdings()) != len(all) || trash() > 0 {
		t.Errorf("%d of %d in use, %d in the trash after it was put again", len(vault.holdings()), len(all), trash())
	}
	sameRoot(t, a, b)
	if err := b.fs.Remove(ctx, vfs.RootID, "again", false); err != nil {
		t.Fatal(err)
	}
	b.settle()
	sameRoot(t, a, b)
	for range 2 {
		collect(a, CollectOptions{})
		collect(b, CollectOptions{})
	}
	if now := vault.holdings(); len(now) != kept || trash() != gone {
		t.Errorf("%d in use, not %d, and %d in the trash, before it was there for long", len(now), kept, trash())
	}
	collect(a, CollectOptions{atOnce: true})
	if trash() != gone {
		t.Error("one writer emptied the trash")
	}
	collect(b, CollectOptions{atOnce: true})
	if now := vault.holdings(); len(now) != kept || trash() > 0 {
		t.Errorf("%d in use, not %d, and %d in the trash, after two writers listed it twice", len(now), kept, trash())
	}
	a.dropChunks()
	b.stop()
	a.reads("/kept", string(noise(6, 1<<20)))
}

// TestBlindTakesWordOfWriters breaks if a storage pod acts on what others than writers say of it, or two pods of one person count as two.
func TestBlindTakesWordOfWriters(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	reader := joinAs(t, a, "reader", "reader")
	vault, other := joinAs(t, a, "vault", "storage"), joinAs(t, a, "other", "storage")
	ctx := quickly(t)
	for _, p := range []*testPod{reader, other} {
		eventually(t, "they are connected", func() error {
			if !p.net.Connected(vault.id) {
				return errors.New("not yet")
			}
			return nil
		})
		for kind, body := range map[p2p.Kind][]byte{p2p.KindStored: block.ID{}.Append(nil), p2p.KindDrop: encodeDrops(nil)} {
			if _, err := p.net.Ask(ctx, vault.id, kind, body); err == nil {
				t.Errorf("%s is answered question %d", p.reg.name(p.id), kind)
			}
		}
	}
	if _, err := reader.net.Ask(ctx, a.id, p2p.KindDirect, encodeOrders(nil)); err == nil {
		t.Error("a pod that reads takes orders")
	}
	ann := userKey(9)
	if err := a.AddUser(ctx, public(ann), "ann", "writer"); err != nil {
		t.Fatal(err)
	}
	laptop, desk := joinAsUser(t, ann, a, "laptop"), joinAsUser(t, ann, a, "desk")
	if l, d := a.reg.voice(laptop.id), a.reg.voice(desk.id); l != d || l == a.reg.voice(a.id) || a.reg.voice(a.id) != a.id {
		t.Errorf("the voices of one person's pods are %s and %s, the admin's is %s", l, d, a.reg.voice(a.id))
	}
	var v votes
	key, now := block.Sum(block.Raw, []byte("x")), time.Now()
	x, y := ident.Pod{1}, ident.Pod{2}
	for _, row := range []struct {
		name string
		one  vote
		want bool
	}{
		{"the first", vote{verdictDead, x, now}, false},
		{"the same writer again", vote{verdictDead, x, now}, false},
		{"another writer says something else", vote{verdictDrop, y, now}, false},
		{"and the first says that, too", vote{verdictDrop, x, now}, true},
		{"it begins anew", vote{verdictDead, x, now}, false},
		{"another writer, too late", vote{verdictDead, y, now.Add(voteLife)}, false},
		{"and in time", vote{verdictDead, x, now.Add(voteLife + time.Hour)}, true},
	} {
		if got := v.second(key, row.one); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}

// TestBlindDurability breaks if a pod waits for a storage pod of an encrypted network to acknowledge changes, which it never gets, or if what such a pod holds does not count.
func TestBlindDurability(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	vault := joinAs(t, a, "vault", "storage")
	ctx := quickly(t)
	if err := a.SetPolicy(ctx, vfs.RootID, "replica:2", durabilityFull); err != nil {
		t.Fatal(err)
	}
	data := noise(2, 2<<20)
	begin := time.Now()
	a.put("/f", data)
	f, err := vfs.Resolve(ctx, a.fs, "/f")
	if err == nil {
		err = a.Durable(ctx, f.ID)
	}
	if err != nil || time.Since(begin) > durableWithin/2 {
		t.Errorf("durable in %v: %v", time.Since(begin), err)
	}
	if len(vault.holdings()) == 0 {
		t.Error("nothing is on the storage pod")
	}
	if got := a.membersPassed(time.Now()); len(got.waiting) > 0 || got.at.IsZero() {
		t.Errorf("collections wait: %+v", got)
	}
	if lim := a.logLimits(); !a.db.VV().LessEqual(lim.Passed) {
		t.Errorf("the log waits: %+v", lim)
	}
	vault.stop()
	a.put("/g", noise(3, 2<<20))
	g, err := vfs.Resolve(ctx, a.fs, "/g")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := a.Durable(short, g.ID); !errors.Is(err, ErrNotSafe) {
		t.Errorf("with the storage pod off: %v", err)
	}
}

// TestBlindRoles breaks if a pod that becomes a reader does not get the tree, or one that becomes a storage pod gets more of it.
func TestBlindRoles(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	b := joinAs(t, a, "second", "storage")
	ctx := quickly(t)
	a.write("/one", "1")
	a.put("/large", noise(5, 1<<20))
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	if err := a.SetRole(ctx, "second", "reader"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has a file system", func() error { b.fs = b.FS(); _, err := b.fs.GetAttr(ctx, vfs.RootID); return err })
	b.reads("/one", "1")
	b.reads("/large", string(noise(5, 1<<20)))
	a.write("/two", "2")
	b.reads("/two", "2")
	if err := a.SetRole(ctx, "second", "storage"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has none any more", func() error {
		if _, err := b.FS().GetAttr(ctx, vfs.RootID); !errors.Is(err, ErrBlind) {
			return fmt.Errorf("%w", err)
		}
		return nil
	})
	a.write("/three-after-that", "3")
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	vv := b.db.VV()
	if a.db.VV().LessEqual(vv) {
		t.Error("it got the changes all the same")
	}
	a.stop()
	b.stop()
	if bytes.Contains(diskText(t, b.dir), []byte("three-after-that")) {
		t.Error("a name that came later stands on its disk")
	}
}

// TestBlindNodesGo breaks if a pod that could read before keeps nodes although two writers have them.
func TestBlindNodesGo(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	b, c := joinPod(t, a, "second"), joinAs(t, a, "third", "reader")
	ctx := quickly(t)
	plant(t, a)
	sameRoot(t, a, b, c)
	nodes := func() (n int) {
		for id := range c.holdings() {
			if id.Codec() == block.DagCBOR {
				n++
			}
		}
		return n
	}
	if nodes() == 0 {
		t.Fatal("a reader has no nodes")
	}
	if err := a.SetRole(ctx, "third", "storage"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "known", func() error {
		if !b.reg.blind(c.id) || !c.blind() {
			return errors.New("not yet")
		}
		return nil
	})
	for range 2 {
		for _, p := range []*testPod{a, b} {
			for range 2 {
				if _, err := p.Collect(ctx, CollectOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if left := nodes(); left > 0 {
		t.Errorf("%d nodes are in use still", left)
	}
}

// TestBlindLeftover breaks if what a pod alone has of others' changes is lost when it becomes a storage pod.
func TestBlindLeftover(t *testing.T) {
	reg := newRegistry(ident.Network{})
	if reg.blind(ident.Pod{1}) {
		t.Error("a pod of a plain network is blind")
	}
	a := openPod(t, createEncrypted(t))
	if !a.reg.blind(ident.Pod{9}) || a.blind() {
		t.Error("a pod of which nothing is known is told of the tree, or an admin's is not")
	}
	b, c := joinPod(t, a, "second"), joinAs(t, a, "third", "reader")
	ctx := quickly(t)
	sameRoot(t, a, b, c)
	introduce(b, c)
	eventually(t, "the second and the third are connected", connected(b, c))
	aDir := a.dir
	a.stop()
	b.write("/only on the third", "x")
	b.settle()
	sameRoot(t, b, c)
	b.stop()
	c.stop()
	a = openPodOffline(t, aDir)
	if err := a.SetRole(ctx, "third", "storage"); err != nil {
		t.Fatal(err)
	}
	a.stop()
	a, c = openPod(t, aDir), openPod(t, c.dir)
	introduce(a, c)
	a.reads("/only on the third", "x")
	if !c.blind() {
		t.Error("it reads still")
	}
}

// TestBlindDrain breaks if a storage pod is removed while others need what it holds, or can't be once they have it.
func TestBlindDrain(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	ctx := quickly(t)
	if err := a.SetShare(ctx, Share{}); err != nil {
		t.Fatal(err)
	}
	one := joinAs(t, a, "one", "storage")
	if err := a.SetPolicy(ctx, vfs.RootID, "raid0", ""); err != nil {
		t.Fatal(err)
	}
	a.put("/f", noise(6, 2<<20))
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	a.dropChunks()
	if _, err := a.Drain(ctx, "one", false); err != nil {
		t.Fatal(err)
	}
	d, err := a.DrainState(ctx, "one")
	if err != nil || !d.Draining || !d.Known || d.Left < 2<<20 {
		t.Errorf("with nobody to take it: %+v, %v", d, err)
	}
	if _, err := a.RemovePod(ctx, "one"); !errors.Is(err, ErrNotSafe) {
		t.Errorf("removed with all that there is: %v", err)
	}
	if _, err := one.DrainState(ctx, ""); !errors.Is(err, ErrBlind) {
		t.Errorf("it tells by itself: %v", err)
	}
	two := joinAs(t, a, "two", "storage")
	eventually(t, "emptied", func() error {
		if err := a.RepairNow(ctx); err != nil {
			return err
		}
		d, err := a.DrainState(ctx, "one")
		if err == nil && (d.Left > 0 || d.Stuck) {
			err = fmt.Errorf("%+v", d)
		}
		return err
	})
	if d, err := a.RemovePod(ctx, "one"); err != nil || !d.Removed {
		t.Errorf("%+v, %v", d, err)
	}
	one.stop()
	a.reads("/f", string(noise(6, 2<<20)))
	if len(two.holdings()) == 0 {
		t.Error("the other holds nothing")
	}
}
