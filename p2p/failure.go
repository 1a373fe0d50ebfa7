package p2p

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// failCode is how an error crosses the wire: a code that becomes a sentinel again, and a text.
type failCode byte

const (
	failOK          failCode = 0 // in acks only
	failOther       failCode = 1
	failNotFound    failCode = 2
	failBusy        failCode = 3
	failCorrupt     failCode = 4
	failUnavailable failCode = 5
	failFull        failCode = 6
	failCancelled   failCode = 7
	failRefused     failCode = 8
)

// failures pairs codes with the sentinels that they stand for, in the order in which they are looked for.
var failures = []struct {
	code failCode
	err  error
}{
	{failNotFound, block.ErrNotFound},
	{failBusy, ErrBusy},
	{failCorrupt, block.ErrCorrupt},
	{failFull, ErrFull},
	{failUnavailable, block.ErrUnavailable},
	{failRefused, ErrRefused},
	{failCancelled, context.Canceled},
	{failCancelled, context.DeadlineExceeded},
}

func failCodeOf(err error) failCode {
	for _, f := range failures {
		if errors.Is(err, f.err) {
			return f.code
		}
	}
	return failOther
}

// sentinel is the error that a code stands for. A question that the peer gave up though we did not is
// only a failure of the peer.
func (c failCode) sentinel() error {
	for _, f := range failures {
		if f.code == c && c != failCancelled {
			return f.err
		}
	}
	return ErrRemote
}

// encodeFailure is the body of a frameFail: code, then text.
func encodeFailure(err error) []byte {
	return append([]byte{byte(failCodeOf(err))}, cutText(err.Error(), ReasonMax)...)
}

// decodeFailure makes the error that a frameFail carries.
func decodeFailure(b []byte) error {
	if len(b) == 0 {
		return ErrRemote
	}
	return remoteError(failCode(b[0]), b[1:])
}

func remoteError(c failCode, text []byte) error {
	return fmt.Errorf("peer says: %s: %w", cleanText(text), c.sentinel())
}

// cutText cuts s to at most limit bytes, at a rune.
func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	s = s[:limit]
	for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s
}

// cleanText is a peer's text without what could upset a terminal or a log.
func cleanText(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b[:min(len(b), ReasonMax)]), ""))
}

// ackFixed is the length in bytes of an ack's fixed part: code and length of the text.
const ackFixed = 3

// appendAck appends how one block of a put went: code, u16 length of the text, text. nil: it is durable.
func appendAck(b []byte, err error) []byte {
	if err == nil {
		return append(b, byte(failOK), 0, 0)
	}
	text := cutText(err.Error(), ackTextMax)
	b = append(b, byte(failCodeOf(err)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}

// parseAcks reads n acks into errs; the error is ErrProtocol.
func parseAcks(b []byte, errs []error) error {
	for i := range errs {
		if len(b) < ackFixed {
			return fmt.Errorf("p2p: %d acks of %d: %w", i, len(errs), ErrProtocol)
		}
		code, n := failCode(b[0]), int(binary.BigEndian.Uint16(b[1:]))
		b = b[ackFixed:]
		if n > ackTextMax || n > len(b) || (code == failOK && n != 0) {
			return fmt.Errorf("p2p: ack %d: text of %d bytes: %w", i, n, ErrProtocol)
		}
		errs[i] = nil
		if code != failOK {
			errs[i] = remoteError(code, b[:n])
		}
		b = b[n:]
	}
	if len(b) != 0 {
		return fmt.Errorf("p2p: %d bytes after the acks: %w", len(b), ErrProtocol)
	}
	return nil
}
