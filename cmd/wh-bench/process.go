package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// process is what Linux counts of a process; elsewhere it is zero.
type process struct {
	cpu     time.Duration
	peakRSS int64 // bytes, since resetPeak
	written int64 // bytes that it had sent to the disk
}

// tick is the unit of times in /proc/PID/stat: sysconf(_SC_CLK_TCK) is 100 wherever Linux runs Go programs.
const tick = time.Second / 100

// readProcess reads the counters of a running process (proc(5)).
func readProcess(pid int) (p process, err error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	stat, err := os.ReadFile(dir + "stat")
	if os.IsNotExist(err) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	// The second field is the command, in brackets, and may hold anything; utime and stime are the 14th and 15th.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return p, fmt.Errorf("%sstat: %d fields", dir, len(fields))
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return p, fmt.Errorf("%sstat: %w", dir, err)
		}
		p.cpu += time.Duration(n) * tick
	}
	kib, err := procField(dir+"status", "VmHWM:")
	if err != nil {
		return p, err
	}
	p.peakRSS = kib << 10
	p.written, err = procField(dir+"io", "write_bytes:")
	return p, err
}

// procField is the number that stands behind a name in a file of /proc.
func procField(path, name string) (int64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == name {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s: no %s", path, name)
}

// resetPeak makes a process's peak of memory what it uses now.
func resetPeak(pid int) error {
	const peakRSS = "5" // clear_refs in proc(5)
	err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte(peakRSS), 0)
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
