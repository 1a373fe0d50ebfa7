package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// Limits of the HTTP side.
const (
	bodyMax     = 1 << 20          // bytes of a request
	headTimeout = 10 * time.Second // for a request's head
	stopTimeout = 2 * time.Second  // for requests under way when the daemon stops
)

// Server answers the API. Make one with New.
type Server struct {
	machine Machine
	version string
	clock   clock.Clock
	log     *slog.Logger
	mux     *http.ServeMux
	access  Access

	transfers sync.WaitGroup // hijacked connections
}

// New is a server for the machine; version is what it says of itself.
func New(m Machine, version string, c clock.Clock, log *slog.Logger) *Server {
	s := &Server{machine: m, version: version, clock: c, log: log, mux: http.NewServeMux(), access: Access{Group: -1}}
	s.routes()
	return s
}

// Allow lets other users in than the daemon's own and root. It is called before Serve, if at all.
func (s *Server) Allow(a Access) { s.access = a }

func (s *Server) routes() {
	post(s, "health", func(context.Context, struct{}) (api.Health, error) {
		return api.Health{API: api.Version, Version: s.version, PID: os.Getpid()}, nil
	})
	post(s, "init", s.machine.Init)
	post(s, "join", s.machine.Join)
	post(s, "stop", func(context.Context, struct{}) (struct{}, error) {
		s.machine.Stop()
		return struct{}{}, nil
	})
	post(s, "mounts", func(context.Context, struct{}) ([]api.Mount, error) { return s.machine.Mounts(), nil })
	s.mux.Handle("POST "+api.Prefix+"mount", handler(s, func(r *http.Request, m api.Mount) (struct{}, error) {
		return struct{}{}, s.machine.Mount(r.Context(), r.URL.Query().Get(api.PodParam), m)
	}))
	s.mux.Handle("POST "+api.Prefix+"unmount", handler(s, func(r *http.Request, u api.Unmount) (struct{}, error) {
		return struct{}{}, s.machine.Unmount(r.Context(), r.URL.Query().Get(api.PodParam), u)
	}))

	s.mux.Handle("POST "+api.Prefix+"config", handler(s, func(r *http.Request, _ struct{}) ([]api.ConfigKey, error) {
		return s.machine.Config(r.Context(), r.URL.Query().Get(api.PodParam))
	}))
	s.mux.Handle("POST "+api.Prefix+"config/set", handler(s, func(r *http.Request, q api.ConfigSet) (api.ConfigDone, error) {
		return s.machine.SetConfig(r.Context(), r.URL.Query().Get(api.PodParam), q)
	}))
	post(s, "notify/test", func(ctx context.Context, _ struct{}) ([]api.Notified, error) { return s.machine.TestNotify(ctx) })
	onPod(s, "invite", invite)
	onPod(s, "members", members)
	onPod(s, "member/add", addMember)
	onPod(s, "member/revoke", revokeMember)
	onPod(s, "member/renew", renewMember)
	onPod(s, "member/role", setRole)
	onPod(s, "member/rekey", rekey)
	onPod(s, "member/log", memberLog)
	onPod(s, "member/pending", pending)
	onPod(s, "member/accept", accept)
	onPod(s, "member/root", rootKey)
	onPod(s, "member/root/drop", dropRootKey)
	onPod(s, "member/root/use", useRootKey)
	onPod(s, "invites", invites)
	onPod(s, "invites/remove", removeInvite)
	onPod(s, "pods", pods)
	onPod(s, "peers", peers)
	onPod(s, "stats", stats)
	onPod(s, "status", status)
	onPod(s, "can-stop", canStop)
	onPod(s, "usage", usage)
	onPod(s, "root", root)
	onPod(s, "roots", roots)
	onPod(s, "where", where)
	onPod(s, "policy", getPolicy)
	onPod(s, "policy/set", setPolicy)
	onPod(s, "policy/ls", listPolicies)
	onPod(s, "sync", syncWait)
	onPod(s, "pins", pins)
	onPod(s, "pins/set", setPin)
	onPod(s, "place", setHomes)
	onPod(s, "evict", evict)
	onPod(s, "drain", drain)
	onPod(s, "freeze", freeze)
	onPod(s, "cache", cache)
	onPod(s, "cache/clean", cleanCache)
	onPod(s, "repair", repair)
	onPod(s, "repair/now", repairNow)
	onPod(s, "stats/hot", hot)
	follow(s, "repair/watch", watchRepair)
	onPod(s, "stat", stat)
	onPod(s, "mkdir", mkdir)
	onPod(s, "move", move)
	onPod(s, "remove", remove)
	onPod(s, "snapshots", snapshots)
	onPod(s, "snapshot/create", createSnapshot)
	onPod(s, "snapshot/remove", removeSnapshot)
	onPod(s, "restore", restore)
	onPod(s, "conflicts", conflicts)
	onPod(s, "conflicts/resolve", resolveConflict)
	list(s, "log", changeLog)
	list(s, "diff", diff)
	list(s, "ls", ls)
	list(s, "names", names)
	list(s, "fsck", fsck)
	follow(s, "events", events)
	list(s, "scrub", scrub)
	onPod(s, "gc", gc)
	s.mux.HandleFunc("GET "+api.Prefix+"metrics", func(w http.ResponseWriter, r *http.Request) { s.machine.Metrics().ServeHTTP(w, r) })
	s.debug()
	s.mux.HandleFunc("POST "+api.Prefix+"cat", s.cat)
	s.mux.HandleFunc("POST "+api.Prefix+"add", s.upgrade(s.add))
	s.mux.HandleFunc("POST "+api.Prefix+"get", s.upgrade(s.get))
}

// Serve answers on l until ctx ends, and closes it. Requests under way are given up then.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cancel := context.WithCancel(ctx)
	defer cancel()
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headTimeout,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext: func(c context.Context, conn net.Conn) context.Context {
			return context.WithValue(c, callerKey{}, s.callerOf(conn))
		},
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-base.Done()
		limit, done := context.WithTimeout(context.WithoutCancel(base), stopTimeout)
		defer done()
		if h.Shutdown(limit) != nil {
			_ = h.Close() // What doesn't end in time is cut off.
		}
	}()
	err := h.Serve(l)
	cancel()
	<-stopped
	s.transfers.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("api: serve: %w", err)
}

// ServeHTTP refuses whom the request is not for, and answers everybody else.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if c, ok := ctx.Value(callerKey{}).(caller); ok {
		if err := c.check(r.URL.Path); err != nil {
			s.log.WarnContext(ctx, "refused a user on the local socket", "path", r.URL.Path, "uid", c.uid, "error", err)
			s.fail(w, r, err)
			return
		}
	}
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // a sentinel for panics, never wrapped
				panic(p)
			}
			s.log.ErrorContext(ctx, "a request panicked", "path", r.URL.Path, "panic", p)
			s.fail(w, r, fmt.Errorf("api: internal error: %v", p))
		}
	}()
	if _, pattern := s.mux.Handler(r); pattern == "" {
		s.fail(w, r, fmt.Errorf("api: no request %s %s: %w", r.Method, r.URL.Path, api.ErrProtocol))
		return
	}
	s.mux.ServeHTTP(w, r)
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := api.NewError(err)
	s.log.DebugContext(r.Context(), "request failed", "path", r.URL.Path, "code", string(e.Code), "error", err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	_ = json.NewEncoder(w).Encode(e) // The client has gone, if it fails.
}

// decode reads a request's body; an empty one is the zero value.
func decode[T any](w http.ResponseWriter, r *http.Request) (T, error) {
	var v T
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax)).Decode(&v)
	if err != nil && !errors.Is(err, io.EOF) {
		return v, fmt.Errorf("api: request: %w: %w", api.ErrProtocol, err)
	}
	return v, nil
}

// handler answers a request of one document by one document.
func handler[Q, A any](s *Server, f func(*http.Request, Q) (A, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := decode[Q](w, r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		a, err := f(r, q)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a) // The client has gone, if it fails.
	})
}

func post[Q, A any](s *Server, name string, f func(context.Context, Q) (A, error)) {
	s.mux.Handle("POST "+api.Prefix+name, handler(s, func(r *http.Request, q Q) (A, error) {
		return f(r.Context(), q)
	}))
}

// onPod is post for what concerns one pod.
func onPod[Q, A any](s *Server, name string, f func(context.Context, Pod, Q) (A, error)) {
	s.mux.Handle("POST "+api.Prefix+name, handler(s, func(r *http.Request, q Q) (A, error) {
		p, err := s.pod(r)
		if err != nil {
			var none A
			return none, err
		}
		return f(r.Context(), p, q)
	}))
}

// list answers by a list, an object a line (api.Line).
func list[Q, T any](s *Server, name string, f func(context.Context, Pod, Q, func(T) error) error) {
	lines(s, name, false, f)
}

// follow is list for what comes by and by: each line goes out at once.
func follow[Q, T any](s *Server, name string, f func(context.Context, Pod, Q, func(T) error) error) {
	lines(s, name, true, f)
}

func lines[Q, T any](s *Server, name string, flush bool, f func(context.Context, Pod, Q, func(T) error) error) {
	s.mux.HandleFunc("POST "+api.Prefix+name, func(w http.ResponseWriter, r *http.Request) {
		q, err := decode[Q](w, r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		p, err := s.pod(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		enc := json.NewEncoder(w)
		last := api.Line[T]{End: true}
		out := http.NewResponseController(w)
		err = f(r.Context(), p, q, func(v T) error {
			err := enc.Encode(api.Line[T]{Item: &v})
			if err == nil && flush {
				err = out.Flush()
			}
			return err
		})
		if err != nil {
			last = api.Line[T]{Err: api.NewError(err)}
		}
		_ = enc.Encode(last) // The client has gone, if it fails.
	})
}

func (s *Server) pod(r *http.Request) (Pod, error) {
	return s.machine.Pod(r.URL.Query().Get(api.PodParam))
}
