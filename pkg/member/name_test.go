package member

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, s := range []string{"a", "A-1_b.c", "0", strings.Repeat("x", 63)} {
		if err := CheckName(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", ".", "..", "-a", "_a", "a b", "a/b", "ü", "a\x00", strings.Repeat("x", 64)} {
		if err := CheckName(s); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestCleanName(t *testing.T) {
	for s, want := range map[string]string{
		"desk.lan": "desk.lan", "Jürgens Mac": "J--rgens-Mac", "--": "pod", "": "pod", "..x": "x",
		strings.Repeat("y", 99): strings.Repeat("y", 63),
	} {
		got := CleanName(s)
		if got != want || CheckName(got) != nil {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestFreeName(t *testing.T) {
	long := strings.Repeat("z", 63)
	taken := []string{"a", "a-2", long}
	for s, want := range map[string]string{"a": "a-3", "b": "b", long: long[:61] + "-2"} {
		if got := FreeName(s, func(n string) bool { return slices.Contains(taken, n) }); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}

func TestRole(t *testing.T) {
	for r := RoleAdmin; r <= RoleStorage; r++ {
		if got, err := ParseRole(r.String()); got != r || err != nil {
			t.Errorf("%s: %v, %v", r, got, err)
		}
	}
	for _, s := range []string{"", "root", "role-0", "Admin"} {
		if _, err := ParseRole(s); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if RoleReader.MayWrite() || RoleStorage.MayRead() || RoleWriter.MayAdmit() || !RoleAdmin.MayWrite() || !RoleReader.MayRead() {
		t.Error("rights")
	}
	_ = Kind(9).String() + Role(9).String()
}

func TestNumbers(t *testing.T) {
	all := Range{1, 10}
	given := []Range{{2, 2}, {1, 1}, {9, 10}}
	if n, err := NextNumber(all, given); n != 3 || err != nil {
		t.Errorf("number %d, %v", n, err)
	}
	if r, err := NextRange(all, 3, given); r != (Range{6, 8}) || err != nil {
		t.Errorf("range %v, %v", r, err)
	}
	if r, err := NextRange(all, 6, given); r != (Range{3, 8}) || err != nil {
		t.Errorf("range %v, %v", r, err)
	}
	for name, err := range map[string]error{
		"all given":      second(NextNumber(all, []Range{{1, 10}})),
		"range too wide": second(NextRange(all, 7, given)),
		"no range":       second(NextNumber(Range{}, nil)),
		"nothing asked":  second(NextRange(all, 0, nil)),
		"no range, many": second(NextRange(Range{}, 1, nil)),
		"to the end":     second(NextNumber(Range{5, 1<<32 - 1}, []Range{{1, 1<<32 - 1}})),
	} {
		if !errors.Is(err, ErrNoNumbers) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
