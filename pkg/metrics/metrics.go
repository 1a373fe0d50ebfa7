// Package metrics shows what is so of a machine's pods as Prometheus metrics.
//
// Nothing is counted here: a Gather function is asked at each scrape, so that metrics cost nothing between two of them. Names follow the
// conventions of prometheus.io/docs/practices/naming: base units, _total for what only grows. Handler is safe for concurrent use.
package metrics

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Pod is what is so of one pod of this machine.
type Pod struct {
	Network, Name string

	Healthy      bool
	Warnings     []Warning
	UnsafeBytes  int64
	DirtyBytes   int64
	StateBytes   map[string]int64 // by how safe they are
	LiveBytes    int64
	CacheBytes   int64
	TrashBytes   int64
	GarbageBytes int64
	FreeBytes    int64
	Members      []Member
	Peers        []Peer
}

// Warning is a warning that is shown.
type Warning struct{ Code, Severity, Subject string }

// Member is a pod of the network.
type Member struct {
	Name, State          string
	UsedBytes, FreeBytes int64
}

// Peer is the connection to another pod.
type Peer struct {
	Name                     string
	Connected                bool
	RTT                      time.Duration // 0: not known
	SentBytes, ReceivedBytes int64         // since it was connected
}

// Gather is what is so now, of all pods of this machine.
type Gather func(ctx context.Context) ([]Pod, error)

// states are the states of members, each of which has a sample for each member.
var states = []string{"up", "suspect", "down", "out", "draining"}

// metric describes one metric; its labels follow network and pod.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, append([]string{"network", "pod"}, labels...), nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) metric {
	m := gauge(name, help, labels...)
	m.kind = prometheus.CounterValue
	return m
}

// All metrics of pods.
var (
	healthyMetric     = gauge("wormhole_healthy", "1 when nothing acknowledged is below its policy and no pod is down, as wh status says.")
	warningMetric     = gauge("wormhole_warning", "1 for each warning that is shown; docs/health.md has a section for each code.", "code", "severity", "subject")
	unsafeMetric      = gauge("wormhole_unsafe_bytes", "Bytes below their policy although there are pods enough.")
	dirtyMetric       = gauge("wormhole_dirty_bytes", "Bytes that were written and are not stored yet.")
	contentMetric     = gauge("wormhole_content_bytes", "Bytes of all files by how safe they are.", "state")
	storeMetric       = gauge("wormhole_store_bytes", "Bytes on this pod's disk by what they are: live, cache, trash, garbage.", "kind")
	storeFreeMetric   = gauge("wormhole_store_free_bytes", "Bytes that this pod may still store.")
	memberStateMetric = gauge("wormhole_member_state", "1 for the state that a pod of the network is in, 0 for the others.", "member", "state")
	memberUsedMetric  = gauge("wormhole_member_used_bytes", "Bytes that a pod of the network stores, as it last said.", "member")
	memberFreeMetric  = gauge("wormhole_member_free_bytes", "Bytes that a pod of the network may still store, as it last said.", "member")
	peerMetric        = gauge("wormhole_peer_connected", "1 when the other pod is connected.", "peer")
	rttMetric         = gauge("wormhole_peer_round_trip_seconds", "Time there and back of the last ping.", "peer")
	sentMetric        = counter("wormhole_peer_sent_bytes_total", "Bytes sent to the other pod since it was connected.", "peer")
	receivedMetric    = counter("wormhole_peer_received_bytes_total", "Bytes received from the other pod since it was connected.", "peer")

	podMetrics = []metric{
		healthyMetric, warningMetric, unsafeMetric, dirtyMetric, contentMetric, storeMetric, storeFreeMetric, memberStateMetric, memberUsedMetric,
		memberFreeMetric, peerMetric, rttMetric, sentMetric, receivedMetric,
	}

	buildDesc  = prometheus.NewDesc("wormhole_build_info", "1; the version is a label.", []string{"version"}, nil)
	failedDesc = prometheus.NewDesc("wormhole_scrape_failed", "1 when the pods could not say what is so: the other metrics of pods are missing then.", nil, nil)
)

// scrapeTimeout is how long pods may take to say what is so.
const scrapeTimeout = 10 * time.Second

// Handler serves the metrics in the text format, those of the process and of Go's runtime with them.
func Handler(version string, g Gather) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collector{version: version, gather: g}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 2, DisableCompression: true})
}

type collector struct {
	version string
	gather  Gather
}

// Describe is prometheus.Collector's.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	out <- buildDesc
	out <- failedDesc
	for _, m := range podMetrics {
		out <- m.desc
	}
}

// Collect is prometheus.Collector's.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	out <- prometheus.MustNewConstMetric(buildDesc, prometheus.GaugeValue, 1, c.version)
	pods, err := c.gather(ctx)
	out <- prometheus.MustNewConstMetric(failedDesc, prometheus.GaugeValue, number(err != nil))
	for i := range pods {
		s := samples{out: out, pod: &pods[i], seen: make(map[string]bool)}
		s.all()
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// samples sends what is so of one pod.
type samples struct {
	out  chan<- prometheus.Metric
	pod  *Pod
	seen map[string]bool // a label twice would fail the whole scrape
}

func (s *samples) send(m metric, v float64, labels ...string) {
	key := strings.Join(append([]string{m.desc.String()}, labels...), "\x00")
	if s.seen[key] {
		return
	}
	s.seen[key] = true
	// A name that is no UTF-8 has no sample; pods' names are ASCII, folders' need not be.
	sample, err := prometheus.NewConstMetric(m.desc, m.kind, v, append([]string{s.pod.Network, s.pod.Name}, labels...)...)
	if err != nil {
		return
	}
	s.out <- sample
}

func (s *samples) all() {
	p := s.pod
	s.send(healthyMetric, number(p.Healthy))
	for _, w := range p.Warnings {
		s.send(warningMetric, 1, w.Code, w.Severity, w.Subject)
	}
	s.send(unsafeMetric, float64(p.UnsafeBytes))
	s.send(dirtyMetric, float64(p.DirtyBytes))
	for state, n := range p.StateBytes {
		s.send(contentMetric, float64(n), state)
	}
	s.send(storeMetric, float64(p.LiveBytes), "live")
	s.send(storeMetric, float64(p.CacheBytes), "cache")
	s.send(storeMetric, float64(p.TrashBytes), "trash")
	s.send(storeMetric, float64(p.GarbageBytes), "garbage")
	s.send(storeFreeMetric, float64(p.FreeBytes))
	for _, m := range p.Members {
		for _, state := range states {
			s.send(memberStateMetric, number(state == m.State), m.Name, state)
		}
		s.send(memberUsedMetric, float64(m.UsedBytes), m.Name)
		s.send(memberFreeMetric, float64(m.FreeBytes), m.Name)
	}
	for _, peer := range p.Peers {
		s.send(peerMetric, number(peer.Connected), peer.Name)
		if peer.RTT > 0 {
			s.send(rttMetric, peer.RTT.Seconds(), peer.Name)
		}
		s.send(sentMetric, float64(peer.SentBytes), peer.Name)
		s.send(receivedMetric, float64(peer.ReceivedBytes), peer.Name)
	}
}
