package pod

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/pace"
)

// TestServedByClass: a pod with a limit on repair gives users what they read at full rate while another pod's repair asks it and puts to it, which goes at the limit, both ways.
func TestServedByClass(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	const limit, size = 512 << 10, 64 << 10
	pods := metPods(t, 2)
	server, other, ctx := pods[0], pods[1], quickly(t)
	var rates pace.Rates
	rates.Class[pace.Repair] = limit
	server.Tune(ctx, Tuning{Rates: rates, RateLAN: true})
	fresh := func(p *testPod, seed uint64, n int) (ids []block.ID) {
		t.Helper()
		for i := range uint64(n) {
			plain := []byte(randomText(seed+i, size))
			id := block.Sum(block.Raw, plain)
			if err := p.store.Put(ctx, id, plain); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		return ids
	}
	form := func(p *testPod, ids []block.ID) (n int64) {
		for _, id := range ids {
			l, _ := p.store.FormLen(id)
			n += int64(l)
		}
		return n
	}
	// get and put are how long it takes for a class, and how many bytes go.
	get := func(c pace.Class, ids []block.ID) time.Duration {
		begin := time.Now()
		for _, id := range ids {
			if _, err := other.fetchBlock(fetching(ctx, c), id, true); err != nil {
				t.Error(err)
			}
		}
		return time.Since(begin)
	}
	put := func(c pace.Class, ids []block.ID) time.Duration {
		begin := time.Now()
		errs, err := other.net.Put(fetching(ctx, c), server.id, len(ids), func(i int) block.ID { return ids[i] }, func(i int) ([]byte, error) { return other.store.Wire(ctx, ids[i]) })
		for _, one := range append(errs, err) {
			if one != nil {
				t.Error(one)
			}
		}
		return time.Since(begin)
	}
	for name, tt := range map[string]struct {
		from  *testPod
		does  func(pace.Class, []block.ID) time.Duration
		quick pace.Class
	}{"asks": {server, get, pace.Read}, "puts": {other, put, pace.Spread}} {
		t.Run(name, func(t *testing.T) {
			seed := map[string]uint64{"asks": 6000, "puts": 7000}[name]
			slowly, users := fresh(tt.from, seed, 24), fresh(tt.from, seed+500, 96)
			least := time.Duration(float64(form(tt.from, slowly[:20])) / limit * float64(time.Second)) // what comes last need not be made up for
			var repair sync.WaitGroup
			var took time.Duration
			repair.Go(func() { took = tt.does(pace.Repair, slowly) })
			quick := tt.does(tt.quick, users)
			repair.Wait()
			t.Logf("repair: %d bytes in %s; users beside it: %d bytes in %s", form(tt.from, slowly), took, form(tt.from, users), quick)
			if took < least {
				t.Errorf("repair of %d bytes took %s, less than %s", form(tt.from, slowly), took, least)
			}
			if rate := float64(form(tt.from, users)) / quick.Seconds(); rate < 2*limit {
				t.Errorf("users get %.0f bytes a second", rate)
			}
		})
	}
	// Nothing waits for longer than who asked does.
	rates.Class[pace.Repair] = 1
	server.Tune(ctx, Tuning{Rates: rates, RateLAN: true})
	soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	ids := fresh(server, 8000, 3)
	for _, id := range ids[:2] { // of what was saved, and in advance
		if _, _, err := (handler{server.Pod}).Block(fetching(ctx, pace.Repair), other.id, id); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := (handler{server.Pod}).Block(fetching(soon, pace.Repair), other.id, ids[2]); err == nil {
		t.Error("a limit of one byte a second lets a block pass")
	}
}
