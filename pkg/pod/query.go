package pod

import (
	"context"
	"fmt"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/store"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Root is the tree root of all that was done here and heard from others before the call.
func (p *Pod) Root(ctx context.Context) (block.ID, error) {
	c, err := p.rootNow(ctx)
	return c.Tree, err
}

// StateRoot is the state root of the same.
func (p *Pod) StateRoot(ctx context.Context) (block.ID, error) {
	c, err := p.rootNow(ctx)
	return c.State, err
}

func (p *Pod) rootNow(ctx context.Context) (state.CheckpointInfo, error) {
	if err := p.sees(); err != nil {
		return state.CheckpointInfo{}, err
	}
	if err := p.barrier.wait(ctx); err != nil {
		return state.CheckpointInfo{}, err
	}
	return p.checkpoint(ctx)
}

// CID is the CID of a file's body, zero for an empty one, or of a folder's node in the tree root.
func (p *Pod) CID(ctx context.Context, id vfs.NodeID) (block.ID, error) {
	if _, err := p.rootNow(ctx); err != nil {
		return block.ID{}, err
	}
	return p.db.NodeCID(id)
}

// Pods tells of all pods of the network.
func (p *Pod) Pods(ctx context.Context) ([]PodInfo, error) {
	states := p.states()
	var out []PodInfo
	for _, cert := range p.reg.pods() {
		pod := cert.Pod()
		facts := p.peers.of(pod)
		info := PodInfo{
			Pod: pod, Name: cert.Name, Self: pod == p.id, State: states[pod], Role: cert.Role.String(),
			UsedBytes: facts.used, FreeBytes: facts.free, LastSeen: facts.lastSeen, Root: facts.root,
		}
		if e, ok := p.reg.entry(pod); ok {
			info.Zone, info.Class, info.Weight = e.Zone, e.Class, e.Weight
		}
		if info.State == "lost" {
			info.Weight = 0
		}
		if h := facts.found; h != nil && !h.TreeRoot.IsZero() && facts.vv.LessEqual(h.VV) {
			info.Root = h.TreeRoot // it told others later than this pod, or before this one started
		}
		if info.Self {
			u, err := p.Usage(ctx)
			if err != nil {
				return nil, err
			}
			info.UsedBytes, info.FreeBytes, info.LastSeen = u.Stored, u.Free, p.clock.Now()
			info.Root = p.db.LastCheckpoint().Tree
		}
		out = append(out, info)
	}
	for _, peer := range p.net.Peers() {
		for i := range out {
			if out[i].Pod == peer.Pod && peer.LastHeard.After(out[i].LastSeen) {
				out[i].LastSeen = peer.LastHeard
			}
		}
	}
	return out, nil
}

// Usage tells how the disk is used.
func (p *Pod) Usage(context.Context) (Usage, error) {
	u := p.store.Usage()
	return Usage{
		Stored: u.OwnedBytes + u.CachedBytes + u.TrashBytes, Live: u.OwnedBytes, Cache: u.CachedBytes, Trash: u.TrashBytes,
		Garbage: u.DeadBytes, Free: u.FreeBytes,
	}, nil
}

// statFS is the network's room as df shows it: how many bytes of files its pods have room for under the network's policy. A pod that is down
// counts with what it last said.
func (p *Pod) statFS(ctx context.Context) (vfs.StatFS, error) {
	pods, err := p.Pods(ctx)
	if err != nil {
		return vfs.StatFS{}, err
	}
	var out vfs.StatFS
	stores := 0
	for _, pod := range pods {
		if pod.Weight == 0 && !pod.Self {
			continue
		}
		stores++
		out.Total += uint64(max(pod.UsedBytes, 0)) + uint64(max(pod.FreeBytes, 0))
		out.Free += uint64(max(pod.FreeBytes, 0))
	}
	policy, err := placement.ParsePolicy(p.reg.defaults().Policy)
	if err != nil {
		return vfs.StatFS{}, err
	}
	kept, of := storedShare(policy.Resolve(stores), stores)
	out.Total, out.Free = out.Total/of*kept, out.Free/of*kept
	return out, nil
}

// storedShare is how many bytes of files take how many bytes of disks under a policy, where so many pods store data.
func storedShare(policy placement.Policy, pods int) (kept, of uint64) {
	if policy.Kind == placement.PolicyRS {
		return uint64(policy.K), uint64(policy.K + policy.M)
	}
	return 1, uint64(max(1, min(policy.Copies(), pods)))
}

// Where tells who holds a file's blocks, as far as pods are connected, and how safe they are.
func (p *Pod) Where(ctx context.Context, id vfs.NodeID) (Where, error) {
	if err := p.sees(); err != nil {
		return Where{}, err
	}
	n, err := p.db.Get(id)
	if err != nil {
		return Where{}, err
	}
	if n.Kind == vfs.KindFolder {
		return Where{}, fmt.Errorf("pod: where is for files: node %d: %w", id, vfs.ErrIsDir)
	}
	policy, err := p.Policy(ctx, id)
	if err != nil {
		return Where{}, err
	}
	out := Where{Policy: policy.Policy}
	list, safety, err := p.judge(ctx, n)
	if err != nil {
		return Where{}, err
	}
	out.Safety, out.Safe = safety, safety.State == placement.StateSafe
	for _, c := range list {
		if out.ID.IsZero() {
			out.ID = c.id // the body's comes first
		}
		chunk := ChunkWhere{ID: c.id, Bytes: c.size, Safety: c.plan.Safety}
		for _, h := range c.holders {
			chunk.hold(h, p.reg.name(h.Pod), slices.Contains(c.keep, h.Pod))
		}
		out.Chunks = append(out.Chunks, chunk)
	}
	return out, nil
}

// judge says how safe a node's contents are, by what all connected pods say that they hold. Contents that are not named yet are
// dirty.
func (p *Pod) judge(ctx context.Context, n state.Node) ([]*placing, placement.Safety, error) {
	list, _, err := p.placingOf(ctx, []state.Node{n}, placeOptions{})
	if err != nil {
		return nil, placement.Safety{}, err
	}
	ask := make(map[ident.Pod][]*placing)
	for _, c := range list {
		c.hold(p.id, p.holds(c.id))
		if err := p.holdOwn(c); err != nil {
			return nil, placement.Safety{}, err
		}
	}
	for _, pod := range p.connected() {
		ask[pod] = list
	}
	if err := p.askAll(ctx, ask); err != nil {
		p.log.WarnContext(ctx, "where: not every pod answered", "err", err)
	}
	var worst placement.Safety
	net := p.nets()
	for _, c := range list {
		c.plan = net.plan(c, p.id)
		worst = worst.Worse(c.plan.Safety)
	}
	if p.isDirty(n.ID) {
		worst = worst.Worse(placement.Safety{State: placement.StateDirty, Need: 1})
	}
	return list, worst, nil
}

// isDirty says whether a file holds bytes that the state does not name yet.
func (p *Pod) isDirty(id vfs.NodeID) bool {
	n := p.inUse(id)
	if n == nil {
		return false
	}
	defer p.release(n)
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.loaded && n.changed()
}

func (c *ChunkWhere) hold(h placement.Holder, name string, pinned bool) {
	one := Holder{Pod: h.Pod, Name: name, Index: -1}
	switch {
	case h.Whole:
		one.Kind, one.Pinned = "whole", pinned
		c.Holders = append(c.Holders, one)
	case h.Cached:
		one.Kind = "cached"
		c.Holders = append(c.Holders, one)
	}
	for _, f := range h.Fragments {
		one.Kind, one.Index, one.Pinned = "fragment", int(f.Index), false
		c.Holders = append(c.Holders, one)
	}
}

// Policy tells which policy holds at a node.
func (p *Pod) Policy(_ context.Context, id vfs.NodeID) (Policy, error) {
	if err := p.sees(); err != nil {
		return Policy{}, err
	}
	w, from, err := p.db.EffectiveWish(id)
	if err != nil {
		return Policy{}, err
	}
	d := p.reg.defaults()
	out := Policy{Policy: d.Policy, Durability: d.Durability}
	if w.Policy.Value != "" {
		out.Policy = w.Policy.Value
		if out.From, err = p.db.Path(from); err != nil {
			return Policy{}, err
		}
	}
	if w.Durability.Value != "" {
		out.Durability = w.Durability.Value
	}
	out.Rules, err = p.rulesAt(id)
	return out, err
}

// SetPolicy sets the policy and durability of a node and all below it that has none of its own. "" leaves one as it
// is, "unset" removes it. Error: placement.ErrBadPolicy.
func (p *Pod) SetPolicy(ctx context.Context, id vfs.NodeID, policy, durability string) error {
	if err := p.writable(); err != nil {
		return err
	}
	var edit state.WishEdit
	switch policy {
	case "":
	case "unset":
		edit.Policy = new(string)
	default:
		text, err := p.policyText(policy)
		if err != nil {
			return err
		}
		edit.Policy = &text
	}
	switch durability {
	case "":
	case "unset":
		edit.Durability = new(string)
	default:
		if err := checkDurability(durability); err != nil {
			return err
		}
		edit.Durability = &durability
	}
	if err := p.db.SetWish(id, edit); err != nil {
		return err
	}
	p.spread.poke()
	return p.barrier.wait(ctx)
}

// Fsck checks the pod's own data, and with repair set mends what it can: a damaged block is got from another pod.
func (p *Pod) Fsck(ctx context.Context, repair bool, f func(Problem)) error {
	// A damaged block is replaced after the check, which holds the segments.
	var damaged []store.Problem
	err := p.store.Check(ctx, func(pr store.Problem) {
		if !repair {
			f(Problem{Where: "store", What: pr.String()})
			return
		}
		damaged = append(damaged, pr)
	})
	for _, pr := range damaged {
		f(p.mend(ctx, pr))
	}
	if err != nil {
		return err
	}
	if err := p.db.Check(ctx, func(problem string) { f(Problem{Where: "state", What: problem}) }); err != nil {
		return err
	}
	return p.checkContents(ctx, f)
}

// checkContents looks for contents of the tree whose bytes this pod should own, as their author, and lacks.
func (p *Pod) checkContents(ctx context.Context, f func(Problem)) error {
	return p.db.EachContent(ctx, func(n state.Node) error {
		if n.Content.Dot.Actor != p.db.Actor() {
			return nil
		}
		body := block.Sum(block.DagCBOR, n.Body)
		err := p.contentBlocks(ctx, n, func(w wanted) error {
			if w.id == body {
				return nil // the body stands in the row, and the next checkpoint puts it
			}
			what := p.checkBlock(ctx, w)
			if what == "" {
				return nil
			}
			path, pathErr := p.db.Path(n.ID)
			if pathErr != nil {
				path = fmt.Sprintf("inode %d", n.ID)
			}
			f(Problem{Where: path, What: what})
			return nil
		})
		if err != nil {
			f(Problem{Where: fmt.Sprintf("inode %d", n.ID), What: err.Error()})
		}
		return ctx.Err()
	})
}

// checkBlock says what is wrong with a block of a content; "" for nothing. What is here was checked against its hash; of what is sealed
// it is also checked that it opens, and is as long as the content says.
func (p *Pod) checkBlock(ctx context.Context, w wanted) string {
	owned, isCached := p.store.Has(w.id)
	here := owned || isCached
	sealed := len(p.seal.Load().keys) > 0 && w.id.Codec() == block.Raw
	if here && !sealed {
		return ""
	}
	plain, err := p.getBlock(ctx, w.id)
	switch {
	case err != nil && here:
		return fmt.Sprintf("chunk %s can't be opened: %v", w.id, err)
	case err != nil:
		return fmt.Sprintf("block %s is not here and can't be got: %v", w.id, err)
	case int64(len(plain)) < w.size:
		return fmt.Sprintf("chunk %s has %d bytes of the %d that a file has of it", w.id, len(plain), w.size)
	}
	return ""
}
