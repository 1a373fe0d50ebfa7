package heat

import (
	"cmp"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Constants of Home.
const (
	payBack = 2 // a move must save so many times what it costs, in a half-life
	ahead   = 2 // and its pod read so many times what any other did
)

// Case is a file that may be more at home elsewhere.
type Case struct {
	Size    int64               // bytes
	Read    map[ident.Pod]int64 // decayed bytes that each pod read
	Homes   []ident.Pod         // where it is at home now
	Chosen  bool                // a user chose the homes: they stay
	Since   time.Time           // when the homes were last changed; zero: never
	Tracked time.Time           // since when the pod that read most has read it
	Now     time.Time
	After   time.Duration // how long reads must be so, and how long a home stays at least
}

// Home is the pod where a file should be at home, and false where nothing should change. It is a pure function.
//
// A file goes to the pod that reads it most when that saves payBack times the file's bytes in a half-life, when every other pod, the present home
// among them, reads at most 1/ahead of it, and when the last change is long enough ago. Two pods that read a file in turns read about the same: it stays.
func Home(c Case) (ident.Pod, bool) {
	type reader struct {
		pod   ident.Pod
		bytes int64
	}
	var readers []reader
	for pod, n := range c.Read {
		readers = append(readers, reader{pod, n})
	}
	slices.SortFunc(readers, func(a, b reader) int {
		return cmp.Or(cmp.Compare(b.bytes, a.bytes), slices.Compare(a.pod[:], b.pod[:]))
	})
	if len(readers) == 0 || c.Chosen || c.Size <= 0 {
		return ident.Pod{}, false
	}
	best := readers[0]
	others := int64(0)
	if len(readers) > 1 {
		others = readers[1].bytes
	}
	switch {
	case slices.Contains(c.Homes, best.pod),
		best.bytes/payBack < c.Size,
		best.bytes/ahead < others,
		c.Now.Sub(c.Tracked) < c.After,
		c.Now.Sub(c.Since) < c.After:
		return ident.Pod{}, false
	}
	return best.pod, true
}
