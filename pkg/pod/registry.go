package pod

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// registry is what the statements say: who the members are, what the layout is, what the network's settings are.
type registry struct {
	network ident.Network
	alone   atomic.Bool // no other pod stores anything, as lay has it; for those who may not wait for mu

	mu       sync.RWMutex               // guards the fields below
	chains   map[ident.Pod]member.Chain // of pods
	users    map[ident.Pod]member.Chain // by their keys
	members  map[uint32]ident.Pod
	entries  map[ident.Pod]placement.Entry
	signed   map[ident.Pod][]byte // of entries, as they came
	lay      placement.Layout     // of entries
	sighted  sightedLayout
	settings member.Settings
	keys     map[ident.Pod][]member.SealedKey
	rekeys   []member.Rekey
	outs     outs
	revoked  map[ident.Pod]bool            // keys of pods, users and admins that were shut out
	ends     map[ident.Pod][]member.Revoke // all that was said about a key
}

func newRegistry(network ident.Network) *registry {
	return &registry{
		network: network,
		chains:  make(map[ident.Pod]member.Chain),
		users:   make(map[ident.Pod]member.Chain),
		members: make(map[uint32]ident.Pod),
		entries: make(map[ident.Pod]placement.Entry),
		signed:  make(map[ident.Pod][]byte),
		keys:    make(map[ident.Pod][]member.SealedKey),
		outs:    newOuts(),
		revoked: make(map[ident.Pod]bool),
		ends:    make(map[ident.Pod][]member.Revoke),
	}
}

// what tells what a statement changed.
type what struct{ members, layout, settings, revoked, keys bool }

// add takes a statement in, after proving it. A statement of a kind that is not known here is kept by others for
// the pods that know it.
func (r *registry) add(statement []byte) (what, error) {
	kind, body, err := member.DecodeStatement(statement)
	if err != nil {
		return what{}, err
	}
	switch kind {
	case member.KindChain:
		return r.addChain(body)
	case member.KindLayout:
		return r.addEntry(body)
	case member.KindNetwork:
		return r.addSettings(body)
	case member.KindKey:
		return r.addKey(body)
	case member.KindOut:
		return r.addOut(body)
	case member.KindRevoke:
		return r.addRevoke(body)
	case member.KindRekey:
		return r.addRekey(body)
	}
	return what{}, nil
}

func (r *registry) addChain(body []byte) (what, error) {
	chain, err := member.DecodeChain(body)
	if err != nil {
		return what{}, err
	}
	cert, err := chain.Verify(r.network)
	if err != nil {
		return what{}, err
	}
	switch cert.Kind {
	case member.KindPod:
	case member.KindUser:
		return r.addUser(chain), nil
	default:
		return what{}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pod := cert.Pod()
	if other, taken := r.members[cert.Member]; taken && other != pod {
		return what{}, fmt.Errorf("pod: %s %q and %q both have member number %d: %w",
			cert.Kind, cert.Name, r.chains[other].Leaf().Name, cert.Member, member.ErrBadCert)
	}
	// An admin whose right has ended puts nobody out by a certificate that holds longer and counts for nothing.
	_, unkept := r.unkept(chain)
	if old, known := r.chains[pod]; known && (unkept || !renews(chain, old)) {
		return what{}, nil
	}
	r.chains[pod] = chain
	r.members[cert.Member] = pod
	r.layoutLocked()
	return what{members: true}, nil
}

func (r *registry) addEntry(body []byte) (what, error) {
	e, err := placement.DecodeEntry(body)
	if err != nil {
		return what{}, err
	}
	if err := e.Verify(r.network); err != nil {
		return what{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// Two of one version are a pod's fault; the greater bytes win on all pods, as in placement.NewLayout.
	old, known := r.entries[e.Pod]
	if known && (old.Version > e.Version || old.Version == e.Version && bytes.Compare(r.signed[e.Pod], body) >= 0) {
		return what{}, nil
	}
	r.entries[e.Pod], r.signed[e.Pod] = e, body
	r.layoutLocked()
	return what{layout: true}, nil
}

func (r *registry) addSettings(body []byte) (what, error) {
	s, err := member.DecodeSettings(body)
	if err != nil {
		return what{}, err
	}
	if err := s.Verify(r.network); err != nil {
		return what{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.settingsAfterEnd(s); err != nil {
		return what{}, err
	}
	if r.settings.Version != 0 && !s.Newer(r.settings) {
		return what{}, nil
	}
	r.settings = s
	return what{settings: true}, nil
}

func (r *registry) addKey(body []byte) (what, error) {
	k, err := member.DecodeSealedKey(body)
	if err == nil {
		err = k.Verify(r.network)
	}
	if err != nil {
		return what{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.keys[k.Subject], func(old member.SealedKey) bool { return bytes.Equal(old.Encode(), body) }) {
		return what{}, nil
	}
	r.keys[k.Subject] = append(r.keys[k.Subject], k)
	return what{keys: true}, nil
}

// stale says whether a statement is one that a newer one has replaced, so that nobody needs it any more.
func (r *registry) stale(statement []byte) bool {
	kind, body, err := member.DecodeStatement(statement)
	if err != nil {
		return true
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch kind {
	case member.KindChain:
		c, err := member.DecodeChain(body)
		return err != nil || r.staleChainLocked(c)
	case member.KindLayout:
		e, err := placement.DecodeEntry(body)
		return err != nil || !bytes.Equal(r.signed[e.Pod], body)
	case member.KindNetwork:
		s, err := member.DecodeSettings(body)
		return err != nil || r.settings.Newer(s)
	case member.KindOut:
		o, err := member.DecodeOut(body)
		return err != nil || r.staleOut(o)
	}
	return false
}

// layoutLocked makes the layout anew: only members that are neither lost nor revoked are in it.
func (r *registry) layoutLocked() {
	var list []placement.Entry
	for pod, e := range r.entries {
		if _, ok := r.chains[pod]; ok && !r.lostLocked(pod) && !r.revokedLocked(pod) {
			list = append(list, e)
		}
	}
	r.lay = placement.NewLayout(list)
	r.alone.Store(r.lay.Len() <= 1)
	r.outs.out = outPods(r.lay.Entries(), r.outs.said)
}

func (r *registry) layout() placement.Layout {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.lay
}

func (r *registry) entry(pod ident.Pod) (placement.Entry, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.entries[pod]
	return e, ok
}

// pods are the members that are pods, sorted by name.
func (r *registry) pods() []member.Cert {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.podsLocked()
}

func (r *registry) podsLocked() []member.Cert {
	return leaves(r.chains)
}

// cert is a pod's certificate.
func (r *registry) cert(pod ident.Pod) (member.Cert, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c, ok := r.chains[pod]
	return c.Leaf(), ok
}

// name is how a pod is shown to people.
func (r *registry) name(pod ident.Pod) string {
	if c, ok := r.cert(pod); ok {
		return c.Name
	}
	return pod.String()
}

// errUnknownAuthor says that no certificate of an author is known yet.
var errUnknownAuthor = errors.New("no certificate of the author is known")

// author is the key of an actor that may write, or could once: how far its commits count, cuts says. The error is state.ErrRefused and
// member.ErrDenied if it never could.
func (r *registry) author(a ident.Actor) (ed25519.PublicKey, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	pod, ok := r.members[a.Member]
	if !ok {
		return nil, fmt.Errorf("pod: actor %s: %w", a, errUnknownAuthor)
	}
	if !r.couldWriteLocked(pod) {
		cert := r.chains[pod].Leaf()
		return nil, fmt.Errorf("pod: %s %q is a %s and may not write: %w: %w", cert.Kind, cert.Name, r.roleLocked(pod), member.ErrDenied, state.ErrRefused)
	}
	return pod.Key(), nil
}

// pod is the pod of an actor; zero where it is not known.
func (r *registry) pod(a ident.Actor) ident.Pod {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.members[a.Member]
}

// actorName is the name of an actor's pod, for names of conflict copies.
func (r *registry) actorName(a ident.Actor) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if pod, ok := r.members[a.Member]; ok {
		return r.chains[pod].Leaf().Name
	}
	return a.String()
}

// given are the member numbers and ranges that certificates gave so far, but for the ranges of by, out of which more are to be given.
func (r *registry) given(by member.Chain) []member.Range {
	r.mu.RLock()
	defer r.mu.RUnlock()
	own := func(c member.Cert) bool {
		return slices.ContainsFunc(by, func(b member.Cert) bool { return bytes.Equal(b.Subject, c.Subject) })
	}
	var out []member.Range
	for _, chains := range []map[ident.Pod]member.Chain{r.chains, r.users} {
		for _, chain := range chains {
			for _, c := range chain {
				if c.Member != 0 {
					out = append(out, member.Range{Lo: c.Member, Hi: c.Member})
				}
				if c.Kind != member.KindAdmin && c.RangeLo != 0 && !own(c) {
					out = append(out, member.Range{Lo: c.RangeLo, Hi: c.RangeHi})
				}
			}
		}
	}
	return out
}

func (r *registry) defaults() member.Settings {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.settings
}
