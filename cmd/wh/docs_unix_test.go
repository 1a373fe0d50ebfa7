//go:build unix

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wormhole-fs/wormhole/mountfs"
	"github.com/wormhole-fs/wormhole/pkg/testneed"
)

var (
	updateDocs = flag.Bool("update-docs", false, "write what commands print into the documents")
	installed  = flag.Bool("installed", false, "test the wh that is installed here, each machine by a user of its own who is called as it")
)

// docStepWait is how long a step may take: longer than anything in a document waits for.
const docStepWait = 3 * time.Minute

// docMachines are the machines of one document: each a home of its own on this one.
type docMachines struct {
	t     *testing.T
	work  string
	bin   string // folder of wh
	homes map[string]string
	last  string
	token string // that was printed last
}

// TestDocuments types what the documents tell their readers to type, in the order of each document, on machines that have nothing but a
// folder Pictures at first. It breaks if a command fails, or prints something else than a document shows. -update-docs writes down anew
// what they print.
func TestDocuments(t *testing.T) {
	if testing.Short() {
		t.Skip("some documents wait for a pod that is down")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		testneed.Missing(t, "documents are read by people with a mount: root and /dev/fuse")
	}
	for _, file := range documents(t) {
		blocks := docBlocks(t, file)
		t.Run(strings.ReplaceAll(file, "/", "_"), func(t *testing.T) {
			t.Parallel()
			runDocument(t, file, blocks)
		})
	}
}

func runDocument(t *testing.T, file string, blocks []docBlock) {
	var m *docMachines
	var edits []docEdit
	for _, b := range blocks {
		if b.lang != "sh" && b.lang != "console" || b.notRun != "" || b.installed && !*installed {
			continue
		}
		if m == nil {
			m = newDocMachines(t)
		}
		var shown []string
		for _, s := range b.steps(t, m.last) {
			printed, err := m.run(s)
			code := 0
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatalf("%s: %s: %v", b, s.script, err)
			}
			lines := screen(printed, m.work)
			if code != 0 {
				lines = append(lines, fmt.Sprintf("[exit %d]", code))
			}
			if b.lang == "sh" && code != 0 {
				t.Fatalf("%s: on %s: %s:\n%s", b, s.machine, s.script, strings.Join(lines, "\n"))
			}
			if diff := cmp.Diff(sameForAll(s.output), sameForAll(lines)); b.lang == "console" && diff != "" && !*updateDocs {
				t.Fatalf("%s: on %s: %s (-the document, +what it prints):\n%s\nin full:\n%s", b, s.machine, s.script, diff, strings.Join(lines, "\n"))
			}
			shown = append(append(shown, strings.Split(s.machine+"$ "+s.script, "\n")...), lines...)
		}
		if b.lang == "console" {
			edits = append(edits, docEdit{b, shown})
		}
	}
	if *updateDocs {
		writeEdits(t, file, edits)
	}
}

func newDocMachines(t *testing.T) *docMachines {
	m := &docMachines{t: t, work: t.TempDir(), homes: map[string]string{}, last: "anna"}
	if *installed {
		m.work = "/home"
	} else {
		m.bin = filepath.Join(m.work, "bin")
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err = os.MkdirAll(m.bin, 0o755); err == nil {
			err = os.Symlink(self, filepath.Join(m.bin, "wh")) // TestMain makes it wh.
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(m.end)
	return m
}

// home is a machine's home, made with what a reader has before.
func (m *docMachines) home(name string) string {
	if h := m.homes[name]; h != "" {
		return h
	}
	h := filepath.Join(m.work, name)
	m.homes[name] = h
	pictures := filepath.Join(h, "Pictures")
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		m.t.Fatal(err)
	}
	for i, pic := range []string{"cat.jpg", "dog.jpg", "house.jpg"} {
		if err := os.WriteFile(filepath.Join(pictures, pic), bytes.Repeat([]byte(pic), 1000*(i+1)), 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
	if who := m.account(name); who != nil {
		if out, err := exec.Command("chown", "-R", who.Username+":", pictures).CombinedOutput(); err != nil {
			m.t.Fatalf("%s", out)
		}
	}
	return h
}

// account is the user that a machine is played by, where wh is installed.
func (m *docMachines) account(name string) *user.User {
	if !*installed || name == "root" {
		return nil
	}
	who, err := user.Lookup(name)
	if err != nil {
		m.t.Fatal(err)
	}
	return who
}

// run types something on a machine, and returns what is printed.
func (m *docMachines) run(s docStep) (string, error) {
	m.last = s.machine
	home := m.home(s.machine)
	script := regexp.MustCompile(`\bTOKEN\b`).ReplaceAllString(s.script, m.token)
	c := exec.CommandContext(m.t.Context(), "bash", "-euc", script)
	c.Dir = home
	c.Env = []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=dumb", "USER=" + s.machine,
	}
	if !*installed {
		c.Env = append(c.Env, "WH_HOME="+whHome(home), "PATH="+m.bin+":"+os.Getenv("PATH"))
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if who := m.account(s.machine); who != nil {
		uid, _ := strconv.ParseUint(who.Uid, 10, 32)
		gid, _ := strconv.ParseUint(who.Gid, 10, 32)
		c.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	timer := time.AfterFunc(docStepWait, func() { _ = c.Cancel() })
	defer timer.Stop()
	err := c.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // A daemon that it has left holds the pipe.
	}
	for line := range strings.SplitSeq(out.String(), "\n") {
		if docToken.MatchString(line) {
			m.token = line
		}
	}
	return out.String(), err
}

var docToken = regexp.MustCompile(`^wh1[0-9a-z]{40,}$`)

// whHome is where wh keeps what it has, of a user with this home folder.
func whHome(home string) string { return filepath.Join(home, ".local", "state", "wormhole") }

// end ends the daemons and mounts of all machines.
func (m *docMachines) end() {
	for _, home := range m.homes {
		if pid := daemonOf(whHome(home)); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		mounts, _ := filepath.Glob(filepath.Join(home, "*"))
		for _, d := range mounts {
			_ = mountfs.Detach(d)
		}
	}
}

// screen is what was printed, line by line, as on a machine of the reader's.
func screen(printed, work string) []string {
	printed = strings.ReplaceAll(strings.TrimRight(printed, "\n"), work, "/home")
	printed = regexp.MustCompile(`\b(wh1[0-9a-z]{16})[0-9a-z]{24,}`).ReplaceAllString(printed, "$1…") // It fills six lines.
	if printed == "" {
		return nil
	}
	lines := strings.Split(printed, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

// docVaries are the parts of what is printed that are others each time.
var docVaries = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`\bwh1[0-9a-z]{16}…`), "(token)"},
	{regexp.MustCompile(`\bbaf[0-9a-z]{50,}`), "(CID)"},
	{regexp.MustCompile(`12D3KooW[0-9A-Za-z]{44}`), "(id)"},
	{regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{8})\b`), "(id)"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?`), "(time)"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\b`), "(time)"},
	{regexp.MustCompile(`\b\d+(\.\d+)? ([KMGTP]i)?B\b`), "(bytes)"},
	{regexp.MustCompile(`\b\d+(\.\d+)? ?(ms|µs|ns|s)\b`), "(duration)"},
	{regexp.MustCompile(`\b(pid|process|port|line) \d+\b`), "$1 (number)"},
	{regexp.MustCompile(`:\d{4,5}\b`), ":(port)"},
	{regexp.MustCompile(`\b\d+ (bytes|blocks)\b`), "(number) $1"},
	{regexp.MustCompile(`[a-z]+ (whole|cached)(, [a-z]+ (whole|cached))+`), "(holders)"}, // By their ids, and who has read it.
	{regexp.MustCompile(`\s+`), " "},
}

// sameForAll is what is printed without what is different each time.
func sameForAll(lines []string) []string {
	var out []string
	for _, line := range lines {
		for _, v := range docVaries {
			line = v.what.ReplaceAllString(line, v.by)
		}
		out = append(out, line)
	}
	return out
}

// docEdit is a block and what it is to hold.
type docEdit struct {
	block docBlock
	lines []string
}

// writeEdits puts what was printed into a document.
func writeEdits(t *testing.T, file string, edits []docEdit) {
	t.Helper()
	if len(edits) == 0 {
		return
	}
	path := filepath.Join(docRoot, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	var out []string
	at := 0
	for _, e := range edits {
		out = append(append(out, lines[at:e.block.line]...), e.lines...)
		at = e.block.line + len(e.block.text)
	}
	if err := os.WriteFile(path, []byte(strings.Join(append(out, lines[at:]...), "\n")), 0o644); err != nil { //nolint:gosec // a document
		t.Fatal(err)
	}
}
