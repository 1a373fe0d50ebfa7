package p2p

import "testing"

// What a peer says of its version is shown on terminals: only what is short and printable is taken.
func TestParseAgent(t *testing.T) {
	for text, want := range map[string]string{
		"wormhole/v1.2+abc": "v1.2+abc", "wormhole/": "", "wormhole": "", "kubo/0.3": "", "wormhole/a b": "", "wormhole/\x1b[2J": "", "wormhole/ü": "",
		"wormhole/" + string(make([]byte, agentMax+1)): "",
	} {
		if got := parseAgent(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
