package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestNetnsParted breaks if two of five pods that are cut off from three for longer than the time after which a pod is out make anything again, or the three don't, or if all
// don't come to one tree when the network is whole again, with every policy met and nothing kept too often.
func TestNetnsParted(t *testing.T) {
	if *careBytes == 0 {
		t.Skip("takes minutes: make care")
	}
	c := newCare(t, 5)
	c.start(0, 2)
	a, most, few := c.hosts[0], c.hosts[:3], c.hosts[3:]
	kept := c.known(time.Now())
	before := c.places(kept)
	had := c.live(few...)

	ip(t, "-n", a.hub, "link", "add", "br1", "type", "bridge", "mcast_snooping", "0")
	ip(t, "-n", a.hub, "link", "set", "br1", "up")
	for _, h := range few {
		ip(t, "-n", h.hub, "link", "set", h.port, "master", "br1")
	}
	begin := time.Now()
	for _, h := range most {
		h.eventually("two are out", func() error { return h.counts("out", 2) })
	}
	for _, h := range few {
		h.eventually("three are down", func() error { return h.counts("down", 3) })
	}
	a.eventually("the most have all", func() error {
		for _, f := range kept {
			if err := c.isWhole(f, []string{"d", "e"}); err != nil {
				return err
			}
		}
		return nil
	})
	t.Logf("the three have all after %s; %d bytes went for it", time.Since(begin).Round(time.Second), c.moved(most...))
	if c.moved(most...) == 0 {
		t.Error("the three made nothing again")
	}
	for _, h := range few { // however long ago all of its times are over
		_, _ = h.run("repair", "--watch") // 7, which is no wonder
		if err := h.counts("out", 0); err != nil {
			t.Errorf("%s: %v", h.name(), err)
		}
	}
	if moved, has := c.moved(few...), c.live(few...); moved != 0 || has != had {
		t.Errorf("the two that are cut off moved %d bytes for repair, and hold %d bytes instead of %d", moved, has, had)
	}
	a.add("from the most", "written by the three")
	few[0].add("from the few", "written by the two")

	for _, h := range few {
		ip(t, "-n", h.hub, "link", "set", h.port, "master", "br0")
	}
	begin = time.Now()
	for _, h := range c.hosts {
		h.seesUp(5)
	}
	a.eventually("one root", func() error {
		root := a.must("root")
		for _, h := range c.hosts {
			if got := h.must("root"); got != root {
				return fmt.Errorf("%s shows %s, not %s", h.name(), got, root)
			}
		}
		return nil
	})
	t.Logf("one root after %s", time.Since(begin).Round(100*time.Millisecond))
	a.eventuallyWithin(careWithin, "all is where it was", func() error {
		_, err := a.run("sync", "--wait")
		if after := c.places(kept); err == nil && after != before {
			err = errors.New("it is not: " + after)
		}
		return err
	})
	t.Logf("all is where it was, and nowhere else, after %s", time.Since(begin).Round(time.Second))
	for _, h := range c.hosts {
		h.eventuallyWithin(careWithin, "all is well", func() error { _, err := h.run("status"); return err })
		h.reads("/from the most", "written by the three")
		h.reads("/from the few", "written by the two")
	}
}

// TestNetnsCopies breaks if what a pod held in whole copies is made again with more bytes than these have.
func TestNetnsCopies(t *testing.T) {
	if *careBytes == 0 {
		t.Skip("takes minutes: make care")
	}
	c := newCare(t, 5)
	c.start(0, 2)
	c.gone("one of five is killed under replica:3", c.hosts[4])
}

// TestNetnsZones breaks if a zone may not die: two of six pods, then three of nine, of which any three others may not.
func TestNetnsZones(t *testing.T) {
	if *careBytes == 0 {
		t.Skip("takes minutes: make care")
	}
	c := newCare(t, 9)
	c.joined(c.hosts[:6]...)
	a := c.hosts[0]
	c.policy(4, 2)
	c.rules(careRules)
	c.rules(map[string]string{"repair": "1h", "out": "1h"}) // nothing is made again while a zone is gone
	zones := func(hosts []*netnsHost) {
		t.Helper()
		for i, h := range hosts {
			h.must("pod", "set", "zone="+[]string{"x", "y", "z"}[i%3])
		}
	}
	dies := func(hosts []*netnsHost) {
		t.Helper()
		c.whole()
		for zone := range 3 {
			var dead []*netnsHost
			for i := zone; i < len(hosts); i += 3 {
				dead = append(dead, hosts[i])
			}
			left := slices.DeleteFunc(slices.Clone(hosts), func(h *netnsHost) bool { return slices.Contains(dead, h) })
			for _, h := range hosts {
				h.eventually("its cache is empty", func() error { _, err := h.run("cache", "clean"); return err })
			}
			c.stopped(func(h *netnsHost) { kill(h) }, dead...)
			for _, h := range left {
				for _, f := range c.known(time.Now()) {
					h.reads(f.path, string(f.data()))
				}
			}
			t.Logf("without %d pods of one zone all is read on the %d others", len(dead), len(left))
			c.back(dead...)
		}
	}
	zones(c.hosts[:6])
	c.add()
	dies(c.hosts[:6])
	c.joined(c.hosts[6:]...)
	zones(c.hosts)
	for _, h := range c.hosts {
		h.seesUp(9)
	}
	a.eventuallyWithin(careWithin, "all is safe on nine", func() error { _, err := a.run("sync", "--wait"); return err })
	c.spread(3, 2)
	dies(c.hosts)
}

// spread waits until no zone has more than some fragments of a chunk, and no more than one copy of a small one.
func (c *care) spread(zones, most int) {
	c.t.Helper()
	zone := map[string]int{}
	for i, h := range c.hosts {
		zone[h.name()] = i % zones
	}
	c.hosts[0].eventuallyWithin(careWithin, "zones", func() error {
		for _, f := range c.known(time.Now()) {
			for _, chunk := range c.hosts[0].where(f.path).Chunks {
				parts, copies := map[int]int{}, 0
				for _, o := range chunk.Holders {
					switch o.Kind {
					case "cached":
					case "fragment":
						parts[zone[o.Pod]]++
					default:
						copies++
					}
				}
				for z, n := range parts {
					if n > most && copies == 0 {
						return fmt.Errorf("%s: %d fragments of %s are in zone %d", f.path, n, chunk.CID, z)
					}
				}
			}
		}
		return nil
	})
}

// TestNetnsPolicies breaks if a read fails while the policy of all files changes from copies to fragments and back, or if what the old one had is not given up.
func TestNetnsPolicies(t *testing.T) {
	if *careBytes == 0 {
		t.Skip("takes minutes: make care")
	}
	c := newCare(t, 6)
	c.start(0, 2)
	load := c.load(false)
	a := c.hosts[0]
	var bytes int64
	for _, f := range c.known(time.Now()) {
		bytes += int64(f.bytes)
	}
	// Small files are copied whole three times under rs:4+2, and nodes are, as well.
	for _, row := range []struct {
		k, m   int
		factor float64
	}{{0, 2, 3}, {4, 2, 1.5}, {0, 1, 2}} {
		begin := time.Now()
		c.policy(row.k, row.m)
		a.eventuallyWithin(careWithin, "all is safe", func() error { _, err := a.run("sync", "--wait", "--timeout", "10m"); return err })
		safe := time.Since(begin)
		var got float64
		a.eventuallyWithin(careWithin, "space", func() error {
			for _, h := range c.hosts {
				if _, err := h.run("gc", "--now"); err != nil {
					return err
				}
			}
			if got = float64(c.live(c.hosts...)) / float64(bytes); got > row.factor*1.05 {
				return fmt.Errorf("%.3f bytes are kept for each byte", got)
			}
			return nil
		})
		t.Logf("%d+%d: all is safe after %s; %.3f bytes are kept for each byte after %s", row.k, row.m, safe.Round(time.Second), got, time.Since(begin).Round(time.Second))
		if got < row.factor*0.99 {
			t.Errorf("%d+%d: %.3f bytes for each byte are too few", row.k, row.m, got)
		}
	}
	load.end()
}

// counts says why a host does not see n pods in a state.
func (h *netnsHost) counts(state string, n int) error {
	got, err := h.pods(state)
	if err == nil && got != n {
		err = fmt.Errorf("%d pods are %s, not %d", got, state, n)
	}
	return err
}

// live is how many bytes hosts hold for good.
func (c *care) live(hosts ...*netnsHost) (sum int64) {
	c.t.Helper()
	for _, h := range hosts {
		var u struct {
			Live int64 `json:"live_bytes"`
		}
		if err := json.Unmarshal([]byte(h.must("df", "--json")), &u); err != nil {
			c.t.Fatal(err)
		}
		sum += u.Live
	}
	return sum
}
