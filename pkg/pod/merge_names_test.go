package pod

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestMergeAround breaks if what DESIGN says beside its table is not so: deletions that stay, lineages, who gets a name.
func TestMergeAround(t *testing.T) {
	testRows(t, []mergeRow{
		// A deletion that had seen every version stays deleted.
		{name: "delete, nothing", do: func(first, second *sidePod) {
			first.rm("/f.txt")
			second.write("/new", "B")
		}, want: map[string]string{"/f.txt": "", "/new": "B"}},
		{name: "delete, delete", do: func(first, second *sidePod) {
			first.rm("/f.txt")
			second.rm("/f.txt")
		}, want: map[string]string{"/f.txt": ""}},
		{name: "rm -r, rm -r", do: func(first, second *sidePod) {
			first.rmAll("/d")
			second.rmAll("/d")
		}, want: map[string]string{"/d": "", "/d/x": "", "/d/y": ""}},
		{name: "rmdir, nothing", do: func(first, second *sidePod) {
			first.rmdir("/e")
			second.write("/new", "B")
		}, want: map[string]string{"/e": "", "/new": "B"}},
		{name: "delete of all versions of a conflict", do: func(first, second *sidePod) {
			first.write("/f.txt", "A")
			second.write("/f.txt", "B")
		}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, both: func(p *apart, one, two *sidePod) {
			one.rm("/" + one.copies("/")[0])
			one.rm("/f.txt")
			two.write("/new", "B")
			p.want(with(map[string]string{"/f.txt": "", "/new": "B"}))
		}},
		{name: "delete of the file alone leaves the copy", do: func(first, second *sidePod) {
			first.write("/f.txt", "A")
			second.write("/f.txt", "B")
		}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, both: func(p *apart, one, two *sidePod) {
			one.rm("/f.txt")
			two.write("/new", "B")
			p.want(with(map[string]string{"/f.txt": "", "/f!1.txt": "A", "/new": "B"}))
		}},
		{name: "conflict resolved, nothing", do: func(first, second *sidePod) {
			first.write("/f.txt", "A")
			second.write("/f.txt", "B")
		}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, both: func(p *apart, one, two *sidePod) {
			two.rm("/" + two.copies("/")[0])
			one.chmod("/f.txt", 0o600) // has seen both contents, and drops none
			p.want(with(map[string]string{"/f.txt": "B"}))
		}},
		{name: "conflict resolved, edit of the file", do: func(first, second *sidePod) {
			first.write("/f.txt", "A")
			second.write("/f.txt", "B")
		}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, both: func(p *apart, one, two *sidePod) {
			two.rm("/" + two.copies("/")[0])
			one.write("/f.txt", "A2")
			p.want(with(map[string]string{"/f.txt": "A2"}))
		}},
		{name: "conflict resolved, edit of the copy", do: func(first, second *sidePod) {
			first.write("/f.txt", "A")
			second.write("/f.txt", "B")
		}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, both: func(p *apart, one, two *sidePod) {
			name := "/" + two.copies("/")[0]
			two.rm(name)
			one.write(name, "A2") // it is a file of its own now
			p.want(with(map[string]string{"/f.txt": "B", "/f!1.txt": "A2"}))
		}},
		{name: "conflict resolved both ways", do: func(first, second *sidePod) {
			first.write("/f.txt", "A")
			second.write("/f.txt", "B")
		}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, both: func(p *apart, one, two *sidePod) {
			name := "/" + two.copies("/")[0]
			one.rm(name)           // keeps B
			two.mv(name, "/f.txt") // keeps A
			p.want(with(map[string]string{"/f.txt": "A", "/f!2.txt": "B"}))
		}},
		{name: "conflict and a third edit", do: func(first, second *sidePod) {
			first.write("/f.txt", "A")
			second.write("/f.txt", "B")
		}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, both: func(p *apart, one, two *sidePod) {
			one.write("/f.txt", "A2")
			two.write("/f.txt", "B2")
			p.want(with(map[string]string{"/f.txt": "B2", "/f!1.txt": "A & A2"}))
		}},

		// At one name: a folder; then lineages by the least since.
		{name: "old lineage saved, new file", do: func(first, second *sidePod) {
			second.rm("/f.txt")
			second.write("/f.txt", "B")
			first.save("/f.txt", "A") // stamped later, but of the file that has the name for longer
		}, want: map[string]string{"/f.txt": "A", "/f!2.txt": "B"}},
		{name: "old lineage edited, new file saved", do: func(first, second *sidePod) {
			first.write("/f.txt", "A")
			second.rm("/f.txt")
			second.write("/f.txt", "B")
			second.save("/f.txt", "B2")
		}, want: map[string]string{"/f.txt": "A", "/f!2.txt": "B2"}},
		{name: "save, and to a free name and back", do: func(first, second *sidePod) {
			first.save("/f.txt", "A")
			second.mv("/f.txt", "/m.txt")
			second.mv("/m.txt", "/f.txt") // a rename to a free name begins anew
		}, want: map[string]string{"/f.txt": "A", "/f!0.txt": "old"}},
		{name: "exchange, edit", do: func(first, second *sidePod) {
			first.exchange("/f.txt", "/d/x")
			second.write("/f.txt", "B")
		}, want: map[string]string{"/f.txt": "x", "/d/x": "B"}},
		{name: "rename over another, edit of the other", do: func(first, second *sidePod) {
			first.mv("/d/x", "/f.txt")
			second.write("/f.txt", "B")
		}, want: map[string]string{"/f.txt": "B", "/f!1.txt": "x", "/d/x": ""}},
		{name: "rename over another, edit of the first", do: func(first, second *sidePod) {
			first.mv("/d/x", "/f.txt")
			second.write("/d/x", "B")
		}, want: map[string]string{"/f.txt": "B", "/d/x": ""}},

		// Folders that can't be where both wanted them.
		{name: "two folders renamed to one name", do: func(first, second *sidePod) {
			first.mv("/d", "/n")
			second.mv("/e", "/n")
			second.write("/n/in", "B")
		}, want: map[string]string{
			"/d": "", "/d/x": "", "/d/y": "", "/e": "", "/n": "folder", "/n/x": "x", "/n/y": "y", "/n!2": "folder", "/n!2/in": "B",
		}},
		{name: "folder renamed to a name, mkdir at it", do: func(first, second *sidePod) {
			first.mv("/d", "/n")
			second.mkdir("/n")
			second.write("/n/in", "B")
		}, want: map[string]string{
			"/d": "", "/d/x": "", "/d/y": "", "/n": "folder", "/n/in": "B", "/n!1": "folder", "/n!1/x": "x", "/n!1/y": "y",
		}},
		{name: "folder moved into one that was removed", do: func(first, second *sidePod) {
			first.rmdir("/e")
			second.mv("/d", "/e/d")
			second.write("/e/d/new", "B")
		}, want: map[string]string{
			"/d": "", "/d/x": "", "/d/y": "", "/e/d": "folder", "/e/d/x": "x", "/e/d/y": "y", "/e/d/new": "B",
		}},
	})
}

func (s *sidePod) exchange(from, to string) {
	s.t.Helper()
	parent, name := s.place(from)
	newParent, newName := s.place(to)
	s.did("exchange "+from+" "+to, s.fs.Rename(quickly(s.t), parent, name, newParent, newName, vfs.RenameExchange))
}

// copyName is the name that a file's content gets as a conflict copy of a file at p, as docs/format says.
func (s *sidePod) copyName(p string) string {
	s.t.Helper()
	n := s.row(p)
	b := binary.BigEndian.AppendUint64(nil, uint64(n.Ino))
	b = binary.BigEndian.AppendUint64(b, 0) // its first link
	b = binary.BigEndian.AppendUint64(b, n.Content.Dot.Actor.Uint())
	b = binary.BigEndian.AppendUint64(b, n.Content.Dot.Seq)
	b = binary.BigEndian.AppendUint32(b, n.Content.K)
	sum := blake3.Sum256(b)
	_, name := s.place(p)
	return state.ConflictName(name, s.Info().Name, time.Unix(0, n.Ctime), fmt.Sprintf("%02x", sum[:2]))
}

// TestComputedNames breaks if a computed name is given although a file has it, or is another than docs/format says.
func TestComputedNames(t *testing.T) {
	two := newTheseTwo(t)
	p := two.open(t)
	first, second := p.pods[0], p.pods[1]
	first.write("/f.txt", "A")
	name := first.copyName("/f.txt")
	second.write("/f.txt", "B")
	plus := func(n string) string { return strings.TrimSuffix(name, ".txt") + n + ".txt" }
	second.write("/"+name, "has the name")
	second.write("/"+plus("+2"), "has the next")
	p.meet()
	for _, s := range p.pods {
		for path, want := range map[string]string{
			"/f.txt": "B", "/" + name: "has the name", "/" + plus("+2"): "has the next", "/" + plus("+3"): "A",
		} {
			s.reads(path, bytesOf(want))
		}
	}
	p.part()
	// A name that becomes free goes to the copy, which has no other.
	second.rm("/" + name)
	p.meet()
	for _, s := range p.pods {
		s.reads("/"+name, bytesOf("A"))
		if got := s.copies("/"); len(got) != 2 {
			t.Errorf("copies %q", got)
		}
	}
}

// TestLongConflictNames breaks if a conflict copy's name is longer than a name may be, or has lost its extension or half of a rune.
func TestLongConflictNames(t *testing.T) {
	two := newTheseTwo(t)
	for name, long := range map[string]string{
		"extension": strings.Repeat("n", vfs.NameMax-len(".tar.gz")) + ".tar.gz",
		"no stem":   "." + strings.Repeat("n", vfs.NameMax-1),
		"runes":     strings.Repeat("ü", (vfs.NameMax-len(".txt"))/2) + ".txt",
		"not UTF-8": strings.Repeat("\xff", vfs.NameMax),
	} {
		t.Run(name, func(t *testing.T) {
			p := two.open(t)
			first, second := p.pods[0], p.pods[1]
			first.write("/e/"+long, "old")
			p.meet()
			p.part()
			first.write("/e/"+long, "A")
			want := first.copyName("/e/" + long)
			second.write("/e/"+long, "B")
			p.want(with(map[string]string{"/e/" + long: "B", "/e/" + p.short(want): "A"}))
			if len(want) > vfs.NameMax || !strings.HasSuffix(want, long[strings.IndexByte(long+".", '.'):]) && name == "extension" {
				t.Errorf("%d bytes: %q", len(want), want)
			}
		})
	}
}
