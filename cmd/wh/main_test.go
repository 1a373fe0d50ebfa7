//go:build unix

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/daemon/daemontest"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

// TestMain makes wh, and whfake with pods in memory, commands of the scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"wh":     func() { os.Exit(run(realEngine())) },
		"whfake": func() { os.Exit(run(daemontest.Engine())) },
	})
}

// TestScript runs the scripts of testdata/script. Beside testscript's own commands they have
//
// $UNIQUE is a word that no other script has, for names of networks on the LAN.
//
//	code N COMMAND…   the command must exit with N
//	crash HOME        kills the daemon of a WH_HOME
//	save NAME         puts the last line of the last stdout into a variable
//	waitfor CMD TEXT  runs a command until its stdout has a text
//	grab NAME REGEXP  puts what the group of an expression matches in the last stdout into a variable
//	listen NAME       puts HOST:PORT of a port that was free into a variable
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("WH_HOME", filepath.Join(e.WorkDir, "h"))
			e.Setenv("HOSTNAME", "")
			e.Setenv("WH_POD", "")
			e.Setenv("UNIQUE", strings.ToLower(rand.Text()[:8]))
			e.Defer(func() { cleanUp(e.WorkDir) })
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "fuse":
				_, err := os.Stat("/dev/fuse")
				return err == nil && os.Geteuid() == 0, nil
			case "mdns":
				if !multicast() {
					testneed.Missing(t, "no interface for multicast")
				}
				return true, nil
			case "ssh":
				for _, tool := range []string{"ssh-keygen", "ssh-agent", "ssh-add"} {
					if _, err := exec.LookPath(tool); err != nil {
						testneed.Missing(t, "%s: %v", tool, err)
					}
				}
				return true, nil
			}
			return false, fmt.Errorf("condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": codeCmd, "crash": crashCmd, "save": saveCmd, "listen": listenCmd, "waitfor": waitForCmd, "grab": grabCmd},
	})
}

// multicast says whether pods on this machine can find each other by mDNS.
func multicast() bool {
	list, _ := net.Interfaces()
	return slices.ContainsFunc(list, func(i net.Interface) bool {
		return i.Flags&(net.FlagUp|net.FlagMulticast) == net.FlagUp|net.FlagMulticast && i.Flags&net.FlagLoopback == 0
	})
}

func codeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func crashCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: crash HOME")
	}
	pid := daemonOf(ts.MkAbs(args[0]))
	if pid == 0 {
		ts.Fatalf("no daemon in %s", args[0])
	}
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
	for range 500 {
		if syscall.Kill(pid, 0) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func saveCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: save NAME")
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	ts.Setenv(args[0], lines[len(lines)-1])
}

func waitForCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor COMMAND TEXT")
	}
	words := strings.Fields(args[0])
	for range 300 {
		ts.Check(ts.Exec(words[0], words[1:]...))
		if strings.Contains(ts.ReadFile("stdout"), args[1]) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s never says %q", args[0], args[1])
}

func grabCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: grab NAME REGEXP")
	}
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("no match of %s", args[1])
	}
	ts.Setenv(args[0], found[1])
}

func listenCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listen NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

// daemonOf is the daemon that holds a WH_HOME, or held it last; 0 for none.
func daemonOf(home string) int {
	b, err := os.ReadFile(filepath.Join(home, "lock"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}

// cleanUp ends daemons that a script has left, and their mounts.
func cleanUp(work string) {
	homes, _ := filepath.Glob(filepath.Join(work, "*", "lock"))
	for _, lock := range homes {
		pid := daemonOf(filepath.Dir(lock))
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		program, _, _ := strings.Cut(string(cmdline), "\x00")
		if pid != 0 && pid != os.Getpid() && strings.HasPrefix(filepath.Base(program), "wh") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	dirs, _ := filepath.Glob(filepath.Join(work, "mnt*"))
	for _, d := range dirs {
		_ = mountfs.Detach(d)
	}
}
