package erasure

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

var (
	seedFlag = flag.Uint64("seed", 0, "seed of random tests; 0: a new one")
	update   = flag.Bool("update", false, "write the golden files anew")
)

func random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// formOf is a block of n plain bytes, stored raw.
func formOf(rng *rand.Rand, n int) (block.ID, []byte) {
	plain := make([]byte, n)
	for i := range plain {
		plain[i] = byte(rng.Uint32())
	}
	return block.Sum(block.Raw, plain), append(block.Header{PlainLen: uint32(n)}.Append(nil), plain...)
}

// isBlock is what a caller verifies of a raw form.
func isBlock(id block.ID) func([]byte) error {
	return func(form []byte) error { return id.Verify(form[block.HeaderLen:]) }
}

func mustCut(t testing.TB, id block.ID, form []byte, k, m int) *Set {
	t.Helper()
	var c Codec
	s := new(Set)
	if err := c.Cut(s, id, form, k, m); err != nil {
		t.Fatal(err)
	}
	return s
}

// wiresOf is all fragments as they are sent, in memory of their own.
func wiresOf(t testing.TB, s *Set) [][]byte {
	t.Helper()
	var out [][]byte
	for i := range s.Record().N() {
		w, err := s.AppendWire(nil, i)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, w)
	}
	return out
}

// gathered is a set of the fragments whose bits are set.
func gathered(t testing.TB, wires [][]byte, which uint64) *Set {
	t.Helper()
	s := new(Set)
	first := true
	for i, w := range wires {
		if which&(1<<i) == 0 {
			continue
		}
		f, r, data, err := block.ParseFragment(w)
		if err != nil || int(f.I) != i {
			t.Fatalf("fragment %d is %v, %v", i, f, err)
		}
		if first {
			s.Reset(r)
			first = false
		}
		if isNew, err := s.Add(r, i, data); err != nil || !isNew {
			t.Fatal(isNew, err)
		}
	}
	return s
}

// Whatever m fragments are lost, the others give the form, and make the lost ones again as they were.
func TestAllLosses(t *testing.T) {
	rng := random(t)
	var c Codec
	for _, km := range [][2]int{{1, 1}, {2, 1}, {4, 1}, {4, 2}, {3, 3}, {10, 4}, {1, 5}} {
		k, m := km[0], km[1]
		for _, n := range []int{0, 1, 63, 64 * k, 64*k + 1, 1000 + rng.IntN(9000)} {
			id, form := formOf(rng, n)
			wires := wiresOf(t, mustCut(t, id, form, k, m))
			losses := 0
			for which := range uint64(1) << (k + m) {
				if bits.OnesCount64(which) != k {
					continue
				}
				losses++
				s := gathered(t, wires, which)
				if got, err := c.Join(s); err != nil || !bytes.Equal(got, form) {
					t.Fatalf("%d+%d, %d bytes, have %b: %v", k, m, n, which, err)
				}
				if err := c.Rebuild(gathered(t, wires, which), isBlock(id)); err != nil {
					t.Fatal(err)
				}
				s = gathered(t, wires, which)
				if err := c.Rebuild(s, isBlock(id)); err != nil {
					t.Fatal(err)
				}
				for i, w := range wiresOf(t, s) {
					if !bytes.Equal(w, wires[i]) {
						t.Fatalf("%d+%d, %d bytes, have %b: fragment %d is another", k, m, n, which, i)
					}
				}
			}
			if want := choose(k+m, m); losses != want {
				t.Fatalf("%d+%d: %d losses of %d", k, m, losses, want)
			}
		}
	}
}

func choose(n, k int) int {
	out := 1
	for i := range k {
		out = out * (n - i) / (i + 1)
	}
	return out
}

// The memory of a set is used again, for larger and smaller stripes, and a form that stands in it is not copied.
func TestSetAgain(t *testing.T) {
	rng := random(t)
	var c Codec
	var s Set
	for range 40 {
		k, m := 1+rng.IntN(8), 1+rng.IntN(4)
		id, form := formOf(rng, rng.IntN(200_000))
		room := s.Room(len(form), k, m)
		copy(room, form)
		if err := c.Cut(&s, id, room, k, m); err != nil {
			t.Fatal(err)
		}
		if &s.buf[0] != &room[0] {
			t.Error("the form was moved")
		}
		fresh := mustCut(t, id, form, k, m)
		for i, w := range wiresOf(t, fresh) {
			if got, err := s.AppendWire(nil, i); err != nil || !bytes.Equal(got, w) {
				t.Fatalf("fragment %d differs from one of a new set: %v", i, err)
			}
		}
	}
}

// Fewer than k fragments give nothing.
func TestTooFew(t *testing.T) {
	rng := random(t)
	var c Codec
	id, form := formOf(rng, 5000)
	s := gathered(t, wiresOf(t, mustCut(t, id, form, 4, 2)), 0b101001)
	if _, err := c.Join(s); !errors.Is(err, block.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := s.AppendWire(nil, 1); !errors.Is(err, block.ErrNotFound) {
		t.Errorf("a fragment that is not there: %v", err)
	}
}

// A fragment with a wrong bit is refused by its digest, before anything is joined, and leaves the set as it was.
func TestCorruptFragment(t *testing.T) {
	rng := random(t)
	id, form := formOf(rng, 5000)
	wires := wiresOf(t, mustCut(t, id, form, 4, 2))
	s := gathered(t, wires, 0b0111)
	for range 200 {
		i := 3 + rng.IntN(3)
		w := bytes.Clone(wires[i])
		body := len(w) - block.FragmentSize(len(form), 4)
		w[body+rng.IntN(len(w)-body)] ^= 1 << rng.IntN(8)
		_, r, data, err := block.ParseFragment(w)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Add(r, i, data); !errors.Is(err, block.ErrCorrupt) || s.Have() != 3 {
			t.Fatalf("got %v, have %d", err, s.Have())
		}
	}
	_, r, data, err := block.ParseFragment(wires[4])
	if err != nil {
		t.Fatal(err)
	}
	for _, short := range [][]byte{nil, data[1:], append(bytes.Clone(data), 0)} {
		if _, err := s.Add(r, 4, short); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%d bytes: %v", len(short), err)
		}
	}
	if _, err := s.Add(r, 6, data); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("fragment 6 of 6: %v", err)
	}
}

// A record that lies can have wrong bytes pass for a fragment. The digest of the form finds it; and where the name lies along, the block's ID does.
// Nothing is handed out.
func TestLyingRecord(t *testing.T) {
	rng := random(t)
	var c Codec
	id, form := formOf(rng, 5000)
	wires := wiresOf(t, mustCut(t, id, form, 4, 2))

	_, r, data, err := block.ParseFragment(wires[5])
	if err != nil {
		t.Fatal(err)
	}
	evil := bytes.Clone(data)
	evil[7] ^= 1
	lied := r
	lied.Digests = append([][block.HashLen]byte(nil), r.Digests...)
	lied.Digests[5] = blake3.Sum256(evil)
	s := gathered(t, wires, 0b0111)
	if _, err := s.Add(lied, 5, evil); !errors.Is(err, block.ErrBadID) {
		t.Errorf("a fragment with another record is taken: %v", err)
	}
	all := new(Set)
	all.Reset(lied)
	for i := range 4 {
		_, _, data, err := block.ParseFragment(wires[max(i, 1)])
		if err != nil {
			t.Fatal(err)
		}
		at := max(i, 1)
		if i == 0 {
			at, data = 5, evil
		}
		if _, err := all.Add(lied, at, data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Join(all); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("joined by a lying record: %v", err)
	}

	_, other := formOf(rng, 5000)
	wrong := mustCut(t, id, other, 4, 2) // all fits together, and is another block
	set := gathered(t, wiresOf(t, wrong), 0b111100)
	if err := c.Rebuild(set, isBlock(id)); !errors.Is(err, block.ErrCorrupt) {
		t.Errorf("rebuilt wrong bytes: %v", err)
	}
	if set.Have() != 4 {
		t.Errorf("%d fragments are handed out", set.Have())
	}
}

// Fragments of two forms of one block, of other k and m, or of another block are never in one set.
func TestNeverMixed(t *testing.T) {
	rng := random(t)
	id, form := formOf(rng, 5000)
	otherID, other := formOf(rng, 5000)
	s := gathered(t, wiresOf(t, mustCut(t, id, form, 4, 2)), 0b0011)
	for name, wires := range map[string][][]byte{
		"form":  wiresOf(t, mustCut(t, id, other, 4, 2)),
		"k":     wiresOf(t, mustCut(t, id, form, 3, 3)),
		"m":     wiresOf(t, mustCut(t, id, form, 4, 1)),
		"block": wiresOf(t, mustCut(t, otherID, form, 4, 2)),
	} {
		_, r, data, err := block.ParseFragment(wires[3])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Add(r, 3, data); !errors.Is(err, block.ErrBadID) || s.Have() != 2 {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// What is out of the limits is refused.
func TestLimits(t *testing.T) {
	var c Codec
	var s Set
	id, form := formOf(random(t), 1000)
	for _, km := range [][2]int{{0, 1}, {1, 0}, {-1, 3}, {60, 5}, {256, 256}, {300, -290}} {
		if err := c.Cut(&s, id, form, km[0], km[1]); !errors.Is(err, block.ErrBadID) {
			t.Errorf("%v: %v", km, err)
		}
	}
	for _, n := range []int{0, block.HeaderLen - 1, block.HeaderLen + block.SizeMax(id) + 1} {
		if err := c.Cut(&s, id, make([]byte, n), 4, 2); !errors.Is(err, block.ErrCorrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	most := make([]byte, block.HeaderLen+block.SizeMax(id))
	for _, km := range [][2]int{{1, 1}, {63, 1}, {1, 63}} {
		if err := c.Cut(&s, id, most, km[0], km[1]); err != nil {
			t.Fatal(err)
		}
		wire, err := s.AppendWire(nil, km[0])
		if err != nil || len(wire) > block.FragmentWireMax {
			t.Fatalf("%v: %d bytes, %v", km, len(wire), err)
		}
		if _, _, err := block.CheckFragment(block.Fragment{Stripe: s.Record().Stripe, I: uint8(km[0])}, wire); err != nil {
			t.Errorf("%v: %v", km, err)
		}
	}
}

// The bytes of fragments never change: the matrix, the padding, the length and the head.
func TestGolden(t *testing.T) {
	plain := []byte(strings.Repeat("Wormhole turns the disks of several machines into one folder. ", 5))
	id := block.Sum(block.Raw, plain)
	form := append(block.Header{PlainLen: uint32(len(plain))}.Append(nil), plain...)
	for _, km := range [][2]int{{2, 1}, {4, 1}, {4, 2}, {10, 4}} {
		var text strings.Builder
		for i, w := range wiresOf(t, mustCut(t, id, form, km[0], km[1])) {
			fmt.Fprintf(&text, "fragment %d\n", i)
			for len(w) > 0 {
				n := min(32, len(w))
				fmt.Fprintln(&text, hex.EncodeToString(w[:n]))
				w = w[n:]
			}
		}
		path := filepath.Join("testdata", "format", fmt.Sprintf("rs-%d-%d-v1.hex", km[0], km[1]))
		if *update {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text.String()), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if text.String() != string(want) {
			t.Errorf("%d+%d: bytes changed", km[0], km[1])
		}
	}
}

// The parity is what docs/format/erasure.md says, computed here without the library: a systematic Vandermonde matrix over GF(2^8), 0x11d.
func TestMatrix(t *testing.T) {
	for _, km := range [][2]int{{1, 1}, {2, 1}, {4, 2}, {10, 4}, {40, 24}} {
		k, m := km[0], km[1]
		id, form := formOf(random(t), 64*k-block.HeaderLen)
		s := mustCut(t, id, form, k, m)
		matrix := systematic(k, m)
		for p := range m {
			for at := range 64 {
				var want byte
				for d := range k {
					want ^= gfMul(matrix[k+p][d], s.shards[d][at])
				}
				if got := s.shards[k+p][at]; got != want {
					t.Fatalf("%d+%d: parity %d, byte %d is %x, not %x", k, m, p, at, got, want)
				}
			}
		}
	}
}

func gfMul(a, b byte) byte {
	var out byte
	for ; b > 0; b >>= 1 {
		if b&1 != 0 {
			out ^= a
		}
		carry := a & 0x80
		if a <<= 1; carry != 0 {
			a ^= 0x1d
		}
	}
	return out
}

func gfInv(a byte) byte {
	for b := 1; b < 256; b++ {
		if gfMul(a, byte(b)) == 1 {
			return byte(b)
		}
	}
	panic("zero has no inverse")
}

// systematic is V times the inverse of V's upper square, where V[r][c] = r^c, by elimination of columns.
func systematic(k, m int) [][]byte {
	v := make([][]byte, k+m)
	for r := range v {
		v[r] = make([]byte, k)
		power := byte(1)
		for c := range v[r] {
			v[r][c] = power
			power = gfMul(power, byte(r))
		}
	}
	for c := range k {
		p := c
		for v[c][p] == 0 {
			p++
		}
		inv := gfInv(v[c][p])
		for r := range v {
			v[r][c], v[r][p] = v[r][p], v[r][c]
			v[r][c] = gfMul(v[r][c], inv)
		}
		for o := range k {
			if factor := v[c][o]; o != c && factor != 0 {
				for r := range v {
					v[r][o] ^= gfMul(v[r][c], factor)
				}
			}
		}
	}
	return v
}
