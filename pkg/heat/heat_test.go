package heat

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

var update = flag.Bool("update", false, "write golden files anew")

var start = time.UnixMilli(1_700_000_000_000)

// TestHottest: what is read often is found among far more keys than there are places, and no weight is told too low.
func TestHottest(t *testing.T) {
	const places, half = 100, time.Hour
	r := rand.New(rand.NewPCG(5, 6))
	s, truth, total := New(places, half), make(map[uint64]int64), int64(0)
	for range 100_000 {
		key := uint64(r.IntN(10_000))
		if r.IntN(3) == 0 {
			key = uint64(r.IntN(10))
		}
		s.Note(key, 1000, start)
		truth[key] += 1000
		total += 1000
	}
	hottest := s.Hottest(10, start)
	for _, h := range hottest {
		if h.Key >= 10 {
			t.Errorf("%d is among the hottest", h.Key)
		}
	}
	for key, bytes := range truth {
		got, ok := s.Bytes(key, start)
		if !ok && bytes > total/places {
			t.Errorf("%d was read %d times a thousand and is not there", key, bytes/1000)
		}
		if ok && (got.Bytes < bytes || got.Own() > bytes) {
			t.Errorf("%d: %+v, truth %d", key, got, bytes)
		}
	}
	if len(s.Hottest(1<<20, start)) > places {
		t.Error("there are more keys than places")
	}
}

// TestDecay: weights halve in a half-life, over any time, and what is cold makes room.
func TestDecay(t *testing.T) {
	s := New(2, time.Hour)
	s.Note(1, 1<<20, start)
	for i := range 100 {
		now := start.Add(time.Duration(i) * time.Hour)
		s.Note(2, 1000, now)
		if got, _ := s.Bytes(1, now); i <= 20 && got.Bytes != 1<<20>>i {
			t.Fatalf("after %d half-lives %d bytes are left", i, got.Bytes)
		}
		if got, _ := s.Bytes(2, now); i > 12 && (got.Bytes < 1990 || got.Bytes > 2000) {
			t.Fatalf("steady reads come to %d bytes", got.Bytes)
		}
	}
	now := start.Add(100 * time.Hour)
	s.Note(3, 500, now)
	if _, ok := s.Bytes(1, now); ok {
		t.Error("what is cold stays")
	}
	if got, ok := s.Bytes(3, now); !ok || got.Own() < 499 || got.Own() > 500 {
		t.Errorf("what came: %+v", got)
	}
	s.SetHalfLife(time.Minute, now)
	if got, _ := s.Bytes(3, now.Add(time.Minute)); got.Bytes < 249 || got.Bytes > 251 {
		t.Errorf("with a half-life of a minute: %+v", got)
	}
	s.Forget(3)
	if _, ok := s.Bytes(3, now); ok || len(s.Hottest(9, now)) != 1 {
		t.Error("what was forgotten is there")
	}
}

func sample() *Summary {
	s := New(3, time.Hour)
	for key := range uint64(5) {
		s.Note(1<<63+key, int64(1000*(key+1)), start.Add(time.Duration(key)*time.Minute))
	}
	return s
}

// TestFormat compares bytes with those that were written before.
func TestFormat(t *testing.T) {
	now := start.Add(time.Hour)
	got := sample().Encode(now)
	path := filepath.Join("testdata", "format", "summary.hex")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := hex.DecodeString(string(bytes.TrimSpace(text))); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: %x, want %x", err, got, want)
	}
	back, err := Decode(got, 3)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sample().Hottest(9, now), back.Hottest(9, now)); d != "" {
		t.Error(d)
	}
	if few, err := Decode(got, 1); err != nil || len(few.Hottest(9, now)) != 1 {
		t.Errorf("in a smaller one: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample().Encode(start.Add(time.Hour)))
	f.Add(New(1, time.Second).Encode(start))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b, 10)
		if err != nil {
			if !errors.Is(err, ErrBad) {
				t.Fatal(err)
			}
			return
		}
		if all, err := Decode(b, EntriesMax); err != nil || !bytes.Equal(all.Encode(all.from), b) {
			t.Fatalf("%v: %x became %x", err, b, all.Encode(all.from))
		}
		s.Note(7, 1, s.from)
	})
}

// TestHome: a file moves where it is read, when that pays, and not to and fro.
func TestHome(t *testing.T) {
	a, b, c := ident.Pod{1}, ident.Pod{2}, ident.Pod{3}
	base := Case{Size: 100, Now: start, After: time.Hour, Tracked: start.Add(-2 * time.Hour)}
	for name, one := range map[string]struct {
		edit func(*Case)
		want ident.Pod
	}{
		"read on one":       {func(k *Case) { k.Read = map[ident.Pod]int64{b: 300} }, b},
		"pays not":          {func(k *Case) { k.Read = map[ident.Pod]int64{b: 150} }, ident.Pod{}},
		"at home":           {func(k *Case) { k.Read, k.Homes = map[ident.Pod]int64{b: 300}, []ident.Pod{b} }, ident.Pod{}},
		"read on the home":  {func(k *Case) { k.Read, k.Homes = map[ident.Pod]int64{b: 300, a: 200}, []ident.Pod{a} }, ident.Pod{}},
		"far ahead":         {func(k *Case) { k.Read, k.Homes = map[ident.Pod]int64{b: 500, a: 200}, []ident.Pod{a} }, b},
		"read by all":       {func(k *Case) { k.Read = map[ident.Pod]int64{a: 300, b: 310, c: 320} }, ident.Pod{}},
		"chosen by a user":  {func(k *Case) { k.Read, k.Homes, k.Chosen = map[ident.Pod]int64{b: 900}, []ident.Pod{a}, true }, ident.Pod{}},
		"moved a while ago": {func(k *Case) { k.Read, k.Since = map[ident.Pod]int64{b: 900}, start.Add(-time.Minute) }, ident.Pod{}},
		"new":               {func(k *Case) { k.Read, k.Tracked = map[ident.Pod]int64{b: 900}, start.Add(-time.Minute) }, ident.Pod{}},
		"nobody":            {func(*Case) {}, ident.Pod{}},
	} {
		k := base
		one.edit(&k)
		if got, ok := Home(k); got != one.want || ok != (one.want != ident.Pod{}) {
			t.Errorf("%s: %v, %t", name, got, ok)
		}
	}
}

// TestPingPong: two pods that read a file in turns, however long each, make it move at most once in the time that a home stays.
func TestPingPong(t *testing.T) {
	a, b := ident.Pod{1}, ident.Pod{2}
	const half, after = time.Hour, time.Hour
	for _, turn := range []time.Duration{time.Minute, 20 * time.Minute, time.Hour} {
		sums := map[ident.Pod]*Summary{a: New(4, half), b: New(4, half)}
		k := Case{Size: 10 << 20, Tracked: start.Add(-24 * time.Hour), After: after}
		moves := 0
		for now := start; now.Before(start.Add(48 * time.Hour)); now = now.Add(10 * time.Second) {
			who := a
			if now.Sub(start)/turn%2 == 1 {
				who = b
			}
			sums[who].Note(1, 1<<20, now)
			k.Now, k.Read = now, make(map[ident.Pod]int64)
			for pod, s := range sums {
				r, _ := s.Bytes(1, now)
				k.Read[pod] = r.Own()
			}
			if home, ok := Home(k); ok {
				k.Homes, k.Since = []ident.Pod{home}, now
				moves++
			}
		}
		if most := int(48 * time.Hour / after); moves > most || turn < half && moves > 1 {
			t.Errorf("turns of %s: %d moves", turn, moves)
		}
	}
}
