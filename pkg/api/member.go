package api

import "time"

// Ticket is a right to make one pod, as pod.Ticket is. It holds a private key: it goes over the local socket alone.
type Ticket struct {
	Key         []byte   `json:"key"` // the pod's private key, 64 bytes
	Network     string   `json:"network"`
	NetworkName string   `json:"network_name"`
	Pod         string   `json:"pod"` // who lets it in
	Addrs       []string `json:"addrs"`
	Chain       []byte   `json:"chain,omitempty"` // that a user signed
	PodName     string   `json:"pod_name,omitempty"`
}

// AddMember asks for a user to be made a member.
type AddMember struct {
	Key  []byte `json:"key"` // an Ed25519 public key, 32 bytes
	Name string `json:"name"`
	Role string `json:"role"`
}

// Member is a pod or user of the network.
type Member struct {
	Name    Text       `json:"name"`
	Kind    string     `json:"kind"` // user, pod
	ID      string     `json:"id"`
	Role    string     `json:"role"`
	By      Text       `json:"by"` // who admitted it
	Revoked bool       `json:"revoked"`
	Ends    *time.Time `json:"ends"` // when its certificates end; null: never
}

// Asker is a stranger that waits to be let in.
type Asker struct {
	Name  Text      `json:"name"` // as it calls itself
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
}

// AcceptRequest lets a stranger in, or denies it.
type AcceptRequest struct {
	Name string `json:"name"` // or its ID
	Role string `json:"role"`
	Deny bool   `json:"deny,omitempty"`
}

// Invite is an invitation that a pod made.
type Invite struct {
	ID   string    `json:"id"`
	Role string    `json:"role"`
	Ends time.Time `json:"ends"`
	Uses int       `json:"uses"` // how many pods may join by it
	Used []string  `json:"used"` // those that did
}

// MemberRequest names a member, or an invitation by its ID.
type MemberRequest struct {
	Name string `json:"name"`
}

// RootKey is a network's root key, PKCS #8 in PEM: it goes over the local socket alone.
type RootKey struct {
	PEM []byte `json:"pem"`
}

// RoleRequest asks for a pod or user to be given a role.
type RoleRequest struct {
	Name string `json:"name"`
	Role string `json:"role"`
}

// MemberEvent is a step in the history of the members.
type MemberEvent struct {
	At   *time.Time `json:"at"`   // null: not known
	What string     `json:"what"` // admitted, role, revoked
	Name Text       `json:"name"`
	Kind string     `json:"kind"` // pod, user, admin
	ID   string     `json:"id"`
	Role string     `json:"role"` // from then on; "": none
	By   Text       `json:"by"`
}
