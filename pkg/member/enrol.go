package member

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Limits of the enrolment messages.
const (
	EnrolRequestMax = 4 << 10 // bytes
	EnrolReplyMax   = 1 << 20 // bytes

	enrolTextMax       = 1 << 10 // bytes
	enrolStatementsMax = 4096
	enrolPeersMax      = 256
)

// EnrolRequest is what a stranger with a token asks of the token's issuer. The stranger's key is the one that the
// connection proves.
type EnrolRequest struct {
	Secret  [16]byte
	PodName string // wished; the certificate in the reply has the name that was given
	Version uint64 // of this message; Encode writes 1 whatever it is, and DecodeEnrolRequest returns 1
}

// Encode is the request's bytes, which DecodeEnrolRequest reads.
func (q EnrolRequest) Encode() []byte {
	b := cbor.AppendArray(nil, 3)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendBytes(b, q.Secret[:])
	return cbor.AppendText(b, q.PodName)
}

// DecodeEnrolRequest reads what Encode writes; the error is ErrBadMessage.
func DecodeEnrolRequest(b []byte) (EnrolRequest, error) {
	if len(b) > EnrolRequestMax {
		return EnrolRequest{}, fmt.Errorf("enrol request: %w: %d bytes, over the limit of %d", ErrBadMessage, len(b), EnrolRequestMax)
	}
	r := cbor.NewReader(b)
	r.Tuple(3)
	readVersion(r)
	q := EnrolRequest{Version: formatVersion}
	copy(q.Secret[:], r.Fixed(secretBytes))
	q.PodName = readName(r)
	if err := r.Done(); err != nil {
		return EnrolRequest{}, fmt.Errorf("enrol request: %w: %w", ErrBadMessage, err)
	}
	return q, nil
}

// EnrolCode says how an enrolment ended.
type EnrolCode uint8

// The codes of a reply.
const (
	EnrolOK      EnrolCode = 0
	EnrolDenied  EnrolCode = 1 // ErrDenied
	EnrolExpired EnrolCode = 2 // ErrExpired
	EnrolUsed    EnrolCode = 3 // ErrUsed
	EnrolBad     EnrolCode = 4 // ErrBadMessage: the request can't be read, or is of a version that is not known
	EnrolFailed  EnrolCode = 5 // the issuer could not, for reasons of its own
)

// ErrEnrolFailed says that the issuer could not answer an enrolment, for reasons of its own; the text has them.
var ErrEnrolFailed = errors.New("the inviting pod could not enrol this one")

var enrolErrors = [...]error{
	EnrolOK: nil, EnrolDenied: ErrDenied, EnrolExpired: ErrExpired, EnrolUsed: ErrUsed, EnrolBad: ErrBadMessage,
	EnrolFailed: ErrEnrolFailed,
}

// EnrolPeer is a pod of the network and where it was last reached.
type EnrolPeer struct {
	Pod   ident.Pod
	Addrs []string // at most 16 multiaddrs
}

// EnrolReply is the issuer's answer: the new pod's chain and what it needs to begin, or why not.
type EnrolReply struct {
	Code        EnrolCode
	Text        string // why not, for people; "" with EnrolOK
	Chain       Chain
	NetworkName string
	Statements  [][]byte // as EncodeStatement writes them
	Peers       []EnrolPeer
}

// RefuseEnrol is the reply that carries an error: its code, and its text. nil is the programmer's error and gives
// EnrolFailed.
func RefuseEnrol(err error) EnrolReply {
	reply := EnrolReply{Code: EnrolFailed}
	// ErrExpired and ErrUsed are ErrDenied too, so the order matters.
	for _, code := range []EnrolCode{EnrolExpired, EnrolUsed, EnrolDenied, EnrolBad} {
		if errors.Is(err, enrolErrors[code]) {
			reply.Code = code
			break
		}
	}
	if err != nil {
		reply.Text = cutText(err.Error())
	}
	return reply
}

// cutText makes a text fit a reply: valid UTF-8 of at most enrolTextMax bytes.
func cutText(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), enrolTextMax)], "?")
}

// Err is nil for EnrolOK, else an error that wraps the code's sentinel and has the text.
func (y EnrolReply) Err() error {
	if y.Code == EnrolOK {
		return nil
	}
	err := ErrEnrolFailed
	if int(y.Code) < len(enrolErrors) {
		err = enrolErrors[y.Code]
	}
	return fmt.Errorf("enrol: %w (the inviting pod says: %s)", err, y.Text)
}

// Encode is the reply's bytes, which DecodeEnrolReply reads. Of a refusal only code and text are written; of peers
// at most 256. The caller sees to it that the statements leave the whole within EnrolReplyMax.
func (y EnrolReply) Encode() []byte {
	var chain []byte
	if y.Code == EnrolOK {
		chain = y.Chain.Encode()
	} else {
		y = EnrolReply{Code: y.Code, Text: y.Text}
	}
	b := cbor.AppendArray(nil, 7)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendUint(b, uint64(y.Code))
	b = cbor.AppendText(b, cutText(y.Text))
	b = cbor.AppendBytes(b, chain)
	b = cbor.AppendText(b, y.NetworkName)
	b = cbor.AppendArray(b, len(y.Statements))
	for _, s := range y.Statements {
		b = cbor.AppendBytes(b, s)
	}
	peers := y.Peers[:min(len(y.Peers), enrolPeersMax)]
	b = cbor.AppendArray(b, len(peers))
	for _, p := range peers {
		b = cbor.AppendArray(b, 2)
		b = cbor.AppendBytes(b, p.Pod[:])
		b = appendAddrs(b, usableAddrs(p.Addrs))
	}
	return b
}

// DecodeEnrolReply reads what Encode writes; a refusal is no error here, see Err. The chain is not proved: call
// Verify. The error is ErrBadMessage.
func DecodeEnrolReply(b []byte) (EnrolReply, error) {
	if len(b) > EnrolReplyMax {
		return EnrolReply{}, fmt.Errorf("enrol reply: %w: %d bytes, over the limit of %d", ErrBadMessage, len(b), EnrolReplyMax)
	}
	r := cbor.NewReader(b)
	r.Tuple(7)
	readVersion(r)
	y := EnrolReply{Code: EnrolCode(r.UintMax(math.MaxUint8)), Text: r.Text(enrolTextMax)}
	chain := r.Bytes(ChainBytesMax)
	y.NetworkName = r.Text(NameMax)
	for range r.Array(enrolStatementsMax) {
		y.Statements = append(y.Statements, bytes.Clone(r.Bytes(StatementMax)))
	}
	for range r.Array(enrolPeersMax) {
		r.Tuple(2)
		y.Peers = append(y.Peers, EnrolPeer{Pod: readPod(r), Addrs: readAddrs(r)})
	}
	err := r.Done()
	if err == nil {
		err = y.readBody(chain)
	}
	if err != nil {
		return EnrolReply{}, fmt.Errorf("enrol reply: %w: %w", ErrBadMessage, err)
	}
	return y, nil
}

// readBody fills in the chain and checks that a refusal carries nothing but its reason.
func (y *EnrolReply) readBody(chain []byte) error {
	if y.Code != EnrolOK {
		if len(chain) > 0 || y.NetworkName != "" || len(y.Statements) > 0 || len(y.Peers) > 0 {
			return errors.New("a refusal with more than its reason")
		}
		return nil
	}
	if err := CheckName(y.NetworkName); err != nil {
		return err
	}
	var err error
	y.Chain, err = DecodeChain(chain)
	return err
}
