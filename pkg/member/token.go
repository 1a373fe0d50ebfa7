package member

import (
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

const (
	domainToken   = "wormhole/token/1"
	tokenPrefix   = "wh1"
	tokenSumBytes = 4
	tokenTextMax  = 8 << 10 // bytes of text: more than the largest tuple needs
	secretBytes   = 16
)

// tokenText is base32 as in RFC 4648, in lower case and with no padding: one word to select with a double click.
var tokenText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Token is what `wh invite` prints and `wh join` takes: where to ask for a certificate, whom, and with which secret.
// Who holds it may join: it is a secret until it is used.
type Token struct {
	Network     ident.Network
	NetworkName string
	Issuer      ident.Pod // the only pod that redeems it
	Secret      [16]byte
	Addrs       []string // multiaddrs of the issuer, at most 16
}

// String is the token as one word. Addresses that do not fit the limits are left out.
func (t Token) String() string {
	b := cbor.AppendArray(nil, 5)
	b = cbor.AppendBytes(b, t.Network[:])
	b = cbor.AppendText(b, t.NetworkName)
	b = cbor.AppendBytes(b, t.Issuer[:])
	b = cbor.AppendBytes(b, t.Secret[:])
	b = appendAddrs(b, usableAddrs(t.Addrs))
	return tokenPrefix + tokenText.EncodeToString(append(b, tokenSum(b)...))
}

func tokenSum(b []byte) []byte {
	sum := blake3.Sum256(signed(domainToken, b))
	return sum[:tokenSumBytes]
}

// ParseToken reads what String writes; space around it and upper case are forgiven. The error is ErrBadToken.
func ParseToken(s string) (Token, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	text, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok || len(s) > tokenTextMax {
		return Token{}, fmt.Errorf("%w: does not begin with %q or is too long", ErrBadToken, tokenPrefix)
	}
	b, err := tokenText.DecodeString(text)
	if err != nil || tokenText.EncodeToString(b) != text || len(b) < tokenSumBytes {
		return Token{}, fmt.Errorf("%w: mistyped or cut short", ErrBadToken)
	}
	b, sum := b[:len(b)-tokenSumBytes], b[len(b)-tokenSumBytes:]
	if subtle.ConstantTimeCompare(sum, tokenSum(b)) != 1 {
		return Token{}, fmt.Errorf("%w: mistyped or cut short: checksum differs", ErrBadToken)
	}
	r := cbor.NewReader(b)
	r.Tuple(5)
	t := Token{Network: readNetwork(r), NetworkName: readName(r), Issuer: readPod(r)}
	copy(t.Secret[:], r.Fixed(secretBytes))
	t.Addrs = readAddrs(r)
	if err := r.Done(); err != nil {
		return Token{}, fmt.Errorf("%w: %w", ErrBadToken, err)
	}
	return t, nil
}
