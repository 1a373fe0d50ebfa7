package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

// seenWithin is when an edit on one mount is to be read on the other; it takes milliseconds.
const seenWithin = 10 * time.Second

// demo is a run of the demonstration.
type demo struct {
	wh    string
	dir   string
	out   io.Writer
	begin time.Time
	pods  []*fleet.Machine
}

// say prints a line of the account, with the seconds since the beginning.
func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, "%7.2f s  %s\n", time.Since(d.begin).Seconds(), fmt.Sprintf(format, args...)) // a lost line of talk breaks nothing
}

// play is the story.
func (d *demo) play(ctx context.Context, source string) error {
	want, err := hashTree(source)
	if err != nil {
		return err
	}
	mounts := fleet.CanMount()
	if !mounts {
		d.say("no /dev/fuse, or not root: the demo goes on without mounts")
	}
	if err := d.start(ctx, mounts); err != nil {
		return err
	}
	a, b, c := d.pods[0], d.pods[1], d.pods[2]

	begin := time.Now()
	if _, err := a.Run(ctx, "add", source, "--to", "/", "--quiet"); err != nil {
		return err
	}
	name := "/" + filepath.Base(source)
	d.say("%s imported %d files, %d bytes in %.2f s", a.Name, len(want.files), want.bytes, time.Since(begin).Seconds())

	if mounts {
		if err := d.editBoth(ctx, a, b); err != nil {
			return err
		}
	}
	if _, err := a.Run(ctx, "policy", "set", "/", "replica:2"); err != nil {
		return err
	}
	begin = time.Now()
	if _, err := a.Run(ctx, "sync", "--wait", "--timeout", "5m"); err != nil {
		return err
	}
	d.say("every block is on two pods (replica:2) after %.2f s more", time.Since(begin).Seconds())

	if err := a.Kill(); err != nil {
		return err
	}
	d.say("%s killed with SIGKILL", a.Name)
	got := filepath.Join(d.dir, "back")
	begin = time.Now()
	if _, err := c.Run(ctx, "get", name, "-o", got, "--quiet"); err != nil {
		return err
	}
	d.say("%s read every file back in %.2f s", c.Name, time.Since(begin).Seconds())
	if os.Getenv("WH_DEMO_CORRUPT") == "1" {
		if err := damage(got, want); err != nil {
			return err
		}
		d.say("one file damaged on purpose (WH_DEMO_CORRUPT=1)")
	}
	if err := compare(got, want); err != nil {
		return err
	}
	if err := d.restart(ctx, a, b); err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.out, "verified %d files, %d bytes, SHA-256 equal\n", len(want.files), want.bytes)
	return err
}

// start makes the network and its three pods, starts their daemons, and waits until each sees the others.
func (d *demo) start(ctx context.Context, mounts bool) error {
	for _, name := range []string{"anna", "ben", "carl"} {
		m := &fleet.Machine{Name: name, WH: d.wh, Home: filepath.Join(d.dir, name)}
		if mounts && name != "carl" {
			m.Mount = filepath.Join(d.dir, "mnt-"+name)
		}
		d.pods = append(d.pods, m)
	}
	first := d.pods[0]
	if err := first.Init(ctx, "demo"); err != nil {
		return err
	}
	d.say("%s made the network and serves%s", first.Name, first.Where())
	for _, m := range d.pods[1:] {
		if err := m.Join(ctx, first); err != nil {
			return err
		}
		d.say("%s joined with a token and serves%s", m.Name, m.Where())
	}
	if err := fleet.AllUp(ctx, d.pods); err != nil {
		return err
	}
	d.say("all three are connected with each other; no address was given")
	return nil
}

// editBoth edits through each of two mounts and reads through the other.
func (d *demo) editBoth(ctx context.Context, a, b *fleet.Machine) error {
	for _, pair := range [][2]*fleet.Machine{{a, b}, {b, a}} {
		text := []byte("written on " + pair[0].Name + "\n")
		name := "note-from-" + pair[0].Name + ".txt"
		if err := os.WriteFile(filepath.Join(pair[0].Mount, name), text, 0o644); err != nil {
			return err
		}
		closed := time.Now()
		err := fleet.Eventually(ctx, seenWithin, func() error {
			got, err := os.ReadFile(filepath.Join(pair[1].Mount, name))
			if err == nil && !bytes.Equal(got, text) {
				err = fmt.Errorf("%s reads %q in %s", pair[1].Name, got, name)
			}
			return err
		})
		if err != nil {
			return err
		}
		d.say("a file written through %s's mount was read through %s's %.0f ms after it was closed", pair[0].Name, pair[1].Name, float64(time.Since(closed).Microseconds())/1000)
	}
	return nil
}

// restart starts the killed pod again and shows that it has caught up.
func (d *demo) restart(ctx context.Context, killed, other *fleet.Machine) error {
	if _, err := other.Run(ctx, "mkdir", "-p", "/made-while-"+killed.Name+"-was-dead"); err != nil {
		return err
	}
	begin := time.Now()
	if err := killed.Up(ctx); err != nil {
		return err
	}
	err := fleet.Eventually(ctx, fleet.UpWithin, func() error {
		mine, err := killed.Run(ctx, "root")
		if err != nil {
			return err
		}
		theirs, err := other.Run(ctx, "root")
		if err == nil && mine != theirs {
			err = errors.New("roots differ")
		}
		return err
	})
	if err != nil {
		return err
	}
	d.say("%s restarted and caught up in %.2f s: same tree root as %s", killed.Name, time.Since(begin).Seconds(), other.Name)
	if _, err := killed.Run(ctx, "fsck"); err != nil {
		return err
	}
	d.say("fsck of %s is clean", killed.Name)
	return nil
}

// cleanUp stops the daemons and removes what was made.
func (d *demo) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	for _, m := range d.pods {
		errs = append(errs, m.Stop(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up: %w (left in %s)", err, d.dir)
	}
	return os.RemoveAll(d.dir)
}
