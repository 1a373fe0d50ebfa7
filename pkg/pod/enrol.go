package pod

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

const keyInvite = "invite/"

var errBadInvite = errors.New("an invitation is for 1 to 1024 pods and a time that is to come")

// Invite makes a token that pods can join by, once each for uses pods, until ttl has passed.
// Errors: member.ErrDenied where this pod may admit nobody, ErrNoKey where it has no data key to give them.
func (p *Pod) Invite(ctx context.Context, role string, ttl time.Duration, uses int) (string, error) {
	r, err := member.ParseRole(role)
	if err != nil {
		return "", err
	}
	if _, err := p.authority(); err != nil {
		return "", err
	}
	if err := p.seal.Load().usable(); err != nil && r.MayRead() {
		return "", err
	}
	if uses < 1 || uses > member.InviteUsesMax || ttl <= 0 {
		return "", fmt.Errorf("pod: invite %d times for %s: %w", uses, ttl, errBadInvite)
	}
	token := member.Token{Network: p.reg.network, NetworkName: p.reg.defaults().Name, Issuer: p.id, Addrs: p.net.Addrs()}
	if _, err := rand.Read(token.Secret[:]); err != nil {
		return "", fmt.Errorf("pod: invite: %w", err)
	}
	invite := member.Invite{
		SecretHash: member.HashSecret(token.Secret), Role: r,
		Expires: p.clock.Now().Add(ttl).Unix(), Uses: uint32(uses),
	}
	return token.String(), p.db.SetLocal(ctx, inviteKey(invite.SecretHash), invite.Encode())
}

func inviteKey(hash [32]byte) string { return keyInvite + hex.EncodeToString(hash[:]) }

// enrol answers a stranger that asks to be let in.
func (p *Pod) enrol(ctx context.Context, pod ident.Pod, request []byte) ([]byte, error) {
	reply, err := p.enrolPod(ctx, pod, request)
	if err != nil {
		p.refused(ctx, pod, "a pod was not let in", err)
		reply = member.RefuseEnrol(err)
	}
	return reply.Encode(), nil
}

func (p *Pod) enrolPod(ctx context.Context, pod ident.Pod, request []byte) (member.EnrolReply, error) {
	q, err := member.DecodeEnrolRequest(request)
	if err != nil {
		return member.EnrolReply{}, err
	}
	if p.reg.isRevoked(pod) {
		return member.EnrolReply{}, fmt.Errorf("pod: the key of this pod was revoked, make a new pod: %w", member.ErrDenied)
	}
	if q.Step == member.StepAsk {
		return p.enrolAsker(ctx, pod, q) // it may wait for an admin
	}
	p.inviting.Lock()
	defer p.inviting.Unlock()
	switch q.Step {
	case member.StepToken:
		return p.enrolByToken(ctx, pod, q)
	case member.StepOffer:
		return p.offer(pod, q)
	case member.StepUser:
		return p.enrolByUser(ctx, pod, *q.Cert)
	case member.StepLook:
		return p.look(q)
	}
	return member.EnrolReply{}, fmt.Errorf("pod: step %d: %w", q.Step, member.ErrBadMessage)
}

func (p *Pod) enrolByToken(ctx context.Context, pod ident.Pod, q member.EnrolRequest) (member.EnrolReply, error) {
	key := inviteKey(member.HashSecret(q.Secret))
	b, ok, err := p.db.Local(key)
	if err != nil {
		return member.EnrolReply{}, err
	}
	if !ok {
		return member.EnrolReply{}, fmt.Errorf("pod: no invitation with this secret was made here: %w", member.ErrDenied)
	}
	invite, err := member.DecodeInvite(b)
	if err != nil {
		return member.EnrolReply{}, err
	}
	invite, err = invite.Redeem(pod, q.Secret, p.clock.Now())
	if err != nil {
		return member.EnrolReply{}, err
	}
	chain, err := p.certify(pod, q.PodName, invite.Role)
	if err != nil {
		return member.EnrolReply{}, err
	}
	if _, err := p.keysFor(chain.Leaf()); err != nil {
		return member.EnrolReply{}, err
	}
	// The use is durable before the certificate leaves, so that "once" holds whatever happens.
	if err := p.db.SetLocal(ctx, key, invite.Encode()); err != nil {
		return member.EnrolReply{}, err
	}
	return p.letIn(ctx, chain)
}

// letIn makes a pod a member, durably, and tells it what it needs to begin.
func (p *Pod) letIn(ctx context.Context, chain member.Chain) (member.EnrolReply, error) {
	pod := chain.Leaf().Pod()
	dataKeys, err := p.keysFor(chain.Leaf())
	if err != nil {
		return member.EnrolReply{}, err
	}
	_, known := p.reg.cert(pod)
	if err := p.learn(ctx, member.EncodeStatement(member.KindChain, chain.Encode()), pod); err != nil {
		return member.EnrolReply{}, err
	}
	if !known {
		p.event(Event{Kind: EventJoined, Pod: chain.Leaf().Name, Text: "with the role " + chain.Leaf().Role.String()})
	}
	for _, k := range dataKeys {
		if err := p.learn(ctx, k, pod); err != nil {
			return member.EnrolReply{}, err
		}
	}
	statements, err := p.currentStatements()
	if err != nil {
		return member.EnrolReply{}, err
	}
	statements = slices.DeleteFunc(statements, func(s []byte) bool { return keyOfOther(s, pod) || !p.mayHear(pod, s) })
	reply := member.EnrolReply{Chain: chain, NetworkName: p.reg.defaults().Name, Statements: statements}
	for at, addrs := range p.addresses() {
		reply.Peers = append(reply.Peers, member.EnrolPeer{Pod: at, Addrs: addrs})
	}
	return reply, nil
}

// keyOfOther says whether a statement is a data key that is sealed to another pod than one: a newcomer hears of those later, as of all statements, and its answer stays small however
// often the data key was changed.
func keyOfOther(statement []byte, pod ident.Pod) bool {
	kind, body, err := member.DecodeStatement(statement)
	if err != nil || kind != member.KindKey {
		return false
	}
	k, err := member.DecodeSealedKey(body)
	return err == nil && k.Subject != pod
}

// certify makes the chain of a new pod, or finds the one that it was given before.
func (p *Pod) certify(pod ident.Pod, name string, role member.Role) (member.Chain, error) {
	p.reg.mu.RLock()
	chain, known := p.reg.chains[pod]
	p.reg.mu.RUnlock()
	if known {
		return chain, nil
	}
	by, err := p.authority()
	if err != nil {
		return nil, err
	}
	if err := member.CheckName(name); err != nil {
		name = member.CleanName(name)
	}
	taken := p.reg.taken()
	issuer := by.chain.Leaf()
	all := member.Range{Lo: issuer.RangeLo, Hi: issuer.RangeHi}
	given := p.reg.given(by.chain)
	cert := member.Cert{
		Subject: pod.Key(), Kind: member.KindPod, Role: role, Name: member.FreeName(name, func(s string) bool { return taken[s] }), NotAfter: p.newEnd(),
	}
	if cert.Member, err = member.NextNumber(all, given); err != nil {
		return nil, err
	}
	if role.MayAdmit() && len(by.chain)+1 < member.ChainMax {
		given = append(given, member.Range{Lo: cert.Member, Hi: cert.Member})
		if got, err := member.NextRange(all, adminRange, given); err == nil {
			cert.RangeLo, cert.RangeHi = got.Lo, got.Hi
		}
	}
	return member.Issue(by.key, by.chain, cert)
}

// addresses are where the network's pods can be reached, this one's included.
func (p *Pod) addresses() addressBook {
	book := addressBook{}
	book.learn(p.id, p.net.Addrs())
	for _, peer := range p.net.Peers() {
		book.learn(peer.Pod, peer.Addrs)
	}
	return book
}

// answerPeers is addresses as a message.
func (p *Pod) answerPeers() []byte { return p.addresses().encode() }

// knowPeers gives the network the addresses of last time.
func (p *Pod) knowPeers() error {
	b, ok, err := p.db.Local(keyAddrs)
	if err != nil || !ok {
		return err
	}
	book, err := decodeBook(b)
	if err != nil {
		p.log.Warn("remembered addresses can't be read; pods are found by discovery alone", "err", err)
		return nil
	}
	for pod, addrs := range book {
		p.net.Know(pod, addrs)
	}
	return nil
}

// meetPeers asks a pod whom it knows, and remembers.
func (p *Pod) meetPeers(ctx context.Context, answer []byte) error {
	book, err := decodeBook(answer)
	if err != nil {
		return err
	}
	b, _, err := p.db.Local(keyAddrs)
	if err != nil {
		return err
	}
	mine, err := decodeBook(b)
	if err != nil {
		mine = addressBook{}
	}
	news := false
	for pod, addrs := range book {
		if pod != p.id && mine.learn(pod, addrs) {
			p.net.Know(pod, mine[pod])
			news = true
		}
	}
	if !news {
		return nil
	}
	return mine.save(ctx, p.db)
}
