package daemon

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// stagePrefix begins the names of folders of pods that are not complete.
const stagePrefix = ".new-"

// local is a pod of this machine, as its folder tells.
type local struct {
	name string // of the folder
	dir  string
	cfg  config.Pod
	disk *diskcrypt.Key // of a locked disk, once it is known
}

func (l local) file() string { return filepath.Join(l.dir, config.PodFile) }

// locals are the pods of a WH_HOME, by name.
func locals(home api.Home) ([]local, error) {
	entries, err := os.ReadDir(home.Pods())
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	var out []local
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		l := local{name: e.Name(), dir: filepath.Join(home.Pods(), e.Name())}
		if l.cfg, err = config.LoadPod(l.file()); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// cleanStages removes what makes of pods that were cut off have left. Only who holds the lock may call it.
func cleanStages(home api.Home) error {
	stages, err := filepath.Glob(filepath.Join(home.Pods(), stagePrefix+"*"))
	if err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	for _, s := range stages {
		if err := os.RemoveAll(s); err != nil {
			return fmt.Errorf("daemon: %w", err)
		}
	}
	return nil
}

// Create makes a network and its first pod. Only who holds the lock may call it.
func Create(ctx context.Context, home api.Home, e Engine, r api.InitRequest) (api.Made, error) {
	l, info, err := create(ctx, home, e, r)
	return made(l, info), err
}

// Join makes a pod of a network that exists. Only who holds the lock may call it.
func Join(ctx context.Context, home api.Home, e Engine, r api.JoinRequest) (api.Made, error) {
	l, info, err := join(ctx, home, e, r)
	return made(l, info), err
}

func made(l local, info pod.Info) api.Made {
	return api.Made{Network: info.Network.String(), NetworkName: info.NetworkName, Pod: info.Pod.String(), Name: l.name, Locked: info.Locked}
}

func create(ctx context.Context, home api.Home, e Engine, r api.InitRequest) (local, pod.Info, error) {
	if err := config.CheckName(r.Network); err != nil {
		return local{}, pod.Info{}, fmt.Errorf("network: %w: %w", api.ErrUsage, err)
	}
	all, err := locals(home)
	if err != nil {
		return local{}, pod.Info{}, err
	}
	for _, l := range all {
		if l.cfg.NetworkName == r.Network {
			return local{}, pod.Info{}, api.WithHint(
				fmt.Errorf("a network %q, by pod %s: %w", r.Network, l.name, api.ErrConflict),
				"choose another name, or another WH_HOME")
		}
	}
	name, err := podName(all, r.Name)
	if err != nil {
		return local{}, pod.Info{}, err
	}
	lock, err := lockingOf(r.Lock)
	if err != nil {
		return local{}, pod.Info{}, err
	}
	l, info, err := build(ctx, home, all, config.DefaultWeight, r.Listen, r.Mount, r.Lock, func(dir string) (pod.Info, error) {
		return e.Create(ctx, dir, CreateOptions{NetworkName: r.Network, PodName: name, Encrypt: r.Encrypt, Access: r.Access, Lock: lock})
	})
	return l.opened(info, lock), info, err
}

func join(ctx context.Context, home api.Home, e Engine, r api.JoinRequest) (local, pod.Info, error) {
	all, err := locals(home)
	if err != nil {
		return local{}, pod.Info{}, err
	}
	o, network, err := joinOptions(e, r)
	if err != nil {
		return local{}, pod.Info{}, err
	}
	if err := notHere(all, network); err != nil {
		return local{}, pod.Info{}, err
	}
	if o.PodName, err = podName(all, r.Name); err != nil {
		return local{}, pod.Info{}, err
	}
	weight := int64(config.DefaultWeight)
	if r.Portal {
		weight = 0
	}
	if o.Lock, err = lockingOf(r.Lock); err != nil {
		return local{}, pod.Info{}, err
	}
	l, info, err := build(ctx, home, all, weight, r.Listen, r.Mount, r.Lock, func(dir string) (pod.Info, error) { return e.Join(ctx, dir, o) })
	return l.opened(info, o.Lock), info, err
}

// joinOptions are how a network is joined, and which.
func joinOptions(e Engine, r api.JoinRequest) (JoinOptions, ident.Network, error) {
	o := JoinOptions{Token: r.Token, Discover: true}
	if r.Ticket == nil {
		network, err := e.TokenNetwork(r.Token)
		return o, network, err
	}
	t, err := ticketOf(*r.Ticket)
	o.Ticket = &t
	return o, t.Network, err
}

func ticketOf(a api.Ticket) (pod.Ticket, error) {
	t := pod.Ticket{Key: a.Key, NetworkName: a.NetworkName, At: p2p.Found{Addrs: a.Addrs}, PodName: a.PodName}
	var err error
	if t.Network, err = ident.ParseNetwork(a.Network); err == nil {
		t.At.Pod, err = ident.ParsePod(a.Pod)
	}
	if err == nil && len(a.Chain) > 0 {
		t.User, err = member.DecodeChain(a.Chain)
	}
	if err == nil && len(t.Key) != ed25519.PrivateKeySize {
		err = fmt.Errorf("key of %d bytes", len(t.Key))
	}
	if err != nil {
		return t, fmt.Errorf("ticket: %w: %w", api.ErrUsage, err)
	}
	return t, nil
}

// DefaultPodName is a pod's name where nobody chose one: the host's, as far as it can be one.
func DefaultPodName() string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return cleanHost(host)
}

func notHere(all []local, network ident.Network) error {
	for _, l := range all {
		if l.cfg.Network == network.String() {
			return fmt.Errorf("network %s (%s), by pod %s: %w", l.cfg.NetworkName, network.Short(), l.name, api.ErrConflict)
		}
	}
	return nil
}

// podName is the name asked for, or one made of the host's that no pod here has.
func podName(all []local, asked string) (string, error) {
	taken := map[string]bool{}
	for _, l := range all {
		taken[l.name] = true
	}
	if asked != "" {
		if err := config.CheckName(asked); err != nil {
			return "", fmt.Errorf("pod: %w: %w", api.ErrUsage, err)
		}
		if taken[asked] {
			return "", fmt.Errorf("pod %q: %w", asked, api.ErrConflict)
		}
		return asked, nil
	}
	return freeName(taken, DefaultPodName()), nil
}

// cleanHost makes a pod's name of a host's.
func cleanHost(host string) string {
	host, _, _ = strings.Cut(host, ".")
	host = strings.Map(func(r rune) rune {
		if r < 0x80 && config.CheckName("a"+string(r)) == nil {
			return r
		}
		return '-'
	}, host)
	host = strings.TrimLeft(host, "-_.")
	host = host[:min(len(host), config.NameMax-4)] // Room for a number.
	if host == "" {
		return "pod"
	}
	return host
}

// freeName is name, or with the first of -2, -3, … that is not taken.
func freeName(taken map[string]bool, name string) string {
	for n, try := 2, name; ; n++ {
		if !taken[try] {
			return try
		}
		try = name[:min(len(name), config.NameMax-4)] + "-" + strconv.Itoa(n)
	}
}

// build has make make a pod's folder, adds its pod.toml, and gives it its name. It is complete or undone; the rename,
// after which the folder of the pods is synced, is what completes it.
func build(ctx context.Context, home api.Home, all []local, weight int64, listen []string, m *api.Mount, lock *api.Lock, do func(dir string) (pod.Info, error)) (local, pod.Info, error) {
	cfg := config.NewPod()
	cfg.Weight = weight
	var err error
	if cfg.Listen, err = listenOn(ctx, listen); err != nil {
		return local{}, pod.Info{}, err
	}
	if m != nil {
		if err := checkMount(*m); err != nil {
			return local{}, pod.Info{}, err
		}
		cfg.Mounts = []config.Mount{{Dir: string(m.Dir), Options: m.Options}}
	}
	stage, err := os.MkdirTemp(home.Pods(), stagePrefix)
	if err != nil {
		return local{}, pod.Info{}, fmt.Errorf("daemon: %w", err)
	}
	defer func() { _ = os.RemoveAll(stage) }() // Nothing is there when all went well; else the next start cleans up.
	work := filepath.Join(stage, "pod")
	info, err := do(work)
	if err != nil {
		return local{}, pod.Info{}, err
	}
	if err := config.CheckName(info.Name); err != nil { // It may come from the issuer.
		return local{}, pod.Info{}, fmt.Errorf("daemon: %w", err)
	}
	if err := notHere(all, info.Network); err != nil {
		return local{}, pod.Info{}, err
	}
	cfg.Network, cfg.NetworkName, cfg.Name = info.Network.String(), info.NetworkName, info.Name
	if info.Locked {
		cfg.Identity = string(lock.Identity)
	}
	if err := cfg.Save(filepath.Join(work, config.PodFile)); err != nil {
		return local{}, pod.Info{}, err
	}
	taken := map[string]bool{}
	for _, l := range all {
		taken[l.name] = true
	}
	l := local{name: freeName(taken, info.Name), cfg: cfg}
	l.dir = filepath.Join(home.Pods(), l.name)
	err = os.Chmod(work, 0o700)
	if err == nil {
		err = os.Rename(work, l.dir)
	}
	if err == nil {
		err = config.SyncDir(home.Pods())
	}
	if err != nil {
		return local{}, pod.Info{}, fmt.Errorf("daemon: %w", err)
	}
	return l, info, nil
}

// listenOn checks addresses; if there are none, it is all of the host's with a port that is free now.
func listenOn(ctx context.Context, listen []string) ([]string, error) {
	for _, a := range listen {
		if err := config.CheckListen(a); err != nil {
			return nil, fmt.Errorf("listen: %w: %w", api.ErrUsage, err)
		}
	}
	if len(listen) > 0 {
		return listen, nil
	}
	port, err := freePort(ctx, "0.0.0.0:0")
	if err != nil {
		return nil, fmt.Errorf("daemon: no free port: %w", err)
	}
	return []string{net.JoinHostPort("0.0.0.0", strconv.Itoa(port))}, nil
}

// freePort is the port of an address that can be listened on; if that is 0, one that is free.
func freePort(ctx context.Context, addr string) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }() // It was only tried.
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("address %s", l.Addr())
	}
	return a.Port, nil
}

// checkMount says whether a folder can become a mount: options that are known, and nothing in it.
func checkMount(m api.Mount) error {
	if err := config.CheckMountOptions(m.Options); err != nil {
		return fmt.Errorf("mount: %w: %w", api.ErrUsage, err)
	}
	if !filepath.IsAbs(string(m.Dir)) {
		return fmt.Errorf("mount: %q is not an absolute path: %w", m.Dir, api.ErrUsage)
	}
	st, err := os.Lstat(string(m.Dir))
	if err != nil {
		return nil //nolint:nilerr // Missing, or a dead mount: mounting it deals with that.
	}
	if !st.IsDir() && st.Mode()&os.ModeSymlink == 0 {
		return fmt.Errorf("mount: %s: %w", m.Dir, vfs.ErrNotDir)
	}
	entries, err := os.ReadDir(string(m.Dir))
	if err == nil && len(entries) > 0 {
		return fmt.Errorf("mount: %s: %w", m.Dir, vfs.ErrNotEmpty)
	}
	return nil
}

// errNoPods is what asking for a pod gets where there is none.
func errNoPods() error {
	return api.WithHint(fmt.Errorf("there is no pod here yet: %w", api.ErrNoPod), "wh init makes a network, wh join enters one")
}

var errNoName = errors.New("several pods are here")
