package pod

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestParseWhen breaks if a time that people write means another one, or if something that is none is taken for one.
func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-11-25T10:00:00Z": "2026-11-25T10:00:00Z", "2026-11-25T10:00:00+02:00": "2026-11-25T08:00:00Z", "2026-11-25": "2026-11-25T00:00:00Z",
		"2026-11-25 10:30": "2026-11-25T10:30:00Z", "2h": "2026-11-26T10:00:00Z", "2 hours ago": "2026-11-26T10:00:00Z", "1 day": "2026-11-25T12:00:00Z",
		"1d12h": "2026-11-25T00:00:00Z", "90m ago": "2026-11-26T10:30:00Z", "yesterday": "2026-11-25T12:00:00Z", "2 Weeks ago": "2026-11-12T12:00:00Z",
		"now": "2026-11-26T12:00:00Z", "30s": "2026-11-26T11:59:30Z",
		"": "", "2": "", "h": "", "2x": "", "-2h": "", "before": "", "2h3": "", "99999999999w": "", "2000000000w": "", "ago": "", "2 h x": "",
	} {
		got := ""
		if at, ok := parseWhen(text, now); ok {
			got = at.UTC().Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// TestThin breaks if a state that lasted is dropped, however often what is left is thinned out, or if more is left than the tiers say.
func TestThin(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	at := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	var kept, all []time.Time // newest first
	for range 3000 {
		at = at.Add(time.Duration(rng.ExpFloat64() * float64(45*time.Second)))
		kept, all = slices.Insert(kept, 0, at), slices.Insert(all, 0, at)
		keep := thin(at, kept, keepTiers)
		i := -1
		kept = slices.DeleteFunc(kept, func(time.Time) bool { i++; return !keep[i] })
		if i := slices.IndexFunc(all, func(x time.Time) bool { return at.Sub(x) > 25*time.Hour }); i >= 0 {
			all = all[:i]
		}
	}
	if len(kept) > 70+61+51+139 || len(kept) < 100 {
		t.Errorf("%d are left", len(kept))
	}
	// What was the newest at the end of a span is there as long as its tier is.
	for ago := 10 * time.Minute; ago < 24*time.Hour; ago += 10 * time.Minute {
		end := at.Add(-ago).Truncate(10 * time.Minute)
		i := slices.IndexFunc(all, func(x time.Time) bool { return x.Before(end) })
		if i >= 0 && at.Sub(all[i]) < 24*time.Hour && !slices.Contains(kept, all[i]) {
			t.Errorf("the newest of %v, from %v, was dropped", end, all[i])
		}
	}
}

// TestSnapshotRule breaks if automatic snapshots are made or dropped otherwise than the rule says.
func TestSnapshotRule(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	var names []string
	for i := range 12*400 + 6*50 {
		step := 2 * time.Hour
		if i > 12*400 {
			step = 10*time.Minute + time.Second
		}
		now = now.Add(step)
		due, drop := planSnapshots(now, names)
		if !due {
			t.Fatalf("%v: none is due", now)
		}
		names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(drop, n) })
		names = append(names, snapshotName(now))
		if due, _ := planSnapshots(now, names); due {
			t.Fatalf("%v: one more is due", now)
		}
	}
	count := map[string]int{}
	for _, name := range names {
		at, ok := snapshotTime(name)
		if !ok {
			t.Fatal(name)
		}
		switch age := now.Sub(at); {
		case age <= time.Hour:
			count["ten minutes"]++
		case age <= 48*time.Hour:
			count["hours"]++
		case age <= 30*day:
			count["days"]++
		default:
			count["weeks"]++
		}
	}
	for what, want := range map[string][2]int{"ten minutes": {6, 7}, "hours": {47, 49}, "days": {28, 30}, "weeks": {47, 49}} {
		if n := count[what]; n < want[0] || n > want[1] {
			t.Errorf("%s: %d, want %v", what, n, want)
		}
	}
	// Others' names, and those of a clock that is ahead, are left alone.
	due, drop := planSnapshots(now, []string{"mine", "auto-", "auto-now", "auto-20990101T000000Z"})
	if !due || len(drop) > 0 {
		t.Errorf("due %v, drop %v", due, drop)
	}
}

// TestKeptFormat breaks if the bytes of the kept roots change.
func TestKeptFormat(t *testing.T) {
	all := []rootAt{
		{at: time.Unix(0, 1764158400000000000), root: block.Sum(block.DagCBOR, []byte("a"))},
		{at: time.Unix(0, -5), root: block.Sum(block.DagCBOR, []byte("b"))},
	}
	golden(t, "kept", encodeKept(all))
	got, err := decodeKept(encodeKept(all))
	if err != nil || !slices.EqualFunc(got, all, func(a, b rootAt) bool { return a.at.Equal(b.at) && a.root == b.root }) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := decodeKept([]byte{0x81, 0x82, 0}); err == nil {
		t.Error("half an entry is read")
	}
}

func FuzzKept(f *testing.F) {
	b, err := readGolden("kept")
	if err != nil || len(b) == 0 {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := decodeKept(b)
		if err != nil {
			return
		}
		if again := encodeKept(all); !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x", b, again)
		}
	})
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "format", name+".hex")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "%x\n", got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := readGolden(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the format changed:\ngot  %x\nwant %x", name, got, want)
	}
}

func readGolden(name string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join("testdata", "format", name+".hex"))
	if err != nil {
		return nil, err
	}
	return hex.DecodeString(strings.TrimSpace(string(text)))
}
