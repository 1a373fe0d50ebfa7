package pod

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

const (
	logBytes     = 4 << 20   // of commits in one answer
	pushBytes    = 256 << 10 // of commits that are sent along with a head
	pullTimeout  = 30 * time.Second
	pullAgain    = time.Second // after a pull that failed
	commitsMax   = 1 << 16     // in one message
	commitMaxLen = 16 << 20
)

// puller catches up with other pods: one goroutine asks, one pod after the other, for the commits that their heads show and this pod lacks.
type puller struct {
	p    *Pod
	kick chan struct{} // capacity 1

	mu    sync.Mutex             // guards the fields below
	busy  bool                   // a round is under way
	fresh map[ident.Pod]bool     // connected since the last round: statements and peers are to be exchanged
	heads map[ident.Pod]state.VV // what a pod has, as its newest head says, where that is more than is here
	roots map[ident.Pod]block.ID // state roots that are to be compared with the one here
	known map[ident.Pod]block.ID // the last ones that were
	done  CatchUps
}

func newPuller(p *Pod) *puller {
	return &puller{
		p: p, kick: make(chan struct{}, 1), fresh: make(map[ident.Pod]bool), heads: make(map[ident.Pod]state.VV),
		roots: make(map[ident.Pod]block.ID), known: make(map[ident.Pod]block.ID),
	}
}

func (u *puller) wake() {
	select {
	case u.kick <- struct{}{}:
	default:
	}
}

func (u *puller) connected(pod ident.Pod) {
	u.mu.Lock()
	u.fresh[pod] = true
	u.mu.Unlock()
	u.wake()
}

func (u *puller) behind(pod ident.Pod, vv state.VV) {
	u.mu.Lock()
	u.heads[pod] = vv
	u.mu.Unlock()
	u.wake()
}

// retry has the heads looked at again.
func (u *puller) retry() { u.wake() }

func (u *puller) take() (fresh []ident.Pod, heads map[ident.Pod]state.VV) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for pod := range u.fresh {
		fresh = append(fresh, pod)
	}
	heads, u.heads = u.heads, make(map[ident.Pod]state.VV)
	clear(u.fresh)
	u.busy = true
	return fresh, heads
}

func (u *puller) rest() {
	u.mu.Lock()
	u.busy = false
	u.mu.Unlock()
}

// idle says whether there is nothing to catch up with, as far as is known here.
func (u *puller) idle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.busy && len(u.fresh) == 0 && len(u.heads) == 0
}

func (u *puller) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.kick:
		}
		fresh, heads := u.take()
		failed := false
		for _, pod := range fresh {
			failed = u.try(ctx, pod, u.meet(ctx, pod)) || failed
		}
		for pod, vv := range heads {
			err := u.pull(ctx, pod, vv)
			u.p.noteFuture(pod, err)
			if u.try(ctx, pod, err) {
				failed = true
				u.keep(pod, vv)
			}
		}
		u.compareRoots(ctx)
		u.rest()
		u.p.lookAtCuts()
		if failed {
			// Not at once, since what failed is no reason to hurry; what is told meanwhile is taken in as it comes.
			if err := clock.Sleep(ctx, u.p.clock, pullAgain); err != nil {
				return err
			}
			u.wake()
		}
	}
}

// try tells of a failure, and has the pod met again: it may know of members that are not known here.
func (u *puller) try(ctx context.Context, pod ident.Pod, err error) (failed bool) {
	if err == nil || ctx.Err() != nil || !u.p.net.Connected(pod) {
		return false
	}
	u.p.log.WarnContext(ctx, "a pod could not be caught up with; trying again", "pod", u.p.reg.name(pod), "err", err)
	u.mu.Lock()
	u.fresh[pod] = true
	u.mu.Unlock()
	return true
}

// keep remembers a head whose commits could not be had, unless a newer one came.
func (u *puller) keep(pod ident.Pod, vv state.VV) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, newer := u.heads[pod]; !newer {
		u.heads[pod] = vv
	}
}

// meet exchanges with a pod that has just connected, or whose commits are others than those here: statements, numbers (I3), addresses, heads.
func (u *puller) meet(ctx context.Context, pod ident.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	p := u.p
	if err := p.swapStatements(ctx, pod); err != nil {
		return err
	}
	if err := p.compareClock(ctx, pod); err != nil {
		p.log.DebugContext(ctx, "a pod did not tell its time", "pod", p.reg.name(pod), "err", err)
	}
	if p.blind() || p.reg.blind(pod) {
		return u.meetBlind(ctx, pod)
	}
	p.compareFirst(ctx)
	if err := p.db.Reconcile(ctx, podPeer{p, pod}); err != nil {
		return err
	}
	p.peers.update(pod, func(f *peerFacts) { f.compared = true })
	book, err := p.net.Ask(ctx, pod, p2p.KindPeers, nil)
	if err != nil {
		return err
	}
	if err := p.meetPeers(ctx, book); err != nil {
		return err
	}
	head, err := p.headMessage(ctx, nil)
	if err != nil {
		return err
	}
	p.net.Tell(pod, p2p.KindHead, head)
	p.net.Tell(pod, p2p.KindUsage, p.usageMessage(ctx))
	return p.askHead(ctx, pod, head)
}

// askHead asks a pod for its head, where one of the two may have been blind until now: what the other told meanwhile was not heard.
func (p *Pod) askHead(ctx context.Context, pod ident.Pod, mine []byte) error {
	if !p.reg.defaults().Encrypted() || p.peers.of(pod).met {
		return nil
	}
	answer, err := p.net.Ask(ctx, pod, p2p.KindHead, mine)
	if err == nil {
		p.toldHead(ctx, pod, answer)
	}
	return err
}

// meetBlind is the rest of meet where one of the two pods is blind, or both are: addresses, and how full they are. A blind one that could read before tells what it has of the changes: it may be the
// only one.
func (u *puller) meetBlind(ctx context.Context, pod ident.Pod) error {
	p := u.p
	book, err := p.net.Ask(ctx, pod, p2p.KindPeers, nil)
	if err != nil {
		return err
	}
	if err := p.meetPeers(ctx, book); err != nil {
		return err
	}
	p.peers.update(pod, func(f *peerFacts) { f.met = true })
	p.net.Tell(pod, p2p.KindUsage, p.usageMessage(ctx))
	if p.reg.blind(pod) || len(p.db.VV()) == 0 {
		return nil
	}
	head, err := p.headMessage(ctx, nil)
	if err == nil {
		p.net.Tell(pod, p2p.KindHead, head)
	}
	return err
}

// meetAgain meets all that are connected, where that may be done another way now: somebody has another role.
func (p *Pod) meetAgain() {
	if !p.reg.defaults().Encrypted() {
		return
	}
	for _, pod := range p.connected() {
		p.peers.update(pod, func(f *peerFacts) { f.met, f.compared = false, false })
		p.pulls.connected(pod)
	}
}

// pull asks a pod for commits until this pod has what the other's head shows, or for its tree, where the log does not reach back or is
// the longer way.
func (u *puller) pull(ctx context.Context, pod ident.Pod, vv state.VV) error {
	p := u.p
	tree := true // worth a question
	for !p.wanted(vv).LessEqual(p.db.VV()) {
		size, err := u.pullLog(ctx, pod, vv)
		switch {
		case errors.Is(err, block.ErrNotFound): // the log doesn't reach back
			err = p.catchUp(ctx, pod)
		case err == nil && tree && size >= logBytes/2 && !p.wanted(vv).LessEqual(p.db.VV()):
			err = p.catchUp(ctx, pod)
			if tree = err == nil; errors.Is(err, errLogIsShorter) || errors.Is(err, block.ErrNotFound) {
				err = nil
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pullLog asks a pod for some of the commits that are lacking here; size is how many bytes came.
func (u *puller) pullLog(ctx context.Context, pod ident.Pod, vv state.VV) (size int, err error) {
	p := u.p
	before, with := p.db.VV(), p.askWith(vv)
	answer, err := p.ask(ctx, pod, p2p.KindLog, with.Append(nil))
	if err != nil {
		return 0, err
	}
	commits, err := decodeCommits(answer)
	if err != nil {
		return 0, err
	}
	if len(commits) == 0 {
		return 0, fmt.Errorf("pod: %s has changes that it doesn't send: %w", p.reg.name(pod), block.ErrUnavailable)
	}
	u.count(func(c *CatchUps) { c.LogBytes += int64(len(answer)) })
	n, err := p.apply(ctx, commits)
	again := p.askWith(vv)
	news := !again.LessEqual(with) || !with.LessEqual(again)
	if errors.Is(err, state.ErrRefused) || errors.Is(err, state.ErrGap) && news {
		// What does not count was passed over, or more counts by what these rest on.
		p.log.DebugContext(ctx, "a pod sent changes that don't count, or before others on which they rest", "pod", p.reg.name(pod), "err", err)
		if n > 0 || news {
			return len(answer), nil
		}
	}
	if n == 0 && err == nil && p.db.VV().LessEqual(before) { // else they came by another way
		err = fmt.Errorf("pod: %s sends changes that were not asked for: %w", p.reg.name(pod), block.ErrCorrupt)
	}
	return len(answer), err
}

// apply takes over commits of others, and tells what is new of them.
func (p *Pod) apply(ctx context.Context, commits [][]byte) (int, error) {
	n, err := p.db.Apply(ctx, commits)
	if n > 0 {
		p.spread.poke()
		p.touched()
	}
	return n, err
}

// toldHead hears a pod's head, and commits that came with it.
func (p *Pod) toldHead(ctx context.Context, from ident.Pod, body []byte) {
	if p.blind() {
		return
	}
	head, sum, commits, err := p.readHead(body)
	if err != nil {
		p.log.WarnContext(ctx, "a pod's head is not believed", "pod", p.reg.name(from), "err", err)
		return
	}
	if p.differs(head.VV, sum) {
		p.pulls.connected(from) // to find out where its commits and those here part
		return
	}
	// The pod counts as met once what its head shows is here, or is being asked for.
	defer p.peers.update(from, func(f *peerFacts) { f.root, f.met, f.vv = head.TreeRoot, true, head.VV })
	p.pulls.compare(from, head)
	if p.wanted(head.VV).LessEqual(p.db.VV()) {
		p.noteFuture(from, nil)
		return
	}
	if len(commits) > 0 {
		_, err := p.apply(ctx, commits)
		p.noteFuture(from, err)
		if err != nil && !errors.Is(err, state.ErrGap) && !errors.Is(err, state.ErrRefused) {
			p.log.WarnContext(ctx, "changes that a pod sent were not taken over", "pod", p.reg.name(from), "err", err)
		}
	}
	if !p.wanted(head.VV).LessEqual(p.db.VV()) {
		p.pulls.behind(from, head.VV)
	}
}

// differs says whether a pod with the vector of this one has other commits under it.
func (p *Pod) differs(vv state.VV, sum [8]byte) bool {
	mine := p.db.VV()
	if !vv.LessEqual(mine) || !mine.LessEqual(vv) {
		return false
	}
	tips, err := p.db.Tips()
	return err == nil && len(tips) == len(vv) && state.TipsSum(tips) != sum
}

// headMessage is this pod's head, with its newest commits where they are few: [head, sum of the tips, [commit…]].
func (p *Pod) headMessage(ctx context.Context, since state.VV) ([]byte, error) {
	head, err := p.db.Head(ctx)
	if err != nil {
		return nil, err
	}
	tips, err := p.db.Tips()
	if err != nil {
		return nil, err
	}
	sum := state.TipsSum(tips)
	var commits [][]byte
	if since != nil {
		if commits, err = p.db.Log(ctx, since, pushBytes); err != nil {
			return nil, err
		}
	}
	b := cbor.AppendArray(nil, 3)
	b = cbor.AppendBytes(b, head)
	b = cbor.AppendBytes(b, sum[:])
	return append(b, encodeCommits(commits)...), nil
}

// readHead reads what headMessage writes. The connection has proved whose it is, so that the head's own signature, which costs as much as that of a commit, is not looked at:
// it is for those who get the head from somebody else.
func (p *Pod) readHead(body []byte) (head *state.Head, sum [8]byte, commits [][]byte, err error) {
	r := cbor.NewReader(body)
	r.Tuple(3)
	b := r.Bytes(p2p.TellMax)
	copy(sum[:], r.Fixed(len(sum)))
	if err := r.Err(); err != nil {
		return nil, sum, nil, err
	}
	if commits, err = decodeCommits(r.Rest()); err != nil {
		return nil, sum, nil, err
	}
	if head, err = state.DecodeHead(b); err != nil {
		return nil, sum, nil, err
	}
	if head.Network != p.reg.network {
		return nil, sum, nil, state.ErrForeign
	}
	return head, sum, commits, nil
}

func encodeCommits(commits [][]byte) []byte {
	b := cbor.AppendArray(nil, len(commits))
	for _, c := range commits {
		b = cbor.AppendBytes(b, c)
	}
	return b
}

func decodeCommits(b []byte) ([][]byte, error) {
	r := cbor.NewReader(b)
	var out [][]byte
	for range r.Array(commitsMax) {
		out = append(out, r.Bytes(commitMaxLen))
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("pod: commits: %w", err)
	}
	return out, nil
}

// answerLog is the commits that a pod with this version vector lacks.
func (p *Pod) answerLog(ctx context.Context, from ident.Pod, body []byte) ([]byte, error) {
	have, err := state.DecodeVV(body)
	if err != nil {
		return nil, err
	}
	p.peers.update(from, func(f *peerFacts) { f.vv = have })
	commits, err := p.db.Log(ctx, have, logBytes)
	if errors.Is(err, state.ErrTruncated) {
		return nil, fmt.Errorf("%w: %w", block.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	return encodeCommits(commits), nil
}
