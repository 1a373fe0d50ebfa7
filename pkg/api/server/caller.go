package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// Access says what users of this machine may do beside the daemon's own and root, who may all.
type Access struct {
	Group int // its members; -1: nobody
	May   api.Privilege
}

// peerCred is who is at the other end of a socket.
type peerCred struct {
	uid    int
	groups []int // those that the system tells; of a user they may be more
}

// caller is who asks, and what they may.
type caller struct {
	uid int
	may api.Privilege
	err error // who it is could not be found out
}

// callerKey is the context key of a caller. Without one it is this process itself, or a test.
type callerKey struct{}

// callerOf says who is at the other end of a connection, and what they may.
func (s *Server) callerOf(c net.Conn) caller {
	cred, known, err := credOf(c)
	switch {
	case err != nil:
		return caller{err: err}
	case !known: // not told on this system: the socket's mode, or that of its folder, is what guards it here
		return caller{uid: os.Geteuid(), may: api.PrivilegeAdminister}
	}
	return caller{uid: cred.uid, may: s.access.of(cred, os.Geteuid())}
}

// of is what a user may do with a daemon that runs as own.
func (a Access) of(cred peerCred, own int) api.Privilege {
	switch {
	case cred.uid == own || cred.uid == 0:
		return api.PrivilegeAdminister
	case a.Group >= 0 && a.May != "" && (slices.Contains(cred.groups, a.Group) || slices.Contains(groupsOf(cred.uid), a.Group)):
		return a.May
	}
	return ""
}

// groupsOf are the groups that the system's files give a user.
func groupsOf(uid int) []int {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	var out []int
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// check says whether a caller may make a request. The error names the privilege that is lacking.
func (c caller) check(path string) error {
	need := api.PrivilegeFor(path)
	switch {
	case c.err != nil:
		return c.err
	case c.may.Covers(need):
		return nil
	case c.may == "":
		return fmt.Errorf("api: user %d has no privilege, and needs %q: %w", c.uid, need, api.ErrNotOwner)
	}
	return fmt.Errorf("api: user %d has the privilege %q alone, and needs %q (group_may in machine.toml): %w", c.uid, c.may, need, api.ErrPrivilege)
}

// MayAdminister says whether who makes the request that ctx is of may do all that the owner may.
func MayAdminister(ctx context.Context) bool {
	c, ok := ctx.Value(callerKey{}).(caller)
	return !ok || c.may.Covers(api.PrivilegeAdminister)
}
