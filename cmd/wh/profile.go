package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
)

// profileEnv names the file to which `wh up` writes a CPU profile of its whole run. It is for developers, and for
// `wh-bench profile`.
const profileEnv = "WH_CPUPROFILE"

// profiled runs f, and writes a CPU profile of it if that was asked for.
func profiled(f func() error) (err error) {
	path := os.Getenv(profileEnv)
	if path == "" {
		return f()
	}
	to, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("%s: %w", profileEnv, err)
	}
	if err := pprof.StartCPUProfile(to); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", profileEnv, err), to.Close())
	}
	defer func() {
		pprof.StopCPUProfile()
		if cerr := to.Close(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", profileEnv, cerr))
		}
	}()
	return f()
}
