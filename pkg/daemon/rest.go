package daemon

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

const (
	restLook    = time.Minute // how often it is looked whether the daemon is at rest
	restAllocs  = 128 << 20   // bytes: who allocates less between two looks is at rest. On a LAN with 75 pods what other pods say of themselves took 36 MB
	restGarbage = 4 << 20     // bytes of Go's heap that nobody uses and that are not given back; less is not worth a collection
)

// rest gives memory back while the daemon has nothing to do: what makes work faster, garbage that Go's runtime would collect when the heap has doubled,
// what the C library keeps, and pages of the program's file that are not in use. Work costs some milliseconds more when it comes again.
func (m *machine) rest(ctx context.Context) {
	var r rester
	for clock.Sleep(ctx, m.o.Clock, restLook) == nil {
		what := r.look(readHeap())
		if what == restNot {
			continue
		}
		for _, p := range m.all() {
			p.pod.Rest()
		}
		if what == restBegins {
			runtime.GC() // one more, for what pools keep over one
		}
		if what != restGoesOn {
			debug.FreeOSMemory()
			r.freed(readHeap())
		}
		trimC()
		dropProgram()
	}
}

// heap is what the daemon's heap was at a look, in bytes.
type heap struct {
	allocated uint64 // since the start, never less
	held      uint64 // from the system, used or not
}

// restState is what a look found.
type restState int

const (
	restNot     restState = iota // there is work
	restBegins                   // there was work before the last look, and none since
	restGoesOn                   // nothing is to be done
	restCollect                  // garbage has come together
)

// rester decides, from what the heap is at each look, when to give memory back.
type rester struct {
	last    heap
	resting bool
	least   uint64 // what was held after memory was given back
}

func (r *rester) look(h heap) restState {
	quiet := h.allocated-r.last.allocated <= restAllocs
	was := r.resting
	r.last, r.resting = h, quiet
	switch {
	case !quiet:
		return restNot
	case !was:
		return restBegins
	case h.held > r.least+restGarbage:
		return restCollect
	}
	return restGoesOn
}

// freed notes what is held when all was given back that can be.
func (r *rester) freed(h heap) { r.least = h.held }

func readHeap() heap {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	return heap{allocated: s[0].Value.Uint64(), held: s[1].Value.Uint64() + s[2].Value.Uint64() + s[3].Value.Uint64()}
}
