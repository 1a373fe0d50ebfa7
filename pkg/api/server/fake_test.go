//go:build unix

package server_test

import (
	"context"
	"io"

	"github.com/wormhole-fs/wormhole/pkg/api/apitest"
	"github.com/wormhole-fs/wormhole/pkg/api/server"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// one is a machine with one pod.
type one struct {
	apitest.Machine
	p server.Pod
}

func (o one) Pod(string) (server.Pod, error) { return o.p, nil }

// slow is a pod that tells how PutFile ended, which looks at the data only, not at the context.
type slow struct {
	*apitest.Pod
	done chan error
}

func (s *slow) PutFile(ctx context.Context, parent vfs.NodeID, name string, m pod.FileMeta, size int64, r io.Reader) (vfs.Attr, error) {
	a, err := s.Pod.PutFile(context.WithoutCancel(ctx), parent, name, m, size, r)
	s.done <- err
	return a, err
}
