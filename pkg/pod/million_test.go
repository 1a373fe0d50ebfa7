package pod

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// TestAnnouncedOfAMillion: a pod announces its groups, 4096 at most, its pins and the network, with a million chunks in its store as with none; and each of these chunks is found by them, at pods that hold it.
func TestAnnouncedOfAMillion(t *testing.T) {
	chunks := 1_000_000
	if testing.Short() {
		chunks = 50_000
	}
	p := firstPod(t)
	ctx := quickly(t)
	layout := func(others int) (placement.Layout, []ident.Pod) {
		entries, pods := []placement.Entry{{Pod: p.id, Weight: 100}}, []ident.Pod{p.id}
		for i := range others {
			pod := ident.Pod{byte(i), byte(i >> 8), 1}
			entries, pods = append(entries, placement.Entry{Pod: pod, Weight: uint32(50 + i%100)}), append(pods, pod)
		}
		return placement.NewLayout(entries), pods
	}
	records := func() map[int]int {
		t.Helper()
		out := make(map[int]int)
		for _, others := range []int{0, p2p.HoldersMax - 1, p2p.HoldersMax, 40, 100} {
			lay, _ := layout(others)
			keys, err := p.announcement(ctx, lay)
			if err != nil {
				t.Fatal(err)
			}
			if out[others+1] = len(keys); len(keys) > placement.Groups {
				t.Errorf("%d pods: %d keys", others+1, len(keys))
			}
		}
		return out
	}
	before := records()

	lay, pods := layout(40)
	announcers := make(map[p2p.Key]map[ident.Pod]bool)
	for _, pod := range pods {
		keys := announced(p.reg.network, pod, lay)
		if len(keys) > placement.Groups {
			t.Errorf("%d keys", len(keys))
		}
		for _, key := range keys {
			if announcers[key] == nil {
				announcers[key] = make(map[ident.Pod]bool)
			}
			announcers[key][pod] = true
		}
	}
	for g := range placement.Group(placement.Groups) {
		for _, pod := range lay.Set(g, 6) { // as rs:4+2 has them
			if !announcers[p2p.GroupKey(p.reg.network, uint16(g))][pod] {
				t.Fatalf("group %d is held by %s, which does not announce it", g, pod)
			}
		}
	}
	groups := make(map[placement.Group]bool)
	const batch = 10_000
	for from := 0; from < chunks; from += batch {
		var list []block.Block
		for i := from; i < min(chunks, from+batch); i++ {
			plain := binary.BigEndian.AppendUint64(nil, uint64(i))
			id := block.Sum(block.Raw, plain)
			list = append(list, block.Block{ID: id, Plain: plain})
			groups[placement.GroupOf(id)] = true
		}
		if err := p.store.PutMany(ctx, list); err != nil {
			t.Fatal(err)
		}
	}
	if after := records(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("of nothing %v keys are announced, by the number of pods, and %v of %d chunks", before, after, chunks)
	}
	t.Logf("keys of a pod with %d chunks, by the number of pods: %v; they are of %d groups", chunks, before, len(groups))
	if len(announcers) != placement.Groups || len(groups) != placement.Groups {
		t.Errorf("%d groups are announced, chunks are of %d", len(announcers), len(groups))
	}
}
