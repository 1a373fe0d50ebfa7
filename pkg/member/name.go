package member

import (
	"fmt"
	"strings"
)

// NameMax is the longest name of a network, pod or user, in bytes.
const NameMax = 63

// CheckName says whether a name may be given to a network, pod or user: 1 to 63 bytes of ASCII letters, digits,
// '-', '_' and '.', the first one a letter or digit (so that it is no option, no hidden file and no ".."). The
// error is ErrBadName.
func CheckName(s string) error {
	if s == "" || len(s) > NameMax {
		return fmt.Errorf("name of %d bytes, not of 1 to %d: %w", len(s), NameMax, ErrBadName)
	}
	for i := range len(s) {
		if !nameByte(s[i], i == 0) {
			return fmt.Errorf("name %q: letters, digits, '-', '_' and '.' only, a letter or digit first: %w", s, ErrBadName)
		}
	}
	return nil
}

func nameByte(c byte, first bool) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c == '-', c == '_', c == '.':
		return !first
	}
	return false
}

// CleanName makes a valid name of any text, a host name for instance: other bytes become '-', what may not stand
// first is dropped, and what is left is cut to the limit. Nothing left: "pod".
func CleanName(s string) string {
	b := make([]byte, 0, NameMax)
	for i := range len(s) {
		c := s[i]
		if !nameByte(c, false) {
			c = '-'
		}
		if len(b) < NameMax && nameByte(c, len(b) == 0) {
			b = append(b, c)
		}
	}
	if name := strings.TrimRight(string(b), "-"); name != "" {
		return name
	}
	return "pod"
}

// FreeName is name, or the first of name-2, name-3 … that is not taken. The stem is cut so that it fits.
func FreeName(name string, taken func(string) bool) string {
	got := name
	for n := 2; taken(got); n++ {
		end := fmt.Sprintf("-%d", n)
		got = name[:min(len(name), NameMax-len(end))] + end
	}
	return got
}
