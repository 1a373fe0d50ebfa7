package member

import (
	"bytes"
	"fmt"
	"math"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// StatementMax is the most bytes of a statement with its envelope.
const StatementMax = 64 << 10

// StatementKind says what the bytes in a statement's envelope are.
type StatementKind uint8

// The kinds of statements in use. Others are kept and passed on, so that old pods carry what new ones say.
const (
	KindChain   StatementKind = 1 // an encoded Chain
	KindLayout  StatementKind = 2 // a signed entry of the layout (package placement)
	KindNetwork StatementKind = 3 // the network's Settings
	KindKey     StatementKind = 4 // a SealedKey
	KindFork    StatementKind = 5 // the proof that copies of a pod went on apart (package state)
	KindOut     StatementKind = 6 // an Out
	KindRevoke  StatementKind = 7 // a Revoke
	KindRekey   StatementKind = 8 // a Rekey
)

// EncodeStatement puts a body in its envelope; equal statements are equal bytes.
func EncodeStatement(kind StatementKind, body []byte) []byte {
	b := cbor.AppendArray(nil, 2)
	b = cbor.AppendUint(b, uint64(kind))
	return cbor.AppendBytes(b, body)
}

// DecodeStatement opens an envelope and proves nothing about the body, which is the caller's. A kind that is not
// known is no error. The error is ErrBadStatement.
func DecodeStatement(b []byte) (kind StatementKind, body []byte, err error) {
	if len(b) > StatementMax {
		return 0, nil, fmt.Errorf("%w: %d bytes, over the limit of %d", ErrBadStatement, len(b), StatementMax)
	}
	r := cbor.NewReader(b)
	r.Tuple(2)
	kind = StatementKind(r.UintMax(math.MaxUint8))
	body = bytes.Clone(r.Bytes(StatementMax))
	if err := r.Done(); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrBadStatement, err)
	}
	return kind, body, nil
}
