package state

import (
	"bytes"
	"testing"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
)

func exampleRoot() []byte {
	return encodeState(testNet, block.Sum(block.DagCBOR, []byte("rows")), VV{actor(1): 3, actor(2): 9})
}

func exampleJoinRecord() *joinRecord {
	return &joinRecord{head: []byte("head"), headers: [][]byte{[]byte("one"), []byte("two")}, upTo: InodeKey(7)}
}

// TestJoinFormats breaks if what a join leaves on the disk, or in the log, is written otherwise than before.
func TestJoinFormats(t *testing.T) {
	golden(t, "join-record", exampleJoinRecord().encode())
	c := &Commit{Header: Header{Network: testNet, Actor: actor(1), Seq: 1, HLC: 5}}
	whole := c.Encode(testSign(actor(1)))
	for name, encoded := range map[string][]byte{"log-entry": whole, "log-entry-header": c.AppendSigned(nil), "log-entry-digest": nil} {
		e := logEntry{digest: c.Digest(), total: 258, encoded: encoded}
		golden(t, name, e.encode())
		if e.whole() != (name == "log-entry") {
			t.Errorf("%s: whole %v", name, e.whole())
		}
		if h, err := headerOf(encoded); (err != nil) != (encoded == nil) || err == nil && h.Digest() != c.Digest() {
			t.Errorf("%s: %v", name, err)
		}
	}
	root, err := DecodeRoot(exampleRoot())
	if err != nil || root.VV[actor(2)] != 9 || root.Network != testNet || root.Rows.IsZero() {
		t.Errorf("%v, %v", root, err)
	}
}

func FuzzRoot(f *testing.F) {
	f.Add(exampleRoot())
	f.Add(encodeState(testNet, block.ID{}, VV{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeRoot(b); err == nil && !bytes.Equal(encodeState(r.Network, r.Rows, r.VV), b) {
			t.Errorf("%x is read as %v", b, r)
		}
	})
}

func FuzzJoinRecord(f *testing.F) {
	f.Add(exampleJoinRecord().encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeJoinRecord(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("%x is read as %v", b, r)
		}
	})
}

func FuzzRowNode(f *testing.F) {
	blocks := newMemBlocks()
	link := longRowLink(block.Sum(block.Raw, []byte("row")))
	root, err := dag.EditTree(f.Context(), blocks, block.ID{}, []dag.Edit{{Key: InodeKey(1), Value: []byte{0x80}}, {Key: InodeKey(2), Value: link}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blocks.m[root])
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := DecodeRowNode(b)
		if err != nil {
			return
		}
		for _, id := range n.Links {
			if id.IsZero() {
				t.Error("a link to nothing")
			}
		}
	})
}
