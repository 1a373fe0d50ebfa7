package mountfs

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/vfs/memfs"
)

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
	if dying, asked, seen := signals(0); dying || asked || seen {
		t.Errorf("a thread that can't be seen: dying %v, asked %v, seen %v", dying, asked, seen)
	}
}

// TestUntoldSignal breaks if a read of a program that is asked to end goes on because the kernel's word was lost.
func TestUntoldSignal(t *testing.T) {
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	stop := child.Process.Signal(unix.SIGSTOP)
	_, waitErr := unix.Wait4(child.Process.Pid, nil, unix.WUNTRACED, nil)
	if err := errors.Join(stop, waitErr, child.Process.Signal(unix.SIGINT)); err != nil { // who is stopped does not take it
		t.Fatal(err)
	}
	s := newServer(t.Context(), memfs.New(memfs.Options{}), Options{Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.end)
	for name, c := range map[string]struct {
		caller int
		isRead bool
		want   error
	}{
		"read":              {child.Process.Pid, true, context.Canceled},
		"write":             {child.Process.Pid, false, context.DeadlineExceeded},
		"read by nobody":    {0, true, context.DeadlineExceeded},
		"read by ourselves": {os.Getpid(), true, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, over := s.limited(t.Context(), c.caller, c.isRead, 3*untoldTime)
			defer over()
			<-ctx.Done()
			if err := ctx.Err(); !errors.Is(err, c.want) {
				t.Errorf("it ended with %v, want %v", err, c.want)
			}
		})
	}
}
