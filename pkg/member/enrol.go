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

// A reply that offers numbers has a version of its own.
const (
	replyOffer    = 2  // version
	replyFieldsNo = 7  // of version 1
	replyOfferNo  = 11 // of version 2
)

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
	EnrolPending EnrolCode = 6 // ErrPending: ask again

	EnrolElsewhere EnrolCode = 7 // ErrElsewhere
)

// ErrEnrolFailed says that the issuer could not answer an enrolment, for reasons of its own; the text has them.
var ErrEnrolFailed = errors.New("the inviting pod could not enrol this one")

var enrolErrors = [...]error{
	EnrolOK: nil, EnrolDenied: ErrDenied, EnrolExpired: ErrExpired, EnrolUsed: ErrUsed, EnrolBad: ErrBadMessage,
	EnrolFailed: ErrEnrolFailed, EnrolPending: ErrPending, EnrolElsewhere: ErrElsewhere,
}

// EnrolPeer is a pod of the network and where it was last reached.
type EnrolPeer struct {
	Pod   ident.Pod
	Addrs []string // at most 16 multiaddrs
}

// EnrolReply is the issuer's answer: the new pod's chain and what it needs to begin, or why not.
type EnrolReply struct {
	Code        EnrolCode
	Text        string // why not, for people; with EnrolOK "", but in answer to StepLook how strangers are taken in
	Chain       Chain
	NetworkName string
	Statements  [][]byte // as EncodeStatement writes them
	Peers       []EnrolPeer
	Offer       *EnrolOffer // in answer to StepOffer alone, and then there are neither statements nor peers
}

// EnrolOffer is what a user may sign a certificate with for a new pod: a name and numbers that nobody has. It comes with the user's chain.
type EnrolOffer struct {
	PodName          string
	Member           uint32
	RangeLo, RangeHi uint32 // both 0: none
}

// RefuseEnrol is the reply that carries an error: its code, and its text. nil is the programmer's error and gives
// EnrolFailed.
func RefuseEnrol(err error) EnrolReply {
	reply := EnrolReply{Code: EnrolFailed}
	// ErrExpired and ErrUsed are ErrDenied too, so the order matters.
	for _, code := range []EnrolCode{EnrolExpired, EnrolUsed, EnrolDenied, EnrolBad, EnrolPending, EnrolElsewhere} {
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
	fields, version := replyFieldsNo, uint64(formatVersion)
	if y.Offer != nil {
		fields, version = replyOfferNo, replyOffer
	}
	b := cbor.AppendArray(nil, fields)
	b = cbor.AppendUint(b, version)
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
	if o := y.Offer; o != nil {
		b = cbor.AppendText(b, o.PodName)
		for _, n := range []uint32{o.Member, o.RangeLo, o.RangeHi} {
			b = cbor.AppendUint(b, uint64(n))
		}
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
	fields := r.Array(replyOfferNo)
	offers := fields == replyOfferNo
	switch v := r.Uint(); {
	case r.Err() != nil:
	case offers && v != replyOffer, !offers && (v != formatVersion || fields != replyFieldsNo):
		r.Fail("version %d with %d fields is not known", v, fields)
	}
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
	if offers {
		number := func() uint32 { return uint32(r.UintMax(ident.MemberMax)) }
		y.Offer = &EnrolOffer{PodName: readName(r), Member: number(), RangeLo: number(), RangeHi: number()}
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
		if len(chain) > 0 || y.NetworkName != "" || len(y.Statements) > 0 || len(y.Peers) > 0 || y.Offer != nil {
			return errors.New("a refusal with more than its reason")
		}
		return nil
	}
	if err := CheckName(y.NetworkName); err != nil {
		return err
	}
	if y.Offer != nil && (y.Offer.Member == 0 || len(y.Statements) > 0 || len(y.Peers) > 0) {
		return errors.New("an offer of no number, or with more than an offer")
	}
	var err error
	y.Chain, err = DecodeChain(chain)
	return err
}
