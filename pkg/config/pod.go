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

// PodKeys are the keys of pod.toml beside its mounts.
func PodKeys() Keys {
	return Keys{Kind: "pod", All: append([]Key{
		{Name: "network", Fixed: true, Doc: "The id of the network that the pod is of."},
		{Name: "network_name", Fixed: true, Doc: "What the network was called when the pod was made."},
		{Name: "name", Fixed: true, Doc: "The pod's name, as its certificate has it."},
		{
			Name: "listen", Type: List, Restart: true, Check: checkListens,
			Doc: "Where the pod listens for others, each as HOST:PORT. No HOST: on all addresses.",
		},
		{
			Name: "announce", Type: List, Check: checkAddresses,
			Doc: "Addresses at which others are told to find the pod, beside those where it listens, each as HOST:PORT: as of a router that hands a port on.",
		},
		{
			Name: "entry_points", Type: List, Check: checkAddresses,
			Doc: "Where pods of the network are looked for, beside the addresses that are known and those found on the LAN, each as HOST:PORT.",
		},
		{
			Name: "discover", Type: Bool, Default: "true", Restart: true,
			Doc: "Find other pods on the LAN, and be found (mDNS).",
		},
		{
			Name: "cache_bytes", Type: Bytes, Default: "0",
			Doc: "Most bytes of copies that are kept for quick reading, and may go at any time. 0: 10 GiB.",
		},
		{
			Name: "cache_free_bytes", Type: Bytes, Default: "0",
			Doc: "Copies that are kept for quick reading leave so many bytes of the disk free. 0: 1 GiB.",
		},
		{
			Name: "capacity_bytes", Type: Bytes, Default: "0", Restart: true,
			Doc: "Most bytes that the pod stores in all. 0: what the disk has.",
		},
		{
			Name: "reserve_bytes", Type: Bytes, Default: "0", Restart: true, Check: checkReserve,
			Doc: "Bytes of the disk, and of the capacity, that the pod leaves free, so that it can delete and repair when it is full; at least 64 MiB. 0: 64 MiB.",
		},
		{
			Name: "weight", Type: Number, Default: "100", Check: checkWeight,
			Doc: "How much of the network's data the pod stores, beside the weights of others. 0: nothing, as a portal, which mounts and keeps copies for itself.",
		},
		{
			Name: "priority", Type: Number, Default: "0", Check: checkPriority,
			Doc: "How much rather this pod holds copies and fragments than others, up to 100: of each zone the pods of the highest hold them, others what these are too few for.",
		},
		{
			Name: "zone", Check: ident.CheckLabel,
			Doc: "What fails together, as a room or a power line: copies and fragments are spread over zones. Empty: a zone of its own.",
		},
		{Name: "class", Check: ident.CheckLabel, Doc: "What kind of disk the pod has, as \"ssd\": for people."},
		{
			Name: "identity", Restart: true, Check: checkIdentity,
			Doc: "The OpenSSH key that opens the pod's disk, if that is locked: a full path, of the private key or, for one in an ssh-agent, of the public one.",
		},
	}, rateKeys()...), Tables: []Table{mountTable}}
}

// mountTable documents Mount.
var mountTable = Table{
	Name: "mount",
	Doc:  "Where the pod is mounted at every wh up: any number of these tables. wh mount DIR --save writes one, wh unmount DIR --save takes it out.",
	All: []Key{
		{Name: "dir", Default: "/photos", Doc: "The folder, an absolute path. It is made if it is missing."},
		{Name: "options", Type: List, Default: "ro", Doc: "Any of allow_other, ro, dev, suid, noexec, writeback, keep, uid=HERE[:NETWORK], gid=HERE[:NETWORK]."},
	},
}

// weightMax is placement.WeightMax.
const weightMax = 1_000_000

func checkWeight(value string) error {
	if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 0 || n > weightMax {
		return fmt.Errorf("%q is no number from 0 to %d", value, weightMax)
	}
	return nil
}

// priorityMax is placement.PriorityMax.
const priorityMax = 100

func checkPriority(value string) error {
	if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 0 || n > priorityMax {
		return fmt.Errorf("%q is no number from 0 to %d", value, priorityMax)
	}
	return nil
}

// reserveMin is what a pod needs to delete on a full disk.
const reserveMin = 64 << 20

func checkReserve(value string) error {
	if n, err := ParseBytes(value); err != nil || n != 0 && n < reserveMin {
		return fmt.Errorf("%s is less than %d, which deleting takes on a full disk; 0: 64 MiB", value, reserveMin)
	}
	return nil
}

func checkIdentity(value string) error {
	if value != "" && !filepath.IsAbs(value) {
		return fmt.Errorf("%q is not an absolute path", value)
	}
	return nil
}

// checkEach says whether each text of a list passes a check.
func checkEach(list string, check func(string) error) error {
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		if err := check(one); err != nil {
			return err
		}
	}
	return nil
}

func checkAddresses(value string) error { return checkEach(value, checkAddress) }

func checkListens(value string) error { return checkEach(value, CheckListen) }

// checkAddress says whether a text is HOST:PORT of one other machine.
func checkAddress(s string) error {
	if err := CheckListen(s); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(s) // as was checked
	if host == "" || port == "0" {
		return fmt.Errorf("%q is not HOST:PORT of one place: a host, and a port that is not 0", s)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("%q means all addresses, and is none that can be connected", s)
	}
	return nil
}

// Pod is pod.toml: what one pod of this machine is told to do.
type Pod struct {
	Kind    string `toml:"kind"` // "pod"
	Version int    `toml:"version"`

	Network     string `toml:"network"`      // id, hexadecimal
	NetworkName string `toml:"network_name"` // as it was called when this pod was made
	Name        string `toml:"name"`         // the pod's name in the network

	Listen      []string `toml:"listen"`       // HOST:PORT
	Announce    []string `toml:"announce"`     // the same, of other machines
	EntryPoints []string `toml:"entry_points"` // the same
	Discover    bool     `toml:"discover"`     // find pods on the LAN (mDNS)

	CacheBytes    int64 `toml:"cache_bytes"`      // limit of cached copies; 0: the pod's own default
	CacheFree     int64 `toml:"cache_free_bytes"` // what the cache leaves free of the disk; 0: the pod's own default
	CapacityBytes int64 `toml:"capacity_bytes"`   // limit of the whole store; 0: none
	Reserve       int64 `toml:"reserve_bytes"`    // left free; 0: the pod's own default

	Weight   int64  `toml:"weight"`   // share of the network's data; 0: a portal
	Priority int64  `toml:"priority"` // how much rather it holds blocks than others
	Zone     string `toml:"zone"`     // what fails together
	Class    string `toml:"class"`    // what kind of disk it is
	Identity string `toml:"identity"` // file of the key that opens the disk, if that is locked

	Rates

	Mounts []Mount `toml:"mount,omitempty"`
}

// Mount is a folder of the host where the pod is mounted at every `wh up`.
type Mount struct {
	Dir     string   `toml:"dir"`               // absolute
	Options []string `toml:"options,omitempty"` // of MountOptions
}

// DefaultWeight is a pod's weight where nobody chose one.
const DefaultWeight = 100

// NewPod is a file of defaults.
func NewPod() Pod {
	return Pod{Kind: "pod", Version: Version, Discover: true, Weight: DefaultWeight}
}

// LoadPod reads and checks a pod.toml. The error is ErrBad, or the file system's.
func LoadPod(path string) (Pod, error) {
	b, err := read(path)
	if err != nil {
		return Pod{}, err
	}
	return parsePod(path, b)
}

func parsePod(path string, b []byte) (Pod, error) {
	p := NewPod()
	if err := decode(path, b, PodKeys(), &p); err != nil {
		return Pod{}, err
	}
	if key, err := p.check(); err != nil {
		return Pod{}, located(path, b, key, err)
	}
	if i, key, err := checkMounts(p.Mounts); err != nil {
		return Pod{}, fmt.Errorf("config: %s:%d: %w: mount: %w", path, lineInTable(b, "mount", i, key), ErrBad, err)
	}
	return p, nil
}

// SetPod sets a key of a pod.toml by a value of a command line. The other lines stay. The error is ErrBad or ErrNoKey, or the file system's.
func SetPod(path, key, value string) (p Pod, err error) {
	err = setIn(path, PodKeys(), key, value, func(path string, b []byte) (err error) {
		p, err = parsePod(path, b)
		return err
	})
	return p, err
}

// Get is the value of a key, as on a command line.
func (p Pod) Get(key string) string {
	switch key {
	case "network":
		return p.Network
	case "network_name":
		return p.NetworkName
	case "name":
		return p.Name
	case "listen":
		return strings.Join(p.Listen, ",")
	case "announce":
		return strings.Join(p.Announce, ",")
	case "entry_points":
		return strings.Join(p.EntryPoints, ",")
	case "reserve_bytes":
		return strconv.FormatInt(p.Reserve, 10)
	case "priority":
		return strconv.FormatInt(p.Priority, 10)
	case "discover":
		return strconv.FormatBool(p.Discover)
	case "cache_bytes":
		return strconv.FormatInt(p.CacheBytes, 10)
	case "cache_free_bytes":
		return strconv.FormatInt(p.CacheFree, 10)
	case "capacity_bytes":
		return strconv.FormatInt(p.CapacityBytes, 10)
	case "weight":
		return strconv.FormatInt(p.Weight, 10)
	case "zone":
		return p.Zone
	case "class":
		return p.Class
	case "identity":
		return p.Identity
	}
	return p.Rates.get(key)
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
	if _, err := p.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrBad, err)
	}
	if _, _, err := checkMounts(p.Mounts); err != nil {
		return fmt.Errorf("%w: mount: %w", ErrBad, err)
	}
	return nil
}

// check says what is wrong with the values outside of tables, and at which key.
func (p Pod) check() (key string, err error) {
	if _, err := ident.ParseNetwork(p.Network); err != nil {
		return "network", fmt.Errorf("network: %w", err)
	}
	if err := CheckName(p.Name); err != nil {
		return "name", fmt.Errorf("name: %w", err)
	}
	for _, l := range p.Listen {
		if err := CheckListen(l); err != nil {
			return "listen", fmt.Errorf("listen: %w", err)
		}
	}
	for key, list := range map[string][]string{"announce": p.Announce, "entry_points": p.EntryPoints} {
		if err := checkAddresses(strings.Join(list, ",")); err != nil {
			return key, fmt.Errorf("%s: %w", key, err)
		}
	}
	for key, n := range map[string]int64{"reserve_bytes": p.Reserve, "cache_bytes": p.CacheBytes, "capacity_bytes": p.CapacityBytes, "cache_free_bytes": p.CacheFree} {
		if n < 0 {
			return key, negative(PodKeys().All, key)
		}
	}
	if err := checkReserve(strconv.FormatInt(p.Reserve, 10)); err != nil {
		return "reserve_bytes", fmt.Errorf("reserve_bytes: %w", err)
	}
	for key, err := range map[string]error{"priority": checkPriority(strconv.FormatInt(p.Priority, 10)), "weight": checkWeight(strconv.FormatInt(p.Weight, 10)), "zone": ident.CheckLabel(p.Zone), "class": ident.CheckLabel(p.Class), "identity": checkIdentity(p.Identity)} {
		if err != nil {
			return key, fmt.Errorf("%s: %w", key, err)
		}
	}
	return p.Rates.check()
}

// checkMounts says what is wrong with which of the mounts, and at which of its keys.
func checkMounts(mounts []Mount) (i int, key string, err error) {
	dirs := make(map[string]bool)
	for i, m := range mounts {
		switch dir := filepath.Clean(m.Dir); {
		case strings.HasPrefix(m.Dir, "~"):
			return i, "dir", fmt.Errorf("dir %q is not an absolute path: ~ is a shell's word for the home folder", m.Dir)
		case !filepath.IsAbs(m.Dir):
			return i, "dir", fmt.Errorf("dir %q is not an absolute path", m.Dir)
		case dirs[dir]:
			return i, "dir", fmt.Errorf("two mounts at %q", m.Dir)
		default:
			dirs[dir] = true
		}
		if err := CheckMountOptions(m.Options); err != nil {
			return i, "options", err
		}
	}
	return 0, "", nil
}

// CheckListen says whether a text is HOST:PORT with a port of 0 to 65535.
func CheckListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		if part := strings.Split(s, "/"); len(part) > 4 && part[0] == "" && (part[1] == "ip4" || part[1] == "ip6") {
			return fmt.Errorf("%q is not HOST:PORT; do you mean %q?", s, net.JoinHostPort(part[2], part[4]))
		}
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
