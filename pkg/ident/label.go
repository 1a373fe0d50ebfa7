package ident

import "fmt"

// LabelMax is the most bytes of a label.
const LabelMax = 63

// CheckLabel says whether s can be what a pod says of itself, as its zone: at most LabelMax bytes of ASCII letters, digits, '-', '_' and '.', or none.
func CheckLabel(s string) error {
	if len(s) > LabelMax {
		return fmt.Errorf("label of %d bytes, over the limit of %d", len(s), LabelMax)
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return fmt.Errorf("label %q: letters, digits, '-', '_' and '.' only", s)
		}
	}
	return nil
}
