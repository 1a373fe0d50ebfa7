package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// systemd is the service manager that started this process, if one did: it is told when the daemon is ready, that it lives, and that it stops
// (sd_notify(3), sd_watchdog_enabled(3)). The zero value is none.
type systemd struct {
	socket   string
	watchdog time.Duration // after that long without a word it ends the process; 0: never
}

// newSystemd takes what the service manager left in the environment, so that children don't speak to it.
func newSystemd() systemd {
	s := systemd{socket: os.Getenv("NOTIFY_SOCKET")}
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err == nil && us > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		s.watchdog = time.Duration(us) * time.Microsecond
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		_ = os.Unsetenv(name) // It fails for names that are none.
	}
	return s
}

// say tells the service manager something. That it can't is no reason to stop.
func (s systemd) say(state string) {
	if s.socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return
	}
	_, _ = c.Write([]byte(strings.TrimRight(state, "\n")))
	_ = c.Close()
}

// watch says that the daemon lives, as long as it answers on its socket, and that it stops when ctx ends. The function that it returns ends that.
func (s systemd) watch(ctx context.Context, e *env) (end func()) {
	if s.socket == "" {
		return func() {}
	}
	done, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-ctx.Done():
			s.say("STOPPING=1")
		case <-done.Done():
		}
	})
	if s.watchdog > 0 {
		wg.Go(func() {
			for clock.Sleep(done, e.clock, s.watchdog/3) == nil {
				limit, cancel := context.WithTimeout(done, s.watchdog/3)
				_, err := client.Call[[]api.Mount](limit, e.client(), "mounts", struct{}{})
				cancel()
				if err == nil || ctx.Err() != nil { // A stop has a time limit of its own.
					s.say("WATCHDOG=1")
				}
			}
		})
	}
	return func() { stop(); wg.Wait() }
}
