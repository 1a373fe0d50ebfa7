//go:build unix

package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
	"github.com/wormhole-fs/wormhole/pkg/web/webtest"
)

// shownWithin is how soon the page shows that a pod was killed.
const shownWithin = 5 * time.Second

// The dashboard shows three live pods, where a file is, names as they are, and within five seconds that one was killed.
func TestDashboard(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs three daemons, and a browser")
	}
	b := webtest.Open(t)
	dir := t.TempDir()
	wh := filepath.Join(dir, "wh")
	if out, err := exec.Command("go", "build", "-o", wh, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	all := threePods(t, wh, dir)
	file := filepath.Join(dir, `<b onclick="x">name`)
	if err := os.WriteFile(file, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"add", file}, {"sync", "--wait", "--timeout", "60s"}} {
		if _, err := all[0].Run(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}

	b.Go(dashboard(t, all[0]))
	b.Until(time.Minute, `document.querySelectorAll("#picture [data-state=up][data-linked=yes]").length === 3`)
	if s := webtest.Value[string](b, `document.getElementById("title").textContent`); s != "lab at anna" {
		t.Errorf("the title is %q", s)
	}
	if hash := webtest.Value[string](b, `location.href`); strings.Contains(hash, "#") {
		t.Errorf("the token stays in the address: %s", hash)
	}
	b.Until(20*time.Second, `document.querySelectorAll("#where-list button").length === 1`)
	webtest.Value[bool](b, `document.querySelector("#where-list button").click() || true`)
	b.Until(20*time.Second, `document.querySelectorAll("#where-picture [data-holder=whole]").length >= 2`)
	if s := webtest.Value[string](b, `document.querySelector("#where-picture h3").textContent`); s != `/<b onclick="x">name` {
		t.Errorf("the file is shown as %q", s)
	}

	if err := all[2].Kill(); err != nil {
		t.Fatal(err)
	}
	took := b.Until(shownWithin, `document.querySelector("#picture [data-pod=carl]").dataset.linked === "no"`)
	t.Logf("that a pod was killed is shown after %s", took.Round(time.Millisecond))
	b.Until(time.Minute, `["suspect", "down"].includes(document.querySelector("#picture [data-pod=carl]").dataset.state)`)
	b.Until(time.Minute, `document.querySelector("#events-list [data-kind=pod_disconnected]")`)
	if said := b.Said(); len(said) != 0 {
		t.Errorf("the page said: %q", said)
	}
}

// threePods are anna, ben and carl, connected.
func threePods(t *testing.T, wh, dir string) []*fleet.Machine {
	t.Helper()
	ctx := t.Context()
	var all []*fleet.Machine
	for _, name := range []string{"anna", "ben", "carl"} {
		m := &fleet.Machine{Name: name, WH: wh, Home: filepath.Join(dir, name)}
		all = append(all, m)
		t.Cleanup(func() {
			if err := m.Stop(context.WithoutCancel(ctx)); err != nil {
				t.Error(err)
			}
		})
		var err error
		if name == "anna" {
			err = m.Init(ctx, "lab")
		} else {
			err = m.Join(ctx, all[0])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := fleet.AllUp(ctx, all); err != nil {
		t.Fatal(err)
	}
	return all
}

// dashboard runs wh dashboard until the test ends, and returns its address. It must end well when it is interrupted.
func dashboard(t *testing.T, m *fleet.Machine) string {
	t.Helper()
	c := m.Command(context.WithoutCancel(t.Context()), "dashboard", "--quiet")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Process.Signal(syscall.SIGINT); err != nil {
			t.Error(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("wh dashboard: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
