package pod

import (
	"errors"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestConflictCopies breaks if a conflict copy is no ordinary file: one that is read, written, renamed, removed, and has attributes; by
// its name, and by the number under which a surface knows it, whatever becomes of it. What is done to it resolves the conflict.
func TestConflictCopies(t *testing.T) {
	two := newTheseTwo(t)
	for _, c := range []struct {
		name string
		do   func(s *sidePod, copy string)
		want map[string]string
		at   string // where the file is then; "": nowhere
	}{
		{"read", func(*sidePod, string) {}, map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, "copy"},
		{"remove", func(s *sidePod, copy string) { s.rm(copy) }, map[string]string{"/f.txt": "B"}, ""},
		{"remove the other", func(s *sidePod, _ string) { s.rm("/f.txt") }, map[string]string{"/f.txt": "", "/f!1.txt": "A"}, "copy"},
		{"rename", func(s *sidePod, copy string) { s.mv(copy, "/e/kept") }, map[string]string{"/f.txt": "B", "/e/kept": "A"}, "/e/kept"},
		{"rename over the file", func(s *sidePod, copy string) { s.mv(copy, "/f.txt") }, map[string]string{"/f.txt": "A"}, "/f.txt"},
		{"rename over another file", func(s *sidePod, copy string) { s.mv(copy, "/d/x") }, map[string]string{"/f.txt": "B", "/d/x": "A"}, "/d/x"},
		{"rename the file over it", func(s *sidePod, copy string) { s.mv("/f.txt", copy) }, map[string]string{"/f.txt": "", "/f!1.txt": "B"}, ""},
		{"rename the file elsewhere", func(s *sidePod, _ string) { s.mv("/f.txt", "/n.md") }, map[string]string{"/f.txt": "", "/n.md": "B", "/n!1.md": "A"}, "moved"},
		{"exchange", func(s *sidePod, copy string) { s.exchange(copy, "/f.txt") }, map[string]string{"/f.txt": "A", "/f!1.txt": "B"}, "/f.txt"},
		{"write", func(s *sidePod, copy string) { s.write(copy, "C") }, map[string]string{"/f.txt": "B", "/f!1.txt": "C"}, "copy"},
		{"chmod", func(s *sidePod, copy string) { s.chmod(copy, 0o600) }, map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, "copy"},
		{"utimes", func(s *sidePod, copy string) { s.utimes(copy, 1e18) }, map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, "copy"},
		{"xattr", func(s *sidePod, copy string) { s.setXattr(copy, "user.k", "v") }, map[string]string{"/f.txt": "B", "/f!1.txt": "A"}, "copy"},
		{"link", func(s *sidePod, copy string) { s.link(copy, "/e/l") }, map[string]string{"/f.txt": "B", "/f!1.txt": "A", "/e/l": "A"}, "/e/l"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := two.open(t)
			p.pods[0].write("/f.txt", "A")
			p.pods[1].write("/f.txt", "B")
			p.meet()
			s := p.pods[0]
			copy := "/" + s.copies("/")[0]
			known := s.at(copy)
			if known.Kind != vfs.KindFile || known.NLink != 1 || known.Size != uint64(len(bytesOf("A"))) {
				t.Errorf("the copy is shown as %+v", known)
			}
			c.do(s, copy)
			switch c.at {
			case "copy":
				s.stillKnown(known.ID, copy)
			case "moved":
				s.stillKnown(known.ID, "/"+s.copies("/")[0])
			case "":
				if a, err := s.fs.GetAttr(quickly(t), known.ID); !errors.Is(err, vfs.ErrNotExist) {
					t.Errorf("what is gone is still there: %+v, %v", a, err)
				}
			default:
				s.stillKnown(known.ID, c.at)
			}
			p.want(with(c.want))
		})
	}
}

// stillKnown fails the test unless a number works as the file at a path does: a mount goes on with the number that it has.
func (s *sidePod) stillKnown(id vfs.NodeID, at string) {
	s.t.Helper()
	ctx := quickly(s.t)
	want, err := s.read(at)
	if err != nil {
		s.t.Errorf("%s: %v", at, err)
	}
	a, err := s.fs.GetAttr(ctx, id)
	if err != nil {
		s.t.Errorf("number %d of %s: %v", id, at, err)
		return
	}
	a.ID = id
	if b := s.at(at); a.Size != b.Size || a.Mode != b.Mode || a.Mtime != b.Mtime || a.NLink != b.NLink {
		s.t.Errorf("number %d is %+v, %s is %+v", id, a, at, b)
	}
	data, err := readNode(ctx, s.fs, a)
	if err != nil || string(data) != want {
		s.t.Errorf("number %d of %s: %s, %v", id, at, shorten(string(data)), err)
	}
	mode := uint32(0o640)
	if a, err := s.fs.SetAttr(ctx, id, vfs.SetAttr{Mode: &mode}); err != nil || a.Mode != mode {
		s.t.Errorf("chmod by number: %o, %v", a.Mode, err)
	}
	s.hasMode(at, mode)
	if err := s.fs.SetXattr(ctx, id, "user.n", []byte("v"), 0); err != nil {
		s.t.Errorf("xattr by number: %v", err)
	}
	s.hasXattr(at, "user.n", "v")
	if _, err := s.fs.GetXattr(ctx, id, "user.n"); err != nil {
		s.t.Errorf("xattr by number: %v", err)
	}
}

// TestOpenConflictCopy breaks if what is written to a conflict copy that is open is not seen by its name, or is lost, when it
// becomes a file of its own meanwhile.
func TestOpenConflictCopy(t *testing.T) {
	two := newTheseTwo(t)
	p := two.open(t)
	p.pods[0].write("/f.txt", "A")
	p.pods[1].write("/f.txt", "B")
	p.meet()
	s, ctx := p.pods[0], quickly(t)
	name := "/" + s.copies("/")[0]
	known := s.at(name)
	f, err := s.fs.Open(ctx, known.ID)
	if err != nil {
		t.Fatal(err)
	}
	writeAt := func(text string) {
		t.Helper()
		if _, err := f.WriteAt(ctx, []byte(bytesOf(text)), 0); err != nil {
			t.Fatal(err)
		}
	}
	writeAt("C")
	s.reads(name, bytesOf("C"))
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	s.settle()
	s.reads(name, bytesOf("C"))
	s.mv(name, "/e/kept")
	writeAt("D")
	s.reads("/e/kept", bytesOf("D"))
	if got := s.at("/e/kept"); got.Size != uint64(len(bytesOf("D"))) {
		t.Errorf("size %d", got.Size)
	}
	s.write("/e/kept", "E") // by another open
	data, err := readNode(ctx, s.fs, s.at("/e/kept"))
	if err != nil || string(data) != bytesOf("E") {
		t.Errorf("written by name: %s, %v", shorten(string(data)), err)
	}
	got := make([]byte, len(bytesOf("E")))
	if _, err := f.ReadAt(ctx, got, 0); err != nil || string(got) != bytesOf("E") {
		t.Errorf("read by the first open: %s, %v", shorten(string(got)), err)
	}
	writeAt("F")
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
	p.want(with(map[string]string{"/f.txt": "B", "/e/kept": "F"}))
}

// TestSyncedConflictCopy breaks if what is synced into an open conflict copy, which became a file of its own by a chmod, is
// not found after a loss of power.
func TestSyncedConflictCopy(t *testing.T) {
	two := newTheseTwo(t)
	p := two.open(t)
	p.pods[0].write("/f.txt", "A")
	p.pods[1].write("/f.txt", "B")
	p.meet()
	s, ctx := p.pods[0], quickly(t)
	name := "/" + s.copies("/")[0]
	f, err := s.fs.Open(ctx, s.at(name).ID)
	if err != nil {
		t.Fatal(err)
	}
	s.chmod(name, 0o600)
	p.part()
	if _, err := f.WriteAt(ctx, []byte("synced"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	o := s.o
	o.FS = s.disk()
	if err := f.Close(ctx); err != nil {
		t.Error(err)
	}
	s.stop()
	s.start(o)
	s.reads(name, "synced"+bytesOf("A")[len("synced"):])
	if got := s.copies("/"); len(got) != 1 {
		t.Errorf("copies %q", got)
	}
	s.hasMode(name, 0o600)
	s.clean()
}

// TestCopyComesBack breaks if the number of a conflict copy names the file that the copy became although the copy is shown
// again: its inode was removed here, with the copy as a file of its own, and edited elsewhere.
func TestCopyComesBack(t *testing.T) {
	two := newTheseTwo(t)
	p := two.open(t)
	first, second := p.pods[0], p.pods[1]
	first.write("/f.txt", "A")
	second.write("/f.txt", "B")
	p.meet()
	name := "/" + first.copies("/")[0]
	known := first.at(name).ID
	p.part()
	first.rm("/f.txt")
	first.mv(name, "/e/own")
	first.stillKnown(known, "/e/own")
	second.chmod("/f.txt", 0o600)
	p.want(with(map[string]string{"/f.txt": "B", "/f!1.txt": "A", "/e/own": "A"}))
	first.rm("/e/own")
	first.stillKnown(known, "/"+first.copies("/")[0])
	p.want(with(map[string]string{"/f.txt": "B", "/f!1.txt": "A"}))
}
