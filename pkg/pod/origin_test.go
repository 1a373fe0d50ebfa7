package pod

import (
	"bytes"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// imported is what an import says of a file that has not changed for an hour.
func imported(p *testPod, ino uint64, size int) FileMeta {
	then := p.clock.Now().Add(-time.Hour).UnixNano()
	return FileMeta{Mode: 0o644, Mtime: then, Origin: &Origin{Dev: 1, Ino: ino, Size: uint64(size), Mtime: then, Ctime: then}}
}

// wantKept says whether a file must not be read again.
func (p *testPod) wantKept(name string, m FileMeta, want bool) {
	p.t.Helper()
	a, kept, err := p.KeepFile(quickly(p.t), vfs.RootID, name, m)
	switch {
	case err != nil:
		p.t.Errorf("%s: %v", name, err)
	case kept != want:
		p.t.Errorf("%s: kept: %t, want %t", name, kept, want)
	case kept && (a.Mode != m.Mode || a.UID != m.UID || a.Mtime != m.Mtime || a.Size != m.Origin.Size):
		p.t.Errorf("%s: kept as %+v", name, a)
	}
}

// TestKeepFile breaks if an import reads unchanged files again, or leaves a file that was changed, here or where it came from.
func TestKeepFile(t *testing.T) {
	p := firstPod(t)
	ctx := quickly(t)
	files := map[string][]byte{"empty": nil, "inline": []byte("inline"), "chunk": bytes.Repeat([]byte("chunk"), 1000)}
	metas := map[string]FileMeta{}
	for name, data := range files {
		m := imported(p, uint64(len(data)), len(data))
		metas[name] = m
		p.wantKept(name, m, false)
		// Once as a new file, once as an edit: both note where the bytes came from.
		for range 2 {
			if _, err := p.PutFile(ctx, vfs.RootID, name, m, int64(len(data)), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			if err := p.Settle(ctx); err != nil {
				t.Fatal(err)
			}
			p.wantKept(name, m, true)
		}
		for what, change := range map[string]func(*Origin){
			"device": func(o *Origin) { o.Dev++ }, "inode": func(o *Origin) { o.Ino++ }, "size": func(o *Origin) { o.Size++ },
			"mtime": func(o *Origin) { o.Mtime++ }, "ctime": func(o *Origin) { o.Ctime++ },
		} {
			other, origin := m, *m.Origin
			change(&origin)
			other.Origin = &origin
			t.Run(what, func(*testing.T) { p.wantKept(name, other, false) })
		}
		m.Mode, m.UID = 0o600, 7
		p.wantKept(name, m, true) // and set
	}
	p.stop()
	p = openPod(t, p.dir)
	for name, m := range metas {
		p.wantKept(name, m, true)
		p.reads("/"+name, string(files[name]))
	}
}

// TestKeepFileEdited: a file that was written here since is not kept, at no step that its bytes go through.
func TestKeepFileEdited(t *testing.T) {
	p := firstPod(t)
	ctx := quickly(t)
	data := []byte("as it came")
	m := imported(p, 1, len(data))
	put := func() vfs.Attr {
		t.Helper()
		a, err := p.PutFile(ctx, vfs.RootID, "f", m, int64(len(data)), bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Settle(ctx); err != nil {
			t.Fatal(err)
		}
		p.wantKept("f", m, true)
		return a
	}
	a := put()
	f, err := p.fs.Open(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(ctx, []byte("AS"), 0); err != nil {
		t.Fatal(err)
	}
	p.wantKept("f", m, false) // written
	if err := f.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	p.wantKept("f", m, false) // staged, or named already
	if err := f.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	p.wantKept("f", m, false) // named
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	// Its time put back does not hide the edit.
	if _, err := p.fs.SetAttr(ctx, a.ID, vfs.SetAttr{Mtime: &m.Mtime}); err != nil {
		t.Fatal(err)
	}
	p.wantKept("f", m, false)
	put()
	p.reads("/f", string(data))
}

// TestKeepFileRacy: a file that may change after its reading and keep its times gets no record.
func TestKeepFileRacy(t *testing.T) {
	p := firstPod(t)
	ctx := quickly(t)
	now := p.clock.Now()
	for name, o := range map[string]Origin{
		"mtime": {Ino: 1, Size: 1, Mtime: now.UnixNano(), Ctime: 1}, "ctime": {Ino: 2, Size: 1, Mtime: 1, Ctime: now.UnixNano()},
		"future": {Ino: 3, Size: 1, Mtime: now.Add(time.Hour).UnixNano(), Ctime: 1},
	} {
		m := FileMeta{Mode: 0o644, Mtime: o.Mtime, Origin: &o}
		if _, err := p.PutFile(ctx, vfs.RootID, name, m, 1, bytes.NewReader([]byte{1})); err != nil {
			t.Fatal(err)
		}
		p.wantKept(name, m, false)
	}
}
