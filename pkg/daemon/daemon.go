package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/server"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/notify"
)

// Options are for Run.
type Options struct {
	Home     api.Home
	Engine   Engine
	Version  string
	Offline  bool       // pods don't listen and don't dial
	NoMounts bool       // what is mounted at every run is not, in this one
	Mount    *api.Mount // one more mount, for this run; of the pod that Mount.Pod names
	Clock    clock.Clock
	Log      *slog.Logger
	Levels   *Levels // of Log, where the machine's file decides them; may be nil

	// Ready is called once, with one line that says what runs, when every pod accepts calls and every mount answers.
	Ready func(line string)
	// Unlock finds the key of a pod's locked disk; nil: it can't. It may ask the user.
	Unlock func(LockedPod) (*diskcrypt.Key, error)
	// Say tells the user something that is not an error.
	Say func(text string)
}

// machine is a running daemon. It implements server.Machine.
type machine struct {
	o    Options
	stop context.CancelCauseFunc
	ctx  func() context.Context // of the whole run: what is started here lives on after the request that started it

	notifier      *notify.Notifier
	metrics       http.Handler
	metricsListen string // HOST:PORT; "": nowhere
	access        server.Access
	mountsMade    atomic.Bool // those that are made at every start

	makeMu sync.Mutex // held while a pod is made; taken before mu

	mu   sync.Mutex // guards the fields below
	pods map[string]*running
	down bool           // no more pods and mounts
	now  config.Machine // what the file said when it was last read
}

// running is an open pod.
type running struct {
	local
	pod    Pod
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has ended

	mu     sync.Mutex // guards the fields below, pod.toml and mount.json; taken after machine.mu
	now    config.Pod // what the file said when it was last read
	mounts map[string]*mounted
	failed map[string]error // why a saved mount could not be made, by its folder as the file names it; it is tried again
}

var _ server.Machine = (*machine)(nil)

// errStop is the cause of an end that was asked for.
var errStop = errors.New("told to stop")

// Pod is the pod of this name, or the only one.
func (m *machine) Pod(name string) (server.Pod, error) {
	r, err := m.find(name)
	if err != nil {
		return nil, err
	}
	return r.pod, nil
}

// find is the running pod with this name of its folder, of its own, or of its network.
func (m *machine) find(name string) (*running, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, api.ErrStopping
	}
	if name != "" {
		if r, ok := m.pods[name]; ok {
			return r, nil
		}
	}
	var found []*running
	for _, r := range m.pods {
		if name == "" || name == r.cfg.Name || name == r.cfg.NetworkName {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(m.pods) == 0:
		return nil, errNoPods()
	case len(found) == 0:
		return nil, api.WithHint(fmt.Errorf("pod %q: %w", name, api.ErrNoPod), "here are "+strings.Join(m.names(), ", "))
	}
	return nil, api.WithHint(fmt.Errorf("%w: which pod? %w", errNoName, api.ErrUsage), "choose one with --pod: "+strings.Join(m.names(), ", "))
}

// names are the pods' names; mu is held.
func (m *machine) names() []string {
	var out []string
	for name := range m.pods {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// all are the running pods, by name.
func (m *machine) all() []*running {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*running
	for _, name := range m.names() {
		out = append(out, m.pods[name])
	}
	return out
}

// Stop ends the run.
func (m *machine) Stop() { m.stop(errStop) }

// Init makes a network and its first pod, which serves at once.
func (m *machine) Init(ctx context.Context, r api.InitRequest) (api.Made, error) {
	m.makeMu.Lock()
	defer m.makeMu.Unlock()
	l, info, err := create(ctx, m.o.Home, m.o.Engine, r)
	if err != nil {
		return api.Made{}, err
	}
	return m.begin(ctx, l, made(l, info)), nil
}

// Join makes a pod of a network that exists, which serves at once.
func (m *machine) Join(ctx context.Context, r api.JoinRequest) (api.Made, error) {
	m.makeMu.Lock()
	defer m.makeMu.Unlock()
	l, info, err := join(ctx, m.o.Home, m.o.Engine, r)
	if err != nil {
		return api.Made{}, err
	}
	return m.begin(ctx, l, made(l, info)), nil
}

// begin starts a pod that was just made. It is there whatever becomes of that.
func (m *machine) begin(ctx context.Context, l local, a api.Made) api.Made {
	r, err := m.open(ctx, l)
	if err == nil {
		err = m.mountSaved(ctx, r)
	}
	if err != nil {
		m.o.Log.ErrorContext(ctx, "the new pod could not be started in full", "pod", l.name, "error", err)
		a.Warning = err.Error()
	}
	return a
}

// open opens a pod and has it run until the end.
//
//nolint:contextcheck // the pod lives longer than the request that opens it
func (m *machine) open(ctx context.Context, l local) (*running, error) {
	life := m.ctx()
	log := m.o.Log.With("local", l.name, partKey, "pod")
	if err := l.unlock(m.o.Unlock); err != nil {
		return nil, err
	}
	p, err := m.o.Engine.Open(life, OpenOptions{
		Dir: l.dir, Disk: l.disk, Name: l.cfg.Name, Listen: m.listen(ctx, l), Discover: l.cfg.Discover && !m.o.Offline, Offline: m.o.Offline,
		Tuning: tuning(l.cfg), Share: share(l.cfg), CapacityBytes: l.cfg.CapacityBytes, ReserveBytes: l.cfg.Reserve, Log: log, Version: m.o.Version,
		Unmounted: func() []health.Mount { return m.unmounted(l.name) },
	})
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", l.name, err)
	}
	life, cancel := context.WithCancel(life)
	r := &running{local: l, pod: p, cancel: cancel, done: make(chan struct{}), now: l.cfg, mounts: map[string]*mounted{}, failed: map[string]error{}}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		cancel()
		return nil, errors.Join(api.ErrStopping, p.Close())
	}
	m.pods[l.name] = r
	go func() {
		defer close(r.done)
		err := p.Run(life)
		if life.Err() == nil {
			m.stop(fmt.Errorf("pod %s ended: %w", l.name, errors.Join(err, errEnded)))
		}
	}()
	return r, nil
}

// errEnded says that a pod ended without having been told to.
var errEnded = errors.New("it was not told to")

// listen is where a pod is to listen: where its file says, or, where a port is taken, on another.
func (m *machine) listen(ctx context.Context, l local) []string {
	if m.o.Offline {
		return nil
	}
	out := slices.Clone(l.cfg.Listen)
	for i, addr := range out {
		if _, err := freePort(ctx, addr); err == nil {
			continue
		}
		host := addr[:strings.LastIndexByte(addr, ':')]
		other, err := freePort(ctx, host+":0")
		if err != nil {
			continue // The pod will say what is wrong.
		}
		out[i] = fmt.Sprintf("%s:%d", host, other)
		m.o.Say(fmt.Sprintf("pod %s: %s is taken; it listens on port %d now", l.name, addr, other))
	}
	return out
}

// close ends a pod: its mounts first.
func (r *running) close(ctx context.Context) error {
	err := r.unmountAll(ctx)
	r.cancel()
	<-r.done
	if cerr := r.pod.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("pod %s: close: %w", r.name, cerr))
	}
	return err
}
