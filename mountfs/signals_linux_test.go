package mountfs

import "testing"

// TestSignalsIn: which signals are a reason to give up.
func TestSignalsIn(t *testing.T) {
	for name, c := range map[string]struct {
		status       string
		dying, asked bool
	}{
		"none":           {"Name:\tcat\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n", false, false},
		"SIGURG":         {"SigPnd:\t0000000000400000\nShdPnd:\t0000000000000000\n", false, false},
		"SIGKILL":        {"SigPnd:\t0000000000000100\n", true, false},
		"SIGINT":         {"ShdPnd:\t0000000000000002\n", false, true},
		"SIGINT blocked": {"ShdPnd:\t0000000000000002\nSigBlk:\t0000000000000002\n", false, false},
	} {
		if dying, asked := signalsIn(c.status); dying != c.dying || asked != c.asked {
			t.Errorf("%s: dying %v, asked %v; want %v, %v", name, dying, asked, c.dying, c.asked)
		}
	}
	if dying, asked := signals(0); dying || !asked {
		t.Errorf("a thread that can't be seen: dying %v, asked %v", dying, asked)
	}
}
