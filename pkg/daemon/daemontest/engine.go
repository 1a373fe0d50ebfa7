// Package daemontest has an engine whose pods are in memory, for tests of the daemon and the CLI. What it keeps of a pod
// on disk is its name and network; its files are gone when it is closed.
package daemontest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/api/apitest"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// infoFile is what a pod in memory keeps on disk.
const infoFile = "fake.json"

// ErrToken says that a token is none of this engine's.
var ErrToken = errors.New("no valid token")

// Engine is the engine.
func Engine() daemon.Engine {
	return daemon.Engine{
		Create: func(_ context.Context, dir string, o daemon.CreateOptions) (pod.Info, error) {
			var network ident.Network
			_, _ = rand.Read(network[:]) // It never fails.
			return make1(dir, network, o.NetworkName, o.PodName)
		},
		Join: func(_ context.Context, dir string, o daemon.JoinOptions) (pod.Info, error) {
			if strings.HasSuffix(o.Token, ".unreachable") {
				return pod.Info{}, block.ErrUnavailable
			}
			network, err := tokenNetwork(o.Token)
			if err != nil {
				return pod.Info{}, err
			}
			return make1(dir, network, "joined", o.PodName)
		},
		Open:         open,
		TokenNetwork: tokenNetwork,
		Mount: func(ctx context.Context, dir string, fs vfs.FS, o mountfs.Options) (daemon.Mounted, error) {
			m, err := mountfs.Mount(ctx, dir, fs, o)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
		Stale:  mountfs.Stale,
		Detach: mountfs.Detach,
		Abort:  mountfs.Abort,
	}
}

func tokenNetwork(token string) (ident.Network, error) {
	parts := strings.Split(token, ".")
	if len(parts) < 2 || parts[0] != "wh1fake" {
		return ident.Network{}, fmt.Errorf("token %q: %w", token, ErrToken)
	}
	return ident.ParseNetwork(parts[1])
}

func make1(dir string, network ident.Network, networkName, name string) (pod.Info, error) {
	info := pod.Info{Network: network, NetworkName: networkName, Name: name, Role: "admin"}
	_, _ = rand.Read(info.Pod[:]) // It never fails.
	b, err := json.Marshal(info)
	if err != nil {
		return info, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return info, err
	}
	return info, os.WriteFile(filepath.Join(dir, infoFile), b, 0o600)
}

func open(_ context.Context, o daemon.OpenOptions) (daemon.Pod, error) {
	b, err := os.ReadFile(filepath.Join(o.Dir, infoFile))
	if err != nil {
		return nil, err
	}
	var info pod.Info
	if err := json.Unmarshal(b, &info); err != nil {
		return nil, err
	}
	p := &Pod{Pod: apitest.New(info)}
	if len(o.Listen) > 0 {
		_, port, err := net.SplitHostPort(o.Listen[0])
		if err != nil {
			return nil, err
		}
		if p.port, err = strconv.Atoi(port); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Pod is a pod in memory.
type Pod struct {
	*apitest.Pod
	port int
}

// Run waits.
func (p *Pod) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close does nothing.
func (p *Pod) Close() error { return nil }

// Tune does nothing.
func (p *Pod) Tune(context.Context, pod.Tuning) {}

// SetShare is daemon.Pod's.
func (p *Pod) SetShare(context.Context, pod.Share) error { return nil }

// ConfigChanged does nothing.
func (p *Pod) ConfigChanged(string) {}

// Rest does nothing.
func (p *Pod) Rest() {}

// ListenPort is the port of the first address.
func (p *Pod) ListenPort() int { return p.port }
