package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Text is a string of any bytes that survives JSON: file names and symlink targets need not be UTF-8. A byte 0xNN that is
// no part of valid UTF-8 becomes the lone surrogate \udcNN, as in Python's "surrogateescape" (PEP 383), so
// that os.fsencode of what Python's json reads gives the bytes back; everything else is plain JSON. The form is
// unambiguous, since surrogates are no valid UTF-8.
type Text string

// MarshalJSON writes the form above.
func (t Text) MarshalJSON() ([]byte, error) {
	s := string(t)
	if isPlain(s) {
		return append(append(append(make([]byte, 0, len(s)+2), '"'), s...), '"'), nil
	}
	if utf8.ValidString(s) {
		return json.Marshal(s)
	}
	out := []byte{'"'}
	for len(s) > 0 {
		n := validPrefix(s)
		if n == 0 {
			out = fmt.Appendf(out, `\udc%02x`, s[0])
			s = s[1:]
			continue
		}
		b, err := json.Marshal(s[:n])
		if err != nil {
			return nil, err
		}
		out = append(out, b[1:len(b)-1]...)
		s = s[n:]
	}
	return append(out, '"'), nil
}

// isPlain says whether a string stands in JSON as it is: most names do, and lists of many are quick by that.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || strings.IndexByte(`"\<>&`, c) >= 0 {
			return false
		}
	}
	return true
}

// validPrefix is the length of the longest prefix that is valid UTF-8.
func validPrefix(s string) int {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(s)
}

var errText = errors.New("not a JSON string")

// UnmarshalJSON reads what MarshalJSON writes, and any other JSON string.
func (t *Text) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return errText
	}
	s := string(b[1 : len(b)-1])
	if isPlain(s) {
		*t = Text(s)
		return nil
	}
	if !strings.Contains(s, `\ud`) && !strings.Contains(s, `\uD`) { // The usual case.
		var plain string
		if err := json.Unmarshal(b, &plain); err != nil {
			return err
		}
		*t = Text(plain)
		return nil
	}
	var out strings.Builder
	for len(s) > 0 {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			out.WriteString(s)
			break
		}
		out.WriteString(s[:i])
		n, err := unescape(&out, s[i:])
		if err != nil {
			return err
		}
		s = s[i+n:]
	}
	*t = Text(out.String())
	return nil
}

// unescape writes what the escape at the start of s stands for and returns its length.
func unescape(out *strings.Builder, s string) (int, error) {
	if len(s) < 2 {
		return 0, errText
	}
	if s[1] != 'u' {
		var plain string
		if err := json.Unmarshal([]byte(`"`+s[:2]+`"`), &plain); err != nil {
			return 0, err
		}
		out.WriteString(plain)
		return 2, nil
	}
	r, ok := hex4(s)
	if !ok {
		return 0, errText
	}
	if r >= 0xdc80 && r <= 0xdcff {
		out.WriteByte(byte(r))
		return 6, nil
	}
	if low, ok := hex4(s[6:]); ok {
		if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
			out.WriteRune(full)
			return 12, nil
		}
	}
	out.WriteRune(r) // Any other lone surrogate becomes U+FFFD.
	return 6, nil
}

// hex4 reads \uXXXX at the start of s.
func hex4(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(n), err == nil
}
