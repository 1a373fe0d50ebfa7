package member

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const formatVersion = 1 // of every tuple here that begins with one

// Limits of the parts that several formats share.
const (
	extFieldsMax = 16
	extBytesMax  = 256 // of one field
	addrsMax     = 16  // of one pod
	addrBytesMax = 256 // of one address: a multiaddr's text
)

// Field is one extension: a number that a later version gave a meaning, and its value.
type Field struct {
	ID    uint32
	Value []byte // at most 256 bytes
}

func appendExt(b []byte, ext []Field) []byte {
	b = cbor.AppendArray(b, len(ext))
	for _, f := range ext {
		b = cbor.AppendArray(b, 2)
		b = cbor.AppendUint(b, uint64(f.ID))
		b = cbor.AppendBytes(b, f.Value)
	}
	return b
}

func readExt(r *cbor.Reader) []Field {
	n := r.Array(extFieldsMax)
	if n == 0 {
		return nil
	}
	ext := make([]Field, 0, n)
	for range n {
		r.Tuple(2)
		f := Field{ID: uint32(r.UintMax(math.MaxUint32)), Value: bytes.Clone(r.Bytes(extBytesMax))}
		if len(ext) > 0 && f.ID <= ext[len(ext)-1].ID {
			r.Fail("extension %d is out of order", f.ID)
		}
		ext = append(ext, f)
	}
	return ext
}

// checkExt holds for what is about to be encoded the rules that readExt holds for what is read.
func checkExt(ext []Field) error {
	if len(ext) > extFieldsMax {
		return fmt.Errorf("%d extensions, over the limit of %d", len(ext), extFieldsMax)
	}
	for i, f := range ext {
		if len(f.Value) > extBytesMax || (i > 0 && f.ID <= ext[i-1].ID) {
			return fmt.Errorf("extension %d is too long or out of order", f.ID)
		}
	}
	return nil
}

func readKey(r *cbor.Reader) ed25519.PublicKey { return r.Fixed(ed25519.PublicKeySize) }

func readPod(r *cbor.Reader) ident.Pod { return ident.Pod(r.Fixed(len(ident.Pod{}))) }

func readNetwork(r *cbor.Reader) ident.Network {
	return ident.Network(r.Fixed(len(ident.Network{})))
}

func readVersion(r *cbor.Reader) {
	if v := r.Uint(); r.Err() == nil && v != formatVersion {
		r.Fail("version %d is not known", v)
	}
}

func readName(r *cbor.Reader) string {
	s := r.Text(NameMax)
	if err := CheckName(s); r.Err() == nil && err != nil {
		r.Fail("%v", err)
	}
	return s
}

func appendAddrs(b []byte, addrs []string) []byte {
	b = cbor.AppendArray(b, len(addrs))
	for _, a := range addrs {
		b = cbor.AppendText(b, a)
	}
	return b
}

func readAddrs(r *cbor.Reader) []string {
	var addrs []string
	for range r.Array(addrsMax) {
		addrs = append(addrs, r.Text(addrBytesMax))
	}
	return addrs
}

// usableAddrs drops what a reader would refuse: too long, no text, or too many.
func usableAddrs(addrs []string) []string {
	var out []string
	for _, a := range addrs {
		if len(a) <= addrBytesMax && utf8.ValidString(a) && len(out) < addrsMax {
			out = append(out, a)
		}
	}
	return out
}

// signed is the message that a signature covers: the domain, a zero byte, the body.
func signed(domain string, body []byte) []byte {
	b := make([]byte, 0, len(domain)+1+len(body))
	b = append(b, domain...)
	return append(append(b, 0), body...)
}
