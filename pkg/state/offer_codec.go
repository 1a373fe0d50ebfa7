package state

import (
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Encode is the offer's bytes: [head, [fork…], [[label, from, to, digests, [header…]]…], bytes of the log | -1].
func (o *Offer) Encode() []byte {
	b := cbor.AppendBytes(cbor.AppendArray(nil, 4), o.Head)
	b = appendTexts(b, o.Forks)
	b = cbor.AppendArray(b, len(o.Ways))
	for i := range o.Ways {
		w := &o.Ways[i]
		b = cbor.AppendUint(cbor.AppendArray(b, 5), w.Label.Uint())
		b = cbor.AppendUint(cbor.AppendUint(b, w.From), w.To)
		b = appendTexts(cbor.AppendBytes(b, w.Digests), w.Headers)
	}
	return cbor.AppendInt(b, o.LogBytes)
}

// DecodeOffer reads what Encode writes, and nothing else. It says nothing of what is in it, but that numbers are within their limits. It aliases b. The error is
// block.ErrCorrupt.
func DecodeOffer(b []byte) (Offer, error) {
	r := cbor.NewReader(b)
	r.Tuple(4)
	o := Offer{Head: r.Bytes(len(b)), Forks: readTexts(r, VVMax)}
	o.Ways = list(r, VVMax, func(a, b Way) int { return a.Label.Compare(b.Label) }, func() (w Way) {
		r.Tuple(5)
		w = Way{Label: readActor(r), From: r.Uint(), To: r.Uint(), Digests: r.Bytes(offerDigests * digestLen)}
		w.Headers = readTexts(r, headersMax)
		if n := uint64(len(w.Digests)); r.Err() == nil && (w.From == 0 || w.From > w.To || n%digestLen != 0 || n > 0 && n/digestLen-1 > w.To-w.From) {
			r.Fail("way of actor %s from %d to %d with %d bytes of digests", w.Label, w.From, w.To, n)
		}
		return w
	})
	if o.LogBytes = r.Int(); o.LogBytes < -1 {
		r.Fail("a log of %d bytes", o.LogBytes)
	}
	if err := r.Done(); err != nil {
		return Offer{}, corrupt("offer", err)
	}
	return o, nil
}

// headersMax is how many headers a way has at the most: a skip link leads to a number of one bit less.
const headersMax = 64

// AppendFrom appends an encoded question for DB.Digests to b: [label, from].
func AppendFrom(b []byte, label ident.Actor, from uint64) []byte {
	return cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(b, 2), label.Uint()), from)
}

// DecodeFrom reads what AppendFrom writes. The error is block.ErrCorrupt.
func DecodeFrom(b []byte) (label ident.Actor, from uint64, err error) {
	r := cbor.NewReader(b)
	r.Tuple(2)
	label, from = readActor(r), r.Uint()
	if err := r.Done(); err != nil {
		return ident.Actor{}, 0, corrupt("question for digests", err)
	}
	return label, from, nil
}

func appendTexts(b []byte, texts [][]byte) []byte {
	b = cbor.AppendArray(b, len(texts))
	for _, t := range texts {
		b = cbor.AppendBytes(b, t)
	}
	return b
}

func readTexts(r *cbor.Reader, limit int) [][]byte {
	return list(r, limit, nil, func() []byte { return r.Bytes(2 * HeaderMax) })
}
