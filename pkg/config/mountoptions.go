package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// MountOptions are the options that a mount may have, as texts tell them.
var MountOptions = []string{"allow_other", "ro", "dev", "suid", "noexec", "writeback", "keep", "uid=HERE[:NETWORK]", "gid=HERE[:NETWORK]"}

// MountIDs says how the numbers of users, or of groups, are shown on a mount. The zero value shows them as they are.
type MountIDs struct {
	All   *uint32           // everything belongs to this one; nothing else is told apart
	Pairs map[uint32]uint32 // by numbers here, those of the network
}

// MountSettings are the options of a mount, read.
type MountSettings struct {
	AllowOther bool // other users may enter
	ReadOnly   bool
	Dev        bool // device files work
	SUID       bool // set-id bits work
	NoExec     bool // programs on it can't be run
	Writeback  bool // the kernel gathers writes
	Keep       bool // a file that is opened for reading stays as it is
	UIDs, GIDs MountIDs
}

// ParseMountOptions reads options of MountOptions. The errors name the option.
func ParseMountOptions(options []string) (MountSettings, error) {
	var s MountSettings
	flags := map[string]*bool{
		"allow_other": &s.AllowOther, "ro": &s.ReadOnly, "dev": &s.Dev, "suid": &s.SUID, "noexec": &s.NoExec, "writeback": &s.Writeback, "keep": &s.Keep,
	}
	ids := map[string]*MountIDs{"uid": &s.UIDs, "gid": &s.GIDs}
	for _, o := range options {
		name, value, valued := strings.Cut(o, "=")
		switch {
		case !valued && flags[name] != nil:
			*flags[name] = true
		case valued && ids[name] != nil:
			if err := ids[name].add(value); err != nil {
				return MountSettings{}, fmt.Errorf("option %q: %w", o, err)
			}
		default:
			return MountSettings{}, unknownOption(o, slices.Collect(maps.Keys(flags)))
		}
	}
	if s.ReadOnly && s.Writeback {
		return MountSettings{}, fmt.Errorf("options %q and %q don't go together", "ro", "writeback")
	}
	return s, nil
}

// unknownOption says which options there are, and which was probably meant.
func unknownOption(o string, flags []string) error {
	slices.Sort(flags)
	near := nearest(flags, o)
	if strings.HasPrefix(strings.ReplaceAll(o, "_", ""), "readonly") {
		near = "ro"
	}
	if near != "" {
		near = fmt.Sprintf("; do you mean %q?", near)
	}
	return fmt.Errorf("unknown option %q; known are %s%s", o, strings.Join(MountOptions, ", "), near)
}

// CheckMountOptions says whether all are mount options that are known here.
func CheckMountOptions(options []string) error {
	_, err := ParseMountOptions(options)
	return err
}

// add reads HERE or HERE:NETWORK.
func (m *MountIDs) add(value string) error {
	here, network, paired := strings.Cut(value, ":")
	h, err := parseID(here)
	if err != nil {
		return err
	}
	if !paired {
		if m.All != nil || m.Pairs != nil {
			return fmt.Errorf("%d would be the only one, and there are others", h)
		}
		m.All = &h
		return nil
	}
	n, err := parseID(network)
	if err != nil {
		return err
	}
	taken := slices.Collect(maps.Values(m.Pairs))
	if _, twice := m.Pairs[h]; twice || m.All != nil || slices.Contains(taken, n) {
		return fmt.Errorf("%d or %d is mapped already", h, n)
	}
	if m.Pairs == nil {
		m.Pairs = make(map[uint32]uint32)
	}
	m.Pairs[h] = n
	return nil
}

// parseID reads the number of a user or group; the last one, 2^32-1, means none to the system.
func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("%q is not a number of a user or group", s)
	}
	return uint32(n), nil
}
