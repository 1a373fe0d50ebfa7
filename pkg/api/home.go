package api

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Home is WH_HOME: the folder of one machine's state.
type Home string

// socketMax is the longest path of a unix socket in bytes: sun_path of unix(7) less its NUL.
const socketMax = 107

// File is the path of a file in it.
func (h Home) File(name string) string { return filepath.Join(string(h), name) }

// Pods is the folder of the pods' folders.
func (h Home) Pods() string { return h.File("pods") }

// Lock is the file whose lock the daemon holds.
func (h Home) Lock() string { return h.File("lock") }

// Log is the file that a daemon in the background writes its log to.
func (h Home) Log() string { return h.File("daemon.log") }

// addrFile names the file that says where the socket is, when its path in h would be too long.
func (h Home) addrFile() string { return h.File("api.addr") }

// Socket is where the daemon's socket is, or would be if there were a daemon.
func (h Home) Socket() (string, error) {
	if p := h.File("api.sock"); len(p) <= socketMax {
		return p, nil
	}
	b, err := os.ReadFile(h.addrFile())
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("api: %s: %w", h, ErrNoDaemon)
	}
	if err != nil {
		return "", fmt.Errorf("api: %w", err)
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}

// NewSocket chooses where the daemon's socket is to be, and makes way for it. Only who holds the lock may call it.
// Call remove when the socket has been closed.
func (h Home) NewSocket() (path string, remove func(), err error) {
	path = h.File("api.sock")
	if len(path) <= socketMax {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, fmt.Errorf("api: stale socket: %w", err)
		}
		return path, func() { _ = os.Remove(path) }, nil // The next daemon removes it otherwise.
	}
	if old, err := h.Socket(); err == nil { // A killed daemon's.
		_ = os.Remove(old)
		_ = os.Remove(filepath.Dir(old))
	}
	dir, err := os.MkdirTemp("", "wh-")
	if err != nil {
		return "", nil, fmt.Errorf("api: %w", err)
	}
	path = filepath.Join(dir, "api.sock")
	if len(path) > socketMax {
		_ = os.Remove(dir) // It is empty.
		return "", nil, fmt.Errorf("api: %s is too long for a socket: %w", path, ErrUsage)
	}
	if err := os.WriteFile(h.addrFile(), []byte(path+"\n"), 0o600); err != nil {
		_ = os.Remove(dir)
		return "", nil, fmt.Errorf("api: %w", err)
	}
	return path, func() {
		_ = os.Remove(path)
		_ = os.Remove(dir)
		_ = os.Remove(h.addrFile())
	}, nil
}
