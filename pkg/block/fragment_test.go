package block

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
)

var update = flag.Bool("update", false, "write the golden files anew")

// stripe is a record of fragments with bytes of their own; they are no code of anything.
func stripe(k, m uint8, formLen int) (StripeRecord, [][]byte) {
	id := Sum(Raw, []byte("wormhole"))
	r := StripeRecord{Stripe: Stripe{ID: id, Form: blake3.Sum256([]byte("form")), K: k, M: m}, FormLen: formLen}
	var parts [][]byte
	for i := range r.N() {
		data := bytes.Repeat([]byte{byte(i + 1)}, FragmentSize(formLen, int(k)))
		parts = append(parts, data)
		r.Digests = append(r.Digests, blake3.Sum256(data))
	}
	return r, parts
}

// TestFragmentWire holds the format of fragments and their names: golden bytes, and that what was written is read.
func TestFragmentWire(t *testing.T) {
	r, parts := stripe(2, 1, 100)
	f := Fragment{r.Stripe, 2}
	wire := r.AppendWire(nil, 2, parts[2])
	got := hex.EncodeToString(f.Append(nil)) + "\n" + hex.EncodeToString(wire) + "\n"
	path := filepath.Join("testdata", "format", "fragment-v1.hex")
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || string(want) != got {
		t.Errorf("bytes changed: %v\n%s", err, got)
	}
	if again, err := FragmentFromBytes(f.Append(nil)); err != nil || again != f {
		t.Errorf("name %v, %v", again, err)
	}
	rec, data, err := CheckFragment(f, wire)
	if err != nil || !rec.Equal(r) || !bytes.Equal(data, parts[2]) || len(wire) != r.WireLen() {
		t.Errorf("read %+v, %d bytes, %v", rec, len(data), err)
	}
	wire[len(wire)-1] ^= 1
	if _, _, err := CheckFragment(f, wire); !errors.Is(err, ErrCorrupt) {
		t.Errorf("wrong bytes: %v", err)
	}
	if _, _, err := CheckFragment(Fragment{r.Stripe, 1}, r.AppendWire(nil, 2, parts[2])); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another fragment: %v", err)
	}
}

// What could not have been written is refused before any memory is taken for it.
func TestFragmentRefused(t *testing.T) {
	r, parts := stripe(4, 2, 1000)
	for name, spoil := range map[string]func(b []byte) []byte{
		"empty":       func([]byte) []byte { return nil },
		"header only": func(b []byte) []byte { return b[:FragmentHeaderLen] },
		"short":       func(b []byte) []byte { return b[:len(b)-1] },
		"long":        func(b []byte) []byte { return append(b, 0) },
		"magic":       func(b []byte) []byte { b[2] = 'b'; return b },
		"version":     func(b []byte) []byte { b[3] = 2; return b },
		"k":           func(b []byte) []byte { b[4] = 0; return b },
		"m":           func(b []byte) []byte { b[5] = 0; return b },
		"many":        func(b []byte) []byte { b[4] = 255; return b },
		"i":           func(b []byte) []byte { b[6] = 6; return b },
		"reserved":    func(b []byte) []byte { b[7] = 1; return b },
		"reserved 2":  func(b []byte) []byte { b[15] = 1; return b },
		"form length": func(b []byte) []byte { b[8] = 0xff; return b },
		"no form":     func(b []byte) []byte { b[10], b[11] = 0, 3; return b },
		"codec":       func(b []byte) []byte { b[17] = 1; return b },
	} {
		if _, _, _, err := ParseFragment(spoil(r.AppendWire(nil, 3, parts[3]))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := StripeRecord{Stripe: r.Stripe, FormLen: HeaderLen + NodeMax + 1}
	long.ID = Sum(DagCBOR, nil)
	if _, _, err := ParseFragmentName(long.AppendWire(nil, 0, nil)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a node of more than %d bytes: %v", NodeMax, err)
	}
	for name, f := range map[string]Fragment{
		"no block": {Stripe{K: 1, M: 1}, 0}, "k": {Stripe{ID: r.ID, M: 1}, 0}, "m": {Stripe{ID: r.ID, K: 1}, 0},
		"many": {Stripe{ID: r.ID, K: 60, M: 5}, 0}, "i": {Stripe{ID: r.ID, K: 4, M: 2}, 6},
	} {
		if _, err := FragmentFromBytes(f.Append(nil)); !errors.Is(err, ErrBadID) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The size of fragments: k of them hold the form, with less than a line of room in each.
func TestFragmentSize(t *testing.T) {
	for _, k := range []int{1, 2, 3, 10, 63} {
		for _, n := range []int{16, 17, 63, 64, 65, 1000, 128 << 10, formMax} {
			size := FragmentSize(n, k)
			if size%FragmentAlign != 0 || size*k < n || (size-FragmentAlign)*k >= n {
				t.Errorf("%d bytes in %d: %d", n, k, size)
			}
		}
	}
}

// FuzzFragment: no bytes make the parsers panic, and what they accept is written again as it was.
func FuzzFragment(f *testing.F) {
	r, parts := stripe(2, 1, 100)
	for i, data := range parts {
		f.Add(r.AppendWire(nil, i, data))
		f.Add(Fragment{r.Stripe, uint8(i)}.Append(nil))
	}
	golden, err := os.ReadFile(filepath.Join("testdata", "format", "fragment-v1.hex"))
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if name, err := FragmentFromBytes(b); err == nil && !bytes.Equal(name.Append(nil), b) {
			t.Errorf("name %x is %v", b, name)
		}
		if h, err := ParseFragmentHeader(b); err == nil && (!bytes.Equal(h.Append(nil), b[:FragmentHeaderLen]) || h.WireLen() > FragmentWireMax) {
			t.Errorf("header %x is %+v", b, h)
		}
		name, r, data, err := ParseFragment(b)
		if err != nil {
			return
		}
		if again := r.AppendWire(nil, int(name.I), data); !bytes.Equal(again, b) || name.Check() != nil {
			t.Errorf("read %x, written %x", b, again)
		}
	})
}
