package pod

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Attributes that are computed when they are asked for. They are not listed, so that no copy takes them along, and, but for the policy, can't be set.
const (
	computedXattr = "user.wh."
	xattrCID      = computedXattr + "cid"      // of a file's body as it is named now, of a folder's node in the newest checkpoint
	xattrPolicy   = computedXattr + "policy"   // the policy that holds at the node; what is set is inherited by all below it, what is removed is inherited again
	xattrState    = computedXattr + "state"    // of a file: how safe its bytes are (keepState)
	xattrConflict = computedXattr + "conflict" // the kinds of conflicts and the IDs of their versions: "contents 1a2b3c4d 5e6f7081"
)

// computed is the value of a computed attribute. Errors: vfs.ErrNoXattr, vfs.ErrNotExist.
func (p *Pod) computed(ctx context.Context, id vfs.NodeID, name string) ([]byte, error) {
	none := fmt.Errorf("pod: %q of node %d: %w", name, id, vfs.ErrNoXattr)
	switch name {
	case xattrCID:
		cid, err := p.db.NodeCID(id)
		if errors.Is(err, block.ErrNotFound) || err == nil && cid.IsZero() {
			return nil, none
		}
		return []byte(cid.String()), err
	case xattrPolicy:
		policy, err := p.Policy(ctx, id)
		return []byte(policy.Policy), err
	case xattrState:
		state, err := p.keepState(ctx, id)
		if err == nil && state == "" {
			return nil, none
		}
		return []byte(state), err
	case xattrConflict:
		all, err := p.db.InConflict(id)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, none
		}
		var words []string
		for _, c := range all {
			words = append(words, conflictKinds[c.Kind])
			for _, v := range c.Versions {
				words = append(words, v.ID)
			}
		}
		return []byte(strings.Join(words, " ")), nil
	}
	return nil, none
}

// keepState is how safe a file's bytes are, as placement.Safety tells it; "dirty" is what was written here, and is not named in the state
// yet. It is "" for what has no bytes: folders, devices, sockets. Copies count as far as the pods that have them answer.
func (p *Pod) keepState(ctx context.Context, id vfs.NodeID) (string, error) {
	a, err := p.attr(id)
	if err != nil || a.Kind != vfs.KindFile && a.Kind != vfs.KindSymlink {
		return "", err
	}
	if n := p.inUse(id); n != nil {
		n.mu.RLock()
		isDirty := n.changed()
		n.mu.RUnlock()
		p.release(n)
		if isDirty {
			return placement.StateDirty.String(), nil
		}
	}
	w, err := p.Where(ctx, id)
	if err != nil {
		return "", err
	}
	return w.Safety.String(), nil
}

// settable says whether an attribute is not one of those that are computed. Error: vfs.ErrNotPermitted.
func settable(name string) error {
	if strings.HasPrefix(name, computedXattr) {
		return fmt.Errorf("pod: attribute %q is computed: %w", name, vfs.ErrNotPermitted)
	}
	return nil
}

// setPolicyXattr is a policy that is set, or with no value removed, as an attribute. Errors: vfs.ErrInvalid for what is no policy, or none that this
// version keeps; vfs.ErrExist, vfs.ErrNoXattr as the flags say.
func (p *Pod) setPolicyXattr(ctx context.Context, id vfs.NodeID, value string, f vfs.XattrFlag) error {
	if f&vfs.XattrCreate != 0 {
		return fmt.Errorf("pod: a policy holds at every node: %w", vfs.ErrExist)
	}
	err := p.SetPolicy(ctx, id, value, "")
	if errors.Is(err, placement.ErrBadPolicy) {
		err = errors.Join(vfs.ErrInvalid, err)
	}
	return err
}

// GetXattr is vfs.FS's.
func (v *view) GetXattr(ctx context.Context, id vfs.NodeID, name string) ([]byte, error) {
	if strings.HasPrefix(name, computedXattr) {
		return v.p.computed(ctx, id, name)
	}
	return v.p.db.Xattr(id, name)
}

// SetXattr is vfs.FS's.
func (v *view) SetXattr(ctx context.Context, id vfs.NodeID, name string, value []byte, f vfs.XattrFlag) error {
	if name == xattrPolicy && len(value) > 0 {
		return v.p.setPolicyXattr(ctx, id, string(value), f)
	}
	if err := errors.Join(v.p.changeable(id), settable(name)); err != nil {
		return err
	}
	defer v.changedNode(id)
	defer v.p.bump(id)
	_, err := v.p.db.SetXattr(id, name, value, f)
	return err
}

// ListXattr is vfs.FS's.
func (v *view) ListXattr(_ context.Context, id vfs.NodeID) ([]string, error) {
	return v.p.db.Xattrs(id)
}

// RemoveXattr is vfs.FS's.
func (v *view) RemoveXattr(ctx context.Context, id vfs.NodeID, name string) error {
	if name == xattrPolicy {
		return v.p.setPolicyXattr(ctx, id, "unset", 0)
	}
	if err := errors.Join(v.p.changeable(id), settable(name)); err != nil {
		return err
	}
	defer v.changedNode(id)
	defer v.p.bump(id)
	_, err := v.p.db.RemoveXattr(id, name)
	return err
}
