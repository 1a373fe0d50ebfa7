package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// checkFUSE says whether folders can be mounted.
func checkFUSE() []finding {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []finding{bad("fuse", "modprobe fuse; in a container: run it with --device /dev/fuse --cap-add SYS_ADMIN. Without it, wh add and wh get work", "there is no /dev/fuse")}
	case err != nil:
		return []finding{bad("fuse", "let this user open /dev/fuse: on most systems it has mode 0666", "%v", err)}
	}
	_ = f.Close() // It was only opened.
	if os.Geteuid() == 0 {
		return []finding{good("fuse", "/dev/fuse can be opened")}
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		return []finding{bad("fuse", "install fuse3: apt install fuse3", "users other than root need fusermount3: %v", err)}
	}
	conf, err := os.ReadFile("/etc/fuse.conf")
	if err != nil || !bytes.Contains(append([]byte("\n"), conf...), []byte("\nuser_allow_other")) {
		return []finding{good("fuse", "it works; other users see nothing of a mount unless /etc/fuse.conf has user_allow_other")}
	}
	return []finding{good("fuse", "it works")}
}

// checkClock says whether something keeps the clock right (adjtimex(2)).
func checkClock() []finding {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return nil // It is not permitted in some containers.
	}
	if t.Status&unix.STA_UNSYNC != 0 {
		return []finding{odd("clock", "have NTP keep it right: timedatectl set-ntp true", "nothing that the kernel knows of keeps the clock right")}
	}
	return []finding{good("clock", "it is kept right")}
}

// checkLimits says whether the system lets the daemon have what it needs.
func checkLimits() []finding {
	const filesLeast = 4096 // connections, tables and segments of some pods
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return []finding{odd("limits", "", "%v", err)}
	}
	if r.Max < filesLeast { // Go's runtime raises the soft limit to the hard one.
		return []finding{odd("limits", "raise it: ulimit -n, or LimitNOFILE= in the unit", "a process may have %d files open", r.Max)}
	}
	return []finding{good("limits", "a process may have %d files open", r.Max)}
}

// diskSpace is the space of the disk of a folder.
func diskSpace(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

// kernel is the system's kernel.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown kernel"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
