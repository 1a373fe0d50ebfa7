package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

var (
	pairsBytes = flag.Int64("pairs", 0, "TestNetnsPairs: bytes of its large file; 0: it is left out")
	pairsTree  = flag.String("pairs-tree", "testdata", "TestNetnsPairs: the folder that it stores beside it")
)

// What rs:4+2 over six pods promises.
const (
	pairsPods   = 6
	pairsSpace  = 1.55 // times the bytes of the files, at most, in fragments and copies on all pods
	pairsChunks = 1000 // of the large file, whose places are looked at, and a fifth as many small files'
	pairsCut    = 128 << 10
	pairsSettle = 30 * time.Minute
)

// nodeCID is how the CIDs of nodes begin, in base32: version 1, DAG-CBOR.
const nodeCID = "bafyr"

// TestNetnsPairs breaks if any two of six pods under rs:4+2 may not die at once: of each pair it kills both daemons, and compares every byte of a folder and of a
// large file, through a mount on one of the others and by wh get on another, neither of which has any of it in its cache. Then three die.
func TestNetnsPairs(t *testing.T) {
	if *pairsBytes == 0 {
		t.Skip("takes long: make pairs")
	}
	if _, err := exec.LookPath("nsenter"); err != nil {
		testneed.Missing(t, "no nsenter (util-linux): %v", err)
	}
	p := newPairs(t)
	begin := time.Now()
	p.hosts[0].must("add", p.tree, p.large)
	p.hosts[0].must("sync", "--wait", "--timeout", pairsSettle.String())
	t.Logf("%d bytes are safe after %s", p.bytes, time.Since(begin))
	p.whole()

	for i := range p.hosts {
		for j := range i {
			p.pair(j, i)
		}
	}
	p.three()
}

// pairs is six pods that hold a folder and a large file.
type pairs struct {
	t     *testing.T
	hosts []*netnsHost
	tree  string // the folder outside
	large string // the file outside
	bytes int64  // of all files
}

func newPairs(t *testing.T) *pairs {
	t.Helper()
	p := &pairs{t: t, hosts: netnsLAN(t, pairsPods), tree: *pairsTree, large: filepath.Join(t.TempDir(), "large")}
	a := p.hosts[0]
	a.must("init", "lan", "--name", "a")
	a.up()
	for _, h := range p.hosts[1:] {
		h.joins(a)
	}
	for _, h := range p.hosts {
		h.seesUp(pairsPods)
		h.must("mount", h.home+".mnt", "--save")
	}
	a.must("policy", "set", "/", "rs:4+2")
	for key, value := range map[string]string{"suspect": "1s", "down": "3s", "repair": "1h"} { // nothing is made again while pairs are gone
		a.must("config", "set", "--network", key, value)
	}
	f, err := os.Create(p.large)
	if err != nil {
		t.Fatal(err)
	}
	noise := rand.NewChaCha8([32]byte{6})
	for buf, left := make([]byte, 1<<20), *pairsBytes; left > 0; left -= int64(len(buf)) {
		buf = buf[:min(left, int64(len(buf)))]
		_, _ = noise.Read(buf)
		if _, err := f.Write(buf); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p.bytes = *pairsBytes
	err = filepath.WalkDir(p.tree, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var i fs.FileInfo
			if i, err = d.Info(); err == nil {
				p.bytes += i.Size()
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// whole looks at what all pods hold: how much, and of many chunks where.
func (p *pairs) whole() {
	p.t.Helper()
	h := p.hosts[0]
	h.eventuallyWithin(pairsSettle, "places", func() error {
		var live int64
		for _, h := range p.hosts {
			out, gcErr := h.run("gc", "--now")
			df, err := h.run("df", "--json")
			var u struct {
				Live int64 `json:"live_bytes"`
			}
			if err = errors.Join(gcErr, err); err == nil {
				err = json.Unmarshal([]byte(df), &u)
			}
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			live += u.Live
		}
		seen, err := p.places()
		if got := float64(live) / float64(p.bytes); err == nil {
			p.t.Logf("%d chunks are on as many pods as they should be; all pods hold %.3f bytes for each byte", seen, got)
			if got > pairsSpace {
				err = fmt.Errorf("all pods hold %.3f bytes for each byte, want %.2f at most", got, pairsSpace)
			}
		}
		return err
	})
}

// places looks at where chunks are: of those of 128 KiB or more on six pods, of smaller ones on three.
func (p *pairs) places() (seen int, err error) {
	h := p.hosts[0]
	var files []string
	for _, name := range p.sample(pairsChunks / 5) {
		files = append(files, "/"+filepath.Base(p.tree)+"/"+name)
	}
	for _, path := range append([]string{"/large"}, files...) {
		chunks := slices.DeleteFunc(h.where(path).Chunks, func(c netnsChunk) bool {
			return strings.HasPrefix(c.CID, nodeCID) // the file's list of chunks, which nobody gives up
		})
		for _, i := range rand.Perm(len(chunks))[:min(len(chunks), pairsChunks)] {
			c := chunks[i]
			on, want := map[string]bool{}, 3
			for _, o := range c.Holders {
				if o.Kind != "cached" {
					on[o.Pod] = true
				}
			}
			if path == "/large" && c.Bytes >= pairsCut { // others may compress to less than that
				want = pairsPods
			}
			if len(on) != want && (len(on) != pairsPods || c.Bytes < pairsCut) {
				return seen, fmt.Errorf("%s: a chunk of %d bytes is on %d pods, want %d: %v", path, c.Bytes, len(on), want, c.Holders)
			}
			seen++
		}
	}
	return seen, nil
}

// sample is n of the files in the folder.
func (p *pairs) sample(n int) []string {
	p.t.Helper()
	var all []string
	err := filepath.WalkDir(p.tree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			path, err = filepath.Rel(p.tree, path)
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// pair kills two, compares all bytes on two of the others, and has the two come back.
func (p *pairs) pair(i, j int) {
	p.t.Helper()
	begin := time.Now()
	dead := []*netnsHost{p.hosts[i], p.hosts[j]}
	alive := p.without(dead)
	kill(dead...)
	for _, h := range alive {
		h.eventually("two are down", func() error {
			if n, err := h.pods("up"); err != nil || n != pairsPods-2 {
				return fmt.Errorf("%d up, %w", n, err)
			}
			return nil
		})
	}
	r := rand.Perm(len(alive))
	p.byMount(alive[r[0]])
	mounted := time.Since(begin)
	p.byGet(alive[r[1]])
	p.t.Logf("without %s and %s: all is there through the mount on %s (%s) and by wh get on %s (%s)", dead[0].name(), dead[1].name(),
		alive[r[0]].name(), mounted.Round(time.Second), alive[r[1]].name(), (time.Since(begin) - mounted).Round(time.Second))
	p.back(dead...)
}

func (p *pairs) without(dead []*netnsHost) []*netnsHost {
	return slices.DeleteFunc(slices.Clone(p.hosts), func(h *netnsHost) bool { return slices.Contains(dead, h) })
}

// back starts the daemons of some, which mount what they had mounted, and waits until all see all.
func (p *pairs) back(dead ...*netnsHost) {
	p.t.Helper()
	for _, h := range dead {
		h.up()
	}
	for _, h := range p.hosts {
		h.seesUp(pairsPods)
	}
}

// cold empties a pod's cache.
func (p *pairs) cold(h *netnsHost) {
	p.t.Helper()
	h.eventually("its cache is empty", func() error { _, err := h.run("evict", "/"); return err })
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		p.t.Fatal(err)
	}
}

// byMount compares all through a pod's mount, as programs of that machine see it.
func (p *pairs) byMount(h *netnsHost) {
	p.t.Helper()
	p.cold(h)
	mnt := h.home + ".mnt"
	for _, c := range [][]string{
		{"cmp", p.large, mnt + "/large"},
		{"diff", "-r", "--no-dereference", p.tree, mnt + "/" + filepath.Base(p.tree)},
	} {
		in := append([]string{"-t", strconv.Itoa(h.daemon.Process.Pid), "-m"}, c...)
		if out, err := exec.Command("nsenter", in...).CombinedOutput(); err != nil {
			p.t.Fatalf("%s on the mount of %s: %v: %.2000s", strings.Join(c, " "), h.name(), err, out)
		}
	}
}

// byGet copies all out of the network on a pod, and compares it.
func (p *pairs) byGet(h *netnsHost) {
	p.t.Helper()
	p.cold(h)
	to := filepath.Join(p.t.TempDir(), "got")
	for _, c := range [][2]string{{"/large", p.large}, {"/" + filepath.Base(p.tree), p.tree}} {
		h.must("get", c[0], "-o", to)
		if out, err := exec.Command("diff", "-r", "--no-dereference", c[1], to).CombinedOutput(); err != nil {
			p.t.Fatalf("what wh get %s on %s wrote: %v: %.2000s", c[0], h.name(), err, out)
		}
		if err := os.RemoveAll(to); err != nil {
			p.t.Fatal(err)
		}
	}
}

// three kills three: what needs them fails and says so, all else is read. One comes back: all is read.
func (p *pairs) three() {
	p.t.Helper()
	dead := []*netnsHost{p.hosts[1], p.hosts[3], p.hosts[4]}
	gone := map[string]bool{}
	for _, h := range dead {
		gone[h.name()] = true
	}
	h := p.hosts[5]
	for _, h := range p.hosts {
		p.cold(h)
	}
	kill(dead...)
	// Not before: what was made while pods were away goes when they are back.
	var lost, left []string
	for _, f := range append([]string{"/large"}, p.sample(300)...) {
		if f != "/large" {
			f = "/" + filepath.Base(p.tree) + "/" + f
		}
		if readable(h.where(f), gone) {
			left = append(left, f)
		} else {
			lost = append(lost, f)
		}
	}
	for _, f := range lost {
		if _, err := h.run("cat", f); err == nil || !strings.Contains(err.Error(), "not connected are") {
			p.t.Errorf("%s, of which too little is left: %.300v", f, err)
		}
	}
	for _, f := range left {
		want, err := os.ReadFile(filepath.Join(filepath.Dir(p.tree), f))
		if err != nil {
			p.t.Fatal(err)
		}
		h.reads(f, string(want))
	}
	p.t.Logf("without three %d files fail and say why, %d are read", len(lost), len(left))
	if !slices.Contains(lost, "/large") || len(left) < 4*len(lost) { // of 20 small files one has all its three copies there
		p.t.Errorf("lost are %v", lost)
	}
	dead[0].up()
	h.eventually("four are up", func() error {
		if n, err := h.pods("up"); err != nil || n != pairsPods-2 {
			return fmt.Errorf("%d up, %w", n, err)
		}
		return nil
	})
	p.byMount(h)
	p.t.Log("one came back: all is read")
}

// readable says whether enough of each chunk of a file is on pods that are not gone.
func readable(w netnsWhere, gone map[string]bool) bool {
	for _, c := range w.Chunks {
		whole, parts := false, map[int]bool{}
		for _, o := range c.Holders {
			switch {
			case gone[o.Pod], o.Kind == "cached":
			case o.Kind == "fragment":
				parts[o.Index] = true
			default:
				whole = true
			}
		}
		if !whole && len(parts) < 4 {
			return false
		}
	}
	return true
}
