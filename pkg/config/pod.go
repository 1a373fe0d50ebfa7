package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// PodFile is the name of a pod's file in its folder.
const PodFile = "pod.toml"

// Pod is pod.toml: what one pod of this machine is told to do.
type Pod struct {
	Kind    string `toml:"kind"` // "pod"
	Version int    `toml:"version"`

	Network     string `toml:"network"`      // id, hexadecimal
	NetworkName string `toml:"network_name"` // as it was called when this pod was made
	Name        string `toml:"name"`         // the pod's name in the network

	Listen   []string `toml:"listen"`   // HOST:PORT
	Discover bool     `toml:"discover"` // find pods on the LAN (mDNS)

	CacheBytes    int64 `toml:"cache_bytes"`    // limit of cached copies; 0: the pod's own default
	CapacityBytes int64 `toml:"capacity_bytes"` // limit of the whole store; 0: none

	Mounts []Mount `toml:"mount,omitempty"`
}

// Mount is a folder of the host where the pod is mounted at every `wh up`.
type Mount struct {
	Dir     string   `toml:"dir"`               // absolute
	Options []string `toml:"options,omitempty"` // of MountOptions
}

// MountOptions are the words that a mount's options may hold.
var MountOptions = []string{"allow_other", "ro", "dev", "suid", "keep"}

// NewPod is a file of defaults.
func NewPod() Pod {
	return Pod{Kind: "pod", Version: Version, Discover: true}
}

// LoadPod reads and checks a pod.toml. The error is ErrBad, or the file system's.
func LoadPod(path string) (Pod, error) {
	p := NewPod()
	if err := load(path, "pod", &p); err != nil {
		return Pod{}, err
	}
	if err := p.Check(); err != nil {
		return Pod{}, fmt.Errorf("config: %s: %w", path, err)
	}
	return p, nil
}

// Save checks and writes it; durable when it returns nil.
func (p Pod) Save(path string) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("config: %s: %w", path, err)
	}
	return save(path, p)
}

// Check says what is wrong with the values: ErrBad.
func (p Pod) Check() error {
	if _, err := ident.ParseNetwork(p.Network); err != nil {
		return fmt.Errorf("%w: network: %w", ErrBad, err)
	}
	if err := CheckName(p.Name); err != nil {
		return fmt.Errorf("%w: name: %w", ErrBad, err)
	}
	for _, l := range p.Listen {
		if err := CheckListen(l); err != nil {
			return fmt.Errorf("%w: listen: %w", ErrBad, err)
		}
	}
	if p.CacheBytes < 0 || p.CapacityBytes < 0 {
		return fmt.Errorf("%w: cache_bytes and capacity_bytes can't be negative", ErrBad)
	}
	for _, m := range p.Mounts {
		if !filepath.IsAbs(m.Dir) {
			return fmt.Errorf("%w: mount: dir %q is not an absolute path", ErrBad, m.Dir)
		}
		if err := CheckMountOptions(m.Options); err != nil {
			return fmt.Errorf("%w: mount: %w", ErrBad, err)
		}
	}
	return nil
}

// CheckMountOptions says whether all words are mount options that are known here.
func CheckMountOptions(options []string) error {
	for _, o := range options {
		known := false
		for _, k := range MountOptions {
			known = known || o == k
		}
		if !known {
			return fmt.Errorf("unknown option %q; known are %s", o, strings.Join(MountOptions, ", "))
		}
	}
	return nil
}

// CheckListen says whether a text is HOST:PORT with a port of 0 to 65535.
func CheckListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT: %w", s, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: port %q is not a number from 0 to 65535", s, port)
	}
	return nil
}

// NameMax is the most bytes of a pod's or network's name.
const NameMax = 63

// CheckName says whether a text may name a pod or a network: 1 to NameMax letters, digits, dots, dashes and
// underscores of ASCII, the first a letter or digit. So it may be part of a path anywhere.
func CheckName(s string) error {
	if s == "" || len(s) > NameMax {
		return fmt.Errorf("name %q has %d bytes instead of 1 to %d", s, len(s), NameMax)
	}
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			return fmt.Errorf("name %q: only letters, digits, and after the first of them '.', '_' and '-'", s)
		}
	}
	return nil
}
