package pod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// fieldCertLife is the extension field of the settings that says for how long certificates are given: a text.
const fieldCertLife = 22

// How long certificates are good.
const (
	certLifeNever = "never" // end
	certLifeMin   = time.Hour
	renewEvery    = 10 * time.Minute // between looks whose certificates end soon, at the most
	renewShare    = 3                // certificates are renewed in the last third of their life
	endsShare     = 4                // one that was not renewed until its last quarter is warned of
	endsUnruled   = 7 * 24 * time.Hour
)

// certLifeKey is the key of the network about the life of certificates.
func certLifeKey() config.Key {
	return config.Key{
		Name: "certificate_life", Default: certLifeNever, Check: checkCertLife,
		Doc: "How long the certificates are good that pods and people are given from now on: never (they never end), or a duration,\n1h at least. While an admin's pod is connected they are renewed by themselves.",
	}
}

func checkCertLife(s string) error {
	if s == certLifeNever {
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < certLifeMin || d > ruleMax {
		return fmt.Errorf("%q is neither never nor a duration from %s to %s", s, certLifeMin, ruleMax)
	}
	return nil
}

// certLife is for how long certificates are given; 0: without end.
func (p *Pod) certLife() time.Duration {
	d, err := time.ParseDuration(p.textRule(textRules["certificate_life"]).Value)
	if err != nil {
		return 0 // never
	}
	return d
}

// newEnd is the last second of a certificate that is given now; 0: none.
func (p *Pod) newEnd() int64 {
	life := p.certLife()
	if life == 0 {
		return 0
	}
	return p.stamps.Now().Add(life).Unix()
}

// runRenewals renews what ends soon, and ends the connections to pods whose certificates have ended.
func (p *Pod) runRenewals(ctx context.Context) error {
	for {
		if err := p.renewAll(ctx); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "certificates were not renewed", "err", err)
		}
		p.partExpired(ctx)
		if err := clock.SleepOr(ctx, p.clock, renewEvery, p.renewals); err != nil {
			return err
		}
	}
}

// lookAtRenewals has whose certificates end soon looked at now: a pod has come that may be gone before the next look.
func (p *Pod) lookAtRenewals() {
	select {
	case p.renewals <- struct{}{}:
	default:
	}
}

// renewAll renews certificates that end soon of members that this pod may sign and that are there: the pods that are connected, and the users who run one of them.
func (p *Pod) renewAll(ctx context.Context) error {
	here := append(p.connected(), p.id)
	if !slices.ContainsFunc(here, func(pod ident.Pod) bool { return p.dueForRenewal(p.reg.chain(pod)) }) {
		return nil
	}
	by, err := p.authority()
	if errors.Is(err, member.ErrDenied) {
		return nil // another's work
	}
	if err != nil {
		return err
	}
	p.inviting.Lock()
	defer p.inviting.Unlock()
	// Those next to the root first: what they signed is renewed with them.
	slices.SortFunc(here, func(a, b ident.Pod) int { return cmp.Compare(len(p.reg.chain(a)), len(p.reg.chain(b))) })
	var errs []error
	for _, pod := range here {
		if chain := p.reg.chain(pod); p.dueForRenewal(chain) && !p.reg.isGone(pod) {
			errs = append(errs, p.renew(ctx, by, chain))
		}
	}
	return errors.Join(errs...)
}

// dueForRenewal says whether a chain ends soon, or should not end.
func (p *Pod) dueForRenewal(c member.Chain) bool {
	end, life := endTime(c), p.certLife()
	return !end.IsZero() && (life == 0 || end.Sub(p.stamps.Now()) < life/renewShare)
}

// renew gives a pod, or the user who runs it, a certificate as theirs is, with a later end. Nothing is done where this pod may not sign it: another may.
func (p *Pod) renew(ctx context.Context, by authority, chain member.Chain) error {
	if users := usersIn(chain); len(users) > 0 {
		if chain = p.reg.chainOf(users[0]); len(chain) == 0 {
			return nil
		}
	}
	cert := chain.Leaf()
	cert.NotBefore, cert.NotAfter = 0, p.newEnd()
	renewed, err := member.Issue(by.key, by.chain, cert)
	if errors.Is(err, member.ErrBadCert) {
		p.log.DebugContext(ctx, "a certificate that ends soon is another admin's to renew", "name", cert.Name, "err", err)
		return nil
	}
	if err != nil || !renews(renewed, chain) {
		return err
	}
	if err := p.learn(ctx, member.EncodeStatement(member.KindChain, renewed.Encode()), p.id); err != nil {
		return err
	}
	p.log.InfoContext(ctx, "a certificate was renewed", "name", cert.Name, "ends", endTime(renewed))
	return nil
}

// Renew gives a member a certificate with a later end, or none, although it ended, or its pods are not connected; of a pod that a user runs, that user. It is durable here, and sent to
// all that are connected, when it returns nil. Errors: ErrNoSuchPod; member.ErrDenied where this pod may not sign it, or where the member was revoked.
func (p *Pod) Renew(ctx context.Context, name string) error {
	key, err := p.memberNamed(name)
	if err != nil {
		return err
	}
	by, err := p.authority()
	if err != nil {
		return err
	}
	p.inviting.Lock()
	defer p.inviting.Unlock()
	chain := p.reg.chainOf(key)
	if users := usersIn(chain); len(users) > 0 {
		key, chain = users[0], p.reg.chainOf(users[0])
	}
	if p.reg.isRevoked(key) {
		return fmt.Errorf("pod: %q was revoked: %w", name, member.ErrDenied)
	}
	if err := p.renew(ctx, by, chain); err != nil {
		return err
	}
	before, want := chainEnd(chain), p.newEnd()
	if before != 0 && (want == 0 || want > before) && !endsLater(p.reg.chainOf(key), chain) {
		return fmt.Errorf("pod: %q has a number that this admin does not give: renew it on the first pod, or where it was let in: %w", name, member.ErrDenied)
	}
	return nil
}

// membership says what is wrong with the dates of this pod's own certificates: ends is why they are warned of before, ended what has happened.
func (p *Pod) membership() (ends, ended string) {
	c := p.ownChain()
	end := endTime(c)
	if end.IsZero() {
		return "", ""
	}
	soon := endsUnruled
	if life := p.certLife(); life != 0 {
		soon = life / endsShare
	}
	switch left := end.Sub(p.clock.Now()); {
	case left < 0:
		return "", p.endText(c)
	case left < soon:
		return p.endText(c), ""
	}
	return "", ""
}
