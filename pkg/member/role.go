package member

import "fmt"

// Role is what a member may do. A lower number may more, and a chain's roles never rise.
type Role uint8

// The roles.
const (
	RoleAdmin   Role = 1 // all that a writer may, and admit others
	RoleWriter  Role = 2 // change the tree
	RoleReader  Role = 3 // read the tree
	RoleStorage Role = 4 // hold blocks, and on an encrypted network read nothing
)

var roleNames = [...]string{RoleAdmin: "admin", RoleWriter: "writer", RoleReader: "reader", RoleStorage: "storage"}

// String is the role's name as in `wh invite --role`.
func (r Role) String() string {
	if !r.valid() {
		return fmt.Sprintf("role-%d", uint8(r))
	}
	return roleNames[r]
}

// ParseRole reads what String writes for the four roles; the error is ErrBadName.
func ParseRole(s string) (Role, error) {
	for r := RoleAdmin; r <= RoleStorage; r++ {
		if roleNames[r] == s {
			return r, nil
		}
	}
	return 0, fmt.Errorf("role %q: admin, writer, reader or storage: %w", s, ErrBadName)
}

// MayWrite says whether commits of this role count.
func (r Role) MayWrite() bool { return r == RoleAdmin || r == RoleWriter }

// MayRead says whether the role may read the tree.
func (r Role) MayRead() bool { return r.MayWrite() || r == RoleReader }

// MayAdmit says whether the role may invite others and sign certificates for them.
func (r Role) MayAdmit() bool { return r == RoleAdmin }

func (r Role) valid() bool { return r >= RoleAdmin && r <= RoleStorage }

// Kind is what a certificate's subject is.
type Kind uint8

// The kinds. A chain's kinds never fall.
const (
	KindAdmin Kind = 1 // a person or key that signs others
	KindUser  Kind = 2 // a person, who signs the pods they run
	KindPod   Kind = 3 // a pod; with the role admin and a range it signs other pods
)

// String is the kind's name.
func (k Kind) String() string {
	switch k {
	case KindAdmin:
		return "admin"
	case KindUser:
		return "user"
	case KindPod:
		return "pod"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

func (k Kind) valid() bool { return k >= KindAdmin && k <= KindPod }
