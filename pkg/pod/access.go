package pod

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Extension fields of the network's settings about who may join, both texts.
const (
	fieldAccess     = 20
	fieldMembersMax = 21
)

// Who may join a network without an invitation, and without being a user's pod.
const (
	AccessInvite = "invite" // nobody
	AccessAsk    = "ask"    // whom an admin accepts
	AccessOpen   = "open"   // everybody, as a reader, up to a number of members
)

const defaultMembersMax = 64

// accessKeys are the keys of the network about who may join.
func accessKeys() []config.Key {
	return []config.Key{
		{
			Name: "access", Default: AccessInvite, Check: checkAccess,
			Doc: "Who may join with no invitation: invite (nobody), ask (whom an admin accepts: wh member pending), or open (everybody who\nreaches an admin's pod, as a reader).",
		},
		{
			Name: "members_max", Default: strconv.Itoa(defaultMembersMax), Check: checkMembersMax,
			Doc: "With access open, nobody joins any more once the network has so many pods.",
		},
		certLifeKey(),
	}
}

func checkAccess(s string) error { return oneOf(AccessInvite, AccessAsk, AccessOpen)(s) }

func checkMembersMax(s string) error {
	if n, err := strconv.Atoi(s); err != nil || n < 1 || n > ident.MemberMax {
		return fmt.Errorf("%q is no number from 1 to %d", s, ident.MemberMax)
	}
	return nil
}

// Limits of who waits to be let in.
const (
	askersMax   = 64               // who wait; another is told to ask later
	askersHeld  = 8                // of them whose question is held until an admin has answered
	askHeld     = 20 * time.Second // for so long; p2p ends an enrolment after 30 s
	askForgot   = 2 * time.Minute  // who doesn't ask again for so long has gone
	deniedFor   = time.Hour        // who was denied is told so, instead of waiting
	deniedMax   = 1024
	deniedAgain = "an admin has denied this"
)

// Asker is a stranger that waits for an admin to let it in.
type Asker struct {
	Name  string // as it calls itself
	Pod   ident.Pod
	Since time.Time
}

// askers are the strangers that wait.
type askers struct {
	mu     sync.Mutex // guards the fields below
	list   map[ident.Pod]*asker
	denied map[ident.Pod]time.Time // when
	held   int
}

type asker struct {
	Asker
	last    time.Time // when it asked last
	role    member.Role
	decided chan struct{} // closed when an admin has accepted or denied it
}

func newAskers() askers {
	return askers{list: make(map[ident.Pod]*asker), denied: make(map[ident.Pod]time.Time)}
}

// ask notes a stranger, who may be known. The error is member.ErrDenied for one that was denied, member.ErrPending where too many wait.
func (a *askers) ask(pod ident.Pod, name string, now time.Time) (w *asker, fresh bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, w := range a.list {
		if now.Sub(w.last) > askForgot {
			delete(a.list, other)
		}
	}
	if at, ok := a.denied[pod]; ok && now.Sub(at) < deniedFor {
		return nil, false, fmt.Errorf("pod: %s: %w", deniedAgain, member.ErrDenied)
	}
	w, known := a.list[pod]
	if !known {
		if len(a.list) >= askersMax {
			return nil, false, fmt.Errorf("pod: %d others wait: %w", len(a.list), member.ErrPending)
		}
		w = &asker{Asker: Asker{Name: name, Pod: pod, Since: now}, decided: make(chan struct{})}
		a.list[pod] = w
	}
	w.last = now
	return w, !known, nil
}

// decide ends a stranger's wait: with a role it is let in when it asks again, with 0 it is denied. Error: ErrNoSuchPod.
func (a *askers) decide(name string, role member.Role, now time.Time) (Asker, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found []*asker
	for _, w := range a.list {
		if (w.Name == name || w.Pod.String() == name) && w.role == 0 {
			found = append(found, w)
		}
	}
	switch {
	case len(found) == 0:
		return Asker{}, fmt.Errorf("pod: %q does not wait to be let in: %w", name, ErrNoSuchPod)
	case len(found) > 1:
		return Asker{}, fmt.Errorf("pod: %d pods wait that call themselves %q; name one by its id: %w", len(found), name, vfs.ErrExist)
	}
	w := found[0]
	w.role = role
	close(w.decided)
	if role == 0 {
		delete(a.list, w.Pod)
		if len(a.denied) >= deniedMax {
			clear(a.denied)
		}
		a.denied[w.Pod] = now
	}
	return w.Asker, nil
}

// accepted is the role with which an admin accepted a stranger; 0: none did yet.
func (a *askers) accepted(w *asker) member.Role {
	a.mu.Lock()
	defer a.mu.Unlock()
	return w.role
}

func (a *askers) gone(pod ident.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.list, pod)
}

// hold waits until an admin has decided, or for askHeld, if not too many wait so.
func (a *askers) hold(ctx context.Context, c clock.Clock, w *asker) {
	a.mu.Lock()
	room := a.held < askersHeld
	if room {
		a.held++
	}
	a.mu.Unlock()
	if !room {
		return
	}
	defer func() {
		a.mu.Lock()
		a.held--
		a.mu.Unlock()
	}()
	t := c.NewTimer(askHeld)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-w.decided:
	case <-t.C:
	}
}

// Pending are the strangers that wait for an admin here to let them in, those that have waited longest first.
func (p *Pod) Pending() []Asker {
	p.askers.mu.Lock()
	defer p.askers.mu.Unlock()
	out := []Asker{}
	for _, w := range p.askers.list {
		if w.role == 0 && p.clock.Now().Sub(w.last) <= askForgot {
			out = append(out, w.Asker)
		}
	}
	slices.SortFunc(out, func(x, y Asker) int { return x.Since.Compare(y.Since) })
	return out
}

// Accept lets in a stranger that waits, by its name or ID, with a role; Deny sends it away for an hour. Errors: ErrNoSuchPod; vfs.ErrExist where several
// have the name; member.ErrDenied where this pod is no admin's; member.ErrBadName.
func (p *Pod) Accept(_ context.Context, name, role string) error {
	r, err := member.ParseRole(role)
	if err != nil {
		return err
	}
	return p.decide(name, r)
}

// Deny is the opposite of Accept.
func (p *Pod) Deny(_ context.Context, name string) error { return p.decide(name, 0) }

func (p *Pod) decide(name string, role member.Role) error {
	if _, err := p.authority(); err != nil {
		return err
	}
	_, err := p.askers.decide(name, role, p.clock.Now())
	return err
}

// access is who may join without an invitation. To an encrypted network nobody comes unseen, since who comes gets its key.
func (p *Pod) access() string {
	mode := p.textRule(textRules["access"]).Value
	if mode == AccessOpen && p.reg.defaults().Encrypted() {
		return AccessAsk
	}
	return mode
}

// mayTake says whether this pod lets strangers in at all.
func (p *Pod) mayTake(q member.EnrolRequest) error {
	if err := p.ofNetwork(q.NetworkName); err != nil {
		return err
	}
	if p.access() == AccessInvite {
		// A stranger that guesses names learns nothing of this network, as if the pod were of another.
		return fmt.Errorf("pod: this pod %w, or takes in nobody without an invitation", member.ErrElsewhere)
	}
	if _, err := p.authority(); err != nil {
		return fmt.Errorf("pod: admins' pods alone let others in, and this is none: %w", member.ErrDenied)
	}
	return nil
}

// look answers a stranger that looks for a network by its name.
func (p *Pod) look(q member.EnrolRequest) (member.EnrolReply, error) {
	if err := p.mayTake(q); err != nil {
		return member.EnrolReply{}, err
	}
	return member.EnrolReply{Chain: p.ownChain(), NetworkName: p.reg.defaults().Name, Text: p.access()}, nil
}

// enrolAsker answers a stranger that asks to be let in with nothing to show.
func (p *Pod) enrolAsker(ctx context.Context, pod ident.Pod, q member.EnrolRequest) (member.EnrolReply, error) {
	if err := p.mayTake(q); err != nil {
		return member.EnrolReply{}, err
	}
	if p.access() == AccessOpen {
		return p.enrolOpen(ctx, pod, q)
	}
	if _, known := p.reg.cert(pod); known { // its answer was lost
		return p.enrolAs(ctx, pod, q.PodName, member.RoleReader)
	}
	w, fresh, err := p.askers.ask(pod, q.PodName, p.clock.Now())
	if err != nil {
		return member.EnrolReply{}, err
	}
	if fresh {
		p.log.InfoContext(ctx, "a pod asks to be let in", "pod", pod, "name", q.PodName)
		p.event(Event{Kind: EventAsks, Pod: q.PodName, Text: "its id is " + pod.String() + "; wh member accept lets it in"})
	}
	p.askers.hold(ctx, p.clock, w)
	role := p.askers.accepted(w)
	if role == 0 {
		if _, _, err := p.askers.ask(pod, q.PodName, p.clock.Now()); err != nil {
			return member.EnrolReply{}, err
		}
		return member.EnrolReply{}, fmt.Errorf("pod: %q %w", q.PodName, member.ErrPending)
	}
	reply, err := p.enrolAs(ctx, pod, q.PodName, role)
	if err == nil {
		p.askers.gone(pod)
	}
	return reply, err
}

// enrolOpen lets in who asks, as a reader, while the network has room.
func (p *Pod) enrolOpen(ctx context.Context, pod ident.Pod, q member.EnrolRequest) (member.EnrolReply, error) {
	limit, err := strconv.Atoi(p.textRule(textRules["members_max"]).Value)
	if err != nil {
		return member.EnrolReply{}, fmt.Errorf("pod: members_max: %w", err)
	}
	p.inviting.Lock()
	defer p.inviting.Unlock()
	if _, known := p.reg.cert(pod); !known && p.activeMembers() >= limit {
		return member.EnrolReply{}, fmt.Errorf("pod: the network has as many members as it takes by itself, %d (members_max): %w", limit, member.ErrDenied)
	}
	return p.enrolAsLocked(ctx, pod, q.PodName, member.RoleReader)
}

// activeMembers is how many pods are members that were not revoked.
func (p *Pod) activeMembers() int {
	n := 0
	for _, c := range p.reg.pods() {
		if !p.reg.isRevoked(c.Pod()) {
			n++
		}
	}
	return n
}

func (p *Pod) enrolAs(ctx context.Context, pod ident.Pod, name string, role member.Role) (member.EnrolReply, error) {
	p.inviting.Lock()
	defer p.inviting.Unlock()
	return p.enrolAsLocked(ctx, pod, name, role)
}

// enrolAsLocked lets a pod in; inviting is held.
func (p *Pod) enrolAsLocked(ctx context.Context, pod ident.Pod, name string, role member.Role) (member.EnrolReply, error) {
	chain, err := p.certify(pod, name, role)
	if err != nil {
		return member.EnrolReply{}, err
	}
	return p.letIn(ctx, chain)
}

// accessText is the field of new settings; nil for what holds without it. The error is config.ErrBad.
func accessText(access string) ([]member.Field, error) {
	if access == "" || access == AccessInvite {
		return nil, nil
	}
	if err := checkAccess(access); err != nil {
		return nil, fmt.Errorf("access: %w: %w", config.ErrBad, err)
	}
	return []member.Field{{ID: fieldAccess, Value: []byte(access)}}, nil
}
