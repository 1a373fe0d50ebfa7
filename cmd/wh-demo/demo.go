package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	seenWithin = 10 * time.Second // an edit on one mount is to be read on the other by then; it takes milliseconds
	upWithin   = 60 * time.Second
)

// demo is a run of the demonstration.
type demo struct {
	wh    string
	dir   string
	out   io.Writer
	begin time.Time
	pods  []*machine
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
	mounts := canMount()
	if !mounts {
		d.say("no /dev/fuse, or not root: the demo goes on without mounts")
	}
	if err := d.start(ctx, mounts); err != nil {
		return err
	}
	a, b, c := d.pods[0], d.pods[1], d.pods[2]
	if err := d.discover(ctx); err != nil {
		return err
	}

	begin := time.Now()
	if _, err := a.run(ctx, "add", source, "--to", "/", "--quiet"); err != nil {
		return err
	}
	name := "/" + filepath.Base(source)
	d.say("%s imported %d files, %d bytes in %.2f s", a.name, len(want.files), want.bytes, time.Since(begin).Seconds())

	if mounts {
		if err := d.editBoth(ctx, a, b); err != nil {
			return err
		}
	}
	if _, err := a.run(ctx, "policy", "set", "/", "replica:2"); err != nil {
		return err
	}
	begin = time.Now()
	if _, err := a.run(ctx, "sync", "--wait", "--timeout", "5m"); err != nil {
		return err
	}
	d.say("every block is on two pods (replica:2) after %.2f s more", time.Since(begin).Seconds())

	if err := a.kill(); err != nil {
		return err
	}
	d.say("%s killed with SIGKILL", a.name)
	got := filepath.Join(d.dir, "back")
	begin = time.Now()
	if _, err := c.run(ctx, "get", name, "-o", got, "--quiet"); err != nil {
		return err
	}
	d.say("%s read every file back in %.2f s", c.name, time.Since(begin).Seconds())
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

// start makes the network and its three pods, and starts their daemons.
func (d *demo) start(ctx context.Context, mounts bool) error {
	for _, name := range []string{"anna", "ben", "carl"} {
		m := &machine{name: name, wh: d.wh, home: filepath.Join(d.dir, name)}
		if mounts && name != "carl" {
			m.mount = filepath.Join(d.dir, "mnt-"+name)
		}
		d.pods = append(d.pods, m)
	}
	first := d.pods[0]
	if _, err := first.run(ctx, first.withMount("init", "demo", "--name", first.name)...); err != nil {
		return err
	}
	if err := first.up(ctx); err != nil {
		return err
	}
	d.say("%s made the network and serves%s", first.name, first.where())
	for _, m := range d.pods[1:] {
		printed, err := first.run(ctx, "invite")
		if err != nil {
			return err
		}
		lines := strings.Split(strings.TrimSpace(printed), "\n")
		if _, err := m.run(ctx, m.withMount("join", lines[len(lines)-1], "--name", m.name)...); err != nil {
			return err
		}
		if err := m.up(ctx); err != nil {
			return err
		}
		d.say("%s joined with a token and serves%s", m.name, m.where())
	}
	return nil
}

// discover waits until every pod sees the two others.
func (d *demo) discover(ctx context.Context) error {
	for _, m := range d.pods {
		err := eventually(ctx, upWithin, func() error {
			up, err := m.podsUp(ctx)
			if err == nil && up != len(d.pods) {
				err = fmt.Errorf("%s sees %d pods up of %d", m.name, up, len(d.pods))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	d.say("all three are connected with each other; no address was given")
	return nil
}

// editBoth edits through each of two mounts and reads through the other.
func (d *demo) editBoth(ctx context.Context, a, b *machine) error {
	for _, pair := range [][2]*machine{{a, b}, {b, a}} {
		text := []byte("written on " + pair[0].name + "\n")
		name := "note-from-" + pair[0].name + ".txt"
		if err := os.WriteFile(filepath.Join(pair[0].mount, name), text, 0o644); err != nil {
			return err
		}
		closed := time.Now()
		err := eventually(ctx, seenWithin, func() error {
			got, err := os.ReadFile(filepath.Join(pair[1].mount, name))
			if err == nil && !bytes.Equal(got, text) {
				err = fmt.Errorf("%s reads %q in %s", pair[1].name, got, name)
			}
			return err
		})
		if err != nil {
			return err
		}
		d.say("a file written through %s's mount was read through %s's %.0f ms after it was closed", pair[0].name, pair[1].name, float64(time.Since(closed).Microseconds())/1000)
	}
	return nil
}

// restart starts the killed pod again and shows that it has caught up.
func (d *demo) restart(ctx context.Context, killed, other *machine) error {
	if _, err := other.run(ctx, "mkdir", "-p", "/made-while-"+killed.name+"-was-dead"); err != nil {
		return err
	}
	begin := time.Now()
	if err := killed.up(ctx); err != nil {
		return err
	}
	err := eventually(ctx, upWithin, func() error {
		mine, err := killed.run(ctx, "root")
		if err != nil {
			return err
		}
		theirs, err := other.run(ctx, "root")
		if err == nil && mine != theirs {
			err = errors.New("roots differ")
		}
		return err
	})
	if err != nil {
		return err
	}
	d.say("%s restarted and caught up in %.2f s: same tree root as %s", killed.name, time.Since(begin).Seconds(), other.name)
	if _, err := killed.run(ctx, "fsck"); err != nil {
		return err
	}
	d.say("fsck of %s is clean", killed.name)
	return nil
}

// cleanUp stops the daemons and removes what was made.
func (d *demo) cleanUp() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	for _, m := range d.pods {
		errs = append(errs, m.stop(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up: %w (left in %s)", err, d.dir)
	}
	return os.RemoveAll(d.dir)
}

// canMount says whether this machine and user can mount with FUSE.
func canMount() bool {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return false
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// eventually calls f until it succeeds or the time is over.
func eventually(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
