package mountfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// askingSignals ask a process to end; it may catch them.
const askingSignals = 1<<(unix.SIGINT-1) | 1<<(unix.SIGTERM-1) | 1<<(unix.SIGHUP-1) | 1<<(unix.SIGQUIT-1)

// signals tells whether a thread is dying, and whether it is asked to, if it can be seen. Any signal that is not caught and
// ends a process becomes a SIGKILL to each of its threads (Linux, complete_signal).
func signals(thread int) (dying, asked, seen bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return false, false, false
	}
	dying, asked = signalsIn(string(status))
	return dying, asked, true
}

// signalsIn reads the masks of signals in a thread's status (proc_pid_status(5)).
func signalsIn(status string) (dying, asked bool) {
	var pending, blocked uint64
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			continue
		}
		switch name {
		case "SigPnd", "ShdPnd":
			pending |= mask
		case "SigBlk":
			blocked = mask
		}
	}
	return pending&(1<<(unix.SIGKILL-1)) != 0, pending&^blocked&askingSignals != 0
}
