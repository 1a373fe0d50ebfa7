package p2p

import (
	"context"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	meshMax     = 64               // pods that are looked for: the full mesh
	seekSettle  = time.Second      // after a member was admitted: others may follow at once
	seekTimeout = 30 * time.Second // for one look around
	seekEvery   = 10 * time.Minute // without news
	seekMissing = time.Minute      // while a known pod is not connected
)

// seek finds the pods of the network through those that are connected, soon after each that comes, and dials them.
func (k *kademlia) seek(ctx context.Context) error {
	if k.c.still {
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		wait := seekEvery
		if k.h.missing() {
			wait = seekMissing
		}
		t := k.h.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-k.kicked:
			t.Stop()
			if err := clock.Sleep(ctx, k.h.clock, seekSettle); err != nil {
				return err
			}
		case <-t.C:
		}
		k.look(ctx)
	}
}

// look looks around once.
func (k *kademlia) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, seekTimeout)
	defer cancel()
	if k.ready(ctx) != nil || len(k.h.Peers()) >= meshMax {
		return
	}
	id, err := peerID(k.h.pod)
	if err != nil {
		return
	}
	if _, err := k.dht.GetClosestPeers(ctx, string(id)); err != nil { // it dials those that it finds
		k.h.log.DebugContext(ctx, "dht: no pod could be asked", "err", err)
		return
	}
	for info := range k.dht.FindProvidersAsync(ctx, cidOf(networkKey(k.h.cfg.Network)), meshMax) {
		pod, err := podOf(info.ID)
		if err != nil || pod == k.h.pod || k.h.Connected(pod) || len(info.Addrs) == 0 {
			continue
		}
		k.h.foundBy(pod, parseMultiaddrs(info.Addrs))
	}
	for _, pod := range k.absent() {
		if err := k.Reach(ctx, pod); err != nil {
			k.h.log.DebugContext(ctx, "dht: a known pod was not found", "pod", pod.String(), "err", err)
		}
	}
}

// absent are some known pods that are not connected.
func (k *kademlia) absent() []ident.Pod {
	k.h.mu.Lock()
	defer k.h.mu.Unlock()
	var out []ident.Pod
	for pod, known := range k.h.known {
		if p := k.h.peers[pod]; known.keep && (p == nil || len(p.links) == 0) && len(out) < absentMax {
			out = append(out, pod)
		}
	}
	return out
}

// absentMax is how many pods that are not connected one look asks for: each may take seconds of dials in vain.
const absentMax = 4
