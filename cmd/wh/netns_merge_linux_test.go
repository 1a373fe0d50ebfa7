package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// conflictName is a conflict copy's name, without what differs from run to run.
var conflictName = regexp.MustCompile(`\.conflict-([a-z]+)-\d{8}-\d{6}-[0-9a-f]{4}`)

// TestNetnsMerge breaks if two machines whose cable was pulled don't come together by themselves, with one tree, in which
// all is what DESIGN's table of concurrent changes says, and with the bytes of every version on both.
func TestNetnsMerge(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	hosts := netnsLAN(t, 2)
	a, b := hosts[0], hosts[1]
	a.must("init", "lan", "--name", "a")
	a.up()
	b.joins(a)
	a.put("/", "edited.txt", "old")
	a.put("/", "saved.txt", "old")
	a.put("/", "deleted.txt", "old")
	a.must("mkdir", "/dir")
	a.put("/dir", "x", "old")
	a.must("mkdir", "/one")
	a.must("mkdir", "/two")
	a.must("sync", "--wait")
	b.eventually("the tree", func() error { return b.shows(a.tree()) })

	t.Log("the cable is pulled")
	a.cable("down")
	for _, h := range hosts {
		h.eventually("the other is gone", func() error {
			if n, err := h.pods("up"); err != nil || n != 1 {
				return fmt.Errorf("%d up, %w", n, err)
			}
			return nil
		})
	}
	a.put("/", "edited.txt", "a") // both edit a file
	b.put("/", "edited.txt", "b")
	a.put("/", "new", "a") // save by rename / rename of the file elsewhere
	a.must("mv", "/new", "/saved.txt")
	b.must("mv", "/saved.txt", "/elsewhere.txt")
	a.must("rm", "-r", "/dir") // rm -r / create inside
	b.put("/dir", "y", "b")
	a.must("rm", "/deleted.txt") // delete / edit
	b.put("/", "deleted.txt", "b")
	a.must("mkdir", "/both") // mkdir / mkdir at one name
	a.put("/both", "from-a", "a")
	b.must("mkdir", "/both")
	b.put("/both", "from-b", "b")
	a.must("mv", "/one", "/two/one") // A into B / B into A
	b.must("mv", "/two", "/one/two")

	t.Log("the cable is put in again")
	a.cable("up")
	want := map[string]string{
		"/edited.txt": "b", "/edited!a.txt": "a", "/saved.txt": "a", "/elsewhere.txt": "old", "/dir": "folder", "/dir/y": "b", "/deleted.txt": "b",
		"/both": "folder", "/both/from-a": "a", "/both/from-b": "b", "/two": "folder", "/two/one": "folder",
	}
	for _, h := range hosts {
		h.eventually("the merged tree", func() error { return h.shows(want) })
	}
	a.eventually("one root", func() error {
		if x, y := a.must("root"), b.must("root"); x != y {
			return fmt.Errorf("%s and %s", x, y)
		}
		return nil
	})
	for _, h := range hosts {
		h.must("sync", "--wait")
	}
	a.cable("down")
	for _, h := range hosts {
		if err := h.shows(want); err != nil { // with its own bytes alone
			t.Errorf("%s alone: %v", h.ns, err)
		}
		h.must("fsck")
	}
}

// put makes or edits a file of more bytes than stand in a row: a text, again and again.
func (h *netnsHost) put(folder, name, text string) {
	h.t.Helper()
	c := h.command("add", "-", "--name", name, "--to", folder)
	c.Stdin = strings.NewReader(manyBytes(text))
	if out, err := c.CombinedOutput(); err != nil {
		h.t.Fatalf("add %s on %s: %v: %s", name, h.ns, err, out)
	}
}

func manyBytes(text string) string { return strings.Repeat(text+"\n", 2000) }

// tree is what the host shows: the text of files, or "folder", by path.
func (h *netnsHost) tree() map[string]string {
	h.t.Helper()
	found, err := h.readTree()
	if err != nil {
		h.t.Fatal(err)
	}
	return found
}

func (h *netnsHost) readTree() (map[string]string, error) {
	list, err := h.run("ls", "-R", "--json", "/")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(list) {
		var e api.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, err
		}
		name := conflictName.ReplaceAllString(string(e.Path), "!$1")
		if found[name] = "folder"; e.Kind == "folder" {
			continue
		}
		data, err := h.run("cat", string(e.Path))
		if err != nil {
			return nil, err
		}
		text, _, _ := strings.Cut(data, "\n")
		if data != manyBytes(text) {
			return nil, fmt.Errorf("%s holds %d bytes that nobody wrote", e.Path, len(data))
		}
		found[name] = text
	}
	return found, nil
}

// shows says why the host doesn't show a tree.
func (h *netnsHost) shows(want map[string]string) error {
	got, err := h.readTree()
	if err != nil {
		return err
	}
	if diff := cmp.Diff(got, want); diff != "" {
		return fmt.Errorf("got - want +\n%s", diff)
	}
	return nil
}
