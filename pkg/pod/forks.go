package pod

import (
	"context"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// podPeer asks another pod what Reconcile wants to know.
type podPeer struct {
	p   *Pod
	pod ident.Pod
}

var _ state.Peer = podPeer{}

// Forks is state.Peer's: they came with the statements.
func (o podPeer) Forks(context.Context) ([][]byte, error) { return nil, nil }

// Tips is state.Peer's. The other pod hears what is here, too.
func (o podPeer) Tips(ctx context.Context) ([]state.Tip, error) {
	mine, err := o.p.db.Tips()
	if err != nil {
		return nil, err
	}
	answer, err := o.p.net.Ask(ctx, o.pod, p2p.KindTips, state.AppendTips(nil, mine))
	if err != nil {
		return nil, err
	}
	return state.DecodeTips(answer)
}

// Log is state.Peer's.
func (o podPeer) Log(ctx context.Context, have state.VV) ([][]byte, error) {
	answer, err := o.p.net.Ask(ctx, o.pod, p2p.KindLog, have.Append(nil))
	if err != nil {
		return nil, err
	}
	return decodeCommits(answer)
}

// Digests is state.Peer's.
func (o podPeer) Digests(ctx context.Context, label ident.Actor, from uint64) ([]byte, error) {
	return o.p.ask(ctx, o.pod, p2p.KindDigests, state.AppendFrom(nil, label, from))
}

// Now is state.Peer's: what its machine says.
func (o podPeer) Now(ctx context.Context) (time.Time, error) {
	answer, err := o.p.net.Ask(ctx, o.pod, p2p.KindClock, nil)
	if err != nil {
		return time.Time{}, err
	}
	return o.p.readClock(o.pod, answer)
}

// answerTips is the last commit of each author that is here. If the asker has other commits of this pod, this one has to say where they part.
func (p *Pod) answerTips(from ident.Pod, body []byte) ([]byte, error) {
	if len(body) > 0 {
		theirs, err := state.DecodeTips(body)
		if err != nil {
			return nil, err
		}
		disputed, err := p.db.Disputed(theirs)
		if err != nil {
			return nil, err
		}
		if disputed {
			p.pulls.connected(from)
		}
	}
	tips, err := p.db.Tips()
	return state.AppendTips(nil, tips), err
}

// forkNews are forks that became known and were not passed on yet. The state tells of them while it holds its own locks, so that a
// goroutine passes them on.
type forkNews struct {
	kick chan struct{} // capacity 1

	mu   sync.Mutex // guards the field below
	list [][]byte
}

func newForkNews() *forkNews { return &forkNews{kick: make(chan struct{}, 1)} }

func (f *forkNews) note(statement []byte) {
	f.mu.Lock()
	f.list = append(f.list, member.EncodeStatement(member.KindFork, statement))
	f.mu.Unlock()
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

func (f *forkNews) take() [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.list
	f.list = nil
	return list
}

// runForks passes on what proves that copies of a pod went on apart: before the commits of one branch can be read, every pod must know of the other.
func (p *Pod) runForks(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.forks.kick:
		}
		if list := p.forks.take(); len(list) > 0 {
			p.noteForks(ctx, list)
			for _, pod := range p.sighted() {
				p.net.Tell(pod, p2p.KindStatements, encodeStatements(list))
			}
			p.touched()
			p.pulls.retry()
		}
	}
}

// noteForks tells people of pods whose identity was used twice.
func (p *Pod) noteForks(ctx context.Context, list [][]byte) {
	for _, s := range list {
		_, body, err := member.DecodeStatement(s)
		if err != nil {
			continue // the state made or proved it
		}
		f, err := state.DecodeFork(body)
		if err != nil {
			continue
		}
		name := p.reg.actorName(f.Actor())
		p.log.WarnContext(ctx, "copies of a pod went on apart", "pod", name)
		p.event(Event{Kind: EventForked, Pod: name, Text: "copies of it went on apart, as of a copied disk or a backup: nothing is lost; run one of them, and join anew with the other"})
	}
}
