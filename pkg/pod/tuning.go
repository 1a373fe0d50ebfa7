package pod

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/pace"
)

// Tuning is the options of a pod that may change while it runs.
type Tuning struct {
	CacheBytes int64      // hard limit of cached copies; 0: DefaultCacheBytes
	CacheFree  int64      // bytes of the disk that cached copies leave free; 0: DefaultCacheFree
	Rates      pace.Rates // bytes a second; the zero value is no limit
	RateLAN    bool       // the limits of Rates hold for pods on the LAN, too
	Announce   []string   // addresses at which others are told to find this pod, beside those where it listens: HOST:PORT
	Entries    []string   // addresses at which pods of the network are looked for, beside those that are known and found: HOST:PORT
}

// Tune has other options in force from here on, and drops cached copies that are too many under them.
func (p *Pod) Tune(ctx context.Context, t Tuning) {
	p.setTuning(t)
	p.net.Announce(t.Announce)
	select {
	case p.entryKick <- struct{}{}:
	default:
	}
	p.trimCache(ctx)
}

func (p *Pod) setTuning(t Tuning) {
	if t.CacheBytes <= 0 {
		t.CacheBytes = DefaultCacheBytes
	}
	if t.CacheFree <= 0 {
		t.CacheFree = DefaultCacheFree
	}
	p.store.SetCacheLimit(t.CacheBytes, t.CacheFree)
	p.pace.Set(t.Rates)
	p.lan.Store(t.RateLAN)
	p.entries.Store(&t.Entries)
}
