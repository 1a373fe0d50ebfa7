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
	// Revoke shuts a pod, or all of a user's, out for good.
	Revoke(ctx context.Context, name string) error
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
