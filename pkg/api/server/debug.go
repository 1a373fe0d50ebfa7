package server

import (
	"net/http"
	"net/http/pprof"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// debug answers questions about the running program, for developers: GET debug/pprof/NAME, as net/http/pprof has it. It is on the local
// socket alone, whose callers are the daemon's user and root; nothing of it is ever served over TCP.
func (s *Server) debug() {
	at := "GET " + api.Prefix + "debug/pprof/"
	s.mux.HandleFunc(at+"profile", pprof.Profile)
	s.mux.HandleFunc(at+"trace", pprof.Trace)
	s.mux.HandleFunc(at+"{name}", func(w http.ResponseWriter, r *http.Request) {
		pprof.Handler(r.PathValue("name")).ServeHTTP(w, r)
	})
}
