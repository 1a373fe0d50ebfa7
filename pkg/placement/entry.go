package placement

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// Errors of this package, wrapped; test them with errors.Is.
var (
	// ErrBadEntry says that bytes are no entry of a layout, or one whose signature does not hold.
	ErrBadEntry = errors.New("no valid layout entry")
	// ErrBadPolicy says that a text is no placement policy.
	ErrBadPolicy = errors.New("no valid policy")
)

// Limits of an entry.
const (
	WeightDefault = 100
	WeightMax     = 1_000_000 // so that a distance times a weight fits 64 bits
	EntryMax      = 8 << 10   // bytes encoded

	extFieldsMax = 16
	extBytesMax  = 256
)

const (
	domainLayout  = "wormhole/layout/1"
	formatVersion = 1
	entryFieldsNo = 10
)

// fieldAnswered is the extension in which a pod answers statements that it is out (package member): 8 bytes, big-endian, the highest version
// of one that it has heard of itself.
const fieldAnswered = 1

// fieldFrozen is the extension in which a pod says until when it may be silent without anything being made again: 8 bytes, big-endian, ms since 1970.
const fieldFrozen = 2

// fieldPriority is the extension in which a pod says how much rather it is to hold blocks than others: 8 bytes, big-endian, to PriorityMax.
const fieldPriority = 3

// PriorityMax is the highest priority.
const PriorityMax = 100

// FreezeMax is how long a pod may ask for that at most, counted from the signing of its entry.
const FreezeMax = 24 * time.Hour

// Field is one extension: a number that a later version gave a meaning, and its value.
type Field struct {
	ID    uint32
	Value []byte // at most 256 bytes
}

// Entry is what a pod says about itself as a holder of blocks, signed by its own key.
type Entry struct {
	Network       ident.Network
	Pod           ident.Pod
	Version       uint64  // hybrid clock at the signing; of one pod's entries the highest counts
	Weight        uint32  // its share relative to other pods, to WeightMax; 0: a portal, which holds nothing for others
	Zone          string  // what fails together: a room, a power line; "": a zone of its own
	Class         string  // what kind of disk it has; for people and policies
	Drain         bool    // takes nothing new and is being emptied
	CapacityBytes uint64  // 0: not said
	Ext           []Field // sorted by ID
	Sig           []byte
}

// Answered is the highest version of a statement that this pod is out which it has heard: those up to it count no more. 0: it heard of none.
func (e Entry) Answered() uint64 {
	for _, f := range e.Ext {
		if f.ID == fieldAnswered && len(f.Value) == 8 {
			return binary.BigEndian.Uint64(f.Value)
		}
	}
	return 0
}

// Answer is the entry with another answer; it is to be signed anew.
func (e Entry) Answer(version uint64) Entry {
	return e.with(fieldAnswered, version)
}

// with is the entry with a field of 8 bytes.
func (e Entry) with(id uint32, value uint64) Entry {
	e.Ext = slices.DeleteFunc(slices.Clone(e.Ext), func(f Field) bool { return f.ID == id })
	i, _ := slices.BinarySearchFunc(e.Ext, id, func(f Field, id uint32) int { return cmp.Compare(f.ID, id) })
	e.Ext = slices.Insert(e.Ext, i, Field{ID: id, Value: binary.BigEndian.AppendUint64(nil, value)})
	return e
}

// Frozen says until when the pod may be silent without anything being made again: it is to be restarted. The zero time: it asks for nothing. It is FreezeMax after the
// signing at the latest.
func (e Entry) Frozen() time.Time {
	for _, f := range e.Ext {
		if f.ID == fieldFrozen && len(f.Value) == 8 {
			signed := e.Version >> 16 // ms: Version is a hybrid clock
			until := min(binary.BigEndian.Uint64(f.Value), signed+uint64(FreezeMax/time.Millisecond))
			if until == 0 {
				return time.Time{}
			}
			return time.UnixMilli(int64(until))
		}
	}
	return time.Time{}
}

// Freeze is the entry with another such time; it is to be signed anew. The zero time: it asks for nothing.
func (e Entry) Freeze(until time.Time) Entry {
	if until.IsZero() {
		return e.with(fieldFrozen, 0)
	}
	return e.with(fieldFrozen, uint64(max(0, until.UnixMilli())))
}

// Priority is how much rather this pod is to hold blocks than others: of each zone the pods of the highest come first. 0: nothing was said.
func (e Entry) Priority() uint32 {
	for _, f := range e.Ext {
		if f.ID == fieldPriority && len(f.Value) == 8 {
			return uint32(min(binary.BigEndian.Uint64(f.Value), PriorityMax))
		}
	}
	return 0
}

// Prefer is the entry with another priority; it is to be signed anew.
func (e Entry) Prefer(priority uint32) Entry {
	if priority == e.Priority() {
		return e
	}
	return e.with(fieldPriority, uint64(priority))
}

func (e Entry) body() []byte {
	b := cbor.AppendArray(nil, entryFieldsNo)
	b = cbor.AppendUint(b, formatVersion)
	b = cbor.AppendBytes(b, e.Network[:])
	b = cbor.AppendBytes(b, e.Pod[:])
	b = cbor.AppendUint(b, e.Version)
	b = cbor.AppendUint(b, uint64(e.Weight))
	b = cbor.AppendText(b, e.Zone)
	b = cbor.AppendText(b, e.Class)
	b = cbor.AppendBool(b, e.Drain)
	b = cbor.AppendUint(b, e.CapacityBytes)
	b = cbor.AppendArray(b, len(e.Ext))
	for _, f := range e.Ext {
		b = cbor.AppendArray(b, 2)
		b = cbor.AppendUint(b, uint64(f.ID))
		b = cbor.AppendBytes(b, f.Value)
	}
	return b
}

// signed is the message that the signature covers: the domain, a zero byte, the body.
func (e Entry) signed() []byte { return append([]byte(domainLayout+"\x00"), e.body()...) }

// Encode signs the entry and returns its bytes, which DecodeEntry reads. sign makes the pod's Ed25519 signatures.
func (e Entry) Encode(sign func(message []byte) []byte) []byte {
	e.Sig = sign(e.signed())
	return e.bytes()
}

func (e Entry) bytes() []byte {
	b := cbor.AppendArray(nil, 2)
	b = append(b, e.body()...)
	return cbor.AppendBytes(b, e.Sig)
}

// DecodeEntry reads an entry and proves nothing: call Verify. The error is ErrBadEntry.
func DecodeEntry(b []byte) (Entry, error) {
	if len(b) > EntryMax {
		return Entry{}, fmt.Errorf("%w: %d bytes, over the limit of %d", ErrBadEntry, len(b), EntryMax)
	}
	r := cbor.NewReader(b)
	r.Tuple(2)
	r.Tuple(entryFieldsNo)
	if v := r.Uint(); r.Err() == nil && v != formatVersion {
		r.Fail("version %d is not known", v)
	}
	e := Entry{
		Network:       ident.Network(r.Fixed(len(ident.Network{}))),
		Pod:           ident.Pod(r.Fixed(len(ident.Pod{}))),
		Version:       r.Uint(),
		Weight:        uint32(r.UintMax(WeightMax)),
		Zone:          readLabel(r),
		Class:         readLabel(r),
		Drain:         r.Bool(),
		CapacityBytes: r.Uint(),
		Ext:           readExt(r),
	}
	e.Sig = r.Fixed(ed25519.SignatureSize)
	if err := r.Done(); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrBadEntry, err)
	}
	return e, nil
}

func readExt(r *cbor.Reader) []Field {
	var ext []Field
	for range r.Array(extFieldsMax) {
		r.Tuple(2)
		f := Field{ID: uint32(r.UintMax(math.MaxUint32)), Value: bytes.Clone(r.Bytes(extBytesMax))}
		if len(ext) > 0 && f.ID <= ext[len(ext)-1].ID {
			r.Fail("extension %d is out of order", f.ID)
		}
		ext = append(ext, f)
	}
	return ext
}

func readLabel(r *cbor.Reader) string {
	s := r.Text(ident.LabelMax)
	if err := ident.CheckLabel(s); r.Err() == nil && err != nil {
		r.Fail("%v", err)
	}
	return s
}

// Verify says whether the entry is of this network and signed by its own pod. Whether that pod is a member is not
// judged. The error is ErrBadEntry.
func (e Entry) Verify(net ident.Network) error {
	switch {
	case e.Network != net:
		return fmt.Errorf("%w: of the network %s, not of %s", ErrBadEntry, e.Network.Short(), net.Short())
	case !ed25519.Verify(e.Pod[:], e.signed(), e.Sig):
		return fmt.Errorf("%w: signature of %s does not hold", ErrBadEntry, e.Pod)
	}
	return nil
}

// newer says whether e counts and not other, an entry of the same pod.
func (e Entry) newer(other Entry) bool {
	if e.Version != other.Version {
		return e.Version > other.Version
	}
	return bytes.Compare(e.bytes(), other.bytes()) > 0
}
