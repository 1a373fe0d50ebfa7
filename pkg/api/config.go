package api

// Scopes of configuration keys: whose file, or statement, holds them.
const (
	ScopeMachine = "machine"
	ScopePod     = "pod"
	ScopeNetwork = "network"
)

// ConfigKey is a key of the configuration and its value. A list has commas between its texts; a duration is as 48h0m0s.
type ConfigKey struct {
	Scope  string `json:"scope"`
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // "default", FILE:LINE, or "network": an admin set it
}

// ConfigSet asks for a new value of a key.
type ConfigSet struct {
	Scope string `json:"scope"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

// ConfigDone answers it.
type ConfigDone struct {
	ConfigKey
	Restart bool `json:"restart"` // it is in force at the next `wh up` of this machine
}
