package daemon

import (
	"os"
	"strconv"
	"strings"
)

// killBit is the bit of SIGKILL in the signal sets of /proc/PID/status (proc_pid_status(5)).
const killBit = 1 << (9 - 1)

// dying says whether a process was killed and is not gone: its end waits for something in the kernel.
func dying(pid int) bool {
	if pid == 0 {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return err == nil && dyingStatus(string(b))
}

// dyingStatus reads /proc/PID/status.
func dyingStatus(status string) bool {
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "State":
			if strings.HasPrefix(value, "Z") || strings.HasPrefix(value, "X") {
				return true
			}
		case "SigPnd", "ShdPnd":
			set, err := strconv.ParseUint(value, 16, 64)
			if err == nil && set&killBit != 0 {
				return true
			}
		}
	}
	return false
}
