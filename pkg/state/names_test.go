package state

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// TestConflictName pins where the mark goes and what is cut.
func TestConflictName(t *testing.T) {
	when := time.Date(2025, 11, 26, 12, 30, 45, 999e6, time.FixedZone("", 3600))
	const mark = ".conflict-pod-20251126-113045-1a2b"
	long := strings.Repeat("x", 255)
	for _, c := range []struct{ name, pod, want string }{
		{"notes.txt", "pod", "notes" + mark + ".txt"},
		{"Makefile", "pod", "Makefile" + mark},
		{".bashrc", "pod", ".bashrc" + mark},
		{".config.yml", "pod", ".config" + mark + ".yml"},
		{"a.tar.gz", "pod", "a" + mark + ".tar.gz"},
		{"a.TAR.xz", "pod", "a" + mark + ".TAR.xz"},
		{".tar.gz", "pod", ".tar" + mark + ".gz"},
		{"a.b.c", "pod", "a.b" + mark + ".c"},
		{"ends.", "pod", "ends." + mark},
		{"v1.a sentence with a dot", "pod", "v1.a sentence with a dot" + mark},
		{long, "pod", long[:255-len(mark)] + mark},
		{long[:251] + ".txt", "pod", long[:251-len(mark)] + mark + ".txt"},
		{strings.Repeat("é", 127), "pod", strings.Repeat("é", (255-len(mark))/2) + mark},
		{strings.Repeat("\xbf", 255), "pod", strings.Repeat("\xbf", 255-len(mark)) + mark},
		{"a", "my pod/é\n", "a" + strings.Replace(mark, "pod", "my_pod___", 1)},
		{"a", "", "a" + strings.Replace(mark, "pod", "unknown", 1)},
		{"a", strings.Repeat("p", 90), "a" + strings.Replace(mark, "pod", strings.Repeat("p", 64), 1)},
	} {
		got := ConflictName(c.name, c.pod, when, "1a2b")
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.name, got, c.want)
		}
		if err := CheckName(got); err != nil || utf8.ValidString(c.name) != utf8.ValidString(got) {
			t.Errorf("%q: %q is no name: %v", c.name, got, err)
		}
	}
}

func podName(a ident.Actor) string { return fmt.Sprintf("pod%d", a.Member) }

// shows is how a folder shows entries: the name, and what stands there. "copy" is what the copies are.
func shows(entries []ViewEntry, taken func(string) bool) []string {
	var out []string
	for _, n := range ViewNames(entries, podName, taken) {
		what := fmt.Sprintf("%s = %d", n.Name, entries[n.Entry].Ino)
		if n.Copy >= 0 {
			what += fmt.Sprintf(" content %d", entries[n.Entry].Copies[n.Copy].Content.Dot.Seq)
		}
		if n.Computed {
			what += " computed"
		}
		out = append(out, what)
	}
	return out
}

// file is a claim of inode ino, made at ms by a member, with a content of that time.
func file(ino Ino, name string, ms, member int) ViewEntry {
	return ViewEntry{Ino: ino, Name: name, TS: at(ms, member), Newest: at(ms, member)}
}

func folder(ino Ino, name string, ms, member int) ViewEntry {
	e := file(ino, name, ms, member)
	e.Folder, e.Newest = true, TS{}
	return e
}

// over makes e a save by rename over a file.
func over(e ViewEntry, ino Ino, since TS) ViewEntry {
	e.Over = &Over{Ino: ino, Since: since, TS: e.TS}
	return e
}

func newest(e ViewEntry, ms, member int) ViewEntry {
	e.Newest = at(ms, member)
	return e
}

func copies(e ViewEntry, cs ...ViewCopy) ViewEntry {
	e.Copies = cs
	return e
}

func content(seq uint64, ms, member int) ViewCopy {
	return ViewCopy{Content: ContentName{Dot: Dot{actor(uint32(member)), seq}}, TS: at(ms, member)}
}

// TestViewNames holds the rows of DESIGN's table that are about names.
func TestViewNames(t *testing.T) {
	mark := func(name string, ms, member int, ino Ino, link uint64, c ContentName, tail string) string {
		return ConflictName(name, fmt.Sprintf("pod%d", member), time.UnixMilli(int64(ms)), fmt.Sprintf("%04x%s", hash16(ino, link, c), tail))
	}
	rng := rand.New(rand.NewPCG(2, 2))
	c1, c2 := content(7, 4000, 2), content(8, 4000, 2)
	taken := mark("a.txt", 4000, 2, 10, 0, c1.Content, "")
	for _, c := range []struct {
		name    string
		entries []ViewEntry
		taken   func(string) bool
		want    []string
	}{
		{
			name:    "no conflict",
			entries: []ViewEntry{file(10, "a", 1000, 1), folder(11, "b", 1000, 2)},
			want:    []string{"a = 10", "b = 11"},
		},
		{
			name:    "both edit: the newest is shown, the others beside it",
			entries: []ViewEntry{copies(file(10, "a.txt", 5000, 1), c1)},
			want:    []string{taken + " = 10 content 7 computed", "a.txt = 10"},
		},
		{
			name:    "create and create: the earlier keeps the name, though the later was edited last",
			entries: []ViewEntry{newest(file(10, "a", 2000, 1), 9000, 1), file(20, "a", 1000, 2)},
			want:    []string{"a = 20", mark("a", 9000, 1, 10, 0, ContentName{}, "") + " = 10 computed"},
		},
		{
			name:    "create and create at one time: the smaller actor",
			entries: []ViewEntry{file(10, "a", 1000, 2), file(20, "a", 1000, 1)},
			want:    []string{"a = 20", mark("a", 1000, 2, 10, 0, ContentName{}, "") + " = 10 computed"},
		},
		{
			name:    "a file and a folder: the folder keeps the name, though it is later",
			entries: []ViewEntry{file(10, "a", 1000, 1), folder(20, "a", 5000, 2)},
			want:    []string{"a = 20", mark("a", 1000, 1, 10, 0, ContentName{}, "") + " = 10 computed"},
		},
		{
			name:    "two folders: the one made here before the one moved here; a folder has no extension",
			entries: []ViewEntry{folder(10, "a.d", 5000, 1), folder(20, "a.d", 0, 0)},
			want:    []string{"a.d = 20", fmt.Sprintf("a.d.conflict-pod1-19700101-000005-%04x = 10 computed", hash16(10, 0, ContentName{}))},
		},
		{
			name: "save by rename and a later edit of the replaced file: the edit is shown",
			entries: []ViewEntry{
				newest(file(10, "a", 1000, 1), 6000, 2),
				over(file(20, "a", 5000, 1), 10, at(1000, 1)),
			},
			want: []string{"a = 10", mark("a", 5000, 1, 20, 0, ContentName{}, "") + " = 20 computed"},
		},
		{
			name: "save by rename and an earlier edit: the save is shown",
			entries: []ViewEntry{
				newest(file(10, "a", 1000, 1), 4000, 2),
				over(newest(file(20, "a", 5000, 1), 3000, 1), 10, at(1000, 1)),
			},
			want: []string{"a = 20", mark("a", 4000, 2, 10, 0, ContentName{}, "") + " = 10 computed"},
		},
		{
			name: "two saves by rename: the later is shown",
			entries: []ViewEntry{
				over(file(30, "a", 6000, 2), 10, at(1000, 1)),
				over(file(20, "a", 5000, 1), 10, at(1000, 1)),
			},
			want: []string{"a = 30", mark("a", 5000, 1, 20, 0, ContentName{}, "") + " = 20 computed"},
		},
		{
			name: "a lineage keeps the name that it had first, however often it is saved",
			entries: []ViewEntry{
				over(file(30, "a", 9000, 2), 10, at(1000, 1)),
				file(20, "a", 2000, 2),
			},
			want: []string{"a = 30", mark("a", 2000, 2, 20, 0, ContentName{}, "") + " = 20 computed"},
		},
		{
			name:    "two links of one inode at one name",
			entries: []ViewEntry{file(10, "a", 1000, 1), {Ino: 10, Link: 5, Name: "a", TS: at(2000, 2), Newest: at(1000, 1)}},
			want:    []string{"a = 10", mark("a", 1000, 1, 10, 5, ContentName{}, "") + " = 10 computed"},
		},
		{
			name:    "a real name is given out before a computed one",
			entries: []ViewEntry{copies(file(10, "a.txt", 5000, 1), c1), file(20, taken, 9000, 1)},
			want:    []string{mark("a.txt", 4000, 2, 10, 0, c1.Content, "+2") + " = 10 content 7 computed", taken + " = 20", "a.txt = 10"},
		},
		{
			name:    "names of entries that are not given are taken",
			entries: []ViewEntry{copies(file(10, "a.txt", 5000, 1), c1, c2)},
			taken: func(s string) bool {
				return s == taken || s == mark("a.txt", 4000, 2, 10, 0, c1.Content, "+2")
			},
			want: []string{
				mark("a.txt", 4000, 2, 10, 0, c1.Content, "+3") + " = 10 content 7 computed",
				mark("a.txt", 4000, 2, 10, 0, c2.Content, "") + " = 10 content 8 computed", "a.txt = 10",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			sortStrings := cmp.Transformer("set", func(s []string) map[string]bool {
				m := map[string]bool{}
				for _, x := range s {
					m[x] = true
				}
				return m
			})
			for range 5 {
				if d := cmp.Diff(shows(c.entries, c.taken), c.want, sortStrings); d != "" {
					t.Fatalf("got - want +\n%s", d)
				}
				rng.Shuffle(len(c.entries), func(i, j int) { c.entries[i], c.entries[j] = c.entries[j], c.entries[i] })
			}
		})
	}
}

// TestViewNamesOrder: the names are unique, every entry and copy has one, and they depend on nothing but the set of entries:
// not on their order, and not on whether the uncontested ones are given or only said to be taken.
func TestViewNamesOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for round := range 500 {
		entries := randomEntries(rng)
		want := shows(entries, nil)
		names, total := map[string]bool{}, 0
		for _, n := range ViewNames(entries, podName, nil) {
			names[n.Name] = true
			if err := CheckName(n.Name); err != nil {
				t.Fatal(err)
			}
		}
		claims := map[string]int{}
		for _, e := range entries {
			total += 1 + len(e.Copies)
			claims[e.Name]++
		}
		if len(names) != total || len(want) != total {
			t.Fatalf("round %d: %d names for %d entries and copies", round, len(names), total)
		}
		rng.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		if d := cmp.Diff(shows(entries, nil), want); d != "" {
			t.Fatalf("round %d: shuffled: got - want +\n%s", round, d)
		}
		var contested []ViewEntry
		plain := map[string]bool{}
		for _, e := range entries {
			if claims[e.Name] > 1 || len(e.Copies) > 0 {
				contested = append(contested, e)
			} else {
				plain[fmt.Sprintf("%s = %d", e.Name, e.Ino)] = true
			}
		}
		var rest []string
		for _, s := range want {
			if !plain[s] {
				rest = append(rest, s)
			}
		}
		if d := cmp.Diff(shows(contested, func(s string) bool { return claims[s] > 0 }), rest); d != "" {
			t.Fatalf("round %d: contested ones only: got - want +\n%s", round, d)
		}
	}
}

// randomEntries claim few names, some of which are what others would get as computed names.
func randomEntries(rng *rand.Rand) []ViewEntry {
	var out []ViewEntry
	names := []string{"a", "b.txt"}
	for i := range 1 + rng.IntN(12) {
		e := file(Ino(10+i), names[rng.IntN(len(names))], rng.IntN(3), 1+rng.IntN(2))
		switch rng.IntN(4) {
		case 0:
			e.Folder, e.Newest = true, TS{}
		case 1:
			e = over(e, Ino(10+rng.IntN(4)), at(rng.IntN(2), 1))
		case 2:
			for j := range rng.IntN(3) {
				e.Copies = append(e.Copies, content(uint64(j+1), rng.IntN(2), 1+rng.IntN(2)))
			}
		}
		out = append(out, e)
		if got := ViewNames(out, podName, nil); rng.IntN(3) == 0 {
			names = append(names, got[rng.IntN(len(got))].Name)
		}
	}
	return out
}

// TestViewEntries: which links an inode shows, which contents are beside them, and that the same bytes are shown once.
func TestViewEntries(t *testing.T) {
	n := plainInode().Stamp(Dot{actor(1), 1})
	n.Links = []Link{
		{Parent: RootIno, Name: "dead", Dead: true, DeadTS: at(9000, 1)},
		{ID: 5, Parent: RootIno, Name: "one"},
		{ID: 6, Parent: RootIno, Name: "two"},
	}
	n.Contents = []Content{
		{Dot: Dot{actor(1), 4}, TS: at(4000, 1), Body: []byte("x")},
		{Dot: Dot{actor(2), 3}, TS: at(3000, 2), Body: []byte("y")},
		{Dot: Dot{actor(3), 3}, TS: at(2000, 2), Body: []byte("x")},
		{Dot: Dot{actor(4), 3}, TS: at(1000, 2), Body: []byte("y")},
	}
	set := VerSet[*Inode]{{Dot: n.Dot, Value: n}}
	f := Fold(set)
	want := []ViewEntry{
		{Ino: 10, Link: 5, Name: "one", Newest: at(4000, 1), Copies: []ViewCopy{{Content: ContentName{Dot: Dot{actor(2), 3}}, TS: at(3000, 2)}}},
		{Ino: 10, Link: 6, Name: "two", Newest: at(4000, 1)},
	}
	if d := cmp.Diff(ViewEntries(10, &f, nil), want); d != "" {
		t.Errorf("got - want +\n%s", d)
	}
	all := func([]byte) string { return "same" }
	if got := ViewEntries(10, &f, all); len(got) != 2 || len(got[0].Copies) != 0 {
		t.Errorf("all bytes are the same: got %+v", got)
	}
	n.Links[1].Dead, n.Links[1].DeadTS = true, at(9500, 1)
	n.Links[2].Dead, n.Links[2].DeadTS = true, at(8000, 1)
	f = Fold(set)
	if got := ViewEntries(10, &f, nil); !f.Dead || len(got) != 1 || got[0].Name != "one" {
		t.Errorf("all links died apart: got %+v, want the last to die, one", got)
	}
	d := plainFolder()
	d.Links[0].Dead, d.Links[0].DeadTS = true, at(1, 1)
	f = Fold(VerSet[*Inode]{{Dot: n.Dot, Value: d}})
	if got := ViewEntries(10, &f, nil); !f.Dead || got != nil {
		t.Errorf("dead folder: got %+v", got)
	}
	d.Links = nil
	if f = Fold(VerSet[*Inode]{{Dot: n.Dot, Value: d}}); f.Dead {
		t.Error("the root is dead")
	}
	if f = Fold(VerSet[*Inode](nil)); !f.Dead || f.Shown() != nil || f.Inode != nil {
		t.Errorf("no version: got %+v", f)
	}
}
