package daemon

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/server"
	"github.com/wormhole-fs/wormhole/pkg/config"
)

// accessOf is what the machine's file allows to others. The error is config.ErrBad, where there is no such group.
func accessOf(mc config.Machine) (server.Access, error) {
	if mc.Group == "" {
		return server.Access{Group: -1}, nil
	}
	may, err := api.ParsePrivilege(mc.GroupMay)
	if err != nil {
		return server.Access{}, fmt.Errorf("machine.toml: group_may: %w: %w", config.ErrBad, err)
	}
	gid, err := strconv.Atoi(mc.Group)
	if err != nil {
		g, err := user.LookupGroup(mc.Group)
		if err != nil {
			return server.Access{}, fmt.Errorf("machine.toml: group: %w: %w", config.ErrBad, err)
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return server.Access{}, fmt.Errorf("machine.toml: group %q has the id %q: %w", mc.Group, g.Gid, config.ErrBad)
		}
	}
	return server.Access{Group: gid, May: may}, nil
}

// openTo lets the members of a group reach the socket, and nothing else of WH_HOME: the folder may be passed through, not listed. Without a group the socket and
// WH_HOME are this user's alone.
func openTo(home api.Home, socket string, a server.Access) error {
	if a.Group < 0 {
		if err := os.Chmod(socket, 0o600); err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		return closeHome(home)
	}
	files := map[string]os.FileMode{socket: 0o660, string(home): 0o710}
	if dir := filepath.Dir(socket); dir != string(home) {
		files[dir], files[home.File("api.addr")] = 0o710, 0o640
	}
	for path, mode := range files {
		if err := os.Chown(path, -1, a.Group); err != nil {
			return fmt.Errorf("socket: give it to the group %d: %w", a.Group, err)
		}
		if err := os.Chmod(path, mode); err != nil {
			return fmt.Errorf("socket: %w", err)
		}
	}
	return nil
}

// closeHome takes back what openTo gave in an earlier run.
func closeHome(home api.Home) error {
	st, err := os.Stat(string(home))
	if err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	if st.Mode().Perm() != 0o710 {
		return nil
	}
	if err := os.Chmod(string(home), 0o700); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	return nil
}

// allowedMount is a mount as who asks for it may have it: who does not administer the machine, one that the pod's file names, with the options there.
func (r *running) allowedMount(ctx context.Context, q api.Mount) (api.Mount, error) {
	if server.MayAdminister(ctx) {
		return q, nil
	}
	cfg, err := config.LoadPod(r.file())
	if err != nil {
		return q, err
	}
	i := slices.IndexFunc(cfg.Mounts, func(c config.Mount) bool { return c.Dir == string(q.Dir) })
	if i < 0 || q.Save {
		return q, fmt.Errorf("mount %s: pod.toml names no such mount, and to add one the privilege %q is needed: %w", q.Dir, api.PrivilegeAdminister, api.ErrPrivilege)
	}
	q.Options = cfg.Mounts[i].Options
	return q, nil
}
