package pod

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// askedAtOnce is how many pods are asked at once by who wants to join.
const askedAtOnce = 8

// ErrSeveral says that there are several networks of the name; the text has NAME@ID8 of each.
var ErrSeveral = errors.New("several networks have this name")

// answered is what a pod answered to who wants to join.
type answered struct {
	at    p2p.Found
	reply member.EnrolReply
	err   error
}

func (a answered) network() ident.Network { return a.reply.Chain[0].Network }

// question is what a new pod asks before it is of a network.
type question struct {
	network string      // NAME or NAME@ID8; "": whichever the pods at at are of
	at      []p2p.Found // pods to ask
	request member.EnrolRequest
	asOther bool                                     // by a key that is thrown away: what asks too often by one key is not answered
	check   func(a answered, leaf member.Cert) error // what an answer must be besides: of the network, with a chain that holds
}

// ask makes the new pod's key, and asks. All answers that count must be of one network. The ticket has no user.
func (o question) ask(ctx context.Context) (Ticket, member.EnrolReply, error) {
	q := o.request
	if err := member.CheckName(q.PodName); err != nil {
		return Ticket{}, member.EnrolReply{}, err
	}
	name, short, err := splitNetwork(o.network)
	if err != nil {
		return Ticket{}, member.EnrolReply{}, err
	}
	q.NetworkName = name
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Ticket{}, member.EnrolReply{}, fmt.Errorf("pod: make a key: %w", err)
	}
	asked := key
	if o.asOther {
		asked = nil
	}
	answers := askEach(ctx, asked, o.at, q.Encode())
	for i, a := range answers {
		if a.err == nil {
			answers[i].err = a.check(name, short, o.check)
		}
	}
	from, err := oneNetwork(answers, o.network)
	if err != nil {
		return Ticket{}, member.EnrolReply{}, err
	}
	return Ticket{Key: key, Network: from.network(), NetworkName: from.reply.NetworkName, At: from.at, PodName: q.PodName}, from.reply, nil
}

// check proves that an answer is of the network that it says it is of, and of the one that is asked for.
func (a answered) check(name, short string, more func(a answered, leaf member.Cert) error) error {
	if len(a.reply.Chain) == 0 {
		return fmt.Errorf("pod: an answer without a certificate: %w", member.ErrBadMessage)
	}
	net := a.network()
	leaf, err := a.reply.Chain.Verify(net)
	if err == nil {
		err = more(a, leaf)
	}
	if err == nil && (name != "" && a.reply.NetworkName != name || short != "" && net.Short() != short) {
		err = fmt.Errorf("pod: the pod that answers %w", member.ErrElsewhere)
	}
	return err
}

// askEach sends a request to pods, and returns all their answers. Refusals are errors.
func askEach(ctx context.Context, key ed25519.PrivateKey, pods []p2p.Found, request []byte) []answered {
	var mu sync.Mutex
	var out []answered
	var g errgroup.Group
	g.SetLimit(askedAtOnce)
	for _, at := range pods {
		g.Go(func() error {
			reply, err := askToEnrol(ctx, key, at, request)
			mu.Lock()
			defer mu.Unlock()
			out = append(out, answered{at, reply, err})
			return nil
		})
	}
	_ = g.Wait() // always nil
	return out
}

// askToEnrol sends one request. A refusal is an error.
func askToEnrol(ctx context.Context, key ed25519.PrivateKey, at p2p.Found, request []byte) (member.EnrolReply, error) {
	answer, err := p2p.Enrol(ctx, key, at.Pod, at.Addrs, request)
	if err != nil {
		return member.EnrolReply{}, fmt.Errorf("pod: ask %s: %w", at.Pod, err)
	}
	reply, err := member.DecodeEnrolReply(answer)
	if err != nil {
		return member.EnrolReply{}, err
	}
	return reply, reply.Err()
}

// oneNetwork is the answer of a pod, if all that are none's errors are of one network. Of the errors the one is returned that tells most: that of a pod
// which answered.
func oneNetwork(all []answered, name string) (answered, error) {
	var good []answered
	err := fmt.Errorf("pod: join %s: no pod of the network was found: %w", name, p2p.ErrUnreachable)
	best := 0
	for _, a := range all {
		told := 1 // by how much its error tells
		switch {
		case a.err == nil:
			good = append(good, a)
			continue
		case !slices.ContainsFunc([]error{p2p.ErrUnreachable, p2p.ErrBusy, member.ErrElsewhere, member.ErrBadMessage}, func(e error) bool { return errors.Is(a.err, e) }):
			told = 2
		case name != "": // it is one of many that have nothing to do with it
			continue
		}
		if told > best {
			best, err = told, fmt.Errorf("pod: join %s: %w", name, a.err)
		}
	}
	if len(good) == 0 {
		return answered{}, err
	}
	var names []string
	for _, a := range good {
		names = append(names, a.reply.NetworkName+"@"+a.network().Short())
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > 1 {
		return answered{}, fmt.Errorf("pod: join %s: %w: %s", name, ErrSeveral, strings.Join(names, ", "))
	}
	return good[0], nil
}

// splitNetwork takes NAME@ID8 apart, or NAME, or nothing. The error is member.ErrBadName.
func splitNetwork(s string) (name, short string, err error) {
	if s == "" {
		return "", "", nil
	}
	name, short, cut := strings.Cut(s, "@")
	if err := member.CheckName(name); err != nil {
		return "", "", err
	}
	if cut && len(short) != len(ident.Network{}.Short()) {
		return "", "", fmt.Errorf("network %q: behind @ are %d letters of its id: %w", s, len(ident.Network{}.Short()), member.ErrBadName)
	}
	return name, strings.ToLower(short), nil
}
