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
}

// Tune has other options in force from here on, and drops cached copies that are too many under them.
func (p *Pod) Tune(ctx context.Context, t Tuning) {
	p.setTuning(t)
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
}
