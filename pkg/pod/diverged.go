package pod

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// compare has a pod's state root compared with the one here, if they may be of one version vector and are not the same.
func (u *puller) compare(pod ident.Pod, head *state.Head) {
	mine := u.p.db.LastCheckpoint()
	if head.Checkpoint.IsZero() || mine.State.IsZero() {
		return
	}
	if head.Checkpoint == mine.State {
		u.p.peers.update(pod, func(f *peerFacts) { f.diverged = false })
		return
	}
	if !head.VV.LessEqual(mine.VV) || !mine.VV.LessEqual(head.VV) {
		return
	}
	u.mu.Lock()
	fresh := u.known[pod] != head.Checkpoint
	if fresh {
		u.roots[pod] = head.Checkpoint
	}
	u.mu.Unlock()
	if fresh {
		u.wake()
	}
}

// compareRoots looks whether roots that differ from the one here have its version vector: then one of the pods is faulty, and neither
// state may be joined into the other.
func (u *puller) compareRoots(ctx context.Context) {
	u.mu.Lock()
	roots := u.roots
	u.roots = make(map[ident.Pod]block.ID)
	u.mu.Unlock()
	for pod, id := range roots {
		b, err := u.p.askFor(ctx, pod, id)
		if err != nil {
			continue // its next head is compared
		}
		u.mu.Lock()
		u.known[pod] = id
		u.mu.Unlock()
		root, err := state.DecodeRoot(b)
		if err != nil {
			u.p.log.WarnContext(ctx, "a pod's state root can't be read", "pod", u.p.reg.name(pod), "err", err)
			continue
		}
		mine := u.p.db.LastCheckpoint()
		if mine.State != id && root.VV.LessEqual(mine.VV) && mine.VV.LessEqual(root.VV) {
			u.p.diverged(ctx, pod)
		}
	}
}

// diverged raises the alarm about a pod with another state of the same history.
func (p *Pod) diverged(ctx context.Context, pod ident.Pod) {
	p.log.ErrorContext(ctx, "a pod has another state than this one after the same commits: one of the two is faulty; neither takes over the other's tree",
		"pod", p.reg.name(pod))
	p.peers.update(pod, func(f *peerFacts) { f.diverged = true })
}
