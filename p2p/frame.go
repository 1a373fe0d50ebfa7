package p2p

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// role says what a stream of protoX carries; it stands in the preamble.
type role byte

const (
	roleMessages role = 1 // the hello, then questions and messages; one on each connection, opened by its dialler
	roleGet      role = 2 // blocks that the opener gets
	rolePut      role = 3 // blocks that the opener puts
	roleEnrol    role = 4 // a stranger's request, on protoEnrol
)

// preambleLen is the length in bytes of what each side sends first on a stream.
const preambleLen = 8

const preambleMagic = "whx\x01" // the last byte is the version

func appendPreamble(b []byte, r role) []byte {
	b = append(b, preambleMagic...)
	return append(b, byte(r), 0, 0, 0)
}

// readPreamble reads the other side's preamble; the error is ErrProtocol or the reader's.
func readPreamble(r io.Reader) (role, error) {
	var b [preambleLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, fmt.Errorf("p2p: read preamble: %w", err)
	}
	if string(b[:4]) != preambleMagic || b[4] == 0 || role(b[4]) > roleEnrol || b[5]|b[6]|b[7] != 0 {
		return 0, fmt.Errorf("p2p: preamble %x: %w", b, ErrProtocol)
	}
	return role(b[4]), nil
}

// frameType says what a frame is; each role knows its own.
type frameType byte

const (
	frameHello    frameType = 1  // body: hello
	frameReady    frameType = 2  // the dialler admits the other side too
	frameRefuse   frameType = 3  // body: the reason; the connection is closed after it
	framePing     frameType = 4  // id: a number that rises
	framePong     frameType = 5  // id: the ping's
	frameTell     frameType = 6  // a piece of a message
	frameQuestion frameType = 7  // a piece of a question; ids rise
	frameAnswer   frameType = 8  // a piece of the answer; id: the question's
	frameFail     frameType = 9  // instead of an answer, a block or a reply; body: failure
	frameCancel   frameType = 10 // the asker lost interest; id: the question's, which is answered all the same
	frameAddrs    frameType = 11 // where the sender listens now; body: addresses

	frameGet   frameType = 16 // body: ids; id: a number that rises
	frameData  frameType = 17 // body: a block's header and form, or a fragment; id: the request's
	frameMiss  frameType = 18 // the block is not here
	frameOffer frameType = 19 // body: ids; id: a number that rises
	frameWant  frameType = 20 // body: a bit for each id, lowest bit first: 1 send, 0 have
	frameAck   frameType = 21 // body: acks, after what was put is durable

	frameGetFragments   frameType = 22 // body: names of fragments; answered as frameGet is
	frameOfferFragments frameType = 23 // body: names of fragments; answered as frameOffer is

	frameEnrol frameType = 32 // body: the request
	frameReply frameType = 33 // body: the reply
)

const (
	frameHeaderLen = 16       // bytes
	pieceMax       = 64 << 10 // bytes of a message, question or answer in one frame, so that others get in between
	batchMax       = 256      // ids, or names of fragments, in one request
	addrsMax       = 8 << 10  // bytes of a frame of addresses
	ackTextMax     = 256      // bytes of text for each failed block of an ack

	flagMore = 1 // another piece of the same message, question or answer follows
)

// bodyMax is how long the body of a frame may be in a role, or false if the role knows no such frame.
func bodyMax(r role, t frameType) (int, bool) {
	switch r {
	case roleMessages:
		switch t {
		case frameHello:
			return helloFixed + HelloMax, true
		case frameReady, framePing, framePong, frameCancel:
			return 0, true
		case frameRefuse:
			return ReasonMax, true
		case frameFail:
			return 1 + ReasonMax, true
		case frameTell, frameQuestion, frameAnswer:
			return pieceMax, true
		case frameAddrs:
			return addrsMax, true
		}
	case roleGet, rolePut:
		switch t {
		case frameGet, frameOffer:
			return batchMax * block.IDLen, true
		case frameGetFragments, frameOfferFragments:
			return batchMax * block.FragmentLen, true
		case frameData:
			return WireMax, true
		case frameMiss:
			return 0, true
		case frameFail:
			return 1 + ReasonMax, true
		case frameWant:
			return batchMax / 8, true
		case frameAck:
			return batchMax * (ackFixed + ackTextMax), true
		}
	case roleEnrol:
		switch t {
		case frameEnrol:
			return EnrolMax, true
		case frameReply:
			return EnrolReplyMax, true
		case frameFail:
			return 1 + ReasonMax, true
		}
	}
	return 0, false
}

// frameHeader stands before each frame's body.
type frameHeader struct {
	length uint32 // bytes of the body
	typ    frameType
	kind   Kind // of a message or question; the class of a request for blocks or offer of them; else 0
	flags  byte
	id     uint64
}

func (f frameHeader) more() bool { return f.flags&flagMore != 0 }

func (f frameHeader) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, f.length)
	b = append(b, byte(f.typ), byte(f.kind), f.flags, 0)
	return binary.BigEndian.AppendUint64(b, f.id)
}

// parseFrameHeader reads a header and checks it against what the role allows; the error is ErrProtocol.
func parseFrameHeader(r role, b *[frameHeaderLen]byte) (frameHeader, error) {
	f := frameHeader{
		length: binary.BigEndian.Uint32(b[:]),
		typ:    frameType(b[4]),
		kind:   Kind(b[5]),
		flags:  b[6],
		id:     binary.BigEndian.Uint64(b[8:]),
	}
	limit, known := bodyMax(r, f.typ)
	pieces := f.typ == frameTell || f.typ == frameQuestion || f.typ == frameAnswer
	switch {
	case !known:
		return f, fmt.Errorf("p2p: frame of type %d in role %d: %w", f.typ, r, ErrProtocol)
	case uint64(f.length) > uint64(limit):
		return f, fmt.Errorf("p2p: frame of type %d has %d bytes, over the limit of %d: %w", f.typ, f.length, limit, ErrProtocol)
	case f.flags&^flagMore != 0 || b[7] != 0 || (f.flags != 0 && !pieces) || (f.kind != 0 && !pieces && !f.typ.hasClass()):
		return f, fmt.Errorf("p2p: frame header %x: %w", b[:8], ErrProtocol)
	case f.more() && f.length == 0:
		return f, fmt.Errorf("p2p: empty piece of type %d: %w", f.typ, ErrProtocol)
	}
	return f, nil
}

// readHeader reads a frame's header; its body follows in r. Errors: ErrProtocol, the reader's.
func readHeader(r io.Reader, ro role) (frameHeader, error) {
	var b [frameHeaderLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return frameHeader{}, fmt.Errorf("p2p: read frame: %w", err)
	}
	return parseFrameHeader(ro, &b)
}

// readBody reads the body of the frame whose header was read.
func readBody(r io.Reader, f frameHeader) ([]byte, error) {
	return appendBody(nil, r, f)
}

// appendBody reads the body of the frame whose header was read onto the end of b.
func appendBody(b []byte, r io.Reader, f frameHeader) ([]byte, error) {
	if f.length == 0 {
		return b, nil
	}
	at := len(b)
	b = append(b, make([]byte, f.length)...)
	if _, err := io.ReadFull(r, b[at:]); err != nil {
		return nil, fmt.Errorf("p2p: read frame: %w", err)
	}
	return b, nil
}

// readFrame reads a whole frame. Errors: ErrProtocol, the reader's.
func readFrame(r io.Reader, ro role) (frameHeader, []byte, error) {
	f, err := readHeader(r, ro)
	if err != nil {
		return f, nil, err
	}
	b, err := readBody(r, f)
	return f, b, err
}

// appendFrame appends a whole frame to b; f.length is computed.
func appendFrame(b []byte, f frameHeader, body []byte) []byte {
	f.length = uint32(len(body))
	return append(f.append(b), body...)
}

// writeFrame writes a whole frame; f.length is computed.
func writeFrame(w io.Writer, f frameHeader, body []byte) error {
	f.length = uint32(len(body))
	var b [frameHeaderLen]byte
	if _, err := w.Write(f.append(b[:0])); err != nil {
		return fmt.Errorf("p2p: write frame: %w", err)
	}
	if len(body) == 0 {
		return nil
	}
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("p2p: write frame: %w", err)
	}
	return nil
}
