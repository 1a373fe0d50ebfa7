package apitest

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// AddUser knows one user, who is there.
func (p *Pod) AddUser(_ context.Context, _ ed25519.PublicKey, name, _ string) error {
	if name == "ann" {
		return fmt.Errorf("a member is called %q: %w", name, vfs.ErrExist)
	}
	return nil
}

// Members are that user and this pod.
func (p *Pod) Members() []pod.MemberInfo {
	return []pod.MemberInfo{
		{Name: "ann", Kind: "user", ID: p.PodInfo.Pod.String(), Role: "writer", By: "admin", Ends: time.Unix(1800000000, 0)},
		{Name: p.PodInfo.Name, Kind: "pod", ID: p.PodInfo.Pod.String(), Role: "admin", By: "admin"},
	}
}

// Revoke knows that user.
func (p *Pod) Revoke(_ context.Context, name string) error {
	if name != "ann" {
		return fmt.Errorf("%q: %w", name, pod.ErrNoSuchPod)
	}
	return nil
}

// Renew knows the same as Revoke.
func (p *Pod) Renew(ctx context.Context, name string) error { return p.Revoke(ctx, name) }

// Pending is one that has waited for long.
func (p *Pod) Pending() []pod.Asker {
	return []pod.Asker{{Name: "guest", Pod: p.PodInfo.Pod, Since: time.Unix(1700000000, 0)}}
}

// Accept knows that one.
func (p *Pod) Accept(ctx context.Context, name, _ string) error { return p.Deny(ctx, name) }

// Deny knows that one.
func (p *Pod) Deny(_ context.Context, name string) error {
	if name != "guest" {
		return fmt.Errorf("%q: %w", name, pod.ErrNoSuchPod)
	}
	return nil
}

// Invites are one, by which one pod has joined.
func (p *Pod) Invites() ([]pod.InviteInfo, error) {
	return []pod.InviteInfo{{ID: "0123abcd", Role: "writer", Expires: time.Unix(1800000000, 0), Uses: 2, Used: []string{"desk"}}}, nil
}

// RemoveInvite knows that one.
func (p *Pod) RemoveInvite(_ context.Context, id string) error {
	if id != "0123abcd" {
		return fmt.Errorf("%q: %w", id, pod.ErrNoSuchInvite)
	}
	return nil
}

// RootKey is not here.
func (p *Pod) RootKey() ([]byte, error) { return nil, pod.ErrNoRootKey }

// DropRootKey has none to drop.
func (p *Pod) DropRootKey([]byte) error { return pod.ErrNoRootKey }

// UseRootKey takes none.
func (p *Pod) UseRootKey([]byte) error { return pod.ErrOtherKey }

// SetRole is pod.Pod's.
func (p *Pod) SetRole(context.Context, string, string) error { return nil }

// Rekey is pod.Pod's.
func (p *Pod) Rekey(context.Context) error { return nil }

// MemberLog is pod.Pod's: one of each kind.
func (p *Pod) MemberLog() []pod.MemberEvent {
	at := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	return []pod.MemberEvent{
		{What: pod.MemberAdmitted, Name: "ann", Kind: "user", ID: "a1", Role: "writer", By: "one"},
		{At: at, What: pod.MemberRole, Name: "ann", Kind: "user", ID: "a1", Role: "reader", By: "one"},
		{At: at.Add(time.Hour), What: pod.MemberRevoked, Name: "ann", Kind: "user", ID: "a1", By: "one"},
	}
}
