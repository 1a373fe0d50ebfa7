// Package cbor reads and writes the canonical subset of DAG-CBOR that every format of the project
// uses: definite lengths, shortest integers, no floats, no maps, no indefinite items, tag 42 for links only.
// Formats are tuples (arrays with a fixed order of fields).
//
// The Append functions write; Reader reads strictly: what it accepts, writing again gives the same bytes.
package cbor

import "encoding/binary"

// Major types of CBOR (RFC 8949, section 3.1).
const (
	majorUint  = 0
	majorNeg   = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorTag   = 6
	majorOther = 7

	simpleFalse = 20
	simpleTrue  = 21
	simpleNull  = 22

	tagLink = 42 // a CID, in bytes after a zero (DAG-CBOR specification)
)

func appendHead(b []byte, major byte, v uint64) []byte {
	switch {
	case v < 24:
		return append(b, major<<5|byte(v))
	case v < 1<<8:
		return append(b, major<<5|24, byte(v))
	case v < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major<<5|25), uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major<<5|26), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, major<<5|27), v)
}

// AppendUint appends an unsigned integer.
func AppendUint(b []byte, v uint64) []byte { return appendHead(b, majorUint, v) }

// AppendInt appends a signed integer.
func AppendInt(b []byte, v int64) []byte {
	if v < 0 {
		return appendHead(b, majorNeg, uint64(-1-v))
	}
	return appendHead(b, majorUint, uint64(v))
}

// AppendBytes appends a byte string.
func AppendBytes(b, p []byte) []byte { return append(appendHead(b, majorBytes, uint64(len(p))), p...) }

// AppendName appends a string as a byte string: file names need not be UTF-8.
func AppendName(b []byte, s string) []byte {
	return append(appendHead(b, majorBytes, uint64(len(s))), s...)
}

// AppendText appends a text string, which must be UTF-8; the reader refuses any other.
func AppendText(b []byte, s string) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

// AppendArray appends the head of an array of n items; the caller appends the items.
func AppendArray(b []byte, n int) []byte { return appendHead(b, majorArray, uint64(n)) }

// AppendBool appends true or false.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, majorOther<<5|simpleTrue)
	}
	return append(b, majorOther<<5|simpleFalse)
}

// AppendNull appends null.
func AppendNull(b []byte) []byte { return append(b, majorOther<<5|simpleNull) }

// AppendLink appends a link to a CID, given in its binary form.
func AppendLink(b, cid []byte) []byte {
	b = appendHead(b, majorTag, tagLink)
	b = appendHead(b, majorBytes, uint64(len(cid)+1))
	return append(append(b, 0), cid...)
}
