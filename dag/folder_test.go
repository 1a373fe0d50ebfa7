package dag

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/block/blocktest"
)

func direntsOf(m map[string]Dirent) iter.Seq2[Dirent, error] {
	return func(yield func(Dirent, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if !yield(m[name], nil) {
				return
			}
		}
	}
}

func file(name string, size uint64) Dirent {
	return Dirent{Name: name, Kind: 1, Mode: 0o644, UID: 1000, GID: 100, Mtime: 1700000000e9, Size: size, Ino: size + 10, Child: nodeID(size)}
}

// TestFolderModel: a folder that was edited at random is the folder that is built of the result, and lists it.
func TestFolderModel(t *testing.T) {
	r := newRand(t)
	for range 15 {
		st := blocktest.NewMem()
		own := FolderAttr{Mode: 0o755, UID: 1, GID: 2, Mtime: -5}
		model := map[string]Dirent{}
		id := block.ID{}
		for step := range 20 {
			own.Mtime++
			names := map[string]bool{}
			for range r.IntN(3) * r.IntN(100) {
				names[fmt.Sprintf("name %d", r.IntN(500))] = true
			}
			if r.IntN(10) == 0 {
				for name := range model {
					names[name] = true
				}
			}
			var edits []DirentEdit
			for _, name := range slices.Sorted(maps.Keys(names)) {
				if r.IntN(3) == 0 || len(names) > 200 {
					delete(model, name)
					edits = append(edits, DirentEdit{Name: name})
					continue
				}
				d := file(name, r.Uint64N(1000))
				if r.IntN(100) == 0 {
					d.Xattrs = []Xattr{{Name: "user.a", Value: make([]byte, r.IntN(3000))}, {Name: "user.b", Value: []byte{}}}
				}
				model[name] = d
				edits = append(edits, DirentEdit{Name: name, Entry: &d})
			}
			before := id
			var err error
			if id, err = EditFolder(t.Context(), st, before, own, edits); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			if want := must[block.ID](t)(BuildFolder(t.Context(), st, own, direntsOf(model))); id != want {
				t.Fatalf("step %d: edited folder %s, built %s", step, id, want)
			}
			checkFolder(t, st, id, own, model)
			checkFolderDiff(t, st, before, id, len(edits))
		}
	}
}

func checkFolder(t *testing.T, st block.Store, id block.ID, own FolderAttr, model map[string]Dirent) {
	t.Helper()
	own.Entries = uint64(len(model))
	for _, d := range model {
		own.Size += d.Size
	}
	if got := must[FolderAttr](t)(ReadFolder(t.Context(), st, id)); got != own {
		t.Fatalf("attributes %+v, want %+v", got, own)
	}
	got := []Dirent{}
	for after := ""; ; {
		page, err := ListFolder(t.Context(), st, id, after, 37)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		after = page[len(page)-1].Name
	}
	want := []Dirent{}
	for d := range direntsOf(model) {
		want = append(want, d)
	}
	if diff := cmp.Diff(got, want, equateIDs); diff != "" {
		t.Fatalf("listing differs:\n%s", diff)
	}
	for _, name := range []string{"name 1", "name 100", "nobody", "a", "zzz"} {
		d, ok, err := LookupFolder(t.Context(), st, id, name)
		want, there := model[name]
		if err != nil || ok != there || cmp.Diff(d, want, equateIDs) != "" {
			t.Fatalf("lookup %q: %+v, %v, %v", name, d, ok, err)
		}
	}
	err := FolderNodes(t.Context(), st, id, func(id block.ID) error {
		_, err := st.Get(t.Context(), id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkFolderDiff(t *testing.T, st block.Store, a, b block.ID, limit int) {
	t.Helper()
	n := 0
	err := DiffFolders(t.Context(), st, a, b, func(da, db *Dirent) error {
		n++
		if da == nil && db == nil || da != nil && db != nil && cmp.Equal(*da, *db, equateIDs) {
			return fmt.Errorf("no difference: %v %v", da, db)
		}
		return nil
	})
	if err != nil || n > limit {
		t.Fatalf("%d differences after %d edits, %v", n, limit, err)
	}
}

// TestFolderEditCost: one changed name in a large folder costs a path.
func TestFolderEditCost(t *testing.T) {
	st := &counted{Store: blocktest.NewMem()}
	const n = 50_000
	id, err := BuildFolder(t.Context(), st, FolderAttr{Mode: 0o755}, func(yield func(Dirent, error) bool) {
		for i := range uint64(n) {
			if !yield(file(fmt.Sprintf("%08d", i), i), nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(100) {
		st.gets, st.puts = 0, 0
		d := file("", i)
		edit := DirentEdit{Name: fmt.Sprintf("%08d", i*499), Entry: &d}
		if id, err = EditFolder(t.Context(), st, id, FolderAttr{Mode: 0o755}, []DirentEdit{edit}); err != nil {
			t.Fatal(err)
		}
		if st.gets > 14 || st.puts > 8 {
			t.Errorf("%d gets, %d puts", st.gets, st.puts)
		}
	}
}

// TestFolderOfMillions: a folder of a million entries (-entries, to ten millions) is edited as a small one is: along a way down, with few neighbours, and an edit taken back
// leaves what was built.
func TestFolderOfMillions(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a folder of a million entries")
	}
	n := uint64(*entriesFlag)
	st := &counted{Store: blocktest.NewMem()}
	own := FolderAttr{Mode: 0o755}
	built := must[block.ID](t)(BuildFolder(t.Context(), st, own, func(yield func(Dirent, error) bool) {
		for i := range n {
			if !yield(file(fmt.Sprintf("%08d", i), i), nil) {
				return
			}
		}
	}))
	f, _, err := loadFolder(t.Context(), st, built)
	if err != nil || f.attr.Entries != n {
		t.Fatalf("%d entries: %v", f.attr.Entries, err)
	}
	levels := must[MapNode](t)(DecodeMapNode(f.top)).Level + 1
	const edits = 100
	gets, puts, id := 0, 0, built
	for i := range uint64(edits) {
		name := fmt.Sprintf("%08d", i*(n/edits)+i%7)
		was := file(name, i*(n/edits)+i%7)
		is := file(name, i+n)
		for _, e := range []*Dirent{&is, nil, &was} {
			st.gets, st.puts = 0, 0
			id = must[block.ID](t)(EditFolder(t.Context(), st, id, own, []DirentEdit{{Name: name, Entry: e}}))
			gets, puts = gets+st.gets, puts+st.puts
			if st.gets > 6*levels || st.puts > 6*levels {
				t.Errorf("%d gets, %d puts for one edit, of %d levels", st.gets, st.puts, levels)
			}
		}
		if id != built {
			t.Fatalf("%s was changed, removed and put back: another folder", name)
		}
	}
	t.Logf("%d entries, %d levels: %.1f gets, %.1f puts an edit", n, levels, float64(gets)/(3*edits), float64(puts)/(3*edits))
	if gets > 9*edits*levels || puts > 6*edits*levels {
		t.Errorf("%d gets, %d puts for %d edits, of %d levels", gets, puts, 3*edits, levels)
	}
}

// TestFolderGrows: when a folder outgrows its own block, the top node that was part of it becomes a block. If it fails,
// a folder links to a node that exists nowhere.
func TestFolderGrows(t *testing.T) {
	st := blocktest.NewMem()
	own := FolderAttr{Mode: 0o755}
	model := map[string]Dirent{}
	id := block.ID{}
	for i := range uint64(300) {
		d := file(fmt.Sprintf("%04d", i), i)
		model[d.Name] = d
		var err error
		if id, err = EditFolder(t.Context(), st, id, own, []DirentEdit{{Name: d.Name, Entry: &d}}); err != nil {
			t.Fatal(err)
		}
		checkFolder(t, st, id, own, model)
	}
	for i := range uint64(300) {
		name := fmt.Sprintf("%04d", 299-i)
		delete(model, name)
		var err error
		if id, err = EditFolder(t.Context(), st, id, own, []DirentEdit{{Name: name}}); err != nil {
			t.Fatal(err)
		}
		checkFolder(t, st, id, own, model)
	}
}

// TestFolderSmall: a small folder is one block.
func TestFolderSmall(t *testing.T) {
	for _, n := range []uint64{0, 1, 5} {
		st := blocktest.NewMem()
		m := map[string]Dirent{}
		for i := range n {
			d := file(fmt.Sprint(i), i)
			m[d.Name] = d
		}
		must[block.ID](t)(BuildFolder(t.Context(), st, FolderAttr{}, direntsOf(m)))
		if st.Len() != 1 {
			t.Errorf("%d entries are %d blocks", n, st.Len())
		}
	}
}

func TestFolderRefuses(t *testing.T) {
	good := file("x", 1)
	change := func(f func(*Dirent)) Dirent {
		d := good
		f(&d)
		return d
	}
	for _, tt := range []struct {
		name  string
		entry Dirent
		want  error
	}{
		{"no name", change(func(d *Dirent) { d.Name = "" }), ErrBadDirent},
		{"dot", change(func(d *Dirent) { d.Name = "." }), ErrBadDirent},
		{"dot dot", change(func(d *Dirent) { d.Name = ".." }), ErrBadDirent},
		{"slash", change(func(d *Dirent) { d.Name = "a/b" }), ErrBadDirent},
		{"NUL", change(func(d *Dirent) { d.Name = "a\x00" }), ErrBadDirent},
		{"long name", change(func(d *Dirent) { d.Name = strings.Repeat("n", 256) }), ErrBadDirent},
		{"no kind", change(func(d *Dirent) { d.Kind = 0 }), ErrBadDirent},
		{"kind", change(func(d *Dirent) { d.Kind = 8 }), ErrBadDirent},
		{"mode", change(func(d *Dirent) { d.Mode = 0o10000 }), ErrBadDirent},
		{"child is a chunk", change(func(d *Dirent) { d.Child = chunkID(1) }), ErrBadDirent},
		{"folder without a node", change(func(d *Dirent) { d.Kind, d.Child = 2, block.ID{} }), ErrBadDirent},
		{"attributes not sorted", change(func(d *Dirent) { d.Xattrs = []Xattr{{Name: "b"}, {Name: "a"}} }), ErrBadDirent},
		{"attribute without a name", change(func(d *Dirent) { d.Xattrs = []Xattr{{}} }), ErrBadDirent},
		{"large attribute", change(func(d *Dirent) { d.Xattrs = []Xattr{{Name: "a", Value: make([]byte, XattrMax+1)}} }), ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := blocktest.NewMem()
			_, err := BuildFolder(t.Context(), st, FolderAttr{}, direntsOf(map[string]Dirent{"": tt.entry}))
			if !errors.Is(err, tt.want) {
				t.Errorf("build: got %v, want %v", err, tt.want)
			}
			// The same from another pod.
			if kv := (KV{Key: []byte(tt.entry.Name), Value: tt.entry.appendValue(nil)}); len(kv.Key) > 0 {
				if _, err := decodeDirent(kv); !errors.Is(err, block.ErrCorrupt) {
					t.Errorf("decode: got %v", err)
				}
			}
		})
	}
}

// TestFolderFullXattrs: an entry with all the attributes that are allowed can be stored.
func TestFolderFullXattrs(t *testing.T) {
	st := blocktest.NewMem()
	d := file(strings.Repeat("n", NameMax), 1)
	for i := range XattrsMax/XattrMax - 1 {
		d.Xattrs = append(d.Xattrs, Xattr{Name: fmt.Sprintf("user.%d", i), Value: make([]byte, XattrMax)})
	}
	id := must[block.ID](t)(BuildFolder(t.Context(), st, FolderAttr{}, direntsOf(map[string]Dirent{"": d})))
	got, ok, err := LookupFolder(t.Context(), st, id, d.Name)
	if err != nil || !ok || cmp.Diff(got, d, equateIDs) != "" {
		t.Errorf("entry differs: %v, %v", ok, err)
	}
}
