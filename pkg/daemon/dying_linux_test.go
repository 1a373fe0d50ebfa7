package daemon

import (
	"os"
	"testing"
)

// Only a process that was killed counts as dying: a daemon that is well must not lose its mounts.
func TestDying(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		want   bool
	}{
		"runs":    {"Name:\twh\nState:\tS (sleeping)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n", false},
		"waits":   {"State:\tD (disk sleep)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\n", false},
		"killed":  {"State:\tD (disk sleep)\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n", true},
		"killed1": {"State:\tD (disk sleep)\nSigPnd:\t0000000000000102\n", true},
		"zombie":  {"Name:\twh\nState:\tZ (zombie)\n", true},
		"rubbish": {"x", false},
	} {
		if got := dyingStatus(c.status); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if dying(os.Getpid()) || dying(0) {
		t.Error("this process is well")
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{"box": "box", "box.lan": "box", "-ä-": "pod", "my box": "my-box", "": "pod", "__a": "a"} {
		if got := cleanHost(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := freeName(map[string]bool{"a": true, "a-2": true}, "a"); got != "a-3" {
		t.Error(got)
	}
}
