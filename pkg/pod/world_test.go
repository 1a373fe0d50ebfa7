package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// A world knows which states a tree may be in after a crash. Each of its folders is changed by one goroutine alone, so it has
// a history: the names in it, with their attributes, change one after the other, and so do the contents of each file.
//
// What a crash leaves is right if the names are those of one moment since the last acknowledgement, and each file has the
// contents of one such moment; what is renamed, linked or put keeps, at that name, at least the contents that it had then.
type world struct {
	mu      sync.Mutex // guards everything below it
	folders []*wfolder
}

// wfolder is a folder of the root that one goroutine changes. Histories only grow.
type wfolder struct {
	name    string
	id      vfs.NodeID
	names   []names
	acked   int // index into names: no earlier one is right
	done    int // the newest one whose operation has ended
	objects []*object
}

// object is a file, a folder or a link.
type object struct {
	id       vfs.NodeID // 0: not known yet
	versions []version  // of a file's contents
	acked    int
	done     int
}

type version struct {
	sum   [32]byte
	size  int
	mtime int64  // 0: not known, the pod's clock gave it
	by    string // the operation
}

func versionOf(data []byte, mtime int64) version {
	return version{sum: blake3.Sum256(data), size: len(data), mtime: mtime}
}

// names is what a folder holds at a moment, in all depths: it is never changed once it is in a history.
type names struct {
	paths map[string]int // to the index of the object
	nodes map[int]wnode
	by    string // the operation
}

// wnode is an object at a moment.
type wnode struct {
	kind   vfs.Kind
	mode   uint32
	xattr  string // of the one attribute that is used; "": none
	target string // of a link
	floor  int    // the least version of its contents that may stand at these names
}

func (n names) clone() names { return names{maps.Clone(n.paths), maps.Clone(n.nodes), n.by} }

// bounds are indexes into the histories, at a moment.
type bounds []folderBounds

type folderBounds struct {
	names    int
	contents []int // by object
}

// acked are the indexes before which nothing is right any more.
func (w *world) acked() bounds {
	return w.bounds(func(f *wfolder) int { return f.acked }, func(o *object) int { return o.acked })
}

// ended are the newest indexes whose operations have ended.
func (w *world) ended() bounds {
	return w.bounds(func(f *wfolder) int { return f.done }, func(o *object) int { return o.done })
}

// last are the newest indexes.
func (w *world) last() bounds {
	return w.bounds(func(f *wfolder) int { return len(f.names) - 1 }, func(o *object) int { return len(o.versions) - 1 })
}

func (w *world) bounds(ofNames func(*wfolder) int, ofContents func(*object) int) bounds {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make(bounds, len(w.folders))
	for i, f := range w.folders {
		out[i] = folderBounds{names: ofNames(f), contents: make([]int, len(f.objects))}
		for k, o := range f.objects {
			out[i].contents[k] = ofContents(o)
		}
	}
	return out
}

// ack says that all up to b is durable.
func (w *world) ack(b bounds) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, fb := range b {
		f := w.folders[i]
		f.acked = max(f.acked, fb.names)
		for k, at := range fb.contents {
			f.objects[k].acked = max(f.objects[k].acked, at)
		}
	}
}

// check says why a tree is none that may be left by a crash between two moments.
func (w *world) check(found map[string]dumped, low, high bounds) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for i, f := range w.folders {
		mine := map[string]dumped{}
		for p, d := range found {
			if rest, ok := strings.CutPrefix(p, f.name+"/"); ok {
				mine[rest] = d
			}
		}
		errs = append(errs, f.check(mine, low[i], high[i]))
	}
	return errors.Join(errs...)
}

func (f *wfolder) check(found map[string]dumped, low, high folderBounds) error {
	var first, last error
	for k := high.names; k >= low.names; k-- {
		err := f.matches(f.names[k], found, low, high)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
		last = err
	}
	var by []string
	for k := max(low.names-5, 0); k <= high.names; k++ {
		by = append(by, fmt.Sprintf("%d %s", k, f.names[k].by))
	}
	return fmt.Errorf("%s: no state of its names from %d to %d fits: the newest: %w; the oldest: %w; the last operations: %s",
		f.name, low.names, high.names, first, last, strings.Join(by, ", "))
}

// matches says why what was found is not these names, with contents within the bounds.
func (f *wfolder) matches(n names, found map[string]dumped, low, high folderBounds) error {
	links := map[int]uint32{}
	for _, obj := range n.paths {
		links[obj]++
	}
	for p := range found {
		if _, ok := n.paths[p]; !ok {
			return fmt.Errorf("%s is there", p)
		}
	}
	for p, obj := range n.paths {
		d, ok := found[p]
		node, o := n.nodes[obj], f.objects[obj]
		switch {
		case !ok:
			return fmt.Errorf("%s is missing", p)
		case d.kind != node.kind, d.target != node.target, d.xattr != node.xattr, d.kind != vfs.KindSymlink && d.mode != node.mode:
			return fmt.Errorf("%s is %+v, not %+v", p, d, node)
		case o.id != 0 && o.id != d.id:
			return fmt.Errorf("%s is node %d, not %d", p, d.id, o.id)
		case d.kind == vfs.KindFile && d.links != links[obj]:
			return fmt.Errorf("%s has %d names, not %d", p, d.links, links[obj])
		case d.kind != vfs.KindFile:
			continue
		}
		from, to := node.floor, len(o.versions)-1
		if obj < len(low.contents) {
			from = max(from, low.contents[obj])
		}
		if obj < len(high.contents) {
			to = high.contents[obj]
		}
		if to < from || !slices.ContainsFunc(o.versions[from:to+1], d.is) {
			return fmt.Errorf("%s has %d bytes, mtime %d, that are none of its contents %d (%d at this name) to %d: %s", p, d.size, d.mtime, from, node.floor, to, o.which(d))
		}
	}
	return nil
}

// which tells more of wrong contents.
func (o *object) which(d dumped) string {
	var text []string
	same := "bytes that it never had"
	for i, v := range o.versions {
		text = append(text, fmt.Sprintf("%d %s", i, v.by))
		if v.sum == d.sum {
			same = fmt.Sprintf("the bytes are those of number %d, mtime %d", i, v.mtime)
		}
	}
	return same + "; its contents came by: " + strings.Join(text, ", ")
}

// dumped is what a surface shows of an object.
type dumped struct {
	id     vfs.NodeID
	kind   vfs.Kind
	mode   uint32
	links  uint32
	xattr  string
	target string
	size   int
	sum    [32]byte
	mtime  int64
}

func (d dumped) is(v version) bool {
	return d.size == v.size && d.sum == v.sum && (v.mtime == 0 || v.mtime == d.mtime)
}

const testXattr = "user.test"

// dump reads a whole tree through a surface; keys are paths without a leading slash. keep gets the bytes of files.
func dump(ctx context.Context, fs vfs.FS, keep func(name string, data []byte)) (map[string]dumped, error) {
	out := map[string]dumped{}
	var walk func(id vfs.NodeID, at string) error
	walk = func(id vfs.NodeID, at string) error {
		for after := ""; ; {
			list, err := fs.ReadDir(ctx, id, after, 100)
			if err != nil || len(list) == 0 {
				return err
			}
			for _, e := range list {
				after = e.Name
				p := path.Join(at, e.Name)
				d, data, err := dumpNode(ctx, fs, e.Attr)
				if err != nil {
					return fmt.Errorf("%s: %w", p, err)
				}
				out[p] = d
				if d.kind == vfs.KindFile && keep != nil {
					keep(p, data)
				}
				if d.kind == vfs.KindFolder {
					if err := walk(d.id, p); err != nil {
						return err
					}
				}
			}
		}
	}
	return out, walk(vfs.RootID, "")
}

func dumpNode(ctx context.Context, fs vfs.FS, a vfs.Attr) (d dumped, data []byte, err error) {
	d = dumped{id: a.ID, kind: a.Kind, mode: a.Mode}
	value, err := fs.GetXattr(ctx, a.ID, testXattr)
	if err != nil && !errors.Is(err, vfs.ErrNoXattr) {
		return d, nil, err
	}
	d.xattr = string(value)
	switch a.Kind {
	case vfs.KindSymlink:
		d.target, err = fs.ReadLink(ctx, a.ID)
		return d, nil, err
	case vfs.KindFile:
	default:
		return d, nil, nil
	}
	d.links, d.size, d.mtime = a.NLink, int(a.Size), a.Mtime
	data, err = readNode(ctx, fs, a)
	d.sum = blake3.Sum256(data)
	return d, data, err
}

func readNode(ctx context.Context, fs vfs.FS, a vfs.Attr) ([]byte, error) {
	f, err := fs.Open(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	data := make([]byte, a.Size)
	n, err := f.ReadAt(ctx, data, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err == nil && n != len(data) {
		err = fmt.Errorf("%d bytes read of %d", n, len(data))
	}
	_ = f.Close(ctx) // an error of it is about what others wrote into the file
	return data, err
}

// newWorld is the world as it is shown by a pod, all of which is durable, and the users that change its folders.
func newWorld(t *testing.T, p *testPod, folders int) (*world, []*user, error) {
	t.Helper()
	ctx := quickly(t)
	bytesOf := map[string][]byte{}
	found, err := dump(ctx, p.fs, func(p string, data []byte) { bytesOf[p] = data })
	if err != nil {
		return nil, nil, err
	}
	w := &world{}
	var users []*user
	for i := range folders {
		f := &wfolder{name: fmt.Sprintf("w%d", i)}
		if d, ok := found[f.name]; ok {
			f.id = d.id
		} else {
			a, err := p.fs.Create(ctx, vfs.RootID, f.name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
			if err != nil {
				return nil, nil, err
			}
			f.id = a.ID
		}
		u := &user{t: t, w: w, f: f, data: map[int][]byte{}, open: map[int]vfs.File{}}
		now := names{paths: map[string]int{}, nodes: map[int]wnode{}}
		byID := map[vfs.NodeID]int{}
		for full, d := range found {
			p, ok := strings.CutPrefix(full, f.name+"/")
			if !ok {
				continue
			}
			obj, known := byID[d.id]
			if !known {
				obj = len(f.objects)
				byID[d.id] = obj
				o := &object{id: d.id}
				if d.kind == vfs.KindFile {
					o.versions = []version{{sum: d.sum, size: d.size, mtime: d.mtime}}
					u.data[obj] = bytesOf[full]
				}
				f.objects = append(f.objects, o)
				now.nodes[obj] = wnode{kind: d.kind, mode: d.mode, xattr: d.xattr, target: d.target}
			}
			now.paths[p] = obj
		}
		f.names = []names{now}
		w.folders = append(w.folders, f)
		users = append(users, u)
	}
	return w, users, p.Settle(ctx)
}
