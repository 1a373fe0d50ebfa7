package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rsFiles are what the pods of the test keep: one in several chunks, one that compresses, one that is not cut, an empty one.
func rsFiles() map[string]string {
	rng := rand.New(rand.NewPCG(6, 42))
	noise := make([]byte, 6<<20)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	return map[string]string{
		"large": string(noise), "text": strings.Repeat("what compresses well; ", 200_000), "small": string(noise[:50_000]), "empty": "",
	}
}

// TestNetnsFragments breaks if bytes can't be read after two of six daemons with rs:4+2 were killed, or repair doesn't begin when others come, or doesn't end, or
// what is too much stays when the dead are back, or a pod that is said to be lost still counts.
func TestNetnsFragments(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	hosts := netnsLAN(t, 8)
	a, six := hosts[0], hosts[:6]
	a.must("init", "lan", "--name", "a")
	a.up()
	for _, h := range six[1:] {
		h.joins(a)
	}
	for _, h := range six {
		h.seesUp(6)
	}
	a.must("policy", "set", "/", "rs:4+2")
	for key, value := range map[string]string{"suspect": "1s", "down": "3s", "repair": "4s", "lower": "1ms"} {
		a.must("config", "set", "--network", key, value)
	}
	files := rsFiles()
	for name, text := range files {
		a.add(name, text)
	}
	a.must("sync", "--wait", "--timeout", "60s")
	settle(t, six, true, "/large", "/text")
	// The whole copies that it wrote are in its cache. Others may know a commit more for a moment, and then vouch for nothing.
	a.eventually("its cache is empty", func() error { _, err := a.run("evict", "/"); return err })

	t.Log("two daemons are killed")
	dead, alive := six[4:], six[:4]
	kill(dead...)
	t.Log("a third is killed, and comes back")
	third := alive[3]
	kill(third)
	if _, err := alive[1].run("cat", "/large"); err == nil || !strings.Contains(err.Error(), "not connected are") {
		t.Errorf("with three of six pods gone a file is read, or nobody says why not: %v", err)
	}
	third.up()
	begin := time.Now()
	for _, h := range alive[1:] {
		for name, text := range files {
			h.reads("/"+name, text)
		}
	}
	t.Logf("%d files were read through each of three others within %s", len(files), time.Since(begin))
	a.eventually("two are down", func() error {
		if n, err := a.pods("down"); err != nil || n != 2 {
			return fmt.Errorf("%d down, %w", n, err)
		}
		return nil
	})
	if _, err := a.run("status"); err == nil {
		t.Error("status says that all is well with two pods down")
	}
	if w := a.where("/large"); w.Safe {
		t.Error("a file with two fragments gone is shown as safe")
	}

	t.Log("two others come; what the dead had is made again")
	begin = time.Now()
	for _, h := range hosts[6:] {
		h.joins(a)
	}
	now := append(append([]*netnsHost{}, alive...), hosts[6:]...)
	settle(t, now, false, "/large", "/text")
	t.Logf("repaired after %s", time.Since(begin))
	a.must("sync", "--wait", "--timeout", "60s")

	t.Log("the dead are back; what is too much goes")
	for _, h := range dead {
		h.up()
	}
	for _, h := range hosts {
		h.seesUp(8)
	}
	settle(t, hosts, true, "/large", "/text")
	a.eventually("all is well", func() error { _, err := a.run("status"); return err })

	t.Log("one never comes back, and is taken out")
	h := hosts[7]
	kill(h)
	a.eventually("one is lost", func() error { _, err := a.run("pod", "remove", filepath.Base(h.home), "--lost"); return err })
	settle(t, hosts[:7], true, "/large", "/text")
	a.eventually("all is well without it", func() error { _, err := a.run("status"); return err })
	for name, text := range files {
		hosts[5].reads("/"+name, text)
	}
}

type netnsWhere struct {
	Safe   bool
	Chunks []netnsChunk
}

type netnsChunk struct {
	CID     string
	Bytes   int64
	Holders []struct {
		Pod, Kind string
		Index     int
	}
}

func (h *netnsHost) where(path string) (w netnsWhere) {
	h.t.Helper()
	if err := json.Unmarshal([]byte(h.must("where", path, "--json")), &w); err != nil {
		h.t.Fatal(err)
	}
	return w
}

// settle waits until all chunks of files that are cut lie as six fragments on six pods; all: with no fragment and no whole copy too many, which may stay while
// pods of a set are down. Rounds over everything come
// once a minute; a collection that is asked for does one at once.
func settle(t *testing.T, hosts []*netnsHost, all bool, paths ...string) {
	t.Helper()
	end := time.Now().Add(2 * netnsWait)
	for {
		err := error(nil)
		for _, h := range hosts {
			_, gcErr := h.run("gc", "--now")
			err = errors.Join(err, gcErr)
		}
		for _, path := range paths {
			w := hosts[0].where(path)
			for _, c := range w.Chunks {
				pods, indexes, held := map[string]bool{}, map[int]bool{}, 0
				for _, o := range c.Holders {
					if o.Kind != "cached" {
						pods[o.Pod], indexes[o.Index] = true, true
						held++
					}
				}
				cut := len(pods) >= 6 && len(indexes) == 6 && (held == 6 || !all)
				if c.Bytes >= 128<<10 && path == "/large" && !cut || !w.Safe {
					err = errors.Join(err, fmt.Errorf("%s: %+v", path, c))
				}
			}
		}
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
