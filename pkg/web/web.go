// Package web is the dashboard: one page, its parts within the program, that shows in a browser what the local API tells
// of a pod, and ends conflicts.
//
// Its main types are Server, an http.Handler, and API, what it needs of the local API. Who has the token may do here what the dashboard
// offers, and nothing else of the API. The token is sent in a header with each request, never in a cookie, which other programs' pages on
// the same host would be sent, too; so no page of another origin can ask anything. A request with a foreign Host (DNS rebinding) or
// Origin is refused, there is no CORS, and the page's Content-Security-Policy lets it run and load its own files alone.
//
// The page asks once a second, and only while somebody looks at it. Its answers are put together of sections, each asked of the API no more often than
// its cost allows and sent to a page only when it has changed. A Server is safe for concurrent use, starts nothing, and needs no end.
package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
)

//go:embed page
var page embed.FS

// bodyMax is how many bytes a request may have: a path of 4096 bytes takes up to six times as many in JSON.
const bodyMax = 64 << 10

// policy lets the page run and load its own files, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// API is what the dashboard asks of the local API. Answers are JSON as the API gave it; errors are *api.Error where it answered.
type API interface {
	// Call asks for one document.
	Call(ctx context.Context, name string, q any) (json.RawMessage, error)
	// List asks for a list and calls f for each item, whose error ends it and is returned.
	List(ctx context.Context, name string, q any, f func(json.RawMessage) error) error
}

// Options are for New.
type Options struct {
	API   API
	Token string   // not empty
	Hosts []string // HOST:PORT, all by which the page may be reached
	Clock clock.Clock
}

// Server serves the dashboard. Make one with New.
type Server struct {
	o     Options
	token [sha256.Size]byte
	mux   *http.ServeMux
	now   []*section
	more  []*section
}

// New is a server of the dashboard.
func New(o Options) *Server {
	s := &Server{o: o, token: sha256.Sum256([]byte(o.Token)), mux: http.NewServeMux()}
	s.sections()
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // The name is a constant.
	}
	s.mux.Handle("GET /", http.FileServerFS(files))
	answer(s, "now", func(ctx context.Context, q have) (looked, error) { return s.look(ctx, s.now, q), nil })
	answer(s, "more", func(ctx context.Context, q have) (looked, error) { return s.look(ctx, s.more, q), nil })
	answer(s, "ls", s.ls)
	answer(s, "where", s.where)
	answer(s, "resolve", s.resolve)
	return s
}

// ServeHTTP refuses what does not come from the page itself, and answers the rest.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !slices.Contains(s.o.Hosts, r.Host) {
		http.Error(w, "this host is not served here", http.StatusMisdirectedRequest)
		return
	}
	if o := r.Header.Get("Origin"); o != "" && o != "http://"+r.Host {
		http.Error(w, "pages of other origins may ask nothing here", http.StatusForbidden)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// allowed says whether a request carries the token.
func (s *Server) allowed(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got := sha256.Sum256([]byte(token))
	return ok && subtle.ConstantTimeCompare(got[:], s.token[:]) == 1
}

// answer serves POST /api/NAME: a document for a document.
func answer[Q, A any](s *Server, name string, f func(context.Context, Q) (A, error)) {
	s.mux.HandleFunc("POST /api/"+name, func(w http.ResponseWriter, r *http.Request) {
		if !s.allowed(r) {
			send(w, http.StatusUnauthorized, &api.Error{Code: "denied", Message: "the token is missing or is of an earlier run", Hint: "open the address that wh dashboard prints"})
			return
		}
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			send(w, http.StatusUnsupportedMediaType, &api.Error{Code: "usage", Message: "requests are JSON"})
			return
		}
		var q Q
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax)).Decode(&q)
		if err != nil && !errors.Is(err, io.EOF) {
			send(w, http.StatusBadRequest, api.NewError(fmt.Errorf("request: %w: %w", api.ErrUsage, err)))
			return
		}
		a, err := f(r.Context(), q)
		if err != nil {
			send(w, http.StatusUnprocessableEntity, api.NewError(err))
			return
		}
		send(w, http.StatusOK, a)
	})
}

func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // The page has gone, if it fails.
}
