package pod

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Attributes that are computed when they are asked for. They are not listed, so that no copy takes them along, and can't be set.
const (
	computedXattr = "user.wh."
	xattrCID      = computedXattr + "cid"      // of a file's body as it is named now, of a folder's node in the newest checkpoint
	xattrState    = computedXattr + "state"    // how safe a file's bytes are: "safe", "spreading 3/6"; see placement.Safety
	xattrPolicy   = computedXattr + "policy"   // what holds at a node: "replica:2 local"
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
	case xattrState:
		n, err := p.db.Get(id)
		if err != nil {
			return nil, err
		}
		if n.Kind != vfs.KindFile {
			return nil, none
		}
		_, safety, err := p.judge(ctx, n)
		return []byte(safety.String()), err
	case xattrPolicy:
		w, err := p.Policy(ctx, id)
		if err != nil {
			return nil, err
		}
		return []byte(w.Policy + " " + w.Durability), nil
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

// settable says whether an attribute is not one of those that are computed. Error: vfs.ErrNotPermitted.
func settable(name string) error {
	if strings.HasPrefix(name, computedXattr) {
		return fmt.Errorf("pod: attribute %q is computed: %w", name, vfs.ErrNotPermitted)
	}
	return nil
}
