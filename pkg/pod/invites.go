package pod

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// inviteIDLen is how many digits of its secret's hash name an invitation.
const inviteIDLen = 8

// ErrNoSuchInvite says that this pod made no invitation of that ID. It is a vfs.ErrNotExist.
var ErrNoSuchInvite = fmt.Errorf("no such invitation was made here: %w", vfs.ErrNotExist)

// InviteInfo is an invitation that this pod made.
type InviteInfo struct {
	ID      string // 8 hexadecimal digits, which tell nothing of the secret
	Role    string
	Expires time.Time
	Uses    int      // how many pods may join by it
	Used    []string // the names of those that did, or their ids
}

// Invites are the invitations that this pod made and that were not removed, those that end first first. Others know of them nothing.
func (p *Pod) Invites() ([]InviteInfo, error) {
	all, err := p.db.Locals(keyInvite)
	if err != nil {
		return nil, err
	}
	out := []InviteInfo{}
	for key, b := range all {
		i, err := member.DecodeInvite(b)
		if err != nil {
			return nil, fmt.Errorf("pod: %s: %w", key, err)
		}
		info := InviteInfo{ID: hex.EncodeToString(i.SecretHash[:])[:inviteIDLen], Role: i.Role.String(), Expires: time.Unix(i.Expires, 0), Uses: int(i.Uses)}
		for _, pod := range i.Used {
			info.Used = append(info.Used, p.reg.name(pod))
		}
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b InviteInfo) int {
		if c := a.Expires.Compare(b.Expires); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// RemoveInvite takes an invitation back: nobody joins by it any more. Who has joined stays. It is durable when it returns nil. Error: ErrNoSuchInvite.
func (p *Pod) RemoveInvite(ctx context.Context, id string) error {
	if len(id) != inviteIDLen {
		return fmt.Errorf("pod: %q: %w", id, ErrNoSuchInvite)
	}
	p.inviting.Lock()
	defer p.inviting.Unlock()
	all, err := p.db.Locals(keyInvite + strings.ToLower(id))
	if err != nil {
		return err
	}
	for key := range all {
		if err := p.db.SetLocal(ctx, key, nil); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return fmt.Errorf("pod: %q: %w", id, ErrNoSuchInvite)
	}
	return nil
}
