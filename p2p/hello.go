package p2p

import (
	"encoding/binary"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// helloFixed is the length in bytes of a hello's fixed part.
const helloFixed = len(ident.Network{}) + 8

// hello is what each side shows first on a connection:
//
//	0   [32]byte   network id
//	32  u64        instance: a random number drawn when the pod started, plus its sessions with the other pod
//	40  rest       what Config.Hello returned
type hello struct {
	network  ident.Network
	instance uint64
	body     []byte
}

func (h hello) encode() []byte {
	b := append([]byte(nil), h.network[:]...)
	b = binary.BigEndian.AppendUint64(b, h.instance)
	return append(b, h.body...)
}

// decodeHello reads what encode writes; the body is part of b. The error is ErrProtocol.
func decodeHello(b []byte) (hello, error) {
	if len(b) < helloFixed || len(b) > helloFixed+HelloMax {
		return hello{}, fmt.Errorf("p2p: hello of %d bytes: %w", len(b), ErrProtocol)
	}
	return hello{
		network:  ident.Network(b[:len(ident.Network{})]),
		instance: binary.BigEndian.Uint64(b[len(ident.Network{}):]),
		body:     b[helloFixed:],
	}, nil
}
