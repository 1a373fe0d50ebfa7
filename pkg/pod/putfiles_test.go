package pod

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// TestPutFiles breaks if a file that is put with others is not as PutFile makes it, or what is wrong with one hinders another.
func TestPutFiles(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprintf("encrypted=%v", encrypted), func(t *testing.T) {
			var p *testPod
			if encrypted {
				p = openPod(t, createEncrypted(t))
			} else {
				p = firstPod(t)
			}
			ctx := quickly(t)
			folder, err := p.fs.Create(ctx, vfs.RootID, "d", vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
			if err != nil {
				t.Fatal(err)
			}
			p.write("/d/old", "old contents")
			datas := map[string][]byte{
				"empty": nil, "one": {1}, "inline": noise(1, dag.InlineMax), "block": noise(2, dag.InlineMax+1), "text": bytes.Repeat([]byte("text "), 1000),
				"zeros": make([]byte, 5000), "largest": noise(3, SmallMax), "old": noise(4, 2000), "same": noise(2, dag.InlineMax+1), "too large": make([]byte, SmallMax+1),
			}
			var files []SmallFile
			for name, data := range datas {
				m := FileMeta{Mode: 0o640, UID: 5, GID: 6, Mtime: 777, Xattrs: map[string][]byte{"user.x": []byte(name)}}
				files = append(files, SmallFile{Parent: folder.ID, Name: name, Meta: m, Data: data})
			}
			files = append(files, SmallFile{Parent: 12345, Name: "nowhere"}, SmallFile{Parent: folder.ID, Name: ".."})
			want := map[string]error{"too large": vfs.ErrTooLarge, "nowhere": vfs.ErrNotExist, "..": vfs.ErrBadName}
			out, err := p.PutFiles(ctx, files)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Settle(ctx); err != nil {
				t.Fatal(err)
			}
			for i, f := range files {
				if !errors.Is(out[i].Err, want[f.Name]) {
					t.Errorf("%s: got %v, want %v", f.Name, out[i].Err, want[f.Name])
				}
				if want[f.Name] != nil {
					continue
				}
				p.reads("/d/"+f.Name, string(f.Data))
				if _, err := p.PutFile(ctx, vfs.RootID, f.Name, f.Meta, int64(len(f.Data)), bytes.NewReader(f.Data)); err != nil {
					t.Fatal(err)
				}
				if err := p.Settle(ctx); err != nil {
					t.Fatal(err)
				}
				a, err1 := vfs.Resolve(ctx, p.fs, "/d/"+f.Name)
				b, err2 := vfs.Resolve(ctx, p.fs, "/"+f.Name)
				if err := errors.Join(err1, err2); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(out[i].Attr.ID, a.ID); diff != "" {
					t.Errorf("%s: number as it was made, and as it is (+):\n%s", f.Name, diff)
				}
				b.ID, b.Atime, b.Ctime, b.Btime = a.ID, a.Atime, a.Ctime, a.Btime
				if diff := cmp.Diff(b, a); diff != "" {
					t.Errorf("%s: by PutFile, and by PutFiles (+):\n%s", f.Name, diff)
				}
				if x, y := p.cid("/d/"+f.Name), p.cid("/"+f.Name); x != y {
					t.Errorf("%s: CID %s by PutFiles, %s by PutFile", f.Name, x, y)
				}
			}
		})
	}
}
