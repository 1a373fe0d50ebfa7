package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// user changes one folder of a world by random operations, one after the other, and tells the world before it does.
type user struct {
	t    *testing.T
	w    *world
	f    *wfolder
	p    *Pod
	fs   vfs.FS
	ctx  context.Context //nolint:containedctx // of one run of a test
	rng  *rand.Rand
	data map[int][]byte // by object: what a file holds
	op   string         // the operation that runs
	open map[int]vfs.File
}

// An operation of the table changes something at random. It does nothing where nothing fits. To add one, tell the world by
// push or give what may be there from now on, do it, and call did.
var worldOps = []struct {
	name   string
	weight int
	run    func(*user) error
}{
	{"create", 8, (*user).create},
	{"write", 14, (*user).writeSmall},
	{"write large", 2, (*user).writeLarge},
	{"write sparse", 3, (*user).writeSparse},
	{"fsync", 8, (*user).fsync},
	{"close", 6, (*user).closeOne},
	{"truncate", 4, (*user).truncate},
	{"save", 5, func(u *user) error { return u.save(true) }},
	{"save without fsync", 4, func(u *user) error { return u.save(false) }},
	{"rename", 5, (*user).rename},
	{"rename a folder", 2, (*user).renameFolder},
	{"exchange", 2, (*user).exchange},
	{"link", 3, (*user).link},
	{"unlink", 7, (*user).unlink},
	{"mkdir", 3, (*user).mkdir},
	{"rmdir", 2, (*user).rmdir},
	{"symlink", 2, (*user).symlink},
	{"chmod", 3, (*user).chmod},
	{"utimes", 3, (*user).utimes},
	{"set xattr", 3, (*user).setXattr},
	{"remove xattr", 1, (*user).removeXattr},
	{"copy", 3, (*user).copyFile},
	{"put", 6, (*user).putFile},
	{"syncfs", 2, func(u *user) error { return u.settle(u.fs.SyncFS) }},
	{"settle", 2, func(u *user) error { return u.settle(u.p.Settle) }},
	{"checkpoint", 1, (*user).checkpoint},
	{"collect", 2, (*user).collect},
	{"local value", 2, func(u *user) error { return u.p.db.SetLocal(u.ctx, u.f.name, u.bytes(9)) }}, // syncs the state alone
}

// step makes one random operation.
func (u *user) step() error {
	total := 0
	for _, o := range worldOps {
		total += o.weight
	}
	at := u.rng.IntN(total)
	for _, o := range worldOps {
		if at -= o.weight; at < 0 {
			u.op = o.name
			if err := o.run(u); err != nil {
				return fmt.Errorf("%s: %w", o.name, err)
			}
			u.did()
			return nil
		}
	}
	return nil
}

// now is the newest state of the names. Only the user adds to it.
func (u *user) now() names { return u.f.names[len(u.f.names)-1] }

// push says that the names may change soon.
func (u *user) push(change func(n names)) {
	n := u.now().clone()
	n.by = u.op
	change(n)
	u.w.mu.Lock()
	u.f.names = append(u.f.names, n)
	u.w.mu.Unlock()
}

// add makes an object, with the contents of a file.
func (u *user) add(v ...version) int {
	u.w.mu.Lock()
	defer u.w.mu.Unlock()
	u.f.objects = append(u.f.objects, &object{versions: v})
	return len(u.f.objects) - 1
}

// give says that a file may soon hold data, and then, with its mtime.
func (u *user) give(obj int, data []byte, mtime int64) {
	v := versionOf(data, mtime)
	v.by = u.op
	u.w.mu.Lock()
	u.f.objects[obj].versions = append(u.f.objects[obj].versions, v)
	u.w.mu.Unlock()
	u.data[obj] = data
}

// made tells the number of a new object.
func (u *user) made(obj int, id vfs.NodeID) {
	u.w.mu.Lock()
	u.f.objects[obj].id = id
	u.w.mu.Unlock()
}

// did says that all that was begun has ended.
func (u *user) did() {
	u.w.mu.Lock()
	defer u.w.mu.Unlock()
	u.f.done = len(u.f.names) - 1
	for _, o := range u.f.objects {
		o.done = len(o.versions) - 1
	}
}

// floor is the newest number of a file's contents.
func (u *user) floor(obj int) int { return max(len(u.f.objects[obj].versions)-1, 0) }

// keepAt has an object keep, at its names from now on, at least the contents that it has.
func (u *user) keepAt(n names, obj int) {
	node := n.nodes[obj]
	node.floor = u.floor(obj)
	n.nodes[obj] = node
}

// pick is a random path whose object fits; "" for none.
func (u *user) pick(fits func(p string, node wnode) bool) (string, int) {
	n := u.now()
	var list []string
	for p, obj := range n.paths {
		if fits(p, n.nodes[obj]) {
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return "", 0
	}
	slices.Sort(list)
	p := list[u.rng.IntN(len(list))]
	return p, n.paths[p]
}

func isFile(_ string, n wnode) bool   { return n.kind == vfs.KindFile }
func isFolder(_ string, n wnode) bool { return n.kind == vfs.KindFolder }

// place is a random path in a random folder: of something, or of nothing.
func (u *user) place() string {
	dir := "."
	if u.rng.IntN(3) > 0 {
		if p, _ := u.pick(isFolder); p != "" {
			dir = p
		}
	}
	return path.Join(dir, fmt.Sprintf("n%d", u.rng.IntN(12)))
}

// free is a path where nothing is; "": none was found.
func (u *user) free() string {
	for range 20 {
		p := u.place()
		if _, taken := u.now().paths[p]; !taken && strings.Count(p, "/") < 4 {
			return p
		}
	}
	return ""
}

// at is the folder and the name of a path.
func (u *user) at(p string) (vfs.NodeID, string) {
	dir, name := path.Split(p)
	if dir == "" {
		return u.f.id, name
	}
	return u.id(u.now().paths[path.Clean(dir)]), name
}

func (u *user) id(obj int) vfs.NodeID { return u.f.objects[obj].id }

// handle is an open file.
func (u *user) handle(obj int) (vfs.File, error) {
	if f := u.open[obj]; f != nil {
		return f, nil
	}
	f, err := u.fs.Open(u.ctx, u.id(obj))
	if err == nil {
		u.open[obj] = f
	}
	return f, err
}

func (u *user) close(obj int) error {
	f := u.open[obj]
	if f == nil {
		return nil
	}
	delete(u.open, obj)
	return f.Close(u.ctx)
}

// closeAll closes what is open.
func (u *user) closeAll() error {
	var errs []error
	for _, obj := range slices.Sorted(maps.Keys(u.open)) {
		errs = append(errs, u.close(obj))
	}
	return errors.Join(errs...)
}

// maybeClose closes a file two times of three.
func (u *user) maybeClose(obj int) error {
	if u.rng.IntN(3) == 0 {
		return nil
	}
	return u.close(obj)
}

// bytes are random, and compress a little.
func (u *user) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(u.rng.Uint32())
		if i%3 == 0 {
			b[i] = 'x'
		}
	}
	return b
}

// size is one of those at which a file's form changes.
func (u *user) size() int {
	switch u.rng.IntN(8) {
	case 0:
		return 0
	case 1, 2, 3:
		return u.rng.IntN(1024)
	case 4, 5, 6:
		return u.rng.IntN(20_000)
	}
	return u.rng.IntN(600_000)
}

// write writes a piece, told first.
func (u *user) write(obj int, piece []byte, off int) error {
	f, err := u.handle(obj)
	if err != nil {
		return err
	}
	old := u.data[obj]
	data := make([]byte, max(len(old), off+len(piece)))
	copy(data, old)
	copy(data[off:], piece)
	u.give(obj, data, 0)
	_, err = f.WriteAt(u.ctx, piece, int64(off))
	return err
}

func (u *user) createAt(p string) (int, error) {
	obj := u.add(versionOf(nil, 0))
	mode := uint32(0o600 + u.rng.IntN(0o100))
	u.push(func(n names) {
		n.paths[p], n.nodes[obj] = obj, wnode{kind: vfs.KindFile, mode: mode}
	})
	parent, name := u.at(p)
	a, err := u.fs.Create(u.ctx, parent, name, vfs.NewNode{Kind: vfs.KindFile, Mode: mode})
	if err == nil {
		u.made(obj, a.ID)
		u.did()
	}
	return obj, err
}

func (u *user) create() error {
	p := u.free()
	if p == "" {
		return nil
	}
	obj, err := u.createAt(p)
	if err == nil && u.rng.IntN(3) > 0 {
		err = u.write(obj, u.bytes(1+u.rng.IntN(3000)), 0)
	}
	if err != nil {
		return err
	}
	return u.maybeClose(obj)
}

func (u *user) writeSmall() error {
	p, obj := u.pick(isFile)
	if p == "" {
		return nil
	}
	for range 1 + u.rng.IntN(4) {
		off := u.rng.IntN(len(u.data[obj]) + 1)
		if u.rng.IntN(2) == 0 {
			off = len(u.data[obj])
		}
		if err := u.write(obj, u.bytes(1+u.rng.IntN(2000)), off); err != nil {
			return err
		}
	}
	return u.maybeClose(obj)
}

func (u *user) writeLarge() error {
	p, obj := u.pick(isFile)
	if p == "" {
		return nil
	}
	off := min(len(u.data[obj]), u.rng.IntN(1<<20))
	for range 1 + u.rng.IntN(4) {
		piece := u.bytes(1 + u.rng.IntN(300_000))
		if err := u.write(obj, piece, off); err != nil {
			return err
		}
		off += len(piece)
	}
	return u.maybeClose(obj)
}

func (u *user) writeSparse() error {
	p, obj := u.pick(isFile)
	if p == "" {
		return nil
	}
	if err := u.write(obj, u.bytes(1+u.rng.IntN(9000)), len(u.data[obj])+u.rng.IntN(100_000)); err != nil {
		return err
	}
	return u.maybeClose(obj)
}

// sync is fsync: when it returns, the file's contents are acknowledged, and what was done to names before.
func (u *user) sync(obj int) error {
	f, err := u.handle(obj)
	if err != nil {
		return err
	}
	u.did()
	if err := f.Sync(u.ctx); err != nil {
		return err
	}
	u.w.mu.Lock()
	defer u.w.mu.Unlock()
	u.f.acked = u.f.done
	u.f.objects[obj].acked = u.f.objects[obj].done
	return nil
}

func (u *user) fsync() error {
	p, obj := u.pick(isFile)
	if p == "" {
		return nil
	}
	if err := u.sync(obj); err != nil {
		return err
	}
	return u.maybeClose(obj)
}

func (u *user) closeOne() error {
	for _, obj := range slices.Sorted(maps.Keys(u.open)) {
		if u.rng.IntN(2) == 0 {
			return u.close(obj)
		}
	}
	return nil
}

func (u *user) truncate() error {
	p, obj := u.pick(isFile)
	if p == "" {
		return nil
	}
	data := make([]byte, u.rng.IntN(len(u.data[obj])+5000))
	copy(data, u.data[obj])
	u.give(obj, data, 0)
	size := uint64(len(data))
	_, err := u.fs.SetAttr(u.ctx, u.id(obj), vfs.SetAttr{Size: &size})
	return err
}

// save writes a new file and renames it over another, or to a new name.
func (u *user) save(sync bool) error {
	p := u.place()
	if node, ok := u.now().nodes[u.now().paths[p]]; ok && node.kind == vfs.KindFolder {
		return nil
	}
	tmp := p + ".tmp"
	if _, taken := u.now().paths[tmp]; taken {
		return nil
	}
	obj, err := u.createAt(tmp)
	if err != nil {
		return err
	}
	for range 1 + u.rng.IntN(2) {
		if err := u.write(obj, u.bytes(1+u.size()), len(u.data[obj])); err != nil {
			return err
		}
	}
	if sync {
		if err := u.sync(obj); err != nil {
			return err
		}
		if u.rng.IntN(2) == 0 { // and some more, which the fsync knows nothing of
			if err := u.write(obj, u.bytes(1+u.rng.IntN(2000)), u.rng.IntN(len(u.data[obj])+1)); err != nil {
				return err
			}
		}
	}
	if u.rng.IntN(5) > 0 {
		if err := u.close(obj); err != nil {
			return err
		}
	}
	return u.renameTo(tmp, p)
}

// renameTo renames a file or link over what is no folder.
func (u *user) renameTo(from, to string) error {
	n := u.now()
	obj := n.paths[from]
	old, replaces := n.paths[to]
	if replaces && old == obj {
		return nil // two names of one file: nothing happens
	}
	u.push(func(n names) {
		delete(n.paths, from)
		n.paths[to] = obj
		u.keepAt(n, obj)
	})
	fromParent, fromName := u.at(from)
	toParent, toName := u.at(to)
	if err := u.fs.Rename(u.ctx, fromParent, fromName, toParent, toName, 0); err != nil {
		return err
	}
	u.did()
	if replaces {
		return u.forget(old)
	}
	return nil
}

// forget writes into an open file that has no name any more, and closes it.
func (u *user) forget(obj int) error {
	f := u.open[obj]
	if f == nil {
		return nil
	}
	for _, other := range u.now().paths {
		if other == obj {
			return nil
		}
	}
	_, err := f.WriteAt(u.ctx, u.bytes(10), 5)
	return errors.Join(err, u.close(obj))
}

func (u *user) rename() error {
	from, _ := u.pick(func(_ string, n wnode) bool { return n.kind != vfs.KindFolder })
	to := u.place()
	if from == "" || u.isFolderAt(to) {
		return nil
	}
	return u.renameTo(from, to)
}

func (u *user) isFolderAt(p string) bool {
	obj, ok := u.now().paths[p]
	return ok && u.now().nodes[obj].kind == vfs.KindFolder
}

func (u *user) renameFolder() error {
	from, _ := u.pick(isFolder)
	to := u.free()
	if from == "" || to == "" || to == from || strings.HasPrefix(to, from+"/") {
		return nil
	}
	fromParent, fromName := u.at(from)
	toParent, toName := u.at(to)
	u.push(func(n names) {
		for p, obj := range maps.Clone(n.paths) {
			if p == from || strings.HasPrefix(p, from+"/") {
				delete(n.paths, p)
				n.paths[to+p[len(from):]] = obj
			}
		}
	})
	return u.fs.Rename(u.ctx, fromParent, fromName, toParent, toName, 0)
}

func (u *user) exchange() error {
	a, objA := u.pick(isFile)
	b, objB := u.pick(isFile)
	if a == "" || objA == objB {
		return nil
	}
	u.push(func(n names) {
		n.paths[a], n.paths[b] = objB, objA
		u.keepAt(n, objA)
		u.keepAt(n, objB)
	})
	parentA, nameA := u.at(a)
	parentB, nameB := u.at(b)
	return u.fs.Rename(u.ctx, parentA, nameA, parentB, nameB, vfs.RenameExchange)
}

func (u *user) link() error {
	from, obj := u.pick(isFile)
	p := u.free()
	if from == "" || p == "" {
		return nil
	}
	u.push(func(n names) {
		n.paths[p] = obj
		u.keepAt(n, obj)
	})
	parent, name := u.at(p)
	_, err := u.fs.Link(u.ctx, u.id(obj), parent, name)
	return err
}

func (u *user) unlink() error {
	p, obj := u.pick(func(_ string, n wnode) bool { return n.kind != vfs.KindFolder })
	if p == "" {
		return nil
	}
	u.push(func(n names) { delete(n.paths, p) })
	parent, name := u.at(p)
	if err := u.fs.Remove(u.ctx, parent, name, false); err != nil {
		return err
	}
	u.did()
	return u.forget(obj)
}

func (u *user) mkdir() error {
	p := u.free()
	if p == "" {
		return nil
	}
	obj := u.add()
	u.push(func(n names) { n.paths[p], n.nodes[obj] = obj, wnode{kind: vfs.KindFolder, mode: 0o755} })
	parent, name := u.at(p)
	a, err := u.fs.Create(u.ctx, parent, name, vfs.NewNode{Kind: vfs.KindFolder, Mode: 0o755})
	if err == nil {
		u.made(obj, a.ID)
	}
	return err
}

func (u *user) rmdir() error {
	p, _ := u.pick(func(p string, n wnode) bool {
		if n.kind != vfs.KindFolder {
			return false
		}
		for other := range u.now().paths {
			if strings.HasPrefix(other, p+"/") {
				return false
			}
		}
		return true
	})
	if p == "" {
		return nil
	}
	u.push(func(n names) { delete(n.paths, p) })
	parent, name := u.at(p)
	return u.fs.Remove(u.ctx, parent, name, true)
}

func (u *user) symlink() error {
	p := u.free()
	if p == "" {
		return nil
	}
	length := 1 + u.rng.IntN(60)
	if u.rng.IntN(2) == 0 {
		length = 1 + u.rng.IntN(vfs.TargetMax)
	}
	obj, target := u.add(), strings.Repeat(string(rune('a'+u.rng.IntN(26))), length)
	u.push(func(n names) { n.paths[p], n.nodes[obj] = obj, wnode{kind: vfs.KindSymlink, target: target} })
	parent, name := u.at(p)
	a, err := u.fs.Create(u.ctx, parent, name, vfs.NewNode{Kind: vfs.KindSymlink, Mode: 0o777, Target: target})
	if err == nil {
		u.made(obj, a.ID)
	}
	return err
}

// changeNode changes an attribute of an object.
func (u *user) changeNode(obj int, change func(*wnode)) {
	u.push(func(n names) {
		node := n.nodes[obj]
		change(&node)
		n.nodes[obj] = node
	})
}

func (u *user) chmod() error {
	p, obj := u.pick(func(_ string, n wnode) bool { return n.kind != vfs.KindSymlink })
	if p == "" {
		return nil
	}
	mode := uint32(0o700 + u.rng.IntN(0o100))
	u.changeNode(obj, func(n *wnode) { n.mode = mode })
	_, err := u.fs.SetAttr(u.ctx, u.id(obj), vfs.SetAttr{Mode: &mode})
	return err
}

func (u *user) utimes() error {
	p, obj := u.pick(isFile)
	if p == "" {
		return nil
	}
	mtime := 1 + u.rng.Int64N(1e18)
	u.give(obj, u.data[obj], mtime)
	_, err := u.fs.SetAttr(u.ctx, u.id(obj), vfs.SetAttr{Mtime: &mtime})
	return err
}

func (u *user) setXattr() error {
	p, obj := u.pick(func(_ string, n wnode) bool { return n.kind != vfs.KindSymlink })
	if p == "" {
		return nil
	}
	value := fmt.Sprint("value ", u.rng.IntN(1000))
	u.changeNode(obj, func(n *wnode) { n.xattr = value })
	return u.fs.SetXattr(u.ctx, u.id(obj), testXattr, []byte(value), 0)
}

func (u *user) removeXattr() error {
	p, obj := u.pick(func(_ string, n wnode) bool { return n.xattr != "" })
	if p == "" {
		return nil
	}
	u.changeNode(obj, func(n *wnode) { n.xattr = "" })
	return u.fs.RemoveXattr(u.ctx, u.id(obj), testXattr)
}

// over is a place for a file that comes from elsewhere, with what is told of it: over a file, or new. obj is -1 for a new one.
func (u *user) over() (p string, obj int, m FileMeta) {
	m = FileMeta{Mode: uint32(0o600 + u.rng.IntN(0o100)), Mtime: 1 + u.rng.Int64N(1e18)}
	if u.rng.IntN(3) == 0 {
		if p, obj = u.pick(isFile); p != "" {
			u.changeNode(obj, func(n *wnode) { n.mode = m.Mode })
			return p, obj, m
		}
	}
	return u.free(), -1, m
}

func (u *user) copyFile() error {
	src, from := u.pick(isFile)
	p, obj, m := u.over()
	if src == "" || p == "" || obj == from {
		if obj >= 0 { // the change that over told is not made
			u.changeNode(obj, func(n *wnode) { n.mode = u.f.names[len(u.f.names)-2].nodes[obj].mode })
		}
		return nil
	}
	if obj < 0 {
		obj = u.add(versionOf(nil, m.Mtime))
		u.push(func(n names) { n.paths[p], n.nodes[obj] = obj, wnode{kind: vfs.KindFile, mode: m.Mode} })
	}
	u.give(obj, u.data[from], m.Mtime)
	parent, name := u.at(p)
	a, err := u.p.CopyFile(u.ctx, u.id(from), parent, name, m)
	if err == nil {
		u.made(obj, a.ID)
	}
	return err
}

func (u *user) putFile() error {
	p, obj, m := u.over()
	if p == "" {
		return nil
	}
	data := u.bytes(u.size())
	if obj >= 0 {
		u.give(obj, data, m.Mtime)
	} else {
		obj = u.add(versionOf(data, m.Mtime))
		u.data[obj] = data
		node := wnode{kind: vfs.KindFile, mode: m.Mode}
		if u.rng.IntN(3) == 0 {
			node.xattr = "put"
			m.Xattrs = map[string][]byte{testXattr: []byte(node.xattr)}
		}
		u.push(func(n names) { n.paths[p], n.nodes[obj] = obj, node })
	}
	parent, name := u.at(p)
	a, err := u.p.PutFile(u.ctx, parent, name, m, int64(len(data)), bytes.NewReader(data))
	if err != nil {
		return err
	}
	u.made(obj, a.ID)
	u.did()
	if u.rng.IntN(3) == 0 {
		return u.settle(u.p.Settle)
	}
	return nil
}

// settle makes everything durable, of all users.
func (u *user) settle(sync func(context.Context) error) error {
	u.did()
	ended := u.w.ended()
	if err := sync(u.ctx); err != nil {
		return err
	}
	u.w.ack(ended)
	return nil
}

func (u *user) checkpoint() error {
	root, err := u.p.Root(u.ctx)
	if err != nil {
		return err
	}
	return u.p.db.SetSnapshot(fmt.Sprintf("%s-%d", u.f.name, u.rng.IntN(3)), root)
}

// collect collects garbage, and deletes at once what it finds.
func (u *user) collect() error {
	_, err := u.p.Collect(u.ctx, CollectOptions{atOnce: true})
	return err
}
