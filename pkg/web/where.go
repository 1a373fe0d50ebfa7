package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// Limits of what a page is shown at once, so that folders of millions of names and files of millions of chunks stay usable.
const (
	lsMost    = 200 // entries of a folder
	chunkMost = 256 // chunks of a file
)

// listing is what a folder has.
type listing struct {
	Path    api.Text          `json:"path"`
	Entries []json.RawMessage `json:"entries"` // as the API's ls has them
	More    bool              `json:"more"`    // there are others
}

// errEnough ends a list.
var errEnough = errors.New("enough")

func (s *Server) ls(ctx context.Context, q api.PathRequest) (listing, error) {
	out := listing{Path: q.Path, Entries: []json.RawMessage{}}
	err := s.o.API.List(ctx, "ls", api.PathRequest{Path: q.Path, Prefix: q.Prefix}, func(m json.RawMessage) error {
		if len(out.Entries) == lsMost {
			out.More = true
			return errEnough
		}
		out.Entries = append(out.Entries, slices.Clone(m))
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, err
}

// whereRequest asks where the chunks of a file are, from one on.
type whereRequest struct {
	Path api.Text `json:"path"`
	From int      `json:"from"`
}

// whereabouts is where a file is: some of its chunks, and all of them counted.
type whereabouts struct {
	api.Where // with chunkMost chunks at most

	Name   api.Text         `json:"name"`
	From   int              `json:"from"`
	Count  int              `json:"count"` // of chunks
	Bytes  int64            `json:"bytes"`
	States map[string]int64 `json:"states"` // bytes by how safe they are
	Pods   []heldBy         `json:"pods"`   // who holds any of it, by name
}

// heldBy is how much of a file a pod holds.
type heldBy struct {
	Pod    api.Text `json:"pod"`
	Chunks int      `json:"chunks"`
}

func (s *Server) where(ctx context.Context, q whereRequest) (whereabouts, error) {
	w, err := call[api.Where](ctx, s.o.API, "where", api.PathRequest{Path: q.Path})
	if err != nil {
		return whereabouts{}, err
	}
	out := whereabouts{Where: w, Name: api.Text(path.Base(string(w.Path))), Count: len(w.Chunks), States: map[string]int64{}, Pods: []heldBy{}}
	at := map[api.Text]int{}
	for _, c := range w.Chunks {
		out.Bytes += c.Bytes
		out.States[c.State] += c.Bytes
		seen := map[api.Text]bool{}
		for _, h := range c.Holders {
			if seen[h.Pod] {
				continue
			}
			seen[h.Pod] = true
			i, ok := at[h.Pod]
			if !ok {
				i = len(out.Pods)
				at[h.Pod] = i
				out.Pods = append(out.Pods, heldBy{Pod: h.Pod})
			}
			out.Pods[i].Chunks++
		}
	}
	slices.SortFunc(out.Pods, func(a, b heldBy) int { return cmp.Compare(a.Pod, b.Pod) })
	out.From = max(0, min(q.From, len(w.Chunks)-1))
	out.Chunks = w.Chunks[out.From:min(len(w.Chunks), out.From+chunkMost)]
	return out, nil
}

func (s *Server) resolve(ctx context.Context, q api.ResolveRequest) (struct{}, error) {
	_, err := s.o.API.Call(ctx, "conflicts/resolve", q)
	if err == nil {
		s.stale("conflicts")
	}
	return struct{}{}, err
}

// stale has a section asked for anew at the next look.
func (s *Server) stale(name string) {
	for _, x := range s.more {
		if x.name == name {
			x.mu.Lock()
			x.next = time.Time{}
			x.mu.Unlock()
		}
	}
}
