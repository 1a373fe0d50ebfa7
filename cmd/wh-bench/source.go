package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

// source is a data set that is added: a file or a folder in the work folder.
type source struct {
	name  string // d1 to d4
	title string
	path  string
	files int
	bytes int64
}

// makeSource makes a data set in the work folder; what is random has a fixed seed.
func (b *bench) makeSource(ctx context.Context, name string) (s source, err error) {
	s = source{name: name, path: filepath.Join(b.dir, name)}
	switch name {
	case "d1":
		s.title = fmt.Sprintf("one incompressible file of %d bytes", b.bigBytes)
		err = makeBig(s.path, b.bigBytes)
	case "d2":
		s.title = "the Go source tree"
		var from string
		if from, err = fleet.GoSource(ctx); err == nil { // a copy, so that all is on the disk that is measured
			err = exec.CommandContext(ctx, "cp", "-a", from, s.path).Run()
		}
	case "d3":
		s.title = "files of 100 to 4000 bytes"
		err = makeTiny(s.path, b.tiny)
	case "d4":
		s.title = "d1 with 10 bytes inserted near the start and 1 MiB overwritten in the middle"
		err = makeEdited(s.path, filepath.Join(b.dir, "d1"))
	default:
		return s, fmt.Errorf("-what: %q is none of d1, d2, d3, d4", name)
	}
	if err != nil {
		return s, fmt.Errorf("make %s: %w", name, err)
	}
	s.files, s.bytes, err = measure(s.path)
	return s, err
}

// measure counts the files at a path and adds up their bytes.
func measure(path string) (files int, size int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		size += info.Size()
		return nil
	})
	return files, size, err
}

// writeFile makes a file of what r has, on the disk when it returns.
func writeFile(path string, r io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		_ = f.Close() // the write's error is the one to tell
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close() // as above
		return err
	}
	return f.Close()
}

// makeBig makes a file of random bytes.
func makeBig(path string, size int64) error {
	return writeFile(path, io.LimitReader(rand.NewChaCha8([32]byte{1}), size))
}

const (
	tinyMin, tinyMax = 100, 4000 // bytes
	tinyInFolder     = 1000      // files
)

// makeTiny makes many small files of random bytes, in folders.
func makeTiny(dir string, n int) error {
	rnd := rand.NewChaCha8([32]byte{3})
	buf := make([]byte, tinyMax)
	for i := range n {
		folder := filepath.Join(dir, fmt.Sprintf("%03d", i/tinyInFolder))
		if i%tinyInFolder == 0 {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		var word [8]byte
		_, _ = rnd.Read(word[:]) // never fails
		data := buf[:tinyMin+binary.LittleEndian.Uint64(word[:])%(tinyMax-tinyMin+1)]
		_, _ = rnd.Read(data)
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%06d", i)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

const (
	editInsertAt = 1000    // byte of the file before which 10 are inserted
	editBytes    = 1 << 20 // bytes overwritten in the middle
)

// makeEdited makes an edited copy of a file.
func makeEdited(path, of string) error {
	f, err := os.Open(of)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	middle := size / 2
	if middle < editInsertAt || middle+editBytes > size {
		return fmt.Errorf("%d bytes are too few to be edited", size)
	}
	return writeFile(path, io.MultiReader(
		io.NewSectionReader(f, 0, editInsertAt),
		bytes.NewReader([]byte("0123456789")),
		io.NewSectionReader(f, editInsertAt, middle-editInsertAt),
		io.LimitReader(rand.NewChaCha8([32]byte{4}), editBytes),
		io.NewSectionReader(f, middle+editBytes, size-middle-editBytes),
	))
}
