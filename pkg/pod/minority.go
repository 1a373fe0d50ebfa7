package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// minorityLook is how often it is looked whether this pod is cut off from most.
const minorityLook = time.Second

// errMinority says why a change is refused.
var errMinority = fmt.Errorf("this pod sees half of the pods that store data or less, and the network's rules (minority, minority_read_only) let none change this then; wh policy get PATH says what holds there: %w", vfs.ErrReadOnly)

// runMinority follows whether this pod is cut off from most of the others. Such a pod puts nothing elsewhere that others hold, whatever the rules
// are; whether users may change files there is what they say.
func (p *Pod) runMinority(ctx context.Context) error {
	for {
		p.lookMinority()
		p.isFrozen.Store(p.frozen(p.id))
		if err := clock.Sleep(ctx, p.clock, minorityLook); err != nil {
			return err
		}
	}
}

func (p *Pod) lookMinority() {
	net := p.placing()
	off := net.Layout().Len() > 0 && !net.Majority()
	if p.cutOff.Swap(off) != off {
		p.log.Info("this pod sees half of the pods that store data or less", "holds", off)
	}
}

// changeable says whether users may change something at or below some nodes. Errors: those of writable; vfs.ErrReadOnly on a pod that may not write, and on one that is cut
// off from most others, where the rules say so.
func (p *Pod) changeable(ids ...vfs.NodeID) error {
	if err := p.writable(); err != nil {
		return err
	}
	if p.noWriter.Load() {
		return p.whyReadOnly()
	}
	if p.isFrozen.Load() && p.frozen(p.id) {
		return errFrozen
	}
	if !p.cutOff.Load() {
		return nil
	}
	rest := p.textRule(textRules["minority"]).Value
	fixed := splitPaths(p.textRule(textRules["minority_read_only"]).Value)
	if len(ids) == 0 && rest == minorityRead {
		return errMinority
	}
	for _, id := range ids {
		own, _, err := p.ruleAt(id, "minority", oneOf(minorityWrite, minorityRead))
		switch {
		case errors.Is(err, vfs.ErrNotExist) && rest != minorityRead: // a file without a name is nobody else's
			continue
		case err != nil && !errors.Is(err, vfs.ErrNotExist):
			return err
		case own == minorityWrite:
			continue
		case own == minorityRead, rest == minorityRead:
			return errMinority
		case len(fixed) == 0:
			continue
		}
		at, err := p.db.Path(id)
		switch {
		case errors.Is(err, vfs.ErrNotExist): // a file without a name is nobody else's
		case err != nil:
			return err
		case slices.ContainsFunc(fixed, func(top string) bool { return below(at, top) }):
			return errMinority
		}
	}
	return nil
}

// minorityText says for people what holds on a pod that is cut off; "" on others.
func (p *Pod) minorityText() string {
	switch paths := p.textRule(textRules["minority_read_only"]).Value; {
	case !p.cutOff.Load():
		return ""
	case p.textRule(textRules["minority"]).Value == minorityRead:
		return "nothing can be changed here until then"
	case paths != "":
		return "changes are kept here and merged then, but for those of " + paths + ", which are refused"
	}
	return "changes are kept here and merged then"
}
