package member

import (
	"crypto/ed25519"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
)

// Requests without a token have a version of their own.
const (
	requestFieldsNo = 3 // of version 1
	requestAsk      = 2 // version
	requestAskNo    = 6 // fields of version 2
	enrolCertMax    = 3 << 10
)

// EnrolStep says by what right a stranger asks.
type EnrolStep uint8

// The steps.
const (
	StepToken EnrolStep = 0 // by the secret of a token
	StepOffer EnrolStep = 1 // by a user's key: the answer has the user's chain and an EnrolOffer
	StepUser  EnrolStep = 2 // by a certificate that this user signed with what was offered
	StepLook  EnrolStep = 3 // whether a network of this name is here that takes strangers: the answer has the asked pod's chain
	StepAsk   EnrolStep = 4 // to be let in
)

// EnrolRequest is what a stranger asks of a pod of the network. The stranger's key is the one that the connection proves.
type EnrolRequest struct {
	Step    EnrolStep
	Secret  [16]byte // with StepToken alone
	PodName string   // wished; the certificate in the reply has the name that was given

	// With the other steps. A user's key with StepOffer, a certificate with StepUser, else none.
	NetworkName string // "": whichever the asked pod is of
	User        ed25519.PublicKey
	Cert        *Cert

	Version uint64 // of this message; Encode writes it whatever it is, and DecodeEnrolRequest returns it
}

// Encode is the request's bytes, which DecodeEnrolRequest reads.
func (q EnrolRequest) Encode() []byte {
	if q.Step == StepToken {
		b := cbor.AppendArray(nil, requestFieldsNo)
		b = cbor.AppendUint(b, formatVersion)
		b = cbor.AppendBytes(b, q.Secret[:])
		return cbor.AppendText(b, q.PodName)
	}
	b := cbor.AppendArray(nil, requestAskNo)
	b = cbor.AppendUint(b, requestAsk)
	b = cbor.AppendUint(b, uint64(q.Step))
	b = cbor.AppendText(b, q.NetworkName)
	b = cbor.AppendBytes(b, q.User)
	b = cbor.AppendText(b, q.PodName)
	var cert []byte
	if q.Cert != nil {
		cert = q.Cert.append(nil)
	}
	return cbor.AppendBytes(b, cert)
}

// DecodeEnrolRequest reads what Encode writes. A certificate in it is not proved. The error is ErrBadMessage.
func DecodeEnrolRequest(b []byte) (EnrolRequest, error) {
	if len(b) > EnrolRequestMax {
		return EnrolRequest{}, fmt.Errorf("enrol request: %w: %d bytes, over the limit of %d", ErrBadMessage, len(b), EnrolRequestMax)
	}
	r := cbor.NewReader(b)
	fields := r.Array(requestAskNo)
	q := EnrolRequest{Version: r.Uint()}
	switch {
	case r.Err() != nil:
	case fields == requestFieldsNo && q.Version == formatVersion:
		copy(q.Secret[:], r.Fixed(secretBytes))
		q.PodName = readName(r)
	case fields == requestAskNo && q.Version == requestAsk:
		q.readAsk(r)
	default:
		r.Fail("version %d with %d fields is not known", q.Version, fields)
	}
	if err := r.Done(); err != nil {
		return EnrolRequest{}, fmt.Errorf("enrol request: %w: %w", ErrBadMessage, err)
	}
	return q, nil
}

func (q *EnrolRequest) readAsk(r *cbor.Reader) {
	q.Step = EnrolStep(r.UintMax(uint64(StepAsk)))
	if q.NetworkName = r.Text(NameMax); q.NetworkName != "" {
		if err := CheckName(q.NetworkName); err != nil {
			r.Fail("%v", err)
		}
	}
	user := r.Bytes(ed25519.PublicKeySize)
	q.PodName = readName(r)
	cert := r.Bytes(enrolCertMax)
	switch {
	case r.Err() != nil:
	case q.Step == StepToken:
		r.Fail("a token's request with the fields of another")
	case (len(user) == ed25519.PublicKeySize) != (q.Step == StepOffer) || (len(user) == 0) != (q.Step != StepOffer):
		r.Fail("a user's key of %d bytes in step %d", len(user), q.Step)
	case (len(cert) > 0) != (q.Step == StepUser):
		r.Fail("a certificate of %d bytes in step %d", len(cert), q.Step)
	}
	if r.Err() != nil {
		return
	}
	if len(user) > 0 {
		q.User = append(ed25519.PublicKey(nil), user...)
	}
	if len(cert) > 0 {
		in := cbor.NewReader(cert)
		c := readCert(in)
		if err := in.Done(); err != nil {
			r.Fail("certificate: %v", err)
			return
		}
		q.Cert = &c
	}
}
