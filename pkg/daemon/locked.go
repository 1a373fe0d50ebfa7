package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// LockedPod is a pod of this machine whose disk is locked.
type LockedPod struct {
	Name     string // of its folder
	Lock     diskcrypt.Lock
	Identity string // file of the key that opens it, as pod.toml has it; "": it says none
}

// locked is what is to be opened; ok is false where the pod's disk is not locked.
func (l local) locked() (p LockedPod, ok bool, err error) {
	p = LockedPod{Name: l.name, Identity: l.cfg.Identity}
	p.Lock, ok, err = pod.LockOf(l.dir)
	return p, ok, err
}

// Locked are the pods of a WH_HOME whose disks are locked, by name.
func Locked(home api.Home) ([]LockedPod, error) {
	all, err := locals(home)
	if errors.Is(err, fs.ErrNotExist) { // no pod was made yet
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []LockedPod
	for _, l := range all {
		p, ok, err := l.locked()
		if err != nil {
			return nil, fmt.Errorf("pod %s: %w", l.name, err)
		}
		if ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// Relock has another identity open a locked disk, whose file is remembered. The daemon may run.
func Relock(home api.Home, p LockedPod) error {
	dir := filepath.Join(home.Pods(), p.Name)
	if err := pod.Relock(dir, p.Lock); err != nil {
		return err
	}
	_, err := config.SetPod(local{dir: dir}.file(), "identity", p.Identity)
	return err
}

// errNobody is why a disk stays locked where nothing can open one.
var errNobody = errors.New("nothing here opens it")

// unlock finds the key of the pod's disk, if that is locked and its key is not known yet. Error: pod.ErrDiskLocked.
func (l *local) unlock(find func(LockedPod) (*diskcrypt.Key, error)) error {
	if l.disk != nil {
		return nil
	}
	p, ok, err := l.locked()
	if err != nil {
		return fmt.Errorf("pod %s: %w", l.name, err)
	}
	if !ok {
		return nil
	}
	err = errNobody
	if find != nil {
		l.disk, err = find(p)
	}
	if err != nil {
		return StaysLocked(l.name, err)
	}
	return nil
}

// StaysLocked is the error of a pod whose disk could not be opened: a pod.ErrDiskLocked.
func StaysLocked(name string, why error) error {
	return fmt.Errorf("pod %s: %w: %w", name, pod.ErrDiskLocked, why)
}

// lockingOf reads how a new pod's disk is to be locked. The error is api.ErrUsage.
func lockingOf(a *api.Lock) (*pod.Locking, error) {
	if a == nil {
		return nil, nil
	}
	l, err := diskcrypt.DecodeLock(a.Lock)
	if err == nil && len(a.Key) != diskcrypt.KeyBytes {
		err = fmt.Errorf("key of %d bytes", len(a.Key))
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w: %w", api.ErrUsage, err)
	}
	return &pod.Locking{Key: diskcrypt.KeyOf([diskcrypt.KeyBytes]byte(a.Key)), Lock: l}, nil
}

// opened is a pod that was just made, with the key of its disk.
func (l local) opened(info pod.Info, lock *pod.Locking) local {
	if info.Locked {
		l.disk = lock.Key
	}
	return l
}
