package state

import "testing"

func BenchmarkAppendInode(b *testing.B) {
	n := plainInode()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendInode(buf[:0], n)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecodeInodeSet(b *testing.B) {
	d := Dot{actor(1), 1}
	buf := AppendInodeSet(nil, VerSet[*Inode]{{Dot: d, Value: plainInode().Stamp(d)}})
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := DecodeInodeSet(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFold(b *testing.B) {
	s := fullSet()
	for name, s := range map[string]VerSet[*Inode]{"one": s[:1], "two": s} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Fold(s)
			}
		})
	}
}

// BenchmarkCodeCommit1000 is the coding of a commit of 1000 new files, with one signature.
func BenchmarkCodeCommit1000(b *testing.B) {
	c := &Commit{Header: Header{Network: testNet, Actor: actor(1), Seq: 1, HLC: 1 << 63}}
	for i := range 1000 {
		c.Rows = append(c.Rows, Row{Key: InodeKey(InoOf(actor(1), uint64(i+1))), Value: AppendInode(nil, plainInode())})
	}
	encoded := c.Encode(testSign(actor(1)))
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			c.Encode(testSign(actor(1)))
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeCommit(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Logf("%d bytes", len(encoded))
}
