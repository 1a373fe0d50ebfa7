package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// shownAs is what the view shows at a path.
type shownAs struct {
	ino     state.Ino // of the row
	kind    vfs.Kind
	copied  bool
	text    string
	mode    uint32
	deleted bool
}

// walk is all that a DB shows, by path, read as users read it. It finds names that come twice or that are none, and folders in themselves.
func walk(db *state.DB) (map[string]shownAs, error) {
	out := map[string]shownAs{}
	folders := map[state.Ino]string{}
	var folder func(ino state.Ino, path string) error
	folder = func(ino state.Ino, path string) error {
		if other, ok := folders[ino]; ok {
			return fmt.Errorf("folder %d is at %q and at %q", ino, other, path)
		}
		folders[ino] = path
		all, err := db.List(ino, "", 0)
		if err != nil {
			return fmt.Errorf("list %q: %w", path, err)
		}
		names, err := db.Names(ino, "", 0)
		if err != nil {
			return fmt.Errorf("names in %q: %w", path, err)
		}
		if len(names) != len(all) {
			return fmt.Errorf("%d names in %q, and %d entries", len(names), path, len(all))
		}
		last := ""
		for i, e := range all {
			at := path + "/" + e.Name
			if err := state.CheckName(e.Name); err != nil {
				return fmt.Errorf("the name %q: %w", at, err)
			}
			if names[i] != e.Name {
				return fmt.Errorf("%q in place of the name %q", names[i], at)
			}
			if e.Name <= last {
				return fmt.Errorf("the name %q comes after %q", at, last)
			}
			last = e.Name
			text, err := textOf(e.Node)
			if err != nil {
				return fmt.Errorf("%q: %w", at, err)
			}
			out[at] = shownAs{ino: e.Node.Ino, kind: e.Node.Kind, copied: e.Node.Copy, text: text, mode: e.Node.Mode, deleted: e.Node.Deleted}
			if e.Node.Kind == vfs.KindFolder {
				if err := folder(e.Node.ID, at); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return out, folder(state.RootIno, "")
}

// rowsOf are the rows under a state root, as their keys and encoded versions.
func rowsOf(ctx context.Context, get block.Getter, root block.ID) (map[string][]byte, error) {
	b, err := get.Get(ctx, root)
	if err != nil {
		return nil, err
	}
	r := cbor.NewReader(b)
	r.Tuple(5)
	r.Uint()
	r.Bytes(32)
	rows := map[string][]byte{}
	if r.Null() {
		return rows, nil
	}
	top, err := linkOf(r)
	if err != nil {
		return nil, err
	}
	err = dag.WalkTree(ctx, get, top, nil, func(kv dag.KV) error {
		value := slices.Clone(kv.Value)
		if len(value) > 0 && value[0]>>5 == 6 { // a tag: a link to a long row
			id, err := linkOf(cbor.NewReader(value))
			if err != nil {
				return err
			}
			if value, err = get.Get(ctx, id); err != nil {
				return err
			}
		}
		rows[string(kv.Key)] = value
		return nil
	})
	return rows, err
}

func linkOf(r *cbor.Reader) (block.ID, error) {
	b := r.Link(block.IDLen)
	if err := r.Err(); err != nil {
		return block.ID{}, err
	}
	return block.FromBytes(slices.Clone(b))
}

// fullView computes all that rows show, at once, out of nothing but them.
func fullView(rows map[string][]byte) (*viewer, error) {
	v := &viewer{
		folded: map[state.Ino]*state.Folded{}, lost: map[state.Ino]bool{}, places: map[state.Ino]state.FolderPlace{}, in: map[state.Ino][]state.ViewEntry{},
		shown: map[state.Ino]bool{state.RootIno: true}, out: map[string]shownAs{},
	}
	for _, key := range sortedKeys(rows) {
		if key[0] != state.KeyInode {
			continue
		}
		set, err := state.DecodeInodeSet(rows[key])
		if err != nil {
			return nil, err
		}
		f := state.Fold(set)
		v.add(state.Ino(binary.BigEndian.Uint64([]byte(key[1:]))), &f)
	}
	v.attach()
	v.attachLost()
	if err := v.folder(state.RootIno, "", 0); err != nil {
		return nil, err
	}
	return v, v.unreached()
}

// shownPodName is what the state makes of podName: an actor without a name is shown as its number.
func shownPodName(a ident.Actor) string {
	if name := podName(a); name != "" {
		return name
	}
	return a.String()
}

// viewer computes a view.
type viewer struct {
	folded map[state.Ino]*state.Folded
	lost   map[state.Ino]bool              // folders without a row
	places map[state.Ino]state.FolderPlace // of folders, as their rows say, then where loops leave them
	in     map[state.Ino][]state.ViewEntry // by folder
	shown  map[state.Ino]bool              // folders
	out    map[string]shownAs
}

func (v *viewer) add(ino state.Ino, f *state.Folded) {
	v.folded[ino] = f
	if f.Inode.Kind == vfs.KindFolder {
		if p, ok := state.PlaceOf(f.Inode); ok {
			v.places[ino] = p
		}
		return
	}
	links := f.Shown()
	for i, e := range state.ViewEntries(ino, f, nil) {
		v.in[links[i].Parent] = append(v.in[links[i].Parent], e)
	}
}

// attach puts folders into folders: those that live, and dead ones in which something is shown.
func (v *viewer) attach() {
	get := func(ino state.Ino) (state.FolderPlace, bool) {
		p, ok := v.places[ino]
		return p, ok
	}
	maps.Copy(v.places, state.EffectiveParents(get, sortedKeys(v.places)))
	for again := true; again; {
		again = false
		for _, ino := range sortedKeys(v.places) {
			f := v.folded[ino]
			if v.shown[ino] || f.Dead && len(v.in[ino]) == 0 {
				continue
			}
			v.shown[ino], again = true, true
			p, l := v.places[ino], f.Inode.Links[0]
			v.in[p.Parent] = append(v.in[p.Parent], state.ViewEntry{Ino: ino, Name: p.Name, Folder: true, TS: l.TS, Over: l.Over})
		}
	}
}

// attachLost puts the folders that are named as parents and have no row into lost+found.
func (v *viewer) attachLost() {
	for again := true; again; { // lost+found is one of them
		again = false
		for _, ino := range sortedKeys(v.in) {
			if ino == state.RootIno || v.folded[ino] != nil {
				continue
			}
			f, p := state.LostFolder(ino), state.LostPlace(ino)
			v.folded[ino], v.lost[ino], again = f, true, true
			v.in[p.Parent] = append(v.in[p.Parent], state.ViewEntry{Ino: ino, Name: p.Name, Folder: true, TS: p.TS})
		}
	}
}

func (v *viewer) folder(ino state.Ino, path string, depth int) error {
	if depth > depthMax {
		return fmt.Errorf("%q is too deep", path)
	}
	entries := v.in[ino]
	for _, n := range state.ViewNames(entries, shownPodName, nil) {
		e := &entries[n.Entry]
		f := v.folded[e.Ino]
		s := shownAs{ino: e.Ino, kind: f.Inode.Kind, mode: f.Inode.Mode.Value, deleted: f.Dead}
		at := path + "/" + n.Name
		if e.Folder {
			v.out[at] = s
			if err := v.folder(e.Ino, at, depth+1); err != nil {
				return err
			}
			continue
		}
		s.copied = n.Copy >= 0
		i := v.content(e, n)
		var err error
		if len(f.Inode.Contents) > 0 {
			if s.text, err = textOf(state.Node{Body: f.Inode.Contents[i].Body}); err != nil {
				return err
			}
		}
		v.out[at] = s
	}
	return nil
}

// unreached are the inodes that are alive and that no path shows.
func (v *viewer) unreached() error {
	reached := map[state.Ino]bool{}
	for _, s := range v.out {
		reached[s.ino] = true
	}
	var err error
	for _, ino := range sortedKeys(v.folded) {
		if f := v.folded[ino]; !reached[ino] && ino != state.RootIno && (!f.Dead || f.Inode.Kind != vfs.KindFolder) {
			err = errors.Join(err, fmt.Errorf("inode %d is alive and nowhere", ino))
		}
	}
	return err
}
