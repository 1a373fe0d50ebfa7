//go:build unix

package client_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestAddAgain breaks if an add reads files again that have not changed, or does not read those that have.
func TestAddAgain(t *testing.T) {
	w := newWorld(t)
	src := filepath.Join(t.TempDir(), "src")
	makeTree(t, src)
	first := w.add(client.AddOptions{}, src)
	w.noProblems()
	all := w.pod.Read()
	again := func(o client.AddOptions, want int) {
		t.Helper()
		before := w.pod.Read()
		r := w.add(o, src)
		w.noProblems()
		if got := w.pod.Read() - before; got != want {
			t.Errorf("%d files were read, want %d", got, want)
		}
		if len(r.Added) != 1 || r.Added[0].Bytes != first.Added[0].Bytes || r.Added[0].Path != "/src" {
			t.Errorf("the answer is %+v, was %+v", r.Added, first.Added)
		}
	}
	same := func() {
		t.Helper()
		dst := t.TempDir()
		w.get(client.GetOptions{Source: "/src", Dest: dst, SUID: true})
		w.noProblems()
		if d := cmp.Diff(listing(t, src), listing(t, filepath.Join(dst, "src"))); d != "" {
			t.Error(d)
		}
	}
	link, hard := w.node("/src/link"), w.node("/src/sub/hard")
	again(client.AddOptions{}, 0)
	again(client.AddOptions{Force: true}, all)
	again(client.AddOptions{Stream: true}, 0)
	same()
	if w.node("/src/link").ID != link.ID || w.node("/src/sub/hard").ID != hard.ID || w.node("/src/a").ID != hard.ID {
		t.Error("a link was made anew")
	}

	big, deep := filepath.Join(src, "sub", "big"), filepath.Join(src, "sub", "deep")
	times := func(path string) []unix.Timespec {
		t.Helper()
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return []unix.Timespec{st.Atim, st.Mtim}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// An edit of the same size whose time is put back.
	old := times(big)
	f, err := os.OpenFile(big, os.O_WRONLY, 0)
	must(err)
	_, err = f.WriteAt([]byte("X"), 7)
	must(err)
	must(f.Close())
	must(unix.UtimesNano(big, old))
	again(client.AddOptions{}, 1)
	// A touch.
	must(unix.UtimesNano(filepath.Join(deep, "f9"), []unix.Timespec{{Sec: 1}, {Sec: 77}}))
	again(client.AddOptions{}, 1)
	// Another file under the name, of the same size and time.
	path := filepath.Join(deep, "f8")
	old = times(path)
	must(os.Rename(path, filepath.Join(src, "out")))
	write(t, path, "88888888")
	must(unix.UtimesNano(path, old))
	first.Added[0].Bytes += 8
	again(client.AddOptions{}, 2) // that, and the one that was moved
	// A symlink that leads elsewhere.
	must(os.Remove(filepath.Join(src, "link")))
	must(os.Symlink("elsewhere", filepath.Join(src, "link")))
	again(client.AddOptions{}, 0)
	// Changed inside: brought back.
	id := w.node("/src/sub/deep/f7").ID
	zero := uint64(0)
	if _, err := w.pod.FS().SetAttr(t.Context(), id, vfs.SetAttr{Size: &zero}); err != nil {
		t.Fatal(err)
	}
	again(client.AddOptions{}, 1)
	same()
}

// TestAddOtherSize breaks if a file that is not as long as stat told, as those of /proc, is cut there.
func TestAddOtherSize(t *testing.T) {
	const path = "/proc/version"
	want, err := os.ReadFile(path)
	if err != nil {
		testneed.Missing(t, "no /proc here: %v", err)
	}
	w := newWorld(t)
	w.add(client.AddOptions{}, path)
	w.noProblems()
	dst := t.TempDir()
	w.get(client.GetOptions{Source: "/version", Dest: dst, SUID: true})
	w.noProblems()
	if got, err := os.ReadFile(filepath.Join(dst, "version")); err != nil || string(got) != string(want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}
