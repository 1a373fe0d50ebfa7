package web

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// How often the API is asked, by what an answer tells, at most; askShare makes it rarer where answers take long.
const (
	nowEvery  = 900 * time.Millisecond // a little less than the second between two questions of a page
	moreEvery = 5 * time.Second
	askShare  = 20 // the API works for a page for a twentieth of the time
)

// eventsMost is how many events are shown, the newest.
const eventsMost = 100

// hotMost is how many files that are read much are shown.
const hotMost = 20

// section is one part of what is looked at: the answer to one question, kept for a while.
type section struct {
	name  string
	every time.Duration
	ask   func(ctx context.Context) (any, error)

	mu   sync.Mutex // held while the API is asked, so that all pages together ask once; guards the fields below
	next time.Time  // until when the answer counts
	data json.RawMessage
	err  *api.Error
	sum  string // names data and err
}

// sumSeed is of this run: names of answers are compared within it alone.
var sumSeed = maphash.MakeSeed()

// get is the section's answer, at most so old as its cost allows.
func (s *section) get(ctx context.Context, c clock.Clock) (data json.RawMessage, failed *api.Error, sum string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := c.Now()
	if s.sum != "" && began.Before(s.next) {
		return s.data, s.err, s.sum
	}
	v, err := s.ask(ctx)
	var b []byte
	if err == nil {
		b, err = json.Marshal(v)
	}
	if ctx.Err() != nil { // The page has gone: that says nothing of the section.
		return nil, api.NewError(ctx.Err()), ""
	}
	s.data, s.err = b, nil
	if err != nil {
		s.data, s.err = nil, api.NewError(err)
		b = []byte(err.Error())
	}
	now := c.Now()
	s.next = now.Add(max(s.every, askShare*now.Sub(began)) - min(s.every, now.Sub(began)))
	s.sum = strconv.FormatUint(maphash.Bytes(sumSeed, b), 36)
	return s.data, s.err, s.sum
}

// have is what a page has of each section.
type have struct {
	Have map[string]string `json:"have"`
}

// looked is what has changed since, and how the sections are named now.
type looked struct {
	Sums     map[string]string          `json:"sums"`
	Sections map[string]json.RawMessage `json:"sections"`
	Errors   map[string]*api.Error      `json:"errors"`
}

// look is all sections of a list, without what the page has.
func (s *Server) look(ctx context.Context, list []*section, q have) looked {
	out := looked{Sums: map[string]string{}, Sections: map[string]json.RawMessage{}, Errors: map[string]*api.Error{}}
	for _, x := range list {
		data, failed, sum := x.get(ctx, s.o.Clock)
		out.Sums[x.name] = sum
		switch {
		case failed != nil:
			out.Errors[x.name] = failed
		case sum != q.Have[x.name]:
			out.Sections[x.name] = data
		}
	}
	return out
}

// sections makes the lists.
func (s *Server) sections() {
	raw := func(name string, q any) func(context.Context) (any, error) {
		return func(ctx context.Context) (any, error) { return s.o.API.Call(ctx, name, q) }
	}
	s.now = []*section{
		{name: "status", every: nowEvery, ask: s.status},
		{name: "peers", every: nowEvery, ask: s.peers},
		{name: "repair", every: nowEvery, ask: raw("repair", struct{}{})},
		{name: "events", every: nowEvery, ask: s.events()},
	}
	s.more = []*section{
		{name: "usage", every: moreEvery, ask: raw("usage", struct{}{})},
		{name: "conflicts", every: moreEvery, ask: raw("conflicts", api.PathRequest{Path: "/"})},
		{name: "hot", every: moreEvery, ask: raw("stats/hot", api.HotRequest{Most: hotMost})},
		{name: "can_stop", every: moreEvery, ask: raw("can-stop", struct{}{})},
	}
}

// status is the API's, but that pods that are up have no time at which they were last seen: else it would be another every second.
func (s *Server) status(ctx context.Context) (any, error) {
	st, err := call[api.Status](ctx, s.o.API, "status", struct{}{})
	for i := range st.Pods {
		if st.Pods[i].State == "up" {
			st.Pods[i].LastSeen = nil
		}
	}
	return st, err
}

// peers is the API's without what the page does not show.
func (s *Server) peers(ctx context.Context) (any, error) {
	list, err := call[[]api.Peer](ctx, s.o.API, "peers", struct{}{})
	for i := range list {
		list[i].Addresses = []string{}
		list[i].Since = nil
	}
	return list, err
}

// events asks for the newest, the newest first, and after the first time only for those that came.
func (s *Server) events() func(context.Context) (any, error) {
	var from *time.Time // of the oldest that is shown; the section's lock guards it
	return func(ctx context.Context) (any, error) {
		var all []json.RawMessage
		err := s.o.API.List(ctx, "events", api.EventsRequest{Since: from}, func(m json.RawMessage) error {
			all = append(all, slices.Clone(m))
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(all) > eventsMost {
			all = all[len(all)-eventsMost:]
			var oldest api.Event
			if err := json.Unmarshal(all[0], &oldest); err != nil {
				return nil, err
			}
			from = &oldest.Time
		}
		slices.Reverse(all)
		return append([]json.RawMessage{}, all...), nil // never null
	}
}

// call asks for one document and reads it.
func call[A any](ctx context.Context, a API, name string, q any) (A, error) {
	var v A
	b, err := a.Call(ctx, name, q)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	return v, err
}
