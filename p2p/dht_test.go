package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// testHead is the head number n of a pod, as withDHT checks it.
func testHead(pod ident.Pod, n byte) []byte { return append([]byte("head "), append(pod[:], n)...) }

// withDHT has a pod take part in the DHT.
func withDHT(records Records) func(*Config, *fake) {
	return func(c *Config, _ *fake) {
		c.DHT = &DHTConfig{
			Records: records,
			CheckHead: func(pod ident.Pod, head []byte) error {
				if len(head) != 6+len(pod) || !bytes.Equal(head[:5+len(pod)], testHead(pod, 0)[:5+len(pod)]) {
					return errors.New("forged")
				}
				return nil
			},
			NewerHead: func(a, b []byte) bool { return a[len(a)-1] > b[len(b)-1] },
		}
	}
}

// chain is n pods of which each knows the one before it.
func chain(t *testing.T, n byte) []*pod {
	t.Helper()
	var pods []*pod
	for i := range n {
		p := start(t, i+1, withDHT(nil))
		if i > 0 {
			join(t, p, pods[i-1])
		}
		pods = append(pods, p)
	}
	return pods
}

// mesh is a chain of pods that have found each other.
func mesh(t *testing.T, n byte) []*pod {
	t.Helper()
	pods := chain(t, n)
	for _, p := range pods {
		p.until("all are connected", func() bool { return len(p.Peers()) == len(pods)-1 })
	}
	return pods
}

// wait waits until f returns nil.
func wait(t *testing.T, what string, f func() error) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Pods that each know one neighbour, and find no other by mDNS, all get connected. With nothing but the neighbours, a network would stay a chain.
func TestDHTFindsAllPods(t *testing.T) { mesh(t, 5) }

// A pod is reached at an address that only another pod knows.
func TestDHTReach(t *testing.T) {
	a, b, c := start(t, 1, withDHT(nil)), start(t, 2, withDHT(nil)), start(t, 3, withDHT(nil))
	join(t, a, b)
	join(t, c, b)
	ctx := within(t, 20*time.Second)
	wait(t, "reach", func() error { return a.DHT().Reach(ctx, c.id) }) // b may not have heard yet where c listens
	if !a.Connected(c.id) {
		t.Error("not connected")
	}
	if err := a.DHT().Reach(within(t, 20*time.Second), podNumber(t, 77)); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a pod that nobody knows: got %v", err)
	}
}

// Without a member there is no DHT, and no wait for one.
func TestDHTAlone(t *testing.T) {
	a := start(t, 1, withDHT(nil))
	ctx := within(t, 20*time.Second)
	if _, err := a.DHT().FindHead(ctx, a.id); !errors.Is(err, ErrUnreachable) {
		t.Errorf("find head: got %v", err)
	}
	if err := a.DHT().PutHead(ctx, testHead(a.id, 1)); !errors.Is(err, ErrUnreachable) {
		t.Errorf("put head: got %v", err)
	}
	if _, err := holdersOf(ctx, a, Key{1}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("find holders: got %v", err)
	}
	if start(t, 2, nil).DHT() != nil {
		t.Error("a DHT without a configuration")
	}
}

// A pod that has not said hello is not served, though it speaks Kademlia.
func TestDHTRefusesStrangers(t *testing.T) {
	a := start(t, 1, withDHT(nil))
	stranger, _, err := newLibp2p(keyOf(9), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	id, err := peerID(a.id)
	if err != nil {
		t.Fatal(err)
	}
	stranger.Peerstore().AddAddrs(id, parseAddrs(a.Addrs()), peerstore.TempAddrTTL)
	ctx := within(t, 15*time.Second)
	proto := protocol.ID("/wormhole/" + testNetwork.String() + "/kad/1.0.0")
	s, err := stranger.NewStream(network.WithAllowLimitedConn(ctx, "test"), id, proto)
	if err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	ping := []byte{2, 0x08, 5} // length, then type PING
	if _, err := s.Write(ping); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if n, err := s.Read(b[:]); err == nil || n > 0 || ctx.Err() != nil {
		t.Errorf("the stranger got an answer: %d bytes, %v", n, err)
	}
	if stats := a.DHT().Stats(); stats.Served != 0 || stats.Peers != 0 {
		t.Errorf("got %+v", stats)
	}
}

// A head is found at others when its pod is gone; an older one does not replace it.
func TestDHTHeads(t *testing.T) {
	pods := mesh(t, 4)
	ctx := within(t, 20*time.Second)
	author, reader := pods[0], pods[3]
	if _, err := reader.DHT().FindHead(ctx, author.id); !errors.Is(err, block.ErrNotFound) {
		t.Errorf("before: got %v", err)
	}
	for n := byte(1); n <= 2; n++ {
		if err := author.DHT().PutHead(ctx, testHead(author.id, n)); err != nil {
			t.Fatal(err)
		}
	}
	find := func() error {
		head, err := reader.DHT().FindHead(ctx, author.id)
		if err == nil && !bytes.Equal(head, testHead(author.id, 2)) {
			err = fmt.Errorf("got %q", head)
		}
		return err
	}
	wait(t, "newest head", find)
	author.stop()
	wait(t, "head of a pod that is gone", find)
}

// Heads that a member forges, or of another pod, or old ones, are kept nowhere.
func TestDHTForgedHeads(t *testing.T) {
	pods := mesh(t, 3)
	ctx := within(t, 20*time.Second)
	victim, liar, reader := pods[0], pods[1], pods[2]
	if err := victim.DHT().PutHead(ctx, testHead(victim.id, 7)); err != nil {
		t.Fatal(err)
	}
	// What the liar's own library would refuse is sent by a liar without that check.
	liar.kad.c.CheckHead = func(ident.Pod, []byte) error { return nil }
	liar.kad.c.NewerHead = func(_, _ []byte) bool { return false } // what it has is replaced by what it puts
	for _, lie := range [][]byte{[]byte("nonsense"), testHead(liar.id, 9), testHead(victim.id, 3), make([]byte, DHTHeadMax)} {
		served := reader.DHT().Stats().Served
		if err := liar.kad.dht.PutValue(ctx, headKey(victim.id), lie); err != nil {
			t.Fatal(err) // it did not even lie
		}
		wait(t, "the lie is told", func() error {
			if reader.DHT().Stats().Served < served+2 { // the lookup, and the lie
				return errors.New("not yet")
			}
			return nil
		})
		for _, p := range []*pod{victim, reader} {
			head, err := p.DHT().FindHead(ctx, victim.id)
			if err != nil || !bytes.Equal(head, testHead(victim.id, 7)) {
				t.Errorf("after a lie of %d bytes: got %q, %v", len(lie), head, err)
			}
		}
	}
	for _, key := range []string{"/wh-head/", "/wh-head/x", headKey(victim.id) + "/", "/pk/x", headKey(victim.id)[1:]} {
		if err := victim.kad.Validate(key, testHead(victim.id, 8)); err == nil {
			t.Errorf("key %q is taken", key)
		}
	}
}

// A flood of announcements of one member is kept up to the limit.
func TestDHTAnnouncementFlood(t *testing.T) {
	d := newDatastore(nil)
	pod := func(n int) string { return fmt.Sprintf("POD%d", n) }
	ctx := t.Context()
	for n := range 2 {
		for from := 0; from < AnnounceMax+100; from += 100 {
			b, _ := d.Batch(ctx)
			for i := from; i < from+100; i++ {
				_ = b.Put(ctx, dsKey(fmt.Sprintf("%s%d/%s", announcedUnder, i, pod(n))), []byte{1})
			}
			if err := b.Commit(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := len(d.r.(*memRecords).values), 2*AnnounceMax; got != want {
		t.Errorf("got %d records, want %d", got, want)
	}
	// What is forgotten makes room, also after a start.
	d = newDatastore(d.r)
	if err := d.Delete(ctx, dsKey(announcedUnder+"5/"+pod(0))); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := d.Put(ctx, dsKey(fmt.Sprintf("%sextra%d/%s", announcedUnder, i, pod(0))), nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := len(d.r.(*memRecords).values), 2*AnnounceMax; got != want {
		t.Errorf("after a deletion: got %d records, want %d", got, want)
	}
}

// What a pod announces is found, what it doesn't any more is not announced anew, and after a start only what is new is.
func TestDHTHolders(t *testing.T) {
	a, b := start(t, 1, withDHT(&memRecords{values: map[string][]byte{}})), start(t, 2, withDHT(nil))
	join(t, a, b)
	ctx := within(t, 30*time.Second)
	var keys []Key
	for g := range uint16(300) {
		keys = append(keys, GroupKey(testNetwork, g))
	}
	if err := a.DHT().Announce(ctx, keys); err != nil {
		t.Fatal(err)
	}
	wait(t, "holders", func() error {
		for _, g := range []uint16{0, 150, 299} {
			got, err := holdersOf(ctx, b, GroupKey(testNetwork, g))
			if err != nil || len(got) != 1 || got[0] != a.id {
				return fmt.Errorf("group %d: got %v: %w", g, got, err)
			}
		}
		return nil
	})
	if got, err := holdersOf(ctx, b, GroupKey(testNetwork, 300)); err != nil || len(got) != 0 {
		t.Errorf("a group that nobody announced: got %v, %v", got, err)
	}
	if got := a.DHT().Stats().Announced; got != 301 {
		t.Errorf("announced %d keys", got)
	}
	if err := a.DHT().Announce(ctx, keys[:10]); err != nil {
		t.Fatal(err)
	}
	if left, err := a.kad.keys.Get(ctx, ""); err != nil || len(left) != 11 {
		t.Errorf("%d keys are to be announced anew, %v", len(left), err)
	}
	if err := a.DHT().Announce(ctx, make([]Key, AnnounceMax)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many keys: got %v", err)
	}
}

// The keys are a format: pods of all versions must look in the same places.
func TestDHTKeysGolden(t *testing.T) {
	golden(t, "dht.group", bytes.Join([][]byte{bytesOf(GroupKey(testNetwork, 0)), bytesOf(GroupKey(testNetwork, 4095))}, nil))
	golden(t, "dht.root", bytesOf(RootKey(testNetwork, block.Sum(block.Raw, []byte("x")))))
	golden(t, "dht.groups", bytesOf(GroupsKey(testNetwork)))
	golden(t, "dht.network", bytesOf(networkKey(testNetwork)))
	golden(t, "dht.head", []byte(headKey(podNumber(t, 1))))
	if !strings.HasPrefix(string(hashOf(Key{})), "\x1e\x20") {
		t.Error("not the multihash of BLAKE3")
	}
}

func bytesOf(k Key) []byte { return k[:] }

// holdersOf are all that a pod finds.
func holdersOf(ctx context.Context, p *pod, key Key) (out []ident.Pod, err error) {
	for pod, err := range p.DHT().FindHolders(ctx, key) {
		if err != nil {
			return out, err
		}
		out = append(out, pod)
	}
	return out, nil
}
