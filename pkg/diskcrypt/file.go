package diskcrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// pieceBytes is how much is encrypted and written at once.
const pieceBytes = 128 << 10

// pieces hold what is encrypted on its way to the file: the caller's bytes stay as they are.
var pieces = sync.Pool{New: func() any { return new([pieceBytes]byte) }}

var errNegative = errors.New("negative offset")

// file is an open file of an FS.
type file struct {
	vfs.File // the file below
	key      *Key

	stream  atomic.Pointer[stream] // nil: no head is known
	heading sync.Mutex             // held while one is looked for or written
	pos     int64                  // of Read and Write, which are not called at the same time
}

// stream is the keystream of one file.
type stream struct{ block cipher.Block }

func newStream(k *Key, salt [saltBytes]byte) *stream {
	return &stream{block: newBlock(derive(k.secret, salt[:], useFile))}
}

// xor encrypts or decrypts bytes that stand at an offset of the file; dst may be src.
func (s *stream) xor(dst, src []byte, off int64) {
	var counter, skipped [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[8:], uint64(off)/aes.BlockSize)
	ctr := cipher.NewCTR(s.block, counter[:])
	if skip := off % aes.BlockSize; skip > 0 {
		ctr.XORKeyStream(skipped[:skip], skipped[:skip])
	}
	ctr.XORKeyStream(dst, src)
}

// known is the file's keystream; nil where it has no head that holds.
func (f *file) known() (*stream, error) {
	if s := f.stream.Load(); s != nil {
		return s, nil
	}
	f.heading.Lock()
	defer f.heading.Unlock()
	return f.find()
}

// find looks for the head; heading is held.
func (f *file) find() (*stream, error) {
	if s := f.stream.Load(); s != nil {
		return s, nil
	}
	salt, ok, err := readHead(f.key, f.File)
	if err != nil || !ok {
		return nil, err
	}
	s := newStream(f.key, salt)
	f.stream.Store(s)
	return s, nil
}

// begun is the file's keystream; where there is no head yet, it writes one. It is durable with what follows it: the same sync.
func (f *file) begun() (*stream, error) {
	if s := f.stream.Load(); s != nil {
		return s, nil
	}
	f.heading.Lock()
	defer f.heading.Unlock()
	if s, err := f.find(); s != nil || err != nil {
		return s, err
	}
	salt := newSalt()
	if _, err := f.File.WriteAt(encodeHead(f.key, salt), 0); err != nil {
		return nil, err //nolint:wrapcheck // it is that of the file below
	}
	s := newStream(f.key, salt)
	f.stream.Store(s)
	return s, nil
}

// ReadAt is io.ReaderAt; of a file without a head it reads zeros.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read: %w", errNegative)
	}
	s, err := f.known()
	if err != nil {
		return 0, err
	}
	n, err := f.File.ReadAt(p, off+HeadBytes)
	if s != nil {
		s.xor(p[:n], p[:n], off)
	} else {
		clear(p[:n])
	}
	return n, err //nolint:wrapcheck // as above
}

// Read is io.Reader.
func (f *file) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// WriteAt is io.WriterAt. The bytes of p stay as they are.
func (f *file) WriteAt(p []byte, off int64) (written int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("write: %w", errNegative)
	}
	s, err := f.begun()
	if err != nil {
		return 0, err
	}
	buf := pieces.Get().(*[pieceBytes]byte) //nolint:errcheck,forcetypeassert // the pool has only these
	defer pieces.Put(buf)
	for written < len(p) && err == nil {
		piece := buf[:min(pieceBytes, len(p)-written)]
		s.xor(piece, p[written:][:len(piece)], off+int64(written))
		var n int
		n, err = f.File.WriteAt(piece, off+int64(written)+HeadBytes)
		written += n
	}
	return written, err //nolint:wrapcheck // as above
}

// Write is io.Writer. The bytes of p stay as they are.
func (f *file) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.pos)
	f.pos += int64(n)
	return n, err
}

// Stat is vfs.File.Stat, with the length without the head.
func (f *file) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	return headless{info}, nil
}

// Preallocate is vfs.File.Preallocate.
func (f *file) Preallocate(off, length int64) error {
	return f.File.Preallocate(off+HeadBytes, length) //nolint:wrapcheck // as above
}

// Prefetch is vfs.File.Prefetch.
func (f *file) Prefetch(off, length int64) error {
	return f.File.Prefetch(off+HeadBytes, length) //nolint:wrapcheck // as above
}

// SyncTo is vfs.File.SyncTo.
func (f *file) SyncTo(length int64) (bool, error) {
	return f.File.SyncTo(length + HeadBytes) //nolint:wrapcheck // as above
}

// Shift is how many bytes of what Fd tells of stand ahead of the file's own: who works with the descriptor adds it to offsets.
func (f *file) Shift() int64 { return HeadBytes }
