package pod

import (
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
	xattrConflict = computedXattr + "conflict" // the kinds of conflicts and the IDs of their versions: "contents 1a2b3c4d 5e6f7081"
)

// computed is the value of a computed attribute. Errors: vfs.ErrNoXattr, vfs.ErrNotExist.
func (p *Pod) computed(id vfs.NodeID, name string) ([]byte, error) {
	none := fmt.Errorf("pod: %q of node %d: %w", name, id, vfs.ErrNoXattr)
	switch name {
	case xattrCID:
		cid, err := p.db.NodeCID(id)
		if errors.Is(err, block.ErrNotFound) || err == nil && cid.IsZero() {
			return nil, none
		}
		return []byte(cid.String()), err
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
