package api

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrPrivilege says that a user of this machine lacks the privilege for what was asked; the text names it.
var ErrPrivilege = errors.New("a privilege is lacking")

// Privilege is what the daemon's owner may allow to a group of this machine's users. The owner and root have all.
type Privilege string

// The privileges, each with those before it.
const (
	PrivilegeStatus     Privilege = "status"     // see how the pods are, and no name of a file
	PrivilegeMount      Privilege = "mount"      // mount and unmount the folders that pod.toml names
	PrivilegeAdminister Privilege = "administer" // all that the owner may, files included
)

// privileges are in order.
var privileges = []Privilege{PrivilegeStatus, PrivilegeMount, PrivilegeAdminister}

// ParsePrivilege reads the name of one; "" is none. The error is ErrUsage.
func ParsePrivilege(s string) (Privilege, error) {
	if p := Privilege(s); s == "" || slices.Contains(privileges, p) {
		return p, nil
	}
	return "", fmt.Errorf("%q is not status, mount or administer: %w", s, ErrUsage)
}

// Covers says whether who has p has other too.
func (p Privilege) Covers(other Privilege) bool {
	return p != "" && slices.Index(privileges, p) >= slices.Index(privileges, other)
}

// needs are the requests that less than PrivilegeAdminister is enough for.
var needs = map[string]Privilege{
	"health": PrivilegeStatus, "mounts": PrivilegeStatus, "pods": PrivilegeStatus, "peers": PrivilegeStatus, "stats": PrivilegeStatus, "status": PrivilegeStatus,
	"can-stop": PrivilegeStatus, "usage": PrivilegeStatus, "root": PrivilegeStatus, "roots": PrivilegeStatus, "members": PrivilegeStatus, "member/log": PrivilegeStatus, "cache": PrivilegeStatus,
	"repair": PrivilegeStatus, "metrics": PrivilegeStatus,
	"mount": PrivilegeMount, "unmount": PrivilegeMount,
}

// PrivilegeFor is what a request needs, by its path.
func PrivilegeFor(path string) Privilege {
	if p, ok := needs[strings.TrimPrefix(path, Prefix)]; ok {
		return p
	}
	return PrivilegeAdminister
}
