// Package apitest has a pod for tests of the local API and of what is above it: its files are in memory (memfs), and it
// knows no others. Safe for concurrent use.
package apitest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
)

// LostXattr is an attribute that makes a file's bytes block.ErrUnavailable.
const LostXattr = "user.test.lost"

// Pod is a pod in memory. Fields may be set before it is used.
type Pod struct {
	PodInfo pod.Info
	Problem []pod.Problem // what Fsck finds
	Unsafe  error         // what SyncWait returns

	mem *memfs.FS

	mu       sync.Mutex
	settled  int
	policies map[vfs.NodeID]pod.Policy
	pinned   vfs.NodeID
	draining bool
	cleaned  bool // the cache
	trees    map[block.ID]vfs.NodeID
	origins  map[vfs.NodeID]origin
	read     int // files whose bytes PutFile read
}

// origin is where the bytes of a file came from.
type origin struct {
	from pod.Origin
	data []byte
}

// New is an empty pod.
func New(info pod.Info) *Pod {
	return &Pod{PodInfo: info, mem: memfs.New(memfs.Options{Clock: fixed{}}), policies: map[vfs.NodeID]pod.Policy{}, trees: map[block.ID]vfs.NodeID{}, origins: map[vfs.NodeID]origin{}}
}

// fixed is a clock that stands still, so that what tests print is always the same.
type fixed struct{ clock.Real }

// Now is in November 2023.
func (fixed) Now() time.Time { return time.Unix(1700000000, 0) }

// Rules are none.
func (p *Pod) Rules() map[string]pod.Rule { return map[string]pod.Rule{} }

// SetRule is not supported.
func (p *Pod) SetRule(context.Context, string, string) error { return vfs.ErrNotSupported }

// Info is PodInfo.
func (p *Pod) Info() pod.Info { return p.PodInfo }

// FS is the tree.
func (p *Pod) FS() vfs.FS { return lossy{p.mem} }

// Settled is how often Settle was called.
func (p *Pod) Settled() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settled
}

// Invite makes a token that says what it was asked for.
func (p *Pod) Invite(_ context.Context, role string, ttl time.Duration, uses int) (string, error) {
	return fmt.Sprintf("wh1fake.%s.%s.%s.%d", p.PodInfo.Network, role, ttl, uses), nil
}

// Pods is this one.
func (p *Pod) Pods(context.Context) ([]pod.PodInfo, error) {
	return []pod.PodInfo{{
		Pod: p.PodInfo.Pod, Name: p.PodInfo.Name, Self: true, State: "up", Role: p.PodInfo.Role, Zone: "home", Class: "ssd",
		Weight: 100, UsedBytes: 1 << 20, FreeBytes: 1 << 30, LastSeen: time.Unix(1700000000, 0),
	}}, nil
}

// Peers are one that is connected, and one that isn't.
func (p *Pod) Peers() []pod.PeerInfo {
	return []pod.PeerInfo{
		{
			Name: "nas", Connected: true, Addr: "/ip4/10.0.0.2/tcp/4001", Transport: "tcp", Direct: true, RTT: 1500 * time.Microsecond,
			Since: time.Unix(1700000000, 0), Sent: p2p.Traffic{Bytes: 1 << 20, Rate: 1 << 10}, Received: p2p.Traffic{Bytes: 17},
			Addrs: []string{"/ip4/10.0.0.2/tcp/4001"},
		},
		{Name: "laptop", Addrs: []string{"/ip4/10.0.0.3/tcp/4001"}, Since: time.Unix(1700000000, 0), Why: "no route to host"},
	}
}

// DHT has figures that are all different.
func (p *Pod) DHT() (s p2p.DHTStats, ok bool) {
	return p2p.DHTStats{Peers: 2, Announced: 4097, Served: 31, Asked: 17}, true
}

// Status is healthy, with one notice.
func (p *Pod) Status(ctx context.Context) (pod.Status, error) {
	pods, err := p.Pods(ctx)
	return pod.Status{
		Healthy: p.Unsafe == nil, Pods: pods, DirtyBytes: 17, States: []pod.StateBytes{{State: "safe", Bytes: 1 << 20}, {State: "dirty", Bytes: 17}},
		Warnings: p.Told(),
	}, err
}

// CanStop says no if Unsafe is set.
func (p *Pod) CanStop(context.Context) (pod.StopAnswer, error) {
	if p.Unsafe != nil {
		return pod.StopAnswer{Reasons: []string{"17 bytes could not be read from the pods that are up without this one: wh sync --wait"}}, nil //nolint:nilerr // it is the answer
	}
	return pod.StopAnswer{Notes: []string{"no other pod stores data"}}, nil
}

// Told is one notice.
func (p *Pod) Told() []health.Warning {
	list := health.Find(health.Facts{Copies: 2, Pods: []health.Pod{{Name: "box", Self: true, Stores: true, State: "up"}}})
	for i := range list {
		list[i].Since = fixed{}.Now()
	}
	return list
}

// Usage is made up.
func (p *Pod) Usage(context.Context) (pod.Usage, error) {
	return pod.Usage{Stored: 1, Live: 2, Pinned: 3, Cache: 4, Trash: 5, Free: 6, Snapshots: 7, Garbage: 8}, nil
}

// Root is the root folder's CID.
func (p *Pod) Root(ctx context.Context) (block.ID, error) { return p.CID(ctx, vfs.RootID) }

// StateRoot is another one.
func (p *Pod) StateRoot(ctx context.Context) (block.ID, error) {
	id, err := p.Root(ctx)
	return block.Sum(block.DagCBOR, id.Bytes()), err
}

// CID is the hash of a file's bytes, or of a folder's list.
func (p *Pod) CID(ctx context.Context, id vfs.NodeID) (block.ID, error) {
	a, err := p.mem.GetAttr(ctx, id)
	if err != nil {
		return block.ID{}, err
	}
	var out block.ID
	switch a.Kind {
	case vfs.KindFile:
		f, err := p.mem.Open(ctx, id)
		if err != nil {
			return block.ID{}, err
		}
		b := make([]byte, a.Size)
		if _, err := f.ReadAt(ctx, b, 0); err != nil && !errors.Is(err, io.EOF) {
			return block.ID{}, err
		}
		_ = f.Close(ctx) // In memory.
		out = block.Sum(block.Raw, b)
	case vfs.KindFolder:
		entries, err := p.mem.ReadDir(ctx, id, "", 1<<20)
		if err != nil {
			return block.ID{}, err
		}
		var list strings.Builder
		for _, e := range entries {
			child, err := p.CID(ctx, e.Attr.ID)
			if err != nil && e.Attr.Kind <= vfs.KindFolder {
				return block.ID{}, err
			}
			fmt.Fprintf(&list, "%q %d %o %s\n", e.Name, e.Attr.Kind, e.Attr.Mode, child)
		}
		out = block.Sum(block.DagCBOR, []byte(list.String()))
	default:
		return block.ID{}, fmt.Errorf("a node of kind %d: %w", a.Kind, vfs.ErrInvalid)
	}
	p.mu.Lock()
	p.trees[out] = id
	p.mu.Unlock()
	return out, nil
}

// OpenTree is what has this CID, as it is now.
func (p *Pod) OpenTree(_ context.Context, id block.ID) (vfs.FS, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, ok := p.trees[id]
	if !ok {
		return nil, block.ErrNotFound
	}
	return rooted{p.FS(), n}, nil
}

// Where is this pod.
func (p *Pod) Where(ctx context.Context, id vfs.NodeID) (pod.Where, error) {
	cid, err := p.CID(ctx, id)
	if err != nil {
		return pod.Where{}, err
	}
	return pod.Where{ID: cid, Policy: "replica:2", Safe: true, Safety: placement.Safety{Have: 2, Need: 2}, Chunks: []pod.ChunkWhere{{
		ID: cid, Bytes: 5, Safety: placement.Safety{Have: 2, Need: 2}, Holders: []pod.Holder{{Pod: p.PodInfo.Pod, Name: p.PodInfo.Name, Kind: "whole", Index: -1}},
	}}}, nil
}

// Policy is what was set on the node itself, else the default.
func (p *Pod) Policy(_ context.Context, id vfs.NodeID) (pod.Policy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pol, ok := p.policies[id]; ok {
		return pol, nil
	}
	return pod.Policy{Policy: "replica:2", Durability: "local"}, nil
}

// SetPolicy sets it on the node.
func (p *Pod) SetPolicy(_ context.Context, id vfs.NodeID, policy, durability string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if policy == "unset" {
		delete(p.policies, id)
		return nil
	}
	if policy != "none" && !strings.HasPrefix(policy, "replica:") {
		return fmt.Errorf("policy %q: %w", policy, vfs.ErrInvalid)
	}
	if durability == "" {
		durability = "local"
	}
	p.policies[id] = pod.Policy{Policy: policy, Durability: durability, From: "here"}
	return nil
}

// SetPathRules checks them, and forgets them.
func (p *Pod) SetPathRules(_ context.Context, _ vfs.NodeID, rules map[string]string) error {
	return pod.CheckPathRules(rules)
}

// PathRules is one of each kind.
func (p *Pod) PathRules(context.Context, string) ([]pod.PathRule, error) {
	return []pod.PathRule{{Path: "/", Rule: "policy", Value: "replica:3"}, {Path: "/d", Rule: "quota", Value: "10GiB"}}, nil
}

// SyncWait returns Unsafe.
func (p *Pod) SyncWait(ctx context.Context, _ vfs.NodeID) error {
	if errors.Is(p.Unsafe, context.DeadlineExceeded) {
		<-ctx.Done()
		return ctx.Err()
	}
	return p.Unsafe
}

// PutFiles is PutFile for each.
func (p *Pod) PutFiles(ctx context.Context, files []pod.SmallFile) ([]pod.PutResult, error) {
	out := make([]pod.PutResult, len(files))
	for i := range files {
		f := &files[i]
		out[i].Attr, out[i].Err = p.PutFile(ctx, f.Parent, f.Name, f.Meta, int64(len(f.Data)), bytes.NewReader(f.Data))
	}
	return out, ctx.Err()
}

// PutFile writes a file.
func (p *Pod) PutFile(ctx context.Context, parent vfs.NodeID, name string, m pod.FileMeta, _ int64, r io.Reader) (vfs.Attr, error) {
	var data []byte
	for buf, end := make([]byte, 64<<10), false; !end; {
		n, err := r.Read(buf)
		data = append(data, buf[:n]...)
		if end = errors.Is(err, io.EOF); err != nil && !end { // As the chunker does: a wrapped io.EOF is one.
			return vfs.Attr{}, err
		}
	}
	a, err := p.mem.Lookup(ctx, parent, name)
	if errors.Is(err, vfs.ErrNotExist) {
		a, err = p.mem.Create(ctx, parent, name, vfs.NewNode{Kind: vfs.KindFile, Mode: m.Mode, UID: m.UID, GID: m.GID})
	}
	if err != nil {
		return vfs.Attr{}, err
	}
	f, err := p.mem.Open(ctx, a.ID)
	if err != nil {
		return vfs.Attr{}, err
	}
	defer func() { _ = f.Close(ctx) }() // In memory.
	size := uint64(len(data))
	for _, n := range []uint64{0, size} {
		if _, err := p.mem.SetAttr(ctx, a.ID, vfs.SetAttr{Size: &n}); err != nil {
			return vfs.Attr{}, err
		}
	}
	for off := 0; off < len(data); off += 4096 { // What is zero stays a hole.
		part := data[off:min(off+4096, len(data))]
		if bytes.Count(part, []byte{0}) == len(part) {
			continue
		}
		if _, err := f.WriteAt(ctx, part, int64(off)); err != nil {
			return vfs.Attr{}, err
		}
	}
	p.mu.Lock()
	p.read++
	delete(p.origins, a.ID)
	if m.Origin != nil {
		p.origins[a.ID] = origin{from: *m.Origin, data: data}
	}
	p.mu.Unlock()
	return p.setMeta(ctx, a.ID, m)
}

// Read is how many files PutFile has read.
func (p *Pod) Read() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read
}

// KeepFile compares the bytes with those that came from the same origin.
func (p *Pod) KeepFile(ctx context.Context, parent vfs.NodeID, name string, m pod.FileMeta) (vfs.Attr, bool, error) {
	a, err := p.mem.Lookup(ctx, parent, name)
	if err != nil || m.Origin == nil {
		return vfs.Attr{}, false, ctx.Err() // it must be put
	}
	p.mu.Lock()
	o, ok := p.origins[a.ID]
	p.mu.Unlock()
	if !ok || o.from != *m.Origin {
		return vfs.Attr{}, false, nil
	}
	f, err := p.mem.Open(ctx, a.ID)
	if err != nil {
		return vfs.Attr{}, false, err
	}
	defer func() { _ = f.Close(ctx) }() // In memory.
	b := make([]byte, a.Size)
	if _, err := f.ReadAt(ctx, b, 0); err != nil && !errors.Is(err, io.EOF) {
		return vfs.Attr{}, false, err
	}
	if !bytes.Equal(b, o.data) {
		return vfs.Attr{}, false, nil
	}
	a, err = p.setMeta(ctx, a.ID, m)
	return a, err == nil, err
}

func (p *Pod) setMeta(ctx context.Context, id vfs.NodeID, m pod.FileMeta) (vfs.Attr, error) {
	for k, v := range m.Xattrs {
		if err := p.mem.SetXattr(ctx, id, k, v, 0); err != nil {
			return vfs.Attr{}, err
		}
	}
	return p.mem.SetAttr(ctx, id, vfs.SetAttr{Mode: &m.Mode, UID: &m.UID, GID: &m.GID, Mtime: &m.Mtime})
}

// CopyFile copies the bytes.
func (p *Pod) CopyFile(ctx context.Context, src, parent vfs.NodeID, name string, m pod.FileMeta) (vfs.Attr, error) {
	f, err := p.mem.Open(ctx, src)
	if err != nil {
		return vfs.Attr{}, err
	}
	defer func() { _ = f.Close(ctx) }() // In memory.
	return p.PutFile(ctx, parent, name, m, -1, &fileReader{ctx: func() context.Context { return ctx }, f: f})
}

// Settle counts.
func (p *Pod) Settle(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settled++
	return nil
}

// Fsck finds Problem.
func (p *Pod) Fsck(_ context.Context, repair bool, f func(pod.Problem)) error {
	for _, pr := range p.Problem {
		pr.Fixed = repair
		f(pr)
	}
	return nil
}

// Events are one, of November 2023.
func (p *Pod) Events(ctx context.Context, since time.Time, follow bool, f func(pod.Event) error) error {
	if at := (fixed{}).Now().UTC(); !at.Before(since) {
		if err := f(pod.Event{At: at, Kind: pod.EventReadFailed, Path: "/f", Text: "asked 0 connected pods"}); err != nil {
			return err
		}
	}
	if follow {
		<-ctx.Done()
	}
	return ctx.Err()
}

// Scrub finds Problem.
func (p *Pod) Scrub(_ context.Context, f func(pod.Problem)) (pod.Scrubbed, error) {
	for _, pr := range p.Problem {
		f(pr)
	}
	return pod.Scrubbed{Bytes: 1 << 20, Blocks: 3}, nil
}

// Collect is made up.
func (p *Pod) Collect(context.Context, pod.CollectOptions) (pod.Collected, error) {
	return pod.Collected{
		GarbageBytes: 1, NodesBytes: 2, RestoredBytes: 3, FreedBytes: 4, KeptBytes: 5, CompactedBytes: 6, Waiting: []string{"bob"},
	}, nil
}

// fileReader reads a file from the start.
type fileReader struct {
	ctx func() context.Context
	f   vfs.File
	off int64
}

// Read reads on.
func (r *fileReader) Read(b []byte) (int, error) {
	n, err := r.f.ReadAt(r.ctx(), b, r.off)
	r.off += int64(n)
	return n, err
}

// lossy is an FS in which files with LostXattr can't be read.
type lossy struct{ vfs.FS }

// Open refuses lost files.
func (l lossy) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	if v, err := l.GetXattr(ctx, id, LostXattr); err == nil {
		return nil, fmt.Errorf("chunk %s: %w", hex.EncodeToString(v), block.ErrUnavailable)
	}
	return l.FS.Open(ctx, id)
}

// rooted is an FS whose root is a node of another.
type rooted struct {
	vfs.FS
	root vfs.NodeID
}

func (r rooted) node(id vfs.NodeID) vfs.NodeID {
	if id == vfs.RootID {
		return r.root
	}
	return id
}

// GetAttr tells a node's attributes.
func (r rooted) GetAttr(ctx context.Context, id vfs.NodeID) (vfs.Attr, error) {
	return r.FS.GetAttr(ctx, r.node(id))
}

// ReadDir lists.
func (r rooted) ReadDir(ctx context.Context, id vfs.NodeID, after string, limit int) ([]vfs.DirEntry, error) {
	return r.FS.ReadDir(ctx, r.node(id), after, limit)
}

// Open opens.
func (r rooted) Open(ctx context.Context, id vfs.NodeID) (vfs.File, error) {
	return r.FS.Open(ctx, r.node(id))
}

// ListXattr lists attributes.
func (r rooted) ListXattr(ctx context.Context, id vfs.NodeID) ([]string, error) {
	return r.FS.ListXattr(ctx, r.node(id))
}
