package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/health"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

func invite(ctx context.Context, p Pod, q api.InviteRequest) (api.Token, error) {
	if q.Uses < 1 || q.TTLMS < 1 {
		return api.Token{}, fmt.Errorf("an invitation needs at least one use and some time: %w", api.ErrUsage)
	}
	t, err := p.Invite(ctx, q.Role, time.Duration(q.TTLMS)*time.Millisecond, q.Uses)
	return api.Token{Token: t}, err
}

func pods(ctx context.Context, p Pod, _ struct{}) ([]api.Pod, error) {
	all, err := p.Pods(ctx)
	return apiPods(all), err
}

func peers(_ context.Context, p Pod, _ struct{}) ([]api.Peer, error) {
	out := []api.Peer{}
	for _, i := range p.Peers() {
		a := api.Peer{
			Name: api.Text(i.Name), ID: i.Pod.String(), Connected: i.Connected, Address: i.Addr, Transport: i.Transport, Direct: i.Direct,
			RTTMS: float64(i.RTT.Microseconds()) / 1000, SentBytes: i.Sent.Bytes, ReceivedBytes: i.Received.Bytes,
			SentBytesPerS: i.Sent.Rate, ReceivedBytesPerS: i.Received.Rate, Addresses: notNil(i.Addrs), Why: i.Why,
		}
		if !i.Since.IsZero() {
			t := i.Since.UTC()
			a.Since = &t
		}
		out = append(out, a)
	}
	return out, nil
}

func stats(_ context.Context, p Pod, _ struct{}) (api.Stats, error) {
	var out api.Stats
	for _, i := range p.Peers() {
		out.SentBytes += i.Sent.Bytes
		out.ReceivedBytes += i.Received.Bytes
	}
	d, on := p.DHT()
	out.DHT = api.DHTStats{On: on, Peers: d.Peers, AnnouncedKeys: d.Announced, Answered: int64(d.Served), Asked: int64(d.Asked)}
	return out, nil
}

func apiPods(all []pod.PodInfo) []api.Pod {
	out := make([]api.Pod, 0, len(all))
	for _, i := range all {
		a := api.Pod{
			Name: api.Text(i.Name), ID: i.Pod.String(), State: i.State, Role: i.Role, Zone: i.Zone, Class: i.Class,
			Weight: i.Weight, UsedBytes: i.UsedBytes, FreeBytes: i.FreeBytes, Self: i.Self,
		}
		if !i.LastSeen.IsZero() {
			t := i.LastSeen.UTC()
			a.LastSeen = &t
		}
		out = append(out, a)
	}
	return out
}

func status(ctx context.Context, p Pod, _ struct{}) (api.Status, error) {
	st, err := p.Status(ctx)
	if err != nil {
		return api.Status{}, err
	}
	info := p.Info()
	out := api.Status{
		Healthy: st.Healthy, Reasons: notNil(st.Reasons), Pods: apiPods(st.Pods), UnsafeBytes: st.UnsafeBytes,
		DirtyBytes: st.DirtyBytes, Warnings: make([]api.Warning, 0, len(st.Warnings)),
		Network: info.Network.String(), NetworkName: info.NetworkName, Name: info.Name, ID: info.Pod.String(),
		Role: info.Role, Addrs: notNil(info.Addrs), Encrypted: info.Encrypted,
	}
	out.States = make([]api.StateBytes, len(st.States))
	for i, b := range st.States {
		out.States[i] = api.StateBytes(b)
	}
	for _, w := range st.Warnings {
		out.Warnings = append(out.Warnings, apiWarning(w))
	}
	return out, nil
}

func canStop(ctx context.Context, p Pod, _ struct{}) (api.CanStop, error) {
	got, err := p.CanStop(ctx)
	return api.CanStop{CanStop: len(got.Reasons) == 0, Reasons: notNil(got.Reasons), Notes: notNil(got.Notes)}, err
}

func apiWarning(w health.Warning) api.Warning {
	return api.Warning{
		Code: string(w.Code), Title: w.Title, Text: api.Text(w.Text), Severity: string(w.Severity), Todo: w.Todo,
		Subject: api.Text(w.Subject), Since: w.Since.UTC(), Because: string(w.Because),
	}
}

// notNil is s, never nil.
func notNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func usage(ctx context.Context, p Pod, _ struct{}) (api.Usage, error) {
	u, err := p.Usage(ctx)
	return api.Usage{
		StoredBytes: u.Stored, LiveBytes: u.Live, PinnedBytes: u.Pinned, CacheBytes: u.Cache, TrashBytes: u.Trash,
		SnapshotBytes: u.Snapshots, GarbageBytes: u.Garbage, FreeBytes: u.Free,
	}, err
}

func gc(ctx context.Context, p Pod, q api.GCRequest) (api.GC, error) {
	got, err := p.Collect(ctx, pod.CollectOptions{DryRun: q.DryRun, Now: q.Now})
	out := api.GC{
		TrashedBytes: got.GarbageBytes, FreedBytes: got.FreedBytes + got.NodesBytes, RestoredBytes: got.RestoredBytes,
		TrashBytes: got.KeptBytes, CompactedBytes: got.CompactedBytes, Waiting: make([]api.Text, 0, len(got.Waiting)),
	}
	for _, name := range got.Waiting {
		out.Waiting = append(out.Waiting, api.Text(name))
	}
	return out, err
}

func root(ctx context.Context, p Pod, q api.RootRequest) (api.Root, error) {
	f := p.Root
	if q.State {
		f = p.StateRoot
	}
	id, err := f(ctx)
	return api.Root{CID: id}, err
}

func roots(ctx context.Context, p Pod, _ struct{}) ([]api.PodRoot, error) {
	all, err := p.Pods(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]api.PodRoot, 0, len(all))
	for _, i := range all {
		id := i.Root
		if i.Self {
			if id, err = p.Root(ctx); err != nil {
				return nil, err
			}
		}
		out = append(out, api.PodRoot{Pod: api.Text(i.Name), CID: id})
	}
	return out, nil
}

func where(ctx context.Context, p Pod, q api.PathRequest) (api.Where, error) {
	n, err := resolve(ctx, p.FS(), string(q.Path))
	if err != nil {
		return api.Where{}, err
	}
	w, err := p.Where(ctx, n.attr.ID)
	if err != nil {
		return api.Where{}, pathError(n.path, err)
	}
	out := api.Where{Path: api.Text(n.path), CID: w.ID, Policy: w.Policy, Safe: w.Safe, Chunks: make([]api.Chunk, 0, len(w.Chunks)), Safety: safety(w.Safety)}
	for _, c := range w.Chunks {
		chunk := api.Chunk{CID: c.ID, Bytes: c.Bytes, Holders: make([]api.Holder, 0, len(c.Holders)), Safety: safety(c.Safety)}
		for _, h := range c.Holders {
			name := h.Name
			if name == "" {
				name = h.Pod.String()
			}
			chunk.Holders = append(chunk.Holders, api.Holder{Pod: api.Text(name), Kind: h.Kind, Index: h.Index, Pinned: h.Pinned})
		}
		out.Chunks = append(out.Chunks, chunk)
	}
	return out, nil
}

func safety(s placement.Safety) api.Safety {
	return api.Safety{State: s.State.String(), Have: s.Have, Need: s.Need}
}

func getPolicy(ctx context.Context, p Pod, q api.PathRequest) (api.Policy, error) {
	n, err := resolve(ctx, p.FS(), string(q.Path))
	if err != nil {
		return api.Policy{}, err
	}
	pol, err := p.Policy(ctx, n.attr.ID)
	if err != nil {
		return api.Policy{}, pathError(n.path, err)
	}
	out := api.Policy{Path: api.Text(n.path), Policy: pol.Policy, Durability: pol.Durability, From: api.Text(pol.From), Rules: []api.PathRule{}}
	for _, r := range pol.Rules {
		out.Rules = append(out.Rules, api.PathRule{Path: api.Text(r.Path), Rule: r.Rule, Value: api.Text(r.Value)})
	}
	return out, nil
}

// listPolicies lists what is set at and below a path.
func listPolicies(ctx context.Context, p Pod, q api.PathRequest) ([]api.PathRule, error) {
	n, err := resolve(ctx, p.FS(), string(q.Path))
	if err != nil {
		return nil, err
	}
	list, err := p.PathRules(ctx, n.path)
	out := []api.PathRule{}
	for _, r := range list {
		out = append(out, api.PathRule{Path: api.Text(r.Path), Rule: r.Rule, Value: api.Text(r.Value)})
	}
	return out, err
}

func setPolicy(ctx context.Context, p Pod, q api.PolicyRequest) (api.Policy, error) {
	n, err := resolve(ctx, p.FS(), string(q.Path))
	if err != nil {
		return api.Policy{}, err
	}
	if err := pod.CheckPathRules(q.Rules); err != nil { // all is right before one thing is set
		return api.Policy{}, pathError(n.path, err)
	}
	if q.Policy != "" || q.Durability != "" || len(q.Rules) == 0 {
		if err := p.SetPolicy(ctx, n.attr.ID, q.Policy, q.Durability); err != nil {
			return api.Policy{}, pathError(n.path, err)
		}
	}
	if len(q.Rules) > 0 {
		if err := p.SetPathRules(ctx, n.attr.ID, q.Rules); err != nil {
			return api.Policy{}, pathError(n.path, err)
		}
	}
	if err := p.Settle(ctx); err != nil {
		return api.Policy{}, err
	}
	return getPolicy(ctx, p, api.PathRequest{Path: q.Path})
}

func syncWait(ctx context.Context, p Pod, q api.SyncRequest) (struct{}, error) {
	n, err := resolve(ctx, p.FS(), string(q.Path))
	if err != nil {
		return struct{}{}, err
	}
	if err := p.FS().SyncFS(ctx); err != nil {
		return struct{}{}, err
	}
	if err := p.Settle(ctx); err != nil || !q.Wait {
		return struct{}{}, err
	}
	if q.TimeoutMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(q.TimeoutMS)*time.Millisecond)
		defer cancel()
	}
	return struct{}{}, p.SyncWait(ctx, n.attr.ID)
}

func events(ctx context.Context, p Pod, q api.EventsRequest, f func(api.Event) error) error {
	var since time.Time
	if q.Since != nil {
		since = *q.Since
	}
	for _, kind := range q.Kinds {
		if !slices.Contains(pod.EventKinds(), kind) {
			return fmt.Errorf("events of kind %q; there are %s: %w", kind, strings.Join(pod.EventKinds(), ", "), api.ErrUsage)
		}
	}
	return p.Events(ctx, since, q.Follow, func(e pod.Event) error {
		if len(q.Kinds) > 0 && !slices.Contains(q.Kinds, e.Kind) {
			return nil
		}
		return f(api.Event{Time: e.At, Kind: e.Kind, Path: api.Text(e.Path), Pod: api.Text(e.Pod), Text: api.Text(e.Text), Code: string(e.Code), Severity: string(e.Severity)})
	})
}

func fsck(ctx context.Context, p Pod, q api.FsckRequest, f func(api.Problem) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := p.Fsck(ctx, q.Repair, func(pr pod.Problem) {
		if err := f(api.Problem{Where: api.Text(pr.Where), What: api.Text(pr.What), Fixed: pr.Fixed}); err != nil {
			cancel(err)
		}
	})
	if err != nil {
		return err
	}
	return context.Cause(ctx)
}

func scrub(ctx context.Context, p Pod, _ struct{}, f func(api.ScrubLine) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	got, err := p.Scrub(ctx, func(pr pod.Problem) {
		line := api.Problem{Where: api.Text(pr.Where), What: api.Text(pr.What), Fixed: pr.Fixed}
		if err := f(api.ScrubLine{Problem: &line}); err != nil {
			cancel(err)
		}
	})
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return f(api.ScrubLine{Result: &api.Scrubbed{Bytes: got.Bytes, Blocks: got.Blocks}})
}

// cidOf is a node's CID; nil for kinds that have none and while it isn't known.
func cidOf(ctx context.Context, p Pod, id vfs.NodeID) *block.ID {
	cid, err := p.CID(ctx, id)
	if err != nil || cid.IsZero() {
		return nil
	}
	return &cid
}
