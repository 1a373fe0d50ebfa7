package mountfs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// errNoXattr says that there is no such extended attribute.
const errNoXattr = syscall.ENODATA

const (
	mountTable  = "/proc/self/mountinfo"
	connections = "/sys/fs/fuse/connections" // one folder a connection, where fusectl is mounted
)

// place is where something is mounted: a line of the mount table.
type place struct {
	dir    string
	fstype string
	minor  uint32 // of the device number: the number of the FUSE connection
}

// ours tells whether this package made the mount.
func (p place) ours() bool { return p.fstype == "fuse."+subtype }

// findPlace finds what is mounted on dir, the topmost if there are several; an empty fstype if nothing.
func findPlace(dir string) place {
	found := place{dir: dir}
	table, err := os.ReadFile(mountTable)
	if err != nil {
		return found
	}
	lines := bufio.NewScanner(bytes.NewReader(table))
	for lines.Scan() {
		if p, ok := parsePlace(lines.Text()); ok && p.dir == dir {
			found = p
		}
	}
	return found
}

// readAheadKiB is how far the kernel reads ahead of who reads a file in order. By itself it does 128 KiB; a request holds up to 1 MiB (FUSE_MAX_PAGES), and
// costs about as much whatever it holds.
const readAheadKiB = 1024

// readAhead has the kernel read that far ahead (Documentation/ABI/testing/sysfs-class-bdi).
func (p place) readAhead() error {
	return os.WriteFile(fmt.Sprintf("/sys/class/bdi/0:%d/read_ahead_kb", p.minor), []byte(strconv.Itoa(readAheadKiB)), 0)
}

// parsePlace reads a line of the mount table (proc_pid_mountinfo(5)).
func parsePlace(line string) (place, bool) {
	front, back, ok := strings.Cut(line, " - ")
	fields, types := strings.Fields(front), strings.Fields(back)
	if !ok || len(fields) < 5 || len(types) < 1 {
		return place{}, false
	}
	_, minor, _ := strings.Cut(fields[2], ":")
	n, err := strconv.ParseUint(minor, 10, 32)
	if err != nil {
		return place{}, false
	}
	return place{dir: unescape(fields[4]), fstype: types[0], minor: uint32(n)}, true
}

// unescape undoes the octal escapes of blanks and backslashes in the mount table.
func unescape(s string) string {
	for _, e := range []struct{ from, to string }{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, e.from, e.to)
	}
	return s
}

// isMounted tells whether anything is mounted on dir, a full path.
func isMounted(dir string) bool { return findPlace(dir).fstype != "" }

// Stale tells whether dir is a mount of ours whose daemon is gone. Error: ErrNoAnswer if it is there and stuck.
func Stale(dir string) (bool, error) { return stale(context.Background(), dir) }

// stale is Stale; it is not cut short when ctx ends.
func stale(ctx context.Context, dir string) (bool, error) {
	dir, err := fullPath(dir)
	if err != nil {
		return false, fmt.Errorf("mountfs: %w", err)
	}
	if !findPlace(dir).ours() {
		return false, nil
	}
	switch err := answers(context.WithoutCancel(ctx), clock.Real{}, dir); {
	case isDead(err):
		return true, nil
	case errors.Is(err, ErrNoAnswer):
		return false, fmt.Errorf("mountfs: %s: %w", dir, err)
	}
	return false, nil
}

// Detach takes a mount of ours away from dir at once, dead or alive; what is open on it stays until it is
// closed. Error: ErrNoConnection if there is no mount of ours.
func Detach(dir string) error { return detach(context.Background(), dir) }

// detach is Detach; it is not cut short when ctx ends.
func detach(ctx context.Context, dir string) error {
	dir, err := fullPath(dir)
	if err != nil {
		return fmt.Errorf("mountfs: %w", err)
	}
	p := findPlace(dir)
	if !p.ours() {
		return fmt.Errorf("mountfs: detach %s: %w", dir, ErrNoConnection)
	}
	return p.umount(ctx, unix.MNT_DETACH)
}

// Abort cuts the connection of a mount of ours: whoever waits for an answer gets an error, and the mount is
// dead (Stale). It frees a daemon that was killed while it waited for its own mount, and needs no
// answer of it. Error: ErrNoConnection if there is no mount of ours.
func Abort(dir string) error {
	dir, err := fullPath(dir)
	if err != nil {
		return fmt.Errorf("mountfs: %w", err)
	}
	p := findPlace(dir)
	if !p.ours() {
		return fmt.Errorf("mountfs: abort %s: %w", dir, ErrNoConnection)
	}
	return p.abort(context.Background())
}

// abort writes to the control file system, mounted or not, or has umount2(2) do the same: forced, it aborts
// the connection even if the mount then is too busy to go.
func (p place) abort(ctx context.Context) error {
	err := os.WriteFile(fmt.Sprintf("%s/%d/abort", connections, p.minor), []byte("1"), 0)
	if err == nil || p.abortDirectly() == nil {
		return nil
	}
	if err := p.umount(ctx, unix.MNT_FORCE); err != nil && !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}

// abortDirectly uses a control file system of its own, which is mounted nowhere.
func (p place) abortDirectly() error {
	ctx, err := unix.Fsopen("fusectl", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(ctx) }()
	if err := unix.FsconfigCreate(ctx); err != nil {
		return err
	}
	top, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(top) }()
	fd, err := unix.Openat(top, fmt.Sprintf("%d/abort", p.minor), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("1"))
	return errors.Join(err, unix.Close(fd))
}

// unmount takes the mount away if nobody uses it.
func (p place) unmount(ctx context.Context) error { return p.umount(ctx, 0) }

// cutOff aborts the connection and takes the mount away, used or not.
func (p place) cutOff(ctx context.Context) error {
	err := p.abort(ctx)
	if detachErr := p.umount(ctx, unix.MNT_DETACH); detachErr != nil && findPlace(p.dir) == p {
		return errors.Join(err, detachErr)
	}
	return err
}

// umount is umount2(2), or, for who may not, fusermount. A mount that somebody made there since is let be.
func (p place) umount(ctx context.Context, flags int) error {
	if now := findPlace(p.dir); now != p {
		return fmt.Errorf("mountfs: unmount %s: %w", p.dir, ErrNoConnection)
	}
	err := unix.Unmount(p.dir, flags|unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EPERM) {
		err = fusermount(ctx, p.dir, flags&unix.MNT_DETACH != 0)
	}
	if err != nil {
		return fmt.Errorf("mountfs: unmount %s: %w", p.dir, err)
	}
	return nil
}

func fusermount(ctx context.Context, dir string, lazy bool) error {
	path, err := exec.LookPath("fusermount3")
	if err != nil {
		if path, err = exec.LookPath("fusermount"); err != nil {
			return err
		}
	}
	args := []string{"-u", "--", dir}
	if lazy {
		args = []string{"-u", "-z", "--", dir}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if out, err := exec.CommandContext(ctx, path, args...).CombinedOutput(); err != nil { //nolint:gosec // a path that the user gave
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
