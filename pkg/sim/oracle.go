package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// problemsMax is how many differences one oracle tells.
const problemsMax = 5

// problems collects what an oracle finds.
type problems struct {
	list []error
}

func (p *problems) add(format string, args ...any) {
	if len(p.list) < problemsMax {
		p.list = append(p.list, fmt.Errorf(format, args...))
	}
}

func (p *problems) err() error { return errors.Join(p.list...) }

// check is state.Check: index and rows, rows and log.
func (p *statePod) check(ctx context.Context) error {
	var found problems
	err := p.db.Check(ctx, func(problem string) { found.add("pod %d: check: %s", p.n, problem) })
	return errors.Join(found.err(), p.failed(err))
}

// compare says that pods with the same changes have the same roots, while all goes on.
func (w *stateWorld) compare(ctx context.Context, p *statePod) error {
	for _, q := range w.pods {
		if q == p || p.db.Dirty() || q.db.Dirty() || !sameVV(p.db.VV(), q.db.VV()) {
			continue
		}
		a, err := p.checkpoint(ctx)
		if err != nil || p.disk.Failed() {
			return err
		}
		b, err := q.checkpoint(ctx)
		if q.disk.Failed() {
			return w.crash(ctx, q)
		}
		if err != nil || !sameVV(a.VV, b.VV) {
			return err // imports were committed
		}
		w.trace.say("%d and %d have the same changes", p.n, q.n)
		return sameRoots(p.n, a, q.n, b)
	}
	return nil
}

func sameVV(a, b state.VV) bool { return a.LessEqual(b) && b.LessEqual(a) }

func sameRoots(i int, a state.CheckpointInfo, j int, b state.CheckpointInfo) error {
	switch {
	case !sameVV(a.VV, b.VV):
		return fmt.Errorf("pods %d and %d have the changes %v and %v", i, j, a.VV, b.VV)
	case a.State != b.State:
		return fmt.Errorf("pods %d and %d have the state roots %s and %s", i, j, a.State, b.State)
	case a.Tree != b.Tree:
		return fmt.Errorf("pods %d and %d have the tree roots %s and %s", i, j, a.Tree, b.Tree)
	}
	return nil
}

// judge asks all oracles, after settle.
func (w *stateWorld) judge(ctx context.Context) error {
	before := w.pods[0].db.VV()
	if w.rng.IntN(2) == 0 && w.trees == nil { // a checkpoint whose blocks are lost is made again, from scratch
		w.pods[len(w.pods)-1].blocks.fail(true)
	}
	var first state.CheckpointInfo
	for i, p := range w.pods {
		cp, err := p.checkpoint(ctx)
		if err != nil {
			return err
		}
		if i == 0 {
			first = cp
		}
		if err := sameRoots(0, first, i, cp); err != nil {
			return err
		}
		if !sameVV(p.db.VV(), before) {
			return fmt.Errorf("pod %d made commits where nobody did anything (I6)", p.n)
		}
	}
	for range 2 {
		if err := w.pods[w.rng.IntN(len(w.pods))].check(ctx); err != nil {
			return err
		}
	}
	if err := w.newcomer(ctx, first); err != nil {
		return err
	}
	return w.judgeView(ctx, first)
}

// newcomer has one more pod join, which hears of everything at once, by the log, and makes all trees from scratch, or by a tree.
func (w *stateWorld) newcomer(ctx context.Context, want state.CheckpointInfo) error {
	names, err := walk(w.pods[0].db)
	if err != nil {
		return err
	}
	w.net.Add()
	p := w.add(len(w.pods))
	if err := p.start(ctx); err != nil {
		return err
	}
	if w.trees != nil {
		p.askTree(ctx, w.pods[0])
	} else {
		p.ask(ctx, w.pods[0], 1<<30)
	}
	if err := errors.Join(w.net.Step(), w.net.Step()); err != nil {
		return err
	}
	cp, err := p.checkpoint(ctx)
	if err != nil {
		return err
	}
	if err := sameRoots(0, want, p.n, cp); err != nil {
		return fmt.Errorf("a newcomer: %w", err)
	}
	after, err := walk(p.db)
	if err != nil {
		return err
	}
	return sameViews("a newcomer", after, "the others", names)
}

// judgeView compares what all show with what they should.
func (w *stateWorld) judgeView(ctx context.Context, cp state.CheckpointInfo) error {
	p := w.pods[0]
	got, err := walk(p.db)
	if err != nil {
		return err
	}
	rows, err := rowsOf(ctx, p.blocks, cp.State)
	if err != nil {
		return fmt.Errorf("rows of %s: %w", cp.State, err)
	}
	want, err := fullView(rows)
	if err != nil {
		return err
	}
	err = errors.Join(sameViews("the view", got, "the full view", want.out), w.shadow.judgeTexts(got), judgeRoots(ctx, p.blocks, cp, rows, want))
	if err != nil {
		return err
	}
	if err := w.judgeRemovals(ctx, got, rows); err != nil {
		return err
	}
	if plain, err := w.plain(); !plain || err != nil {
		return err
	}
	w.trace.say("all commits count under the names that their authors gave them")
	histories := w.history.rows()
	if err := sameRows(rows, histories); err != nil {
		return err
	}
	return w.shadow.judgeRegisters(rows, histories)
}

// plain says whether all commits count under the names that their authors gave them: nobody was set back, there are no forks, and nobody began a new
// incarnation. Else what the rows must be follows from the commits by rules that only the state knows; it is what a newcomer makes of them.
func (w *stateWorld) plain() (bool, error) {
	for _, p := range w.pods {
		forks, err := p.db.Forks()
		if err != nil || w.forked || len(forks) > 0 || p.db.Actor().Incarnation != 0 {
			return false, err
		}
	}
	return true, nil
}

// sameViews compares two views.
func sameViews(a string, got map[string]shownAs, b string, want map[string]shownAs) error {
	var found problems
	for _, at := range sortedKeys(got) {
		if w, ok := want[at]; !ok {
			found.add("%s shows %q, %s doesn't", a, at, b)
		} else if w != got[at] {
			found.add("%s shows %+v at %q, %s %+v", a, got[at], at, b, w)
		}
	}
	for _, at := range sortedKeys(want) {
		if _, ok := got[at]; !ok {
			found.add("%s shows %q, %s doesn't", b, at, a)
		}
	}
	return found.err()
}

// sameRows compares the rows with those that nobody replaced.
func sameRows(rows map[string][]byte, histories map[string]*rowHistory) error {
	var found problems
	for _, key := range sortedKeys(histories) {
		want, err := histories[key].encoded(key[0])
		if err != nil {
			return err
		}
		if !bytes.Equal(rows[key], want) {
			found.add("row %x is %x, the commits leave %x", key, rows[key], want)
		}
	}
	for _, key := range sortedKeys(rows) {
		if histories[key] == nil {
			found.add("row %x is in no commit", key)
		}
	}
	return found.err()
}

// encoded is what a row must be: the versions that nobody replaced.
func (r *rowHistory) encoded(kind byte) ([]byte, error) {
	alive := r.alive()
	if len(alive) == 0 {
		return nil, nil
	}
	switch kind {
	case state.KeyInode:
		return encodedSet(r, alive, func(d state.Dot, b []byte) (*state.Inode, error) {
			n, err := state.DecodeInode(b)
			if err != nil {
				return nil, err
			}
			return n.Stamp(d), nil
		}, state.AppendInodeSet)
	case state.KeyWish:
		return encodedSet(r, alive, func(_ state.Dot, b []byte) (*state.Wish, error) { return state.DecodeWish(b) }, state.AppendWishSet)
	}
	return encodedSet(r, alive, func(_ state.Dot, b []byte) (block.ID, error) { return state.DecodeSnap(b) }, state.AppendSnapSet)
}

func encodedSet[T any](r *rowHistory, alive []state.Dot, decode func(state.Dot, []byte) (T, error), encode func([]byte, state.VerSet[T]) []byte) ([]byte, error) {
	var set state.VerSet[T]
	for _, d := range alive {
		v, err := decode(d, bytes.Clone(r.versions[d].Value))
		if err != nil {
			return nil, err
		}
		set = append(set, state.Version[T]{Dot: d, Value: v})
	}
	return encode(nil, set), nil
}

// judgeTexts: what was acknowledged, and replaced or removed by nobody who saw it, is in the view.
func (s *shadow) judgeTexts(view map[string]shownAs) error {
	there := map[string]bool{}
	for _, v := range view {
		there[v.text] = true
	}
	var found problems
	for _, text := range sortedKeys(s.texts) {
		if t := s.texts[text]; t.durable && !t.dropped && !there[text] {
			found.add("%q, which pod %d wrote, is nowhere", text, t.pod)
		}
	}
	return found.err()
}

// judgeRemovals: what was removed by somebody who had seen all versions of it is gone, whatever backups and clones made of who wrote them; a removed folder is
// shown only for what is in it.
func (w *stateWorld) judgeRemovals(ctx context.Context, view map[string]shownAs, rows map[string][]byte) error {
	var found problems
	parents := map[string]bool{}
	for at := range view {
		parents[path.Dir(at)] = true
	}
	for _, at := range sortedKeys(view) {
		if v := view[at]; v.kind == vfs.KindFolder && v.deleted && !parents[at] {
			found.add("the removed folder %q is shown, and nothing is in it", at)
		}
	}
	digests, err := digestsOf(ctx, w.pods[0].db, everybody)
	if err != nil {
		return err
	}
	versions, err := w.history.versions(digests)
	if err != nil {
		return err
	}
	judged := 0
	for _, r := range w.shadow.removed {
		if !r.durable || r.twice(versions[r.ino]) || len(versions[r.ino]) == 0 || slices.ContainsFunc(versions[r.ino], r.unseen) {
			continue
		}
		judged++
		b, there := rows[string(state.InodeKey(r.ino))]
		if !there {
			continue
		}
		set, err := state.DecodeInodeSet(b)
		if err != nil {
			return err
		}
		if f := state.Fold(set); !r.folder || !f.Dead {
			found.add("inode %d, which pod %d removed having seen all of it, is there", r.ino, r.pod)
		}
	}
	w.trace.say("%d of %d removals had seen all", judged, len(w.shadow.removed))
	return found.err()
}

// unseen says whether a version is one that the user who removed an inode had not seen, other than the removal itself. What the pod had not
// committed then, it had seen.
func (r *removal) unseen(v version) bool {
	removes := len(v.inode.Links) > 0 && v.inode.Links[0].Dead
	return !r.saw[v.digest] && (!v.commit.by[r.who] || r.folder && !removes)
}

// twice says whether versions of the pod that removed an inode count under two incarnations: its commits were made anew, when others had taken some of them. That is
// the limit of Restamp.
func (r *removal) twice(versions []version) bool {
	var first ident.Actor
	for _, v := range versions {
		if actor := v.commit.commit.Actor; v.commit.by[r.who] {
			if first != (ident.Actor{}) && first != actor {
				return true
			}
			first = actor
		}
	}
	return false
}

// judgeRegisters: where nobody removed a file or folder, each field is the latest that anybody set, and each content is there that
// nobody who had seen it left out. A removal that never became a commit counts: what came back from others, before there was one, is what goes on.
func (s *shadow) judgeRegisters(rows map[string][]byte, histories map[string]*rowHistory) error {
	removed := map[state.Ino]bool{}
	for _, r := range s.removed {
		removed[r.ino] = true
	}
	var found problems
	for _, key := range sortedKeys(histories) {
		h := histories[key]
		if key[0] != state.KeyInode || h.removed {
			continue
		}
		ino := state.Ino(binary.BigEndian.Uint64([]byte(key[1:])))
		if removed[ino] {
			continue
		}
		set, err := state.DecodeInodeSet(rows[key])
		if err != nil {
			return err
		}
		versions, err := h.inodes()
		if err != nil {
			return err
		}
		f := state.Fold(set)
		if problem := latest(f.Inode, versions); problem != "" {
			found.add("inode %d: %s", ino, problem)
		}
	}
	return found.err()
}

// latest says what of n is not the latest that any version says.
func latest(n *state.Inode, versions map[state.Dot]*state.Inode) string {
	links := map[uint64]*state.Link{}
	for i := range n.Links {
		links[n.Links[i].ID] = &n.Links[i]
	}
	xattrs := map[string]state.TS{}
	for _, x := range n.Xattrs {
		xattrs[x.Name] = x.TS
	}
	listed := map[state.ContentName]bool{}
	for i := range n.Contents {
		listed[n.Contents[i].Name()] = true
	}
	for d, v := range versions {
		if v.Mode.TS.After(n.Mode.TS) || v.Owner.TS.After(n.Owner.TS) {
			return fmt.Sprintf("its mode or owner is older than that of %v", d)
		}
		for _, x := range v.Xattrs {
			if x.TS.After(xattrs[x.Name]) {
				return fmt.Sprintf("its attribute %q is older than that of %v", x.Name, d)
			}
		}
		for i := range v.Links {
			l := &v.Links[i]
			if o := links[l.ID]; o == nil || l.TS.After(o.TS) || l.DeadTS.After(o.DeadTS) {
				return fmt.Sprintf("its link %d is older than that of %v", l.ID, d)
			}
		}
		for i := range v.Contents {
			if name := v.Contents[i].Name(); !listed[name] && !leftOut(name, versions) {
				return fmt.Sprintf("the content %v of %v is gone, and nobody who saw it left it out", name, d)
			}
		}
	}
	return ""
}

// leftOut says whether any version whose author had seen a content doesn't list it.
func leftOut(name state.ContentName, versions map[state.Dot]*state.Inode) bool {
	for _, v := range versions {
		seen, lists := false, false
		for _, d := range v.Seen {
			seen = seen || d.Actor == name.Dot.Actor && d.Seq >= name.Dot.Seq
		}
		for i := range v.Contents {
			o := v.Contents[i].Name()
			lists = lists || o == name
			seen = seen || v.Seen == nil && o.Dot.Actor == name.Dot.Actor && o.Dot.Seq >= name.Dot.Seq
		}
		if seen && !lists {
			return true
		}
	}
	return false
}
