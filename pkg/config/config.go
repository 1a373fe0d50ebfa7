// Package config reads and writes the TOML files of one machine: machine.toml (Machine), and the
// pod.toml of each pod (Pod).
//
// A file is strict: its first key is its kind, and an unknown key or a bad value is an error that names file and
// line, never a silent default. Writing goes to a new file, synced, which then takes the old one's place, so a
// crash leaves the old or the new. Values are plain structs, safe to copy; functions are safe for concurrent use
// on different files.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// Version is the version of the files' form.
const Version = 1

// sizeMax is the most bytes of a file that are read.
const sizeMax = 1 << 20

// ErrBad says that a file isn't what it should be; the text names file and line.
var ErrBad = errors.New("bad configuration")

// decode reads the text b of the file path into v.
func decode(path string, b []byte, keys Keys, v any) error {
	if _, err := keys.shape(path, b); err != nil {
		return err
	}
	if _, err := toml.Decode(string(b), v); err != nil {
		return located(path, b, "", err)
	}
	return nil
}

// located is an error about a key of a file, with the line where it stands, if one is found.
func located(path string, b []byte, key string, err error) error {
	if perr, ok := errors.AsType[toml.ParseError](err); ok {
		return fmt.Errorf("config: %s:%d: %w: %s", path, perr.Position.Line, ErrBad, syntax(perr.Message))
	}
	if n := lineOf(b, key); n > 0 {
		return fmt.Errorf("config: %s:%d: %w: %w", path, n, ErrBad, err)
	}
	return fmt.Errorf("config: %s: %w: %w", path, ErrBad, err)
}

// LineOf is the line of a file that sets a key outside of tables; 0 if none does, or the file can't be read.
func LineOf(path, key string) int {
	b, err := read(path)
	if err != nil {
		return 0
	}
	keys, _, _ := strings.Cut("\n"+string(b), "\n[")
	return lineOf([]byte(keys), key) - min(1, lineOf([]byte(keys), key))
}

// lineOf is the number of the first line that sets a key or opens a table of this name; 0 if there is none.
func lineOf(b []byte, key string) int {
	if key == "" {
		return 0
	}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimLeft(line, " \t[")
		rest, ok := strings.CutPrefix(line, key)
		if ok && (rest == "" || strings.ContainsAny(rest[:1], " \t=]")) {
			return i + 1
		}
	}
	return 0
}

// lineInTable is the line that sets a key in the i-th of the tables [[table]], counted from 0; that of the table itself, if none does.
func lineInTable(b []byte, table string, i int, key string) int {
	head := 0
	for n, line := range strings.Split(string(b), "\n") {
		open := strings.HasPrefix(strings.TrimLeft(line, " \t"), "[")
		switch {
		case open && head > 0:
			return head
		case open && lineOf([]byte(line), table) == 1:
			if i--; i < 0 {
				head = n + 1
			}
		case head > 0 && lineOf([]byte(line), key) == 1:
			return n + 1
		}
	}
	return head
}

// save writes v, synced, in place of the file.
func save(path string, v any) error {
	var buf bytes.Buffer
	if err := toml.NewEncoder(&buf).Encode(v); err != nil {
		return fmt.Errorf("config: %s: %w", path, err)
	}
	if err := WriteFile(path, buf.Bytes()); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// WriteFile writes a file of mode 0600 in place of the one that may be there. When it returns nil, the new one is
// durable: the file was synced before the rename, the folder after it.
func WriteFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // The first error is the one to tell.
		return err
	}
	return SyncDir(dir)
}
