package state

import (
	"encoding/binary"
	"fmt"

	"github.com/wormhole-fs/wormhole/dag"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Limits of one journal record.
const (
	JournalDataMax   = 64 << 10 // bytes of file data
	JournalWritesMax = 1 << 10  // runs of bytes
	JournalPathMax   = 32 << 10 // bytes of a path
)

// JournalRecord is what was written to a file since the record before it: a state of the file, as a change of the one before.
type JournalRecord struct {
	Base   *JournalBase   // what the file's records lie over; in its first record, and only there
	Keep   uint64         // of what was there before, only the first Keep bytes were kept
	Size   uint64         // bytes of the file, at least Keep; what no record wrote beyond Keep is a hole
	Mtime  int64          // ns since 1970
	Writes []JournalWrite // sorted by offset; none overlap, and all end within Size
}

// JournalWrite is a run of bytes that was written; Data has one byte at least.
type JournalWrite struct {
	Off  uint64
	Data []byte
}

// JournalBase is a content whose bytes are durable, and what is needed to make the file again if another pod removes it.
type JournalBase struct {
	Content  ContentName // as NewContent.Over: what the records are an edit of
	Body     []byte      // an encoded dag.Body; empty: no bytes
	Path     string      // where the file was; "": not known
	Mode     uint32
	UID, GID uint32
}

// appendJournal writes [base | null, keep, size, mtime, [[off, data]…]], base being [dot | null, k, body, path, mode, uid, gid].
func appendJournal(b []byte, r *JournalRecord) []byte {
	e := encoder{b: b}
	e.array(5)
	if r.Base == nil {
		e.null()
	} else {
		e.array(7)
		e.dot(r.Base.Content.Dot)
		e.uint(uint64(r.Base.Content.K))
		e.bytes(r.Base.Body)
		e.name(r.Base.Path)
		e.uint(uint64(r.Base.Mode))
		e.uint(uint64(r.Base.UID))
		e.uint(uint64(r.Base.GID))
	}
	e.uint(r.Keep)
	e.uint(r.Size)
	e.int(r.Mtime)
	e.array(len(r.Writes))
	for _, w := range r.Writes {
		e.array(2)
		e.uint(w.Off)
		e.bytes(w.Data)
	}
	return e.b
}

// Len is about how many bytes the record takes, at least as many as its encoding.
func (r *JournalRecord) Len() int {
	n := 64
	if r.Base != nil {
		n += 64 + len(r.Base.Body) + len(r.Base.Path)
	}
	for _, w := range r.Writes {
		n += 16 + len(w.Data)
	}
	return n
}

// decodeJournal reads what appendJournal writes, and nothing else; the error is block.ErrCorrupt. The record aliases b.
func decodeJournal(b []byte) (*JournalRecord, error) {
	d := newDecoder(b)
	d.Tuple(5)
	r := &JournalRecord{}
	if !d.Null() {
		r.Base = d.journalBase()
	}
	r.Keep = d.UintMax(vfs.FileMax)
	r.Size = d.UintMax(vfs.FileMax)
	r.Mtime = d.Int()
	r.Writes = d.journalWrites()
	if d.Err() == nil {
		if err := r.check(); err != nil {
			d.Fail("%v", err)
		}
	}
	if err := d.Done(); err != nil {
		return nil, corrupt("journal record", err)
	}
	return r, nil
}

func (d *decoder) journalBase() *JournalBase {
	d.Tuple(7)
	return &JournalBase{
		Content: ContentName{Dot: d.dot(), K: uint32(d.UintMax(1<<32 - 1))},
		Body:    d.Bytes(BodyMax), Path: d.Name(JournalPathMax),
		Mode: uint32(d.UintMax(0o7777)), UID: uint32(d.UintMax(1<<32 - 1)), GID: uint32(d.UintMax(1<<32 - 1)),
	}
}

func (d *decoder) journalWrites() []JournalWrite {
	return list(&d.Reader, JournalWritesMax, nil, func() JournalWrite {
		d.Tuple(2)
		return JournalWrite{Off: d.UintMax(vfs.FileMax), Data: d.Bytes(JournalDataMax)}
	})
}

// check says what a record must not say. Error: vfs.ErrInvalid.
func (r *JournalRecord) check() error {
	if r.Keep > r.Size || r.Size > vfs.FileMax {
		return fmt.Errorf("%d bytes, %d of them kept: %w", r.Size, r.Keep, vfs.ErrInvalid)
	}
	total, end := 0, uint64(0)
	for i, w := range r.Writes {
		if len(w.Data) == 0 || w.Off < end || w.Off > r.Size || uint64(len(w.Data)) > r.Size-w.Off {
			return fmt.Errorf("%d bytes written at %d, after %d, in %d bytes: %w", len(w.Data), w.Off, end, r.Size, vfs.ErrInvalid)
		}
		end = w.Off + uint64(len(w.Data))
		if total += len(w.Data); total > JournalDataMax || i >= JournalWritesMax {
			return fmt.Errorf("%d bytes in %d writes: %w", total, i+1, vfs.ErrInvalid)
		}
	}
	if r.Base == nil {
		return nil
	}
	return r.Base.check()
}

func (b *JournalBase) check() error {
	if len(b.Path) > JournalPathMax || b.Mode > 0o7777 {
		return fmt.Errorf("mode %o, a path of %d bytes: %w", b.Mode, len(b.Path), vfs.ErrInvalid)
	}
	if len(b.Body) == 0 {
		return nil
	}
	if _, err := dag.DecodeBody(b.Body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

// journalKey is the key of a record of a file.
func journalKey(ino Ino, gen uint64) []byte {
	b := binary.BigEndian.AppendUint64(append(make([]byte, 0, 17), keyJournal), uint64(ino))
	return binary.BigEndian.AppendUint64(b, gen)
}

// splitJournalKey is the inverse.
func splitJournalKey(key []byte) (ino Ino, gen uint64, err error) {
	if len(key) != 17 {
		return 0, 0, fmt.Errorf("state: journal key %x: %w", key, block.ErrCorrupt)
	}
	return Ino(binary.BigEndian.Uint64(key[1:])), binary.BigEndian.Uint64(key[9:]), nil
}
