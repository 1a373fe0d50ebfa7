// Command wh is Wormhole's command line: a thin client of the daemon's local API, and the daemon itself (wh up).
//
// Results go to stdout, talk to stderr. Each command is in a file of its own: newX parses, runX works. Exit codes are
// mapped in exit.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run(realEngine())) }

// run is the whole program for this process's arguments, streams and signals.
func run(e engine) int {
	ctx, stop := signals()
	defer stop()
	env := newEnv(e)
	return execute(ctx, env, os.Args[1:])
}

// signals ends the context at the first SIGINT or SIGTERM; the second ends the process.
func signals() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	const room = 2 // for the first, and the second while the first is handled
	c := make(chan os.Signal, room)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-c:
				if n > 0 {
					os.Exit(exitInterrupted)
				}
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() { signal.Stop(c); close(done); cancel() }
}
