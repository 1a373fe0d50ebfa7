package metrics

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func scrape(t *testing.T, g Gather) string {
	t.Helper()
	w := httptest.NewRecorder()
	Handler("v1", g).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func full(context.Context) ([]Pod, error) {
	p := Pod{
		Network: "home", Name: "box", Healthy: true, Warnings: []Warning{{Code: "clock", Severity: "warning"}, {Code: "clock", Severity: "warning"}, {Code: "mount_missing", Subject: "/\xff"}},
		StateBytes: map[string]int64{"safe": 7}, LiveBytes: 1 << 40,
		Members: []Member{{Name: "box", State: "up", UsedBytes: 3}, {Name: "box", State: "up"}},
		Peers:   []Peer{{Name: "nas", Connected: true, RTT: 1500 * time.Microsecond, SentBytes: 9}},
	}
	q := p
	q.Name = "second"
	return []Pod{p, q}, nil
}

// Every metric has samples; two of one name and labels, and names that are no UTF-8, don't fail the whole scrape.
func TestScrape(t *testing.T) {
	got := scrape(t, full)
	for _, line := range []string{
		`wormhole_build_info{version="v1"} 1`, `wormhole_scrape_failed 0`, `wormhole_healthy{network="home",pod="box"} 1`,
		`wormhole_warning{code="clock",network="home",pod="second",severity="warning",subject=""} 1`,
		`wormhole_store_bytes{kind="live",network="home",pod="box"} 1.099511627776e+12`,
		`wormhole_member_state{member="box",network="home",pod="box",state="up"} 1`, `wormhole_member_state{member="box",network="home",pod="box",state="down"} 0`,
		`wormhole_peer_round_trip_seconds{network="home",peer="nas",pod="box"} 0.0015`,
		`# TYPE wormhole_peer_sent_bytes_total counter`, `# TYPE process_resident_memory_bytes gauge`,
	} {
		if !strings.Contains(got, line+"\n") && !strings.Contains(got, line+" ") {
			t.Errorf("%s is missing", line)
		}
	}
	for _, m := range podMetrics {
		name := regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(m.desc.String())[1]
		if !strings.Contains(got, "\n"+name+"{") {
			t.Errorf("%s has no sample", name)
		}
	}
	got = scrape(t, func(context.Context) ([]Pod, error) { return nil, errors.New("stuck") })
	if !strings.Contains(got, "\nwormhole_scrape_failed 1\n") {
		t.Error("a failure is not told")
	}
}

// What the examples ask for is there, and the dashboard leaves none of our metrics out.
func TestExamples(t *testing.T) {
	got := scrape(t, full)
	word := regexp.MustCompile(`\b(wormhole|process|go)_[a-z_]+\b`)
	var used []string
	for _, name := range []string{"dashboard.json", "alerts.yml"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "examples", "monitoring", name))
		if err != nil {
			t.Fatal(err)
		}
		found := word.FindAllString(string(b), -1)
		if len(found) < 4 {
			t.Errorf("%s: metrics %q", name, found)
		}
		used = append(used, found...)
	}
	for _, name := range used {
		if !strings.Contains(got, "# TYPE "+name+" ") {
			t.Errorf("%s is no metric", name)
		}
	}
	for _, m := range regexp.MustCompile(`# TYPE (wormhole_\w+)`).FindAllStringSubmatch(got, -1) {
		if !slices.Contains(used, m[1]) && m[1] != "wormhole_build_info" {
			t.Errorf("%s is used nowhere in the examples", m[1])
		}
	}
}
