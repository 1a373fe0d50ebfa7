package member

import (
	"crypto/subtle"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const domainInvite = "wormhole/invite/1"

// InviteUsesMax is how many pods one invite may admit at most.
const InviteUsesMax = 1024

// Invite is what the issuer of a token keeps about it. It holds no secret: the secret's hash is its key.
type Invite struct {
	SecretHash [32]byte
	Role       Role
	Expires    int64       // seconds of Unix time; 0: never
	Uses       uint32      // how many pods may redeem it, 1 to InviteUsesMax
	Used       []ident.Pod // those that did, in order
}

// HashSecret is the SecretHash of a token's secret.
func HashSecret(secret [16]byte) [32]byte { return blake3.Sum256(signed(domainInvite, secret[:])) }

// Redeem is the invite after pod showed the secret at the time now. The result must be durable before the pod gets
// its certificate. A pod that redeemed it before gets it again, even when it has expired or is used up: the first
// answer may have been lost. Errors: ErrDenied for a wrong secret, ErrExpired, ErrUsed.
func (i Invite) Redeem(pod ident.Pod, secret [16]byte, now time.Time) (Invite, error) {
	hash := HashSecret(secret)
	switch {
	case subtle.ConstantTimeCompare(hash[:], i.SecretHash[:]) != 1:
		return i, fmt.Errorf("invite: %w: wrong secret", ErrDenied)
	case slices.Contains(i.Used, pod):
		return i, nil
	case i.Expires != 0 && now.Unix() >= i.Expires:
		return i, fmt.Errorf("invite: %w", ErrExpired)
	case uint64(len(i.Used)) >= uint64(i.Uses):
		return i, fmt.Errorf("invite: %w", ErrUsed)
	}
	i.Used = append(slices.Clone(i.Used), pod)
	return i, nil
}

// Encode is the invite's bytes, which DecodeInvite reads.
func (i Invite) Encode() []byte {
	b := cbor.AppendArray(nil, 6)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendBytes(b, i.SecretHash[:])
	b = cbor.AppendUint(b, uint64(i.Role))
	b = cbor.AppendInt(b, i.Expires)
	b = cbor.AppendUint(b, uint64(i.Uses))
	b = cbor.AppendArray(b, len(i.Used))
	for _, p := range i.Used {
		b = cbor.AppendBytes(b, p[:])
	}
	return b
}

// DecodeInvite reads what Encode writes; the error is ErrBadMessage.
func DecodeInvite(b []byte) (Invite, error) {
	r := cbor.NewReader(b)
	r.Tuple(6)
	readVersion(r)
	var i Invite
	copy(i.SecretHash[:], r.Fixed(len(i.SecretHash)))
	i.Role = Role(r.UintMax(math.MaxUint8))
	if r.Err() == nil && !i.Role.valid() {
		r.Fail("%s is not known", i.Role)
	}
	i.Expires = r.Int()
	i.Uses = uint32(r.UintMax(InviteUsesMax))
	for range r.Array(int(i.Uses)) {
		i.Used = append(i.Used, readPod(r))
	}
	if err := r.Done(); err != nil {
		return Invite{}, fmt.Errorf("invite: %w: %w", ErrBadMessage, err)
	}
	return i, nil
}
