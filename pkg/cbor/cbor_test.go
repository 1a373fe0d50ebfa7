package cbor

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"testing"
)

// TestGolden holds the encoding, with the examples of RFC 8949, appendix A.
func TestGolden(t *testing.T) {
	for _, row := range []struct {
		name string
		got  []byte
		want string
	}{
		{"0", AppendUint(nil, 0), "00"},
		{"23", AppendUint(nil, 23), "17"},
		{"24", AppendUint(nil, 24), "1818"},
		{"1000", AppendUint(nil, 1000), "1903e8"},
		{"1000000", AppendUint(nil, 1000000), "1a000f4240"},
		{"2^64-1", AppendUint(nil, math.MaxUint64), "1bffffffffffffffff"},
		{"-1", AppendInt(nil, -1), "20"},
		{"-1000", AppendInt(nil, -1000), "3903e7"},
		{"least", AppendInt(nil, math.MinInt64), "3b7fffffffffffffff"},
		{"bytes", AppendBytes(nil, []byte{1, 2, 3, 4}), "4401020304"},
		{"name", AppendName(nil, "\xff"), "41ff"},
		{"text", AppendText(nil, "IETF"), "6449455446"},
		{"array", AppendUint(AppendArray(nil, 1), 1), "8101"},
		{"bool", AppendBool(AppendBool(nil, false), true), "f4f5"},
		{"null", AppendNull(nil), "f6"},
		{"link", AppendLink(nil, []byte{1, 0x55}), "d82a43000155"},
	} {
		if got := hex.EncodeToString(row.got); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

// TestRead breaks if what was written is read as something else.
func TestRead(t *testing.T) {
	b := AppendArray(nil, 8)
	b = AppendUint(b, 300)
	b = AppendInt(b, -5)
	b = AppendBytes(b, []byte("bytes"))
	b = AppendName(b, "name")
	b = AppendText(b, "text")
	b = AppendBool(b, true)
	b = AppendNull(b)
	b = AppendLink(b, []byte("link"))
	r := NewReader(b)
	r.Tuple(8)
	if u, i := r.Uint(), r.Int(); u != 300 || i != -5 {
		t.Errorf("numbers %d, %d", u, i)
	}
	if p, n, s := r.Bytes(5), r.Name(4), r.Text(4); string(p) != "bytes" || n != "name" || s != "text" {
		t.Errorf("strings %q, %q, %q", p, n, s)
	}
	if got := NewReader(AppendBytes(nil, []byte("four"))).Fixed(4); string(got) != "four" {
		t.Errorf("fixed %q", got)
	}
	if !r.Bool() || !r.Null() || !bytes.Equal(r.Link(4), []byte("link")) {
		t.Error("bool, null or link differ")
	}
	if err := r.Done(); err != nil {
		t.Error(err)
	}
}

// TestRefused breaks if bytes that are not canonical, or pass a limit, are accepted.
func TestRefused(t *testing.T) {
	for _, row := range []struct {
		name, hex string
		read      func(r *Reader)
	}{
		{"number not shortest", "1817", func(r *Reader) { r.Uint() }},
		{"number not shortest, 16 bits", "1900ff", func(r *Reader) { r.Uint() }},
		{"number cut short", "19ff", func(r *Reader) { r.Uint() }},
		{"over a limit", "0a", func(r *Reader) { r.UintMax(9) }},
		{"integer of 65 bits", "3bffffffffffffffff", func(r *Reader) { r.Int() }},
		{"unsigned past 63 bits as signed", "1bffffffffffffffff", func(r *Reader) { r.Int() }},
		{"bytes longer than the data", "5affffffff00", func(r *Reader) { r.Bytes(math.MaxInt) }},
		{"bytes over a limit", "43010203", func(r *Reader) { r.Bytes(2) }},
		{"too few bytes", "43010203", func(r *Reader) { r.Fixed(4) }},
		{"indefinite bytes", "5f4101ff", func(r *Reader) { r.Bytes(9) }},
		{"text that is not UTF-8", "61ff", func(r *Reader) { r.Text(9) }},
		{"text for bytes", "6161", func(r *Reader) { r.Bytes(9) }},
		{"array longer than the data", "9affffffff", func(r *Reader) { r.Array(math.MaxInt) }},
		{"array over a limit", "820000", func(r *Reader) { r.Array(1) }},
		{"tuple of another length", "820000", func(r *Reader) { r.Tuple(3) }},
		{"float", "fa47c35000", func(r *Reader) { r.Bool() }},
		{"undefined", "f7", func(r *Reader) { r.Bool() }},
		{"simple value in two bytes", "f815", func(r *Reader) { r.Bool() }},
		{"another tag", "c24101", func(r *Reader) { r.Link(1) }},
		{"link without its zero", "d82a420155", func(r *Reader) { r.Link(1) }},
		{"bytes left over", "0000", func(r *Reader) { r.Uint() }},
		{"nothing", "", func(r *Reader) { r.Uint() }},
	} {
		b, err := hex.DecodeString(row.hex)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(b)
		row.read(r)
		if err := r.Done(); !errors.Is(err, ErrNotCanonical) {
			t.Errorf("%s: %v, want %v", row.name, err, ErrNotCanonical)
		}
	}
}

// FuzzReader breaks if hostile bytes panic, take memory, or are written again in another way.
func FuzzReader(f *testing.F) {
	f.Add(AppendBytes(AppendUint(nil, 7), []byte("x")))
	f.Add(AppendLink(AppendInt(nil, -7), []byte("cid")))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		i := r.Int()
		p := r.Bytes(1 << 20)
		if r.Err() == nil {
			again := AppendBytes(AppendInt(nil, i), p)
			if !bytes.Equal(again, b[:len(b)-len(r.Rest())]) {
				t.Errorf("%x is written again as %x", b, again)
			}
		}
		for range NewReader(b).Array(1 << 30) {
			break
		}
	})
}
