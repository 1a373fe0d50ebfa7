package pod

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// memDHT is what the pods of a memNet keep together: in one place, without a limit of time.
type memDHT struct {
	mu      sync.Mutex // guards the fields below
	heads   map[ident.Pod][]byte
	holders map[p2p.Key][]ident.Pod
	asked   int     // FindHolders
	goneOn  int     // searches that somebody waited for behind the holders that are known
	failing p2p.Key // whose search fails
}

func newMemDHT() *memDHT {
	return &memDHT{heads: make(map[ident.Pod][]byte), holders: make(map[p2p.Key][]ident.Pod)}
}

// join gives a pod a part in it.
func (d *memDHT) join(m *memPeer) { m.dht = memDHTOf{d, m} }

// memDHTOf is a pod's part in a memDHT.
type memDHTOf struct {
	*memDHT

	m *memPeer
}

var _ p2p.DHT = memDHTOf{}

// PutHead is p2p.DHT's.
func (d memDHTOf) PutHead(_ context.Context, head []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.m.p.checkHead(d.m.p.id, head); err != nil {
		return err
	}
	if old := d.heads[d.m.p.id]; old != nil && newerHead(old, head) {
		return errors.New("others have a newer one")
	}
	d.heads[d.m.p.id] = head
	return nil
}

// FindHead is p2p.DHT's.
func (d memDHTOf) FindHead(_ context.Context, pod ident.Pod) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if head := d.heads[pod]; head != nil {
		return head, nil
	}
	return nil, block.ErrNotFound
}

// Announce is p2p.DHT's.
func (d memDHTOf) Announce(_ context.Context, keys []p2p.Key) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range keys {
		d.holders[key] = append(d.holders[key], d.m.p.id)
	}
	return nil
}

// FindHolders is p2p.DHT's.
func (d memDHTOf) FindHolders(_ context.Context, key p2p.Key) iter.Seq2[ident.Pod, error] {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	list := slices.Clone(d.holders[key])
	return func(yield func(ident.Pod, error) bool) {
		for _, pod := range list {
			if !yield(pod, nil) {
				return
			}
		}
		d.mu.Lock()
		fails := key == d.failing
		if len(list) > 0 {
			d.goneOn++
		}
		d.mu.Unlock()
		if fails {
			yield(ident.Pod{}, p2p.ErrUnreachable)
		}
	}
}

// Reach is p2p.DHT's.
func (d memDHTOf) Reach(_ context.Context, pod ident.Pod) error {
	d.m.net.mu.Lock()
	m := d.m.net.peers[pod]
	d.m.net.mu.Unlock()
	if m == nil {
		return p2p.ErrUnreachable
	}
	d.m.see(pod)
	return nil
}

// Stats is p2p.DHT's.
func (d memDHTOf) Stats() p2p.DHTStats { return p2p.DHTStats{} }

// TestSetBackByDHT: a pod is set back, and meets only one that never had its newer commits. It learns of them from its own head in the DHT, and goes on under a new
// incarnation; else it would give numbers again that others have, and fork.
func TestSetBackByDHT(t *testing.T) {
	pods := newCopyable(t, "second", "third")
	dht, net := newMemDHT(), newMemNet()
	a, b := pods.startDHT(net, dht, 0, pods.disk[0]), pods.startDHT(net, dht, 1, pods.disk[1])
	a.write("/before", "x")
	a.settle()
	sameRoot(t, a, b)
	a.stop()
	back := pods.image(0)
	a = pods.startDHT(net, dht, 0, pods.disk[0])
	a.write("/lost", "known to second alone")
	a.settle()
	b.reads("/lost", "known to second alone")
	self := a.db.Actor()
	a.stop() // it puts its last head
	b.stop()
	if dht.heads[a.id] == nil {
		t.Fatal("no head was put when the pod ended")
	}
	c := pods.startDHT(net, dht, 2, pods.disk[2])
	a = pods.startDHT(net, dht, 0, back)
	if got := a.db.Actor(); got != self {
		t.Fatalf("it begins as %s", got)
	}
	eventually(t, "a new incarnation", func() error {
		if got := a.db.Actor(); got == self {
			return fmt.Errorf("still %s", got)
		}
		return nil
	})
	a.write("/after", "y")
	c.reads("/after", "y")
	// The one that has the newer commits comes back: nobody finds a fork, and nothing is lost.
	b = pods.startDHT(net, dht, 1, pods.disk[1])
	sameRoot(t, a, b, c)
	for _, p := range []*testPod{a, b, c} {
		p.reads("/lost", "known to second alone")
		p.reads("/after", "y")
		p.knowsForks(0)
	}
}

// startDHT is start, with a part in a DHT.
func (c *copyable) startDHT(net *memNet, dht *memDHT, i int, disk pebblevfs.FS) *testPod {
	c.t.Helper()
	p, err := Open(quickly(c.t), Options{Dir: c.dirs[i], Offline: true, FS: disk, Log: testLog(c.t)})
	if err != nil {
		c.t.Fatal(err)
	}
	dht.join(net.attach(p))
	tp := started(c.t, p, c.dirs[i])
	c.t.Cleanup(tp.stop)
	return tp
}

// TestForgedHeads: what somebody keeps for a pod is believed only if that pod signed it, as a member that may write, in this network, under its own number, and not
// far in the future; and an old one never replaces a newer one.
func TestForgedHeads(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	a.write("/f", "x")
	a.settle()
	sameRoot(t, a, b)
	good, err := a.db.Head(quickly(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.checkHead(a.id, good); err != nil {
		t.Errorf("a good head: %v", err)
	}
	forge := func(key ed25519.PrivateKey, change func(h *state.Head)) []byte {
		h, err := state.DecodeHead(good)
		if err != nil {
			t.Fatal(err)
		}
		change(h)
		return h.Encode(func(msg []byte) []byte { return ed25519.Sign(key, msg) })
	}
	same := func(*state.Head) {}
	for name, tt := range map[string]struct {
		head []byte
		want error
	}{
		"nonsense":         {[]byte("nonsense"), block.ErrCorrupt},
		"another's key":    {forge(b.own.key, same), state.ErrSignature},
		"another's number": {forge(a.own.key, func(h *state.Head) { h.Actor, h.Seq, h.CommitDigest = ident.Actor{Member: 77}, 0, [32]byte{} }), member.ErrDenied},
		"another network":  {forge(a.own.key, func(h *state.Head) { h.Network[0]++ }), state.ErrForeign},
		"from the future":  {forge(a.own.key, func(h *state.Head) { h.HLC = state.HLCOf(time.Now().Add(time.Hour)) }), state.ErrFuture},
		"a flipped bit":    {append(good[:len(good)-1:len(good)-1], good[len(good)-1]^1), state.ErrSignature},
	} {
		if _, err := b.checkHead(a.id, tt.head); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
	if _, err := b.checkHead(ident.Pod{1}, good); !errors.Is(err, member.ErrDenied) {
		t.Errorf("a head of a stranger: %v", err)
	}
	older := forge(a.own.key, func(h *state.Head) { h.Seq--; h.VV[h.Actor]-- })
	if !newerHead(good, older) || newerHead(older, good) || newerHead(good, good) {
		t.Error("the order of heads is wrong")
	}
}

// TestLastHeadIsFound: what a pod did just before it ended is in its head, which those that live on keep, though nobody was told of it in
// another way; the tree root that it had is shown, and a status says what is not here.
func TestLastHeadIsFound(t *testing.T) {
	a := firstPod(t)
	b, c := joinPod(t, a, "second"), joinPod(t, a, "third")
	sameRoot(t, a, b, c)
	eventually(t, "all are connected", func() error {
		for _, p := range []*testPod{a, b, c} {
			if n := p.dht().Stats().Peers; n != 2 {
				return fmt.Errorf("%s has %d peers", p.Info().Name, n)
			}
		}
		return nil
	})
	a.write("/f", "x")
	a.settle()
	root, err := a.Root(quickly(t))
	if err != nil {
		t.Fatal(err)
	}
	seq := a.db.VV()[a.db.Actor()]
	a.stop()
	eventually(t, "head of the pod that ended", func() error {
		c.findHeads(quickly(t), c.dht())
		head := c.peers.of(a.id).found
		if head == nil || head.Seq != seq {
			return fmt.Errorf("found %+v", head)
		}
		return nil
	})
	pods, err := c.Pods(quickly(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range pods {
		if info.Pod == a.id && info.Root != root {
			t.Errorf("root %s is shown, want %s", info.Root, root)
		}
	}
	said := func(what string, seq uint64, right func(missing uint64) error) {
		t.Helper()
		eventually(t, what, func() error { return right(seq - c.db.VV()[a.db.Actor()]) }) // the other pod may tell of some meanwhile
	}
	said("changes that are missing", seq, func(missing uint64) error {
		if n := c.untold(a.id); n != missing {
			return fmt.Errorf("%d changes are said to be missing, want %d", n, missing)
		}
		return nil
	})
	h := *c.peers.of(a.id).found
	h.VV = h.VV.Clone()
	h.VV[h.Actor] += 3
	h.Seq += 3
	c.foundHead(a.id, &h)
	said("a warning of them", h.Seq, func(missing uint64) error {
		st, err := c.Status(quickly(t))
		if err == nil && (!hasWarning(st, "changes_elsewhere", "first") || !hasWarning(st, "changes_elsewhere", fmt.Sprintf(" %d changes", missing))) {
			err = fmt.Errorf("warnings: %+v", st.Warnings)
		}
		return err
	})
}

func hasWarning(st Status, code, text string) bool {
	for _, w := range st.Warnings {
		if string(w.Code) == code && strings.Contains(w.Text, text) {
			return true
		}
	}
	return false
}

// allFound are all pods that a search finds.
func allFound(found iter.Seq2[ident.Pod, error]) (out []ident.Pod, err error) {
	for pod, err := range found {
		if err != nil {
			return out, err
		}
		out = append(out, pod)
	}
	return out, nil
}

// TestGroupsAreFound: pods announce the groups that they hold, and another finds them, so that it needs no layout.
func TestGroupsAreFound(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	sameRoot(t, a, b)
	ctx := quickly(t)
	eventually(t, "layout of two", func() error {
		if n := b.reg.layout().Len(); n != 2 {
			return fmt.Errorf("%d entries", n)
		}
		return nil
	})
	for _, p := range []*testPod{a, b} {
		if err := p.announce(t, p.reg.layout()); err != nil {
			t.Fatal(err)
		}
		if n := p.dht().Stats().Announced; n != 2 { // the network's, too
			t.Errorf("%d keys are announced", n)
		}
	}
	eventually(t, "holders", func() error {
		pods, err := allFound(b.announcing(ctx, b.dht(), block.Sum(block.Raw, []byte("any"))))
		if err != nil || len(pods) != 1 || pods[0] != a.id {
			return fmt.Errorf("%v: %w", pods, err)
		}
		return nil
	})
	// A pod that is no holder any more announces nothing.
	if err := a.announce(t, placement.NewLayout(nil)); err != nil {
		t.Fatal(err)
	}
	if n := a.dht().Stats().Announced; n != 1 {
		t.Errorf("%d keys are announced without a layout", n)
	}
}

// TestAnnounced: where pods are few, each announces one key for all groups; else exactly the groups are announced by a pod in whose walks it is among the first 16, so that every
// group has 16 holders to be found, and no pod more than 4096 keys.
func TestAnnounced(t *testing.T) {
	network := ident.Network{1}
	for _, n := range []int{1, 16, 17, 40} {
		var entries []placement.Entry
		for i := range n {
			entries = append(entries, placement.Entry{Network: network, Pod: ident.Pod{byte(i + 1)}, Version: 1, Weight: uint32(100 + 50*i)})
		}
		lay := placement.NewLayout(entries)
		holders, most := map[p2p.Key]int{}, 0
		for _, e := range entries {
			keys := announced(network, e.Pod, lay)
			most = max(most, len(keys))
			for _, key := range keys {
				holders[key]++
			}
		}
		want := placement.Groups
		if n <= p2p.HoldersMax {
			want = 1
		}
		if len(holders) != want || most > want {
			t.Errorf("%d pods: %d keys are announced, want %d, and up to %d by one", n, len(holders), want, most)
		}
		for _, got := range holders {
			if got != min(n, p2p.HoldersMax) {
				t.Errorf("%d pods: a key with %d holders", n, got)
				break
			}
		}
	}
	if keys := announced(network, ident.Pod{1}, placement.NewLayout(nil)); len(keys) != 0 {
		t.Errorf("a portal announces %d keys", len(keys))
	}
}

// TestReaderWithoutLayout: a pod that has no layout, and is not connected with the holder, gets a block through the DHT; one that nobody has fails soon, and is
// not looked for at each read.
func TestReaderWithoutLayout(t *testing.T) {
	pods := newCopyable(t, "second", "third")
	dht, net := newMemDHT(), newMemNet()
	a, b := pods.startDHT(net, dht, 0, pods.disk[0]), pods.startDHT(net, dht, 1, pods.disk[1])
	c := pods.startDHT(net, dht, 2, pods.disk[2])
	sameRoot(t, a, b, c)
	eventually(t, "connected", func() error {
		if n := len(c.connected()); n != 2 {
			return fmt.Errorf("with %d", n)
		}
		return nil
	})
	if err := a.announce(t, a.reg.layout()); err != nil {
		t.Fatal(err)
	}
	id, err := a.putBlockOnlyHere("bytes that only the first pod has")
	if err != nil {
		t.Fatal(err)
	}
	memOf(c).hide(a.id)
	c.reg.mu.Lock()
	c.reg.lay = placement.Layout{}
	c.reg.mu.Unlock()
	plain, err := c.getBlock(quickly(t), id)
	if err != nil || string(plain) != "bytes that only the first pod has" {
		t.Fatalf("got %q, %v", plain, err)
	}
	if dht.goneOn != 0 {
		t.Error("it looked for more holders before it asked the first one")
	}
	// A node is found by its own key, too, when those of its group can't be.
	root := block.Sum(block.DagCBOR, []byte("a node"))
	if err := errors.Join(a.store.Put(quickly(t), root, []byte("a node")), a.dht().Announce(quickly(t), []p2p.Key{p2p.RootKey(a.reg.network, root)})); err != nil {
		t.Fatal(err)
	}
	memOf(c).hide(a.id)
	dht.mu.Lock()
	dht.holders[p2p.GroupsKey(a.reg.network)] = nil
	dht.failing = p2p.GroupKey(a.reg.network, uint16(placement.GroupOf(root)))
	dht.mu.Unlock()
	if plain, err := c.getBlock(quickly(t), root); err != nil || string(plain) != "a node" {
		t.Errorf("got %q, %v", plain, err)
	}
	memOf(c).hide(a.id)
	dht.asked = 0
	nobody := block.Sum(block.Raw, []byte("nobody has this"))
	for range 3 {
		if _, err := c.getBlock(quickly(t), nobody); !errors.Is(err, block.ErrUnavailable) {
			t.Errorf("a block that nobody has: %v", err)
		}
	}
	if dht.asked != 2 { // once: its group, and all groups
		t.Errorf("holders were looked for %d times", dht.asked)
	}
}

// putBlockOnlyHere stores a block that nothing names.
func (p *testPod) putBlockOnlyHere(text string) (block.ID, error) {
	id := block.Sum(block.Raw, []byte(text))
	return id, p.store.Put(quickly(p.t), id, []byte(text))
}

func memOf(p *testPod) *memPeer {
	m, ok := p.net.(*memPeer)
	if !ok {
		p.t.Fatalf("network is a %T", p.net)
	}
	return m
}

// announce tells what the pod holds under a layout.
func (p *testPod) announce(t *testing.T, lay placement.Layout) error {
	t.Helper()
	keys, err := p.announcement(quickly(t), lay)
	if err != nil {
		return err
	}
	return p.dht().Announce(quickly(t), keys)
}

// TestPinsAreAnnounced: who has all of a file or folder, by a pin or as its home, is found by the file's or folder's CID, for as long as that is so.
func TestPinsAreAnnounced(t *testing.T) {
	a := firstPod(t)
	b := joinPod(t, a, "second")
	ctx := quickly(t)
	if _, err := a.fs.Create(ctx, vfs.RootID, "dir", vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	a.write("/dir/f", randomText(1201, 100_000))
	a.write("/g", randomText(1202, 100_000))
	a.write("/none", randomText(1203, 100_000))
	if err := errors.Join(a.SetPin(ctx, a.at("/dir"), "second", true), a.SetHomes(ctx, a.at("/g"), []string{"second"})); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, a, b)
	if keys, err := b.pinnedRoots(ctx); err != nil || b.spread.safeSince().IsZero() && len(keys) > 0 {
		t.Errorf("%d keys before anything is known to be here, %v", len(keys), err)
	}
	if err := a.SyncWait(ctx, vfs.RootID); err != nil {
		t.Fatal(err)
	}
	want := func(paths ...string) {
		t.Helper()
		eventually(t, fmt.Sprint(paths), func() error {
			if err := b.spread.everything(ctx); err != nil {
				return err
			}
			keys, err := b.pinnedRoots(ctx)
			if err != nil || len(keys) != len(paths) {
				return fmt.Errorf("%d keys, %w", len(keys), err)
			}
			for _, path := range paths {
				root, err := b.CID(ctx, b.at(path))
				if err != nil || !slices.Contains(keys, p2p.RootKey(b.reg.network, root)) {
					return fmt.Errorf("%s is not announced, %w", path, err)
				}
			}
			return nil
		})
	}
	want("/dir", "/g")
	if err := b.announce(t, b.reg.layout()); err != nil {
		t.Fatal(err)
	}
	root, err := a.CID(ctx, a.at("/g"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "holders of a file", func() error {
		pods, err := allFound(a.dht().FindHolders(ctx, p2p.RootKey(a.reg.network, root)))
		if err != nil || len(pods) != 1 || pods[0] != b.id {
			return fmt.Errorf("%v: %w", pods, err)
		}
		return nil
	})
	if err := a.SetPin(ctx, a.at("/dir"), "second", false); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, a, b)
	eventually(t, "the pin is gone", func() error {
		pins, err := b.Pins(ctx, "/")
		if err != nil || len(pins) != 1 {
			return fmt.Errorf("%v: %w", pins, err)
		}
		return nil
	})
	want("/g")
}
