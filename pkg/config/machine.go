package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
)

// MachineFile is the name of the machine's file in WH_HOME.
const MachineFile = "machine.toml"

// Machine is machine.toml: what holds for all pods of this machine.
type Machine struct {
	Kind     string `toml:"kind"` // "machine"
	Version  int    `toml:"version"`
	LogLevel string `toml:"log_level"` // debug, info, warn, error
}

// NewMachine is a file of defaults.
func NewMachine() Machine {
	return Machine{Kind: "machine", Version: Version, LogLevel: "info"}
}

// LoadMachine reads and checks a machine.toml; the defaults, where there is none. The error is ErrBad, or the file
// system's.
func LoadMachine(path string) (Machine, error) {
	m := NewMachine()
	err := load(path, "machine", &m)
	if errors.Is(err, fs.ErrNotExist) {
		return NewMachine(), nil
	}
	if err != nil {
		return Machine{}, err
	}
	if _, err := m.Level(); err != nil {
		return Machine{}, fmt.Errorf("config: %s: %w: log_level: %w", path, ErrBad, err)
	}
	return m, nil
}

// Level is LogLevel as slog has it.
func (m Machine) Level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(m.LogLevel)); err != nil {
		return 0, fmt.Errorf("%q: %w", m.LogLevel, err)
	}
	return l, nil
}

// Save writes it; durable when it returns nil.
func (m Machine) Save(path string) error { return save(path, m) }
