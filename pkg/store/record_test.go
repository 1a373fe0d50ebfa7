package store

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

var update = flag.Bool("update", false, "write the golden files anew")

const goldenNonce = 0x0123456789abcdef

// goldenRecords is one record of each kind, one after the other.
func goldenRecords() []record {
	plain := []byte("wormhole")
	id := block.Sum(block.Raw, plain)
	rs := []record{
		{kind: kindBlock, id: id, header: block.Header{PlainLen: 8}, length: 8, sum: checksum(plain)},
		{kind: kindCached, id: block.Sum(block.DagCBOR, nil), header: block.Header{}},
		{kind: kindGone, id: id, target: place{1, 0}},
		{kind: kindOwn, id: id, target: place{2, 0x1234}},
		{kind: kindDisown, id: id, target: place{3, 1 << 40}},
		{kind: kindCut, target: place{1, 104}, length: cutLen, sum: checksum(make([]byte, 8))},
		{kind: kindTrash, id: id, target: place{1, 0}, length: trashLen, sum: checksum(make([]byte, 8))},
		{kind: kindTrashed, id: id, header: block.Header{PlainLen: 8}, length: 8, sum: checksum(plain)},
	}
	off := int64(0)
	for i := range rs {
		rs[i].nonce, rs[i].off, rs[i].synced = goldenNonce, off, off/2
		off = rs[i].end()
	}
	return rs
}

// segmentOf writes records one after the other, with the bytes that follow their heads.
func segmentOf(rs []record) []byte {
	var b []byte
	for _, r := range rs {
		rec := make([]byte, r.size())
		r.encode(rec)
		if r.header.PlainLen > 0 {
			copy(rec[recordHead:], "wormhole")
		}
		b = append(b, rec...)
	}
	return b
}

// TestGolden: the bytes of a segment never change.
func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "format", "segment-v1.hex")
	b := segmentOf(goldenRecords())
	var text strings.Builder
	for len(b) > 0 {
		n := min(16, len(b))
		fmt.Fprintf(&text, "%x\n", b[:n])
		b = b[n:]
	}
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("bytes changed (-want +got):\n%s", diff)
	}
	golden, err := hex.DecodeString(strings.ReplaceAll(string(want), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	sc := scanner{r: bytes.NewReader(golden), nonce: goldenNonce, end: int64(len(golden))}
	for i, want := range goldenRecords() {
		got, gap, err := sc.next()
		if err != nil || got != want || gap.from != gap.to {
			t.Errorf("record %d: got %+v, gap %v, %v; want %+v", i, got, gap, err, want)
		}
	}
}

// FuzzRecord: no bytes make the parser panic, and what it accepts is written again as it was.
func FuzzRecord(f *testing.F) {
	b := segmentOf(goldenRecords())
	for _, r := range goldenRecords() {
		f.Add(b[r.off:r.end()], uint64(goldenNonce), r.off, false)
		f.Add(b[r.off:r.end()], uint64(goldenNonce), r.off, true)
	}
	fragments := goldenFragmentBytes()
	rs, _ := goldenFragments()
	for _, r := range rs {
		f.Add(fragments[r.off:r.end()], uint64(goldenNonce), r.off, false)
		f.Add(fragments[r.off:r.end()], uint64(goldenNonce), r.off, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, nonce uint64, off int64, fix bool) {
		b = bytes.Clone(b)
		if fix && len(b) >= recordHead { // let the fuzzer past the checksum
			appendUint32At(b, wireStart-4, headSum(b))
		}
		r, err := parseRecord(b, nonce, off)
		if err != nil {
			return
		}
		again := make([]byte, recordHead)
		r.encode(again)
		if !bytes.Equal(again, b[:recordHead]) {
			t.Errorf("read %x, written %x", b[:recordHead], again)
		}
		if int(r.length) > block.FragmentWireMax || !r.kind.isFragment() && int(r.length) > block.ChunkMax+block.SealOverhead {
			t.Errorf("%d bytes allowed", r.length)
		}
	})
}

func appendUint32At(b []byte, at int, v uint32) {
	b[at], b[at+1], b[at+2], b[at+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}

// FuzzScan: any bytes in a segment are opened, checked and survive, and the records among them
// that are whole are found.
func FuzzScan(f *testing.F) {
	rs := goldenRecords()
	b := segmentOf(rs)
	f.Add(b, 0, byte(0))
	f.Add(b, 200, byte(1))
	f.Add(b[:len(b)-5], 0, byte(0))
	f.Add(append([]byte(recordMagic), b...), 3, byte(9))
	f.Add(goldenFragmentBytes(), 0, byte(0))
	f.Add(goldenFragmentBytes(), recordHead+20, byte(1))
	f.Fuzz(func(t *testing.T, b []byte, at int, flip byte) {
		b = bytes.Clone(b)
		if at >= 0 && at < len(b) {
			b[at] ^= flip
		}
		sc := scanner{r: bytes.NewReader(b), nonce: goldenNonce, end: int64(len(b))}
		pos := int64(0)
		for {
			r, gap, err := sc.next()
			if gap.from != pos || gap.to < gap.from {
				t.Fatalf("gap %v at %d", gap, pos)
			}
			if err != nil {
				if gap.to != int64(len(b)) {
					t.Fatalf("ended at %d of %d: %v", gap.to, len(b), err)
				}
				break
			}
			if r.off != gap.to || r.end() > int64(len(b)) {
				t.Fatalf("record %+v behind gap %v", r, gap)
			}
			pos = r.end()
		}
		fs := vfs.NewMem()
		if err := fs.MkdirAll(testDir+"/segments", 0o700); err != nil {
			t.Fatal(err)
		}
		overwrite(t, fs, testDir+"/segments/"+segmentName(1, goldenNonce), 0, b)
		for range 2 {
			s, err := Open(fs, testDir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			mustPut(t, s, 1, 100)
			if err := s.Check(t.Context(), func(Problem) {}); err != nil {
				t.Fatal(err)
			}
			wantBlock(t, s, 1, 100)
			checkCounts(t, s)
			mustClose(t, s)
		}
	})
}

// FuzzIndexValues: no value in the index makes its decoder panic, and what is accepted is written
// again as it was.
func FuzzIndexValues(f *testing.F) {
	f.Add(row{place: place{1, 2}, length: 3, flags: flagCached}.encode())
	f.Add(row{place: place{1, 2}, length: 3, flags: flagTrash, since: 5}.encode())
	fragment, _ := testFragment(1, 100)
	f.Add(row{place: place{1, 2}, length: 3, flags: flagFragment, of: fragment}.encode())
	f.Add(row{place: place{1, 2}, length: 3, flags: flagFragment | flagTrash, since: 5, of: fragment}.encode())
	f.Add(meta{1, place{2, 3}, totals{4, 5, 6, 7}}.encode())
	f.Add(append([]byte{1}, make([]byte, metaLenV1-1)...))
	f.Add(segmentStats{1, 2, 3, 4}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRow(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("row %x is %+v", b, r)
		}
		if m, err := decodeMeta(b); err == nil && b[0] == metaVersion && !bytes.Equal(m.encode(), b) {
			t.Errorf("meta %x is %+v", b, m)
		}
		if st, err := decodeStats(segmentKey(7), b); err == nil && !bytes.Equal(st.encode(), b) {
			t.Errorf("stats %x are %+v", b, st)
		}
	})
}
