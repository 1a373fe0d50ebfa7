package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
)

// groupMax is the longest name of a group in bytes.
const groupMax = 255

// MachineFile is the name of the machine's file in WH_HOME.
const MachineFile = "machine.toml"

// MachineKeys are the keys of machine.toml.
func MachineKeys() Keys {
	return Keys{Kind: "machine", All: []Key{{
		Name: "log_level", Default: "info", Check: checkLevel,
		Doc: "How much the daemon logs: debug, info, warn or error.",
	}, {
		Name: "log_levels", Type: List, Check: checkLevels,
		Doc: "How much single parts log, each as PART=LEVEL: daemon, api, pod, state, store, p2p, mount, notify. Of others log_level counts.",
	}, {
		Name: "log_format", Default: "text", Check: checkFormat, Restart: true,
		Doc: "How the daemon logs: text, or json, an object a line.",
	}, {
		Name: "metrics_listen", Check: checkOptionalListen, Restart: true,
		Doc: "Where metrics are served to Prometheus over TCP, as HOST:PORT, at /metrics, to everybody who can connect. Empty: nowhere;\n" +
			"wh metrics prints them at any time.",
	}, {
		Name: "group", Check: checkOptionalGroup, Restart: true,
		Doc: "Group of this machine's users who may use the daemon beside its own user and root, as far as group_may says.\nEmpty: nobody.",
	}, {
		Name: "group_may", Default: "status", Check: checkGroupMay, Restart: true,
		Doc: "What they may: status (see how the pods are), mount (that, and mount and unmount the folders that\npod.toml names), administer (all, files included).",
	}}, Tables: []Table{notifyTable}}
}

func checkOptionalListen(s string) error {
	if s == "" {
		return nil
	}
	return CheckListen(s)
}

// checkOptionalGroup looks at the form alone: a file is checked on other machines too.
func checkOptionalGroup(s string) error {
	if s != "" && (len(s) > groupMax || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == ':' || r > '~' })) {
		return fmt.Errorf("group %q is no name of a group", s)
	}
	return nil
}

func checkGroupMay(s string) error {
	switch s {
	case "status", "mount", "administer":
		return nil
	}
	return fmt.Errorf("group_may is %q; there are status, mount and administer", s)
}

// LogParts are the parts of the program whose log has a level of its own.
func LogParts() []string {
	return []string{"daemon", "api", "pod", "state", "store", "p2p", "mount", "notify"}
}

func checkLevels(value string) error {
	var m Machine
	for one := range strings.SplitSeq(value, ",") {
		if one = strings.TrimSpace(one); one != "" {
			m.LogLevels = append(m.LogLevels, one)
		}
	}
	_, err := m.PartLevels()
	return err
}

func checkFormat(s string) error { return oneOf("log_format", s, []string{"text", "json"}) }

func checkLevel(s string) error {
	_, err := Machine{LogLevel: s}.Level()
	return err
}

// Machine is machine.toml: what holds for all pods of this machine.
type Machine struct {
	Kind     string `toml:"kind"` // "machine"
	Version  int    `toml:"version"`
	LogLevel string `toml:"log_level"` // debug, info, warn, error

	LogLevels []string `toml:"log_levels"` // PART=LEVEL
	LogFormat string   `toml:"log_format"` // text, json

	MetricsListen string `toml:"metrics_listen"` // HOST:PORT; "": nowhere

	Group    string `toml:"group"`     // name or number; "": nobody's
	GroupMay string `toml:"group_may"` // status, mount or administer

	Notify []Notify `toml:"notify,omitempty"`
}

// NewMachine is a file of defaults.
func NewMachine() Machine {
	return Machine{Kind: "machine", Version: Version, LogLevel: "info", LogFormat: "text", GroupMay: "status"}
}

// LoadMachine reads and checks a machine.toml; the defaults, where there is none. The error is ErrBad, or the file
// system's.
func LoadMachine(path string) (Machine, error) {
	b, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return NewMachine(), nil
	}
	if err != nil {
		return Machine{}, err
	}
	return parseMachine(path, b)
}

func parseMachine(path string, b []byte) (Machine, error) {
	m := NewMachine()
	if err := decode(path, b, MachineKeys(), &m); err != nil {
		return Machine{}, err
	}
	if _, err := m.Level(); err != nil {
		return Machine{}, located(path, b, "log_level", err)
	}
	if _, err := m.PartLevels(); err != nil {
		return Machine{}, located(path, b, "log_levels", fmt.Errorf("log_levels: %w", err))
	}
	if err := checkFormat(m.LogFormat); err != nil {
		return Machine{}, located(path, b, "log_format", err)
	}
	if err := checkOptionalListen(m.MetricsListen); err != nil {
		return Machine{}, located(path, b, "metrics_listen", err)
	}
	if err := checkOptionalGroup(m.Group); err != nil {
		return Machine{}, located(path, b, "group", err)
	}
	if err := checkGroupMay(m.GroupMay); err != nil {
		return Machine{}, located(path, b, "group_may", err)
	}
	names := make(map[string]bool)
	for i, n := range m.Notify {
		key, err := n.check()
		if err == nil && names[n.Name] {
			key, err = "name", fmt.Errorf("two notify tables have the name %q", n.Name)
		}
		if err != nil {
			return Machine{}, fmt.Errorf("config: %s:%d: %w: notify: %w", path, lineInTable(b, "notify", i, key), ErrBad, err)
		}
		names[n.Name] = true
	}
	return m, nil
}

// SetMachine sets a key of a machine.toml by a value of a command line. The other lines stay. The error is ErrBad or ErrNoKey, or the file system's.
func SetMachine(path, key, value string) (m Machine, err error) {
	err = setIn(path, MachineKeys(), key, value, func(path string, b []byte) (err error) {
		m, err = parseMachine(path, b)
		return err
	})
	return m, err
}

// Get is the value of a key, as on a command line.
func (m Machine) Get(key string) string {
	switch key {
	case "log_level":
		return m.LogLevel
	case "log_levels":
		return strings.Join(m.LogLevels, ",")
	case "log_format":
		return m.LogFormat
	case "metrics_listen":
		return m.MetricsListen
	case "group":
		return m.Group
	case "group_may":
		return m.GroupMay
	}
	return ""
}

// Level is LogLevel as slog has it.
func (m Machine) Level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(m.LogLevel)); err != nil {
		hint := ""
		if near := nearest([]string{"debug", "info", "warn", "error"}, m.LogLevel); near != "" {
			hint = fmt.Sprintf("; do you mean %q?", near)
		}
		return 0, fmt.Errorf("log_level is %q; there are debug, info, warn and error%s", m.LogLevel, hint)
	}
	return l, nil
}

// PartLevels is LogLevels, read.
func (m Machine) PartLevels() (map[string]slog.Level, error) {
	out := make(map[string]slog.Level)
	for _, one := range m.LogLevels {
		part, level, ok := strings.Cut(one, "=")
		if !ok {
			return nil, fmt.Errorf("%q is no level of a part; each is PART=LEVEL, as \"p2p=debug\"", one)
		}
		if err := oneOf("part", part, LogParts()); err != nil {
			return nil, err
		}
		at, err := Machine{LogLevel: level}.Level()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
		out[part] = at
	}
	return out, nil
}

// Save writes it; durable when it returns nil.
func (m Machine) Save(path string) error { return save(path, m) }
