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
