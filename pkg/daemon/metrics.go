package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/metrics"
)

// Metrics serves the metrics of all pods.
func (m *machine) Metrics() http.Handler { return m.metrics }

// gather is what is so of all pods here.
func (m *machine) gather(ctx context.Context) ([]metrics.Pod, error) {
	var out []metrics.Pod
	var errs []error
	for _, r := range m.all() {
		p, err := r.measure(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("pod %s: %w", r.name, err))
			continue
		}
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

func (r *running) measure(ctx context.Context) (metrics.Pod, error) {
	st, err := r.pod.Status(ctx)
	if err != nil {
		return metrics.Pod{}, err
	}
	u, err := r.pod.Usage(ctx)
	if err != nil {
		return metrics.Pod{}, err
	}
	out := metrics.Pod{
		Network: r.cfg.NetworkName, Name: r.cfg.Name, Healthy: st.Healthy, UnsafeBytes: st.UnsafeBytes, DirtyBytes: st.DirtyBytes,
		StateBytes: make(map[string]int64), LiveBytes: u.Live, CacheBytes: u.Cache, TrashBytes: u.Trash, GarbageBytes: u.Garbage, FreeBytes: u.Free,
	}
	for _, b := range st.States {
		out.StateBytes[b.State] = b.Bytes
	}
	for _, w := range st.Warnings {
		out.Warnings = append(out.Warnings, metrics.Warning{Code: string(w.Code), Severity: string(w.Severity), Subject: w.Subject})
	}
	for _, p := range st.Pods {
		out.Members = append(out.Members, metrics.Member{Name: p.Name, State: p.State, UsedBytes: p.UsedBytes, FreeBytes: p.FreeBytes})
	}
	for _, p := range r.pod.Peers() {
		out.Peers = append(out.Peers, metrics.Peer{Name: p.Name, Connected: p.Connected, RTT: p.RTT, SentBytes: p.Sent.Bytes, ReceivedBytes: p.Received.Bytes})
	}
	return out, nil
}

// metricsTimeout is how long a request for metrics over TCP may take to come, and its answer to go.
const metricsTimeout = 30 * time.Second

// serveMetrics serves the metrics, and nothing else, over TCP, until ctx ends, if the machine's file says so. That it can't is no reason to stop.
func (m *machine) serveMetrics(ctx context.Context) {
	if m.metricsListen == "" {
		return
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", m.metricsListen)
	if err != nil {
		m.o.Log.ErrorContext(ctx, "metrics are not served", "err", err)
		m.o.Say(fmt.Sprintf("metrics are not served: %v", err))
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.metrics)
	s := &http.Server{Handler: mux, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		m.o.Log.ErrorContext(ctx, "metrics are no longer served", "err", err)
	}
}
