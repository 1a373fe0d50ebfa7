package main

import (
	"context"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// realEngine makes, opens and mounts real pods.
func realEngine() engine {
	return engine{
		Create: func(ctx context.Context, dir string, o daemon.CreateOptions) (pod.Info, error) {
			return pod.Create(ctx, dir, pod.CreateOptions{NetworkName: o.NetworkName, PodName: o.PodName, Encrypt: o.Encrypt, Access: o.Access, Lock: o.Lock})
		},
		Join: func(ctx context.Context, dir string, o daemon.JoinOptions) (pod.Info, error) {
			return pod.Join(ctx, dir, pod.JoinOptions{Token: o.Token, PodName: o.PodName, Ticket: o.Ticket, Lock: o.Lock})
		},
		Open: func(ctx context.Context, o daemon.OpenOptions) (daemon.Pod, error) {
			p, err := pod.Open(ctx, pod.Options{
				Dir: o.Dir, Disk: o.Disk, Listen: o.Listen, Discover: o.Discover, Offline: o.Offline, Tuning: o.Tuning,
				Weight: o.Share.Weight, Portal: o.Share.Weight == 0, Zone: o.Share.Zone, Class: o.Share.Class, Priority: o.Share.Priority,
				CapacityBytes: o.CapacityBytes, ReserveBytes: o.ReserveBytes, Log: o.Log, Version: o.Version, Unmounted: o.Unmounted,
			})
			if err != nil {
				return nil, err // Not a nil *pod.Pod in an interface.
			}
			return p, nil
		},
		TokenNetwork: func(token string) (ident.Network, error) {
			t, err := member.ParseToken(token)
			return t.Network, err
		},
		Mount: func(ctx context.Context, dir string, fs vfs.FS, o mountfs.Options) (daemon.Mounted, error) {
			m, err := mountfs.Mount(ctx, dir, fs, o)
			if err != nil {
				return nil, err // As above.
			}
			return m, nil
		},
		Stale:  mountfs.Stale,
		Detach: mountfs.Detach,
		Abort:  mountfs.Abort,
	}
}
