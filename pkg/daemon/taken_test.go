//go:build unix

package daemon_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
	"github.com/wormhole-fs/wormhole/pkg/health"
)

// A pod hears of a folder that should be mounted and is not, as long as that is so: by this it warns.
func TestMountTakenAway(t *testing.T) {
	home, m := newHome(t), &mounts{}
	if _, err := create(t, home, m.engine(), api.InitRequest{Network: "home", Name: "box"}); err != nil {
		t.Fatal(err)
	}
	e := m.engine()
	open := e.Open
	var unmounted func() []health.Mount
	e.Open = func(ctx context.Context, o daemon.OpenOptions) (daemon.Pod, error) {
		unmounted = o.Unmounted
		return open(ctx, o)
	}
	r := start(t, options(home, e))
	dir := api.Text(filepath.Join(string(home), "b"))
	warns := func(when string, want int) {
		t.Helper()
		if got := unmounted(); len(got) != want || want > 0 && (got[0].Dir != string(dir) || got[0].Why == "") {
			t.Errorf("%s: %+v", when, got)
		}
	}
	warns("with no mount", 0)
	if _, err := do[struct{}](r, "mount", api.Mount{Dir: dir, Save: true}); err != nil {
		t.Fatal(err)
	}
	warns("mounted", 0)
	if _, err := do[struct{}](r, "unmount", api.Unmount{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	warns("taken away", 1)
	if _, err := do[struct{}](r, "mount", api.Mount{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	warns("mounted again", 0)
	if err := r.end(); err != nil {
		t.Error(err)
	}
}
