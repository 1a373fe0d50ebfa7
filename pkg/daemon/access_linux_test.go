package daemon_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// A group of the machine's users may what machine.toml allows: the socket can be reached by them and WH_HOME not read; without the keys all is closed again.
func TestGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		testneed.Missing(t, "needs root to be somebody else")
	}
	const group = 65533
	home := newHome(t)
	if err := os.Chmod(filepath.Dir(string(home)), 0o755); err != nil {
		t.Fatal(err)
	}
	fakes := &mounts{}
	saved := filepath.Join(filepath.Dir(string(home)), "saved")
	r := start(t, options(home, fakes.engine()))
	if _, err := do[api.Made](r, "init", api.InitRequest{Network: "home", Name: "box", Mount: &api.Mount{Dir: api.Text(saved), Options: []string{"ro"}}}); err != nil {
		t.Fatal(err)
	}
	for _, kv := range [][2]string{{"group", "65533"}, {"group_may", "mount"}} {
		if _, err := do[api.ConfigDone](r, "config/set", api.ConfigSet{Scope: api.ScopeMachine, Key: kv[0], Value: kv[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	if mode(t, string(home)) != 0o700 {
		t.Errorf("WH_HOME without a group: %o", mode(t, string(home)))
	}
	r = start(t, options(home, fakes.engine()))
	ask := func(uid, gid int, name, body string) string {
		t.Helper()
		out, err := testneed.DoAs(t.Context(), uid, gid, home.File("api.sock"), name, body)
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("ask %s: %v", name, err)
		}
		return out
	}
	for _, row := range []struct {
		gid              int
		name, body, want string
	}{
		{65534, "health", "", ""}, // the socket's mode keeps it out
		{group, "health", "", `"version":"test"`},
		{group, "ls", `{"path":"/"}`, "no_privilege"},
		{group, "stop", "", "no_privilege"},
		{group, "mount", `{"dir":"/etc"}`, "no_privilege"},
		{group, "mount", `{"dir":"` + saved + `","save":true}`, "no_privilege"},
		{group, "unmount", `{"dir":"` + saved + `"}`, "{}"},
		{group, "mount", `{"dir":"` + saved + `","options":["suid"]}`, "{}"},
	} {
		got := ask(65534, row.gid, row.name, row.body)
		if row.want == "" && got != "" || !strings.Contains(got, row.want) {
			t.Errorf("group %d, %s %s: got %q, want %q", row.gid, row.name, row.body, got, row.want)
		}
	}
	if !strings.HasSuffix(fakes.said(), "unmount saved; mount saved ro=true") {
		t.Errorf("the mounts: %s", fakes.said())
	}
	if mode(t, string(home)) != 0o710 || mode(t, home.File("api.sock")) != 0o660 || mode(t, home.Pods())&0o077 != 0 || mode(t, home.File(config.MachineFile))&0o077 != 0 {
		t.Error("the modes of WH_HOME let in more than they should")
	}
	if _, err := do[api.ConfigDone](r, "config/set", api.ConfigSet{Scope: api.ScopeMachine, Key: "group", Value: ""}); err != nil {
		t.Fatal(err)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	r = start(t, options(home, fakes.engine()))
	if got := ask(65534, group, "health", ""); got != "" || mode(t, string(home)) != 0o700 {
		t.Errorf("after the group was taken out: %q, %o", got, mode(t, string(home)))
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Mode().Perm()
}
