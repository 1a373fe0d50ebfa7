package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/server"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/metrics"
)

// stopLimit is how long pods and mounts may take to end before the daemon gives up on them.
const stopLimit = 40 * time.Second

// errStuck says that something did not end.
var errStuck = errors.New("it did not stop in time")

// Run runs the machine until ctx ends or the API tells it to stop. It returns nil after a clean stop.
//
// Errors: api.ErrInUse if another process holds WH_HOME; config.ErrBad; what a pod or a mount says that can't be
// opened.
func Run(ctx context.Context, o Options) (err error) {
	lock, err := WaitLock(ctx, o.Home, o.Clock, func() { abortMounts(o.Home, o.Engine) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := cleanStages(o.Home); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Pods live on while the machine stops: what they have accepted must be made durable.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	o.Log = o.Log.With(partKey, "daemon")
	m := &machine{o: o, stop: cancel, ctx: func() context.Context { return life }, pods: map[string]*running{}}
	m.notifier = m.newNotifier()
	m.metrics = metrics.Handler(o.Version, m.gather)
	defer func() { err = errors.Join(err, m.closeAll(ctx)) }()

	mc, err := config.LoadMachine(m.machineFile())
	if err != nil {
		return err
	}
	m.notifier.Set(targets(mc.Notify, o.Clock))
	m.metricsListen, m.now = mc.MetricsListen, mc
	if m.access, err = accessOf(mc); err != nil {
		return err
	}
	all, err := locals(o.Home)
	if err != nil {
		return err
	}
	for _, l := range all {
		m.detachStale(ctx, l)
		if _, err := m.open(ctx, l); err != nil {
			return err
		}
	}
	return m.serve(ctx)
}

// serve opens the API and the mounts, says that all is ready, and waits for the end.
func (m *machine) serve(ctx context.Context) (err error) {
	l, remove, err := listenSocket(ctx, m.o.Home, m.access)
	if err != nil {
		return err
	}
	apiCtx, endAPI := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() {
		s := server.New(m, m.o.Version, m.o.Clock, m.o.Log.With(partKey, "api"))
		s.Allow(m.access)
		served <- s.Serve(apiCtx, l)
	}()
	var watch sync.WaitGroup
	seen := m.stamps()
	watch.Go(func() { m.watchConfig(apiCtx, seen) })
	watch.Go(func() { m.notifier.Run(apiCtx) })
	watch.Go(func() { m.serveMetrics(apiCtx) })
	watch.Go(func() { m.rest(apiCtx) })
	defer func() {
		m.mu.Lock()
		m.down = true
		m.mu.Unlock()
		endAPI()
		serr := <-served
		watch.Wait()
		remove()
		err = errors.Join(err, serr)
	}()
	if !m.o.NoMounts {
		if err := m.mountAll(ctx); err != nil {
			return err
		}
		watch.Go(func() { m.remount(apiCtx) })
	}
	m.mountsMade.Store(true)
	if x := m.o.Mount; x != nil {
		if err := m.Mount(ctx, x.Pod, *x); err != nil {
			return err
		}
	}
	m.o.Ready(m.summary())
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, errStop) && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// summary says what runs.
func (m *machine) summary() string {
	pods := m.all()
	var s strings.Builder
	fmt.Fprintf(&s, "%d pods, %d mounts, pid %d", len(pods), len(m.Mounts()), os.Getpid())
	if n := m.failures(); n > 0 {
		fmt.Fprintf(&s, ", %d mounts that could not be made", n)
	}
	for _, r := range pods {
		fmt.Fprintf(&s, "; %s of %s", r.name, r.cfg.NetworkName)
		if port := r.pod.ListenPort(); port != 0 {
			fmt.Fprintf(&s, " on port %d", port)
		}
	}
	return s.String()
}

// listenSocket opens the API's socket, for this user only, or for a group too.
func listenSocket(ctx context.Context, home api.Home, a server.Access) (net.Listener, func(), error) {
	path, remove, err := home.NewSocket()
	if err != nil {
		return nil, nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err == nil {
		if err = openTo(home, path, a); err == nil {
			return l, remove, nil
		}
		_ = l.Close() // Nobody has used it.
	}
	remove()
	return nil, nil, fmt.Errorf("daemon: socket: %w", err)
}

// closeAll ends all pods, at once, and gives up on those that take too long.
func (m *machine) closeAll(ctx context.Context) error {
	m.mu.Lock()
	m.down = true
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	pods := m.all()
	errs := make([]error, len(pods))
	var wg sync.WaitGroup
	for i, r := range pods {
		wg.Go(func() { errs[i] = r.close(ctx) })
	}
	done := make(chan struct{})
	go func() { defer close(done); wg.Wait() }()
	select {
	case <-done:
		return errors.Join(errs...)
	case <-ctx.Done():
		return fmt.Errorf("daemon: stop: %w", errStuck)
	}
}
