package server

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// Membership is what the API needs of a pod to say who belongs to the network.
type Membership interface {
	// AddUser makes a member of a person, by an OpenSSH Ed25519 key.
	AddUser(ctx context.Context, key ed25519.PublicKey, name, role string) error
	Members() []pod.MemberInfo
	// Pending are strangers that wait to be let in; Accept and Deny answer one, by its name or ID.
	Pending() []pod.Asker
	Accept(ctx context.Context, name, role string) error
	Deny(ctx context.Context, name string) error
	// Invites are the invitations that this pod made; RemoveInvite takes one back.
	Invites() ([]pod.InviteInfo, error)
	RemoveInvite(ctx context.Context, id string) error
	// Renew gives a member a certificate with a later end.
	Renew(ctx context.Context, name string) error
	// RootKey is the network's root key in PEM, DropRootKey removes it from the pod, and UseRootKey makes the pod an admin's by it.
	RootKey() ([]byte, error)
	DropRootKey(key []byte) error
	UseRootKey(key []byte) error
	// Revoke shuts a pod, or all of a user's, out for good.
	Revoke(ctx context.Context, name string) error
	SetRole(ctx context.Context, name, role string) error
	Rekey(ctx context.Context) error
	MemberLog() []pod.MemberEvent
}

func members(_ context.Context, p Pod, _ struct{}) ([]api.Member, error) {
	out := []api.Member{}
	for _, i := range p.Members() {
		m := api.Member{Name: api.Text(i.Name), Kind: i.Kind, ID: i.ID, Role: i.Role, By: api.Text(i.By), Revoked: i.Revoked}
		if !i.Ends.IsZero() {
			t := i.Ends.UTC()
			m.Ends = &t
		}
		out = append(out, m)
	}
	return out, nil
}

func addMember(ctx context.Context, p Pod, q api.AddMember) (struct{}, error) {
	if len(q.Key) != ed25519.PublicKeySize {
		return struct{}{}, fmt.Errorf("a key of %d bytes: %w", len(q.Key), api.ErrUsage)
	}
	return struct{}{}, p.AddUser(ctx, q.Key, q.Name, q.Role)
}

func revokeMember(ctx context.Context, p Pod, q api.MemberRequest) (struct{}, error) {
	return struct{}{}, p.Revoke(ctx, q.Name)
}

func renewMember(ctx context.Context, p Pod, q api.MemberRequest) (struct{}, error) {
	return struct{}{}, p.Renew(ctx, q.Name)
}

func pending(_ context.Context, p Pod, _ struct{}) ([]api.Asker, error) {
	out := []api.Asker{}
	for _, a := range p.Pending() {
		out = append(out, api.Asker{Name: api.Text(a.Name), ID: a.Pod.String(), Since: a.Since.UTC()})
	}
	return out, nil
}

func accept(ctx context.Context, p Pod, q api.AcceptRequest) (struct{}, error) {
	if q.Deny {
		return struct{}{}, p.Deny(ctx, q.Name)
	}
	return struct{}{}, p.Accept(ctx, q.Name, q.Role)
}

func invites(_ context.Context, p Pod, _ struct{}) ([]api.Invite, error) {
	all, err := p.Invites()
	out := make([]api.Invite, 0, len(all))
	for _, i := range all {
		out = append(out, api.Invite{ID: i.ID, Role: i.Role, Ends: i.Expires.UTC(), Uses: i.Uses, Used: notNil(i.Used)})
	}
	return out, err
}

func removeInvite(ctx context.Context, p Pod, q api.MemberRequest) (struct{}, error) {
	return struct{}{}, p.RemoveInvite(ctx, q.Name)
}

func rootKey(_ context.Context, p Pod, _ struct{}) (api.RootKey, error) {
	key, err := p.RootKey()
	return api.RootKey{PEM: key}, err
}

func dropRootKey(_ context.Context, p Pod, q api.RootKey) (struct{}, error) {
	return struct{}{}, p.DropRootKey(q.PEM)
}

func useRootKey(_ context.Context, p Pod, q api.RootKey) (struct{}, error) {
	return struct{}{}, p.UseRootKey(q.PEM)
}
