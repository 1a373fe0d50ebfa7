package config

import (
	"strconv"
)

// Rates are the limits of a pod.toml on the bytes a second that go between pods; 0: no limit.
type Rates struct {
	Up      int64 `toml:"rate_up_bytes"`      // sent in all
	Down    int64 `toml:"rate_down_bytes"`    // received in all
	PerPod  int64 `toml:"rate_pod_bytes"`     // to or from each other pod
	Read    int64 `toml:"rate_read_bytes"`    // users' reads
	Spread  int64 `toml:"rate_spread_bytes"`  // new bytes that go where the policy wants them
	Repair  int64 `toml:"rate_repair_bytes"`  // what was lost is made again
	Balance int64 `toml:"rate_balance_bytes"` // what goes to a better place
	Floor   int64 `toml:"rate_floor_bytes"`   // that repair has even while users read; 0: the pod's own default
	LAN     bool  `toml:"rate_lan"`           // the limits hold on the LAN, too
}

func rateKeys() []Key {
	rate := func(name, doc string) Key {
		return Key{Name: name, Type: Bytes, Default: "0", Doc: doc}
	}
	return []Key{
		rate("rate_up_bytes", "Most bytes a second that are sent to other pods. 0: no limit."),
		rate("rate_down_bytes", "Most bytes a second that come from other pods. 0: no limit."),
		rate("rate_pod_bytes", "Most bytes a second to or from each other pod. 0: no limit."),
		rate("rate_read_bytes", "Most bytes a second for what users read here. 0: no limit."),
		rate("rate_spread_bytes", "Most bytes a second to bring new bytes where their policy wants them. 0: no limit."),
		rate("rate_repair_bytes", "Most bytes a second to make again what was lost. 0: no limit."),
		rate("rate_balance_bytes", "Most bytes a second to bring bytes to where they should be rather. 0: no limit."),
		rate("rate_floor_bytes", "Bytes a second that the work above has at least, while users read. 0: 4 MiB."),
		{Name: "rate_lan", Type: Bool, Default: "false", Doc: "These limits hold for pods on the LAN, too."},
	}
}

// field is the number of a key; nil: there is none.
func (r *Rates) field(key string) *int64 {
	switch key {
	case "rate_up_bytes":
		return &r.Up
	case "rate_down_bytes":
		return &r.Down
	case "rate_pod_bytes":
		return &r.PerPod
	case "rate_read_bytes":
		return &r.Read
	case "rate_spread_bytes":
		return &r.Spread
	case "rate_repair_bytes":
		return &r.Repair
	case "rate_balance_bytes":
		return &r.Balance
	case "rate_floor_bytes":
		return &r.Floor
	}
	return nil
}

// get is the value of a key, as on a command line; "": there is none.
func (r Rates) get(key string) string {
	if key == "rate_lan" {
		return strconv.FormatBool(r.LAN)
	}
	if v := r.field(key); v != nil {
		return strconv.FormatInt(*v, 10)
	}
	return ""
}

// check says what is wrong with the values, and at which key.
func (r Rates) check() (key string, err error) {
	for _, k := range rateKeys() {
		if v := r.field(k.Name); v != nil && *v < 0 {
			return k.Name, negative(rateKeys(), k.Name)
		}
	}
	return "", nil
}
